//! `PUT /jobs/{job_id}/heartbeat?token=`.

use std::time::Duration;

use local::Stack;
use serde_json::{Value, json};
use shared::time::Timestamp;
use tests::{Answer, Client, Job, World, dynamodb, job_token_keys, parts_of, text, token};

async fn heartbeat(job: &Job, body: Value) -> Answer {
    Client::nobody().put(&job.path.replace("?token=", "/heartbeat?token="), body).await
}

#[tokio::test]
async fn a_heartbeat_shortens_the_lease_and_tells_the_owner_how_far_the_job_is() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = world.get(&job.job_id).await;
    assert_eq!(before["progress"], Value::Null);
    let answer = heartbeat(&job, json!({"progress": 0.25})).await.ok();
    assert_eq!(answer["cancelled"], false);
    let after = world.get(&job.job_id).await;
    assert_eq!(after["progress"], 0.25);
    assert!(answer["lease_expires_at"].as_str() < before["deadline_at"].as_str());
    assert_eq!(after["deadline_at"], before["deadline_at"]);
}

#[tokio::test]
async fn a_heartbeat_without_progress_keeps_the_last_one() {
    let world = World::new().await;
    let job = world.claimed().await;
    heartbeat(&job, json!({"progress": 1})).await.ok();
    heartbeat(&job, Value::Null).await.ok();
    heartbeat(&job, json!({"progress": null})).await.ok();
    assert_eq!(world.get(&job.job_id).await["progress"], 1.0);
    heartbeat(&job, json!({"progress": 0})).await.ok();
    assert_eq!(world.get(&job.job_id).await["progress"], 0.0);
}

#[tokio::test]
async fn progress_outside_0_to_1_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = world.get(&job.job_id).await;
    for bad in [json!(-0.1), json!(1.1), json!(1e308), json!("0.5"), json!([]), json!({}), json!(true)] {
        let (status, detail) = heartbeat(&job, json!({"progress": bad})).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", "progress"])), "{bad}");
    }
    let path = job.path.replace("?token=", "/heartbeat?token=");
    for bad in [&b"{\"progress\":NaN}"[..], b"{\"progress\":1e999}", b"{", b"[0.5]", b"0.5"] {
        let answer = Client::nobody().send(reqwest::Method::PUT, &path, bad.to_vec(), &[]).await;
        assert_eq!(answer.status, 422, "{}", bad.escape_ascii());
    }
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(4 << 10)).into_bytes();
    assert_eq!(Client::nobody().send(reqwest::Method::PUT, &path, long, &[]).await.status, 413);
    assert_eq!(world.get(&job.job_id).await, before);
}

#[tokio::test]
async fn progress_too_small_for_dynamodb_is_none() {
    let world = World::new().await;
    let job = world.claimed().await;
    for (told, kept) in [(2.2e-308, 0.0), (1e-5, 0.0), (0.123456, 0.1235), (0.99999, 1.0)] {
        heartbeat(&job, json!({"progress": told})).await.ok();
        assert_eq!(world.get(&job.job_id).await["progress"], kept, "{told}");
    }
}

#[tokio::test]
async fn the_pace_follows_the_attempts_age() {
    let stack = Stack::start().await.unwrap();
    stack.clock().set(1_795_000_000_000);
    let job = Job::on(&stack).await;
    // Seconds after the claim, to the next heartbeat, to the end of the lease. The deadline is after two hours.
    for (age, next, lease) in
        [(0, 30, 90), (600, 30, 90), (1000, 50, 150), (3600, 180, 540), (6000, 300, 900), (7000, 300, 200)]
    {
        stack.clock().set(1_795_000_000_000 + age * 1000);
        let at = |seconds: i64| Timestamp::from_millis(1_795_000_000_000 + (age + seconds) * 1000).to_string();
        let answer = json!({"lease_expires_at": at(lease), "next_heartbeat_at": at(next), "cancelled": false});
        assert_eq!(heartbeat(&job, Value::Null).await.ok(), answer, "{age}");
        // One that comes sooner is answered the same.
        assert_eq!(heartbeat(&job, Value::Null).await.ok(), answer, "{age}");
    }
    stack.shutdown().await;
}

#[tokio::test]
async fn a_heartbeat_changes_nothing_of_the_job_itself() {
    let world = World::new().await;
    for reported in [false, true] {
        let job = if reported { world.finished(&["a"]).await.0 } else { world.claimed().await };
        let (stored, seen) = (job.stored().await, world.get(&job.job_id).await);
        heartbeat(&job, json!({"progress": 0.25})).await.ok();
        assert_eq!(job.stored().await, stored);
        let after = world.get(&job.job_id).await;
        assert_eq!((&after["progress"], &after["updated_at"]), (&json!(0.25), &seen["updated_at"]));
    }
}

