//! `GET /jobs/{job_id}/logs`, and the heartbeats that bring them.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Answer, Client, Job, Night, World, objects, text, upload_to};

/// Bytes of the largest chunk.
const LARGEST: usize = 1 << 20;

/// A heartbeat, by the URL of the job's own routes, that has a chunk of so many bytes.
async fn ask(url: &str, bytes: usize) -> Answer {
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({"log_bytes": bytes})).await
}

/// Sends a chunk: S3's status.
async fn send(url: &str, chunk: &[u8]) -> u16 {
    upload_to(&ask(url, chunk.len()).await.ok()["log"], chunk).await.status
}

/// What the logs hold from there on, and where that ends.
async fn read(world: &World, job: &Job, after: Option<&str>) -> (Vec<(u64, String)>, Value) {
    let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
    let logs = world.user.get(&format!("/jobs/{}/logs{after}", job.job_id)).await.ok();
    let mut chunks = Vec::new();
    for chunk in logs["chunks"].as_array().unwrap() {
        let answer = Client::nobody().get(&text(&chunk["url"])).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        assert_eq!(chunk["size"], answer.bytes.len());
        chunks.push((chunk["attempt"].as_u64().unwrap(), String::from_utf8(answer.bytes).unwrap()));
    }
    (chunks, logs["next"].clone())
}

/// Thirty days after its end, with everything else of it.
async fn go_with_the_job(night: &Night, job_id: &str) {
    night.stack.clock().advance(Duration::from_secs(30 * 86_400));
    assert_eq!(night.reap().await, json!({"retired": 1}));
    assert_eq!(number(night, job_id).await, 0);
}

#[tokio::test]
async fn what_a_job_prints_is_its_owners_to_read_while_it_runs() {
    let world = World::new().await;
    let job = world.claimed().await;
    let path = format!("/jobs/{}/logs", job.job_id);
    assert_eq!(world.user.get(&path).await.ok(), json!({"chunks": [], "next": null, "log_bytes": null}));
    for chunk in ["epoch 1\n", "epoch 2\n", "é\n"] {
        assert_eq!(send(&job.path, chunk.as_bytes()).await, 200);
    }
    let (chunks, next) = read(&world, &job, None).await;
    assert_eq!(chunks, ["epoch 1\n", "epoch 2\n", "é\n"].map(|text| (1, text.to_owned())));
    let answer = world.user.get(&path).await;
    assert_eq!(answer.engine_calls(), (1, 1));

    // From there on.
    assert_eq!(read(&world, &job, next.as_str()).await, (Vec::new(), next.clone()));
    assert_eq!(send(&job.path, b"last").await, 200);
    assert_eq!(read(&world, &job, next.as_str()).await.0, [(1, "last".to_owned())]);
    for bad in ["x", "1", "../../x", "000001%2f000000000009", ""] {
        let (status, detail) = world.user.get(&format!("{path}?after={bad}")).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", "after"])), "{bad:?}");
    }
    // And nobody else's, whoever runs it.
    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    world.miner.get(&path).await.is_error(404, &detail);
    assert_eq!(Client::nobody().get(&path).await.status, 401);

    // A failed job's logs are what its owner reads first.
    job.finish(json!({"status": "error", "detail": "CUDA out of memory", "logs": true})).await.ok();
    assert_eq!(read(&world, &job, None).await.0.len(), 4);
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    world.user.get(&path).await.is_error(404, &detail);
    assert_eq!(objects(tests::stack(), &job.job_id).await, [""; 0]);
}

