//! `PUT /jobs/{job_id}/heartbeat?token=`.

use std::time::Duration;

use local::Stack;
use serde_json::{Value, json};
use tests::{Answer, Client, Job, World};

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
async fn while_files_are_uploaded_a_heartbeat_holds_the_job_for_the_upload_window() {
    let stack = Stack::start().await.unwrap();
    stack.clock().set(1_795_000_000_000);
    let job = Job::on(&stack).await;
    job.finish(json!({"status": "complete", "output_filenames": ["a.bin"]})).await.ok();
    let held = json!({"lease_expires_at": "2026-11-18T12:06:40.000Z", "cancelled": false});
    assert_eq!(heartbeat(&job, Value::Null).await.ok(), held);
    stack.shutdown().await;
}

#[tokio::test]
async fn after_the_end_and_after_a_delete_there_is_nothing_to_hold() {
    let world = World::new().await;
    let (job, _) = world.completed(&[]).await;
    heartbeat(&job, Value::Null).await.is_error(400, "Job already finished");
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    heartbeat(&job, Value::Null).await.is_error(404, &format!("job_id='{}' not found!", job.job_id));
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