#[tokio::test]
async fn a_heartbeat_is_one_write_unit_however_much_the_job_carries() {
    let stack = Stack::builder().capacity(true).start().await.unwrap();
    let (_, key) = Job::created_on(&stack).await;
    let client = Client::with_key(key);
    let chute_id = text(&client.get(&format!("{}/jobs", stack.url())).await.ok()["jobs"][0]["chute_id"]);
    let beat = async |path: &str| {
        let body = json!({"progress": 0.5});
        let answer = Client::nobody().put(&path.replace("?token=", "/heartbeat?token="), body).await;
        assert_eq!((answer.status, answer.header("x-local-engine-units")), (200, Some("read=0 write=1")));
        assert_eq!(answer.engine_calls(), (1, 0));
    };
    let arguments = json!({"prompt": "x".repeat(100 << 10)});
    let job = client.post(&format!("{}/jobs/{chute_id}/train", stack.url()), arguments).await.ok();
    let claim = format!("{}/jobs/{}/claim", stack.url(), text(&job["job_id"]));
    let path = text(&client.put(&claim, Value::Null).await.ok()["job_status_url"]);
    stack.clock().advance(Duration::from_secs(60));
    // The first one that is late also has the reaper look in time: one for the job, two for its place in the queue, and on AWS one that is
    // refused, which is not counted here.
    let first = Client::nobody().put(&path.replace("?token=", "/heartbeat?token="), Value::Null).await;
    assert_eq!((first.status, first.header("x-local-engine-units")), (200, Some("read=0 write=4")));
    beat(&path).await;
    beat(&path).await;
    let names: Vec<_> = (0..1000).map(|number| format!("{number}.bin")).collect();
    Client::nobody().post(&path, json!({"status": "complete", "output_filenames": names})).await.ok();
    beat(&path).await;
    stack.shutdown().await;
}

#[tokio::test]
async fn what_the_miner_ended_itself_a_late_heartbeat_does_not_change() {
    let world = World::new().await;
    let job = world.claimed().await;
    heartbeat(&job, json!({"progress": 0.5})).await.ok();
    job.finish(json!({"status": "complete"})).await.ok();
    let end = world.get(&job.job_id).await;
    assert_eq!(end["progress"], Value::Null);
    assert_eq!(heartbeat(&job, json!({"progress": 0.75})).await.ok()["cancelled"], false);
    assert_eq!(world.get(&job.job_id).await, end);
}

#[tokio::test]
async fn after_a_delete_there_is_nothing_to_hold() {
    let world = World::new().await;
    let beaten = world.claimed().await;
    heartbeat(&beaten, Value::Null).await.ok();
    let (finished, completed) = (world.finished(&["a"]).await.0, world.completed(&[]).await.0);
    for job in [beaten, world.claimed().await, finished, completed] {
        world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
        let detail = format!("job_id='{}' not found!", job.job_id);
        heartbeat(&job, Value::Null).await.is_error(404, &detail);
        world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
        heartbeat(&job, Value::Null).await.is_error(404, &detail);
    }
}

#[tokio::test]
async fn a_heartbeat_of_a_newer_release_is_left_as_it_is() {
    let stack = Stack::start().await.unwrap();
    let job = Job::on(&stack).await;
    heartbeat(&job, Value::Null).await.ok();
    let newer = json!({
        "TableName": stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": format!("{}#lease", job.job_id)}},
        "UpdateExpression": "SET v = :newer", "ExpressionAttributeValues": {":newer": {"N": "1000"}},
    });
    dynamodb(&stack, "UpdateItem", newer).await;
    heartbeat(&job, Value::Null).await.is_error(500, "Internal server error");
    stack.shutdown().await;
}

#[tokio::test]
async fn past_its_deadline_the_miner_is_told_to_stop() {
    let stack = Stack::start().await.unwrap();
    let job = Job::on(&stack).await;
    // An hour's timeout, and an hour to upload.
    stack.clock().advance(Duration::from_secs(2 * 3600));
    assert_eq!(heartbeat(&job, Value::Null).await.ok()["cancelled"], true);
    stack.shutdown().await;
}

#[tokio::test]
async fn a_longer_upload_window_stops_no_miner_whose_token_knows_the_former_one() {
    let stack = Stack::start().await.unwrap();
    let job = Job::on(&stack).await;
    let (header, mut claims) = parts_of(&job.token);
    // The window was a minute.
    claims["exp"] = json!(claims["exp"].as_i64().unwrap() - 3600 + 60);
    let keys = job_token_keys(&stack).await;
    let former = job.with_token(&token(&header, &claims, &keys[text(&header["kid"])]));
    // Over an hour of the two that the attempt has.
    stack.clock().advance(Duration::from_secs(3700));
    assert_eq!(heartbeat(&former, Value::Null).await.ok()["cancelled"], false);
    stack.shutdown().await;
}