#[tokio::test]
async fn a_job_says_how_much_it_has_printed_so_that_nobody_asks_in_vain() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let said = async || night.get(&job_id).await["log_bytes"].take();
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await.ok();
    assert_eq!(said().await, Value::Null);
    for (chunk, counted) in [(&[b'x'; 9000][..], 9000), (b"little", 9000 + 8192)] {
        let log = ask(&url, chunk.len()).await.ok()["log"].take();
        // It is on its way: the job has more than the logs.
        let logs = async || night.user.get(&night.url(&format!("/jobs/{job_id}/logs"))).await.ok()["log_bytes"].take();
        assert_eq!(said().await, counted);
        assert_ne!(logs().await, counted);
        assert_eq!(upload_to(&log, chunk).await.status, 200);
        assert_eq!(logs().await, counted);
    }
    // The miner has no use for it.
    let reported = Client::nobody().post(&url, json!({"status": "complete", "logs": true})).await.ok();
    assert_eq!((&reported["log_bytes"], said().await), (&Value::Null, json!(9000 + 8192)));
    // The row that counts has gone.
    night.stack.clock().advance(Duration::from_secs(20 * 86_400));
    assert_eq!(said().await, 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_chunk_is_put_once_and_has_the_bytes_that_were_said() {
    let world = World::new().await;
    let job = world.claimed().await;
    let answer = ask(&job.path, 5).await;
    // The job is read beside the write, and nothing is asked of S3.
    assert_eq!(answer.engine_calls(), (2, 0));
    let log = answer.ok()["log"].take();
    assert_eq!((&log["method"], &log["headers"]["content-length"]), (&json!("PUT"), &json!("5")));
    for (chunk, status) in [(&b"four"[..], 403), (b"sixsix", 403), (b"hello", 200), (b"other", 412)] {
        let mut target = log.clone();
        target["headers"]["content-length"] = chunk.len().to_string().into();
        assert_eq!(upload_to(&target, chunk).await.status, status, "{}", chunk.escape_ascii());
    }
    assert_eq!(read(&world, &job, None).await.0, [(1, "hello".to_owned())]);

    let path = job.path.replace("?token=", "/heartbeat?token=");
    for bad in [json!(0), json!(-1), json!(LARGEST + 1), json!(1.5), json!("1"), json!(true), json!([1])] {
        let (status, detail) = Client::nobody().put(&path, json!({"log_bytes": bad})).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", "log_bytes"])), "{bad}");
    }
    for none in [Value::Null, json!({"log_bytes": null}), json!({"progress": 1})] {
        assert_eq!(Client::nobody().put(&path, none).await.ok().get("log"), None);
    }
}

#[tokio::test]
async fn an_attempt_has_no_more_than_100_mib_and_lives_on() {
    let world = World::new().await;
    let job = world.claimed().await;
    for _ in 0..100 {
        assert!(ask(&job.path, LARGEST).await.ok()["log"].is_object());
    }
    let full = ask(&job.path, 1).await;
    assert_eq!(full.engine_calls(), (3, 0));
    let full = full.ok();
    assert_eq!((&full["log"], &full["cancelled"]), (&Value::Null, &json!(false)));
    assert!(full["lease_expires_at"].is_string());
}

#[tokio::test]
async fn a_cancelled_jobs_last_words_are_taken() {
    let world = World::new().await;
    let job = world.claimed().await;
    world.user.put(&format!("/jobs/{}/cancel", job.job_id), Value::Null).await.ok();
    let told = ask(&job.path, 3).await.ok();
    assert_eq!((&told["cancelled"], upload_to(&told["log"], b"bye").await.status), (&json!(true), 200));
    assert_eq!(read(&world, &job, None).await.0, [(1, "bye".to_owned())]);
}

/// How many objects a job has.
async fn number(night: &Night, job_id: &str) -> usize {
    objects(&night.stack, job_id).await.len()
}

#[tokio::test]
async fn logs_of_attempts_that_were_lost_stay_and_go_with_the_job() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("serve").await;
    let mut attempts = Vec::new();
    for attempt in 1..=3 {
        let url = night.claim(&night.miner().await, &job_id).await;
        assert_eq!(send(&url, format!("attempt {attempt}").as_bytes()).await, 200);
        night.stack.clock().advance(Duration::from_secs(600));
        night.reap().await;
        attempts.push(attempt);
    }
    assert_eq!(night.get(&job_id).await["status"], "timeout");
    let logs = night.user.get(&night.url(&format!("/jobs/{job_id}/logs"))).await.ok();
    let of: Vec<_> = logs["chunks"].as_array().unwrap().iter().map(|chunk| chunk["attempt"].as_u64().unwrap()).collect();
    assert_eq!(of, attempts);
    // Thirty days after its end, when the row of its heartbeats has gone long since.
    go_with_the_job(&night, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn the_logs_of_a_job_that_reported_go_with_it_when_its_time_is_over() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(send(&url, b"done").await, 200);
    Client::nobody().post(&url, json!({"status": "complete", "logs": true})).await.ok();
    assert_eq!(number(&night, &job_id).await, 1);
    go_with_the_job(&night, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn the_logs_of_an_attempt_that_was_given_back_go_with_the_job() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(send(&url, b"begun").await, 200);
    Client::nobody().put(&url.replace("?token=", "/release?token="), json!({"logs": true})).await.ok();
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
    assert_eq!(number(&night, &job_id).await, 1);
    go_with_the_job(&night, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn deleting_a_running_job_removes_its_logs_and_what_arrives_late() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(send(&url, b"there").await, 200);
    let late = ask(&url, 4).await.ok()["log"].take();
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    assert_eq!(number(&night, &job_id).await, 0);
    assert_eq!(upload_to(&late, b"late").await.status, 200);
    assert_eq!(number(&night, &job_id).await, 1);
    night.stack.clock().advance(Duration::from_secs(3 * 3600));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(number(&night, &job_id).await, 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_an_administrator_cancels_keeps_its_logs_for_its_time() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(send(&url, b"there").await, 200);
    night.stack.invoke("admin", json!({"command": "cancel_job", "job_id": job_id, "reason": "x"})).await.unwrap();
    assert_eq!((number(&night, &job_id).await, &night.get(&job_id).await["status"]), (1, &json!("cancelled")));
    night.stack.clock().advance(Duration::from_secs(31 * 86_400));
    assert_eq!(night.reap().await, json!({"retired": 1}));
    assert_eq!(number(&night, &job_id).await, 0);
    night.stack.shutdown().await;
}
