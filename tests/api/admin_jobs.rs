//! `admin`: `cancel_job` and `delete_job`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Night, World, objects, upload};

fn cancel(job_id: &str) -> Value {
    json!({"command": "cancel_job", "job_id": job_id, "reason": "Against the rules"})
}

async fn claimable(world: &World) -> usize {
    let list = world.miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await.ok();
    list["jobs"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_for_good() {
    let world = World::new().await;
    let job_id = world.create().await;
    assert_eq!(claimable(&world).await, 1);
    // Repeating it changes nothing.
    let (done, first) = (json!({"job_id": job_id, "status": "cancelled"}), World::admin(cancel(&job_id)).await);
    let job = world.get(&job_id).await;
    assert_eq!((&first, &World::admin(cancel(&job_id)).await), (&done, &done));
    assert_eq!(world.get(&job_id).await, job);
    assert_eq!(
        (&job["status"], &job["terminal"], &job["error_detail"], job["finished_at"].is_string()),
        (&json!("cancelled"), &json!(true), &json!("Against the rules"), true)
    );
    assert_eq!(claimable(&world).await, 0);
    assert_eq!(world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await.status, 409);
}

#[tokio::test]
async fn a_job_that_runs_is_ended_and_its_miner_fenced_off() {
    let world = World::new().await;
    let job = world.claimed().await;
    World::admin(json!({"command": "cancel_job", "job_id": job.job_id})).await;
    let before = world.get(&job.job_id).await;
    assert_eq!(
        (&before["status"], &before["terminal"], &before["error_detail"]),
        (&json!("cancelled"), &json!(true), &json!("Cancelled by an administrator"))
    );
    // The miner is told to stop, as often as it asks.
    let heartbeat = job.path.replace("?token=", "/heartbeat?token=");
    for _ in 0..2 {
        let answer = Client::nobody().put(&heartbeat, json!({"progress": 0.5})).await.ok();
        assert_eq!(answer, json!({"lease_expires_at": null, "next_heartbeat_at": null, "cancelled": true}));
    }
    let report = json!({"status": "complete", "result": 1, "output_filenames": ["a"]});
    job.finish(report).await.is_error(400, "Job already finished");
    job.complete().await.is_error(400, "Job has not reported a result yet");
    assert_eq!(world.get(&job.job_id).await, before);
    assert_eq!(World::another_miner().await.put(&format!("/jobs/{}/claim", job.job_id), Value::Null).await.status, 409);
    assert_eq!(claimable(&world).await, 0);
}

#[tokio::test]
async fn what_a_miner_has_finished_is_not_thrown_away() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a"]).await;
    let refused = World::refused(cancel(&job.job_id)).await;
    assert!(refused.contains("has reported its result, and ends when its files are there"), "{refused}");
    assert_eq!(upload(answer["output_storage_urls"]["a"].as_str().unwrap(), b"hello").await.status, 200);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert_eq!(World::admin(cancel(&job.job_id)).await, json!({"job_id": job.job_id, "status": "complete"}));
    assert_eq!(job.download("a").await.bytes, b"hello");
}

#[tokio::test]
async fn anybodys_job_is_deleted_for_everyone() {
    let world = World::new().await;
    let (pending, running) = (world.create().await, world.claimed().await);
    let (reported, _) = world.finished(&["a"]).await;
    let (complete, _) = world.completed(&[("a", b"hello")]).await;
    for job_id in [&pending, &running.job_id, &reported.job_id, &complete.job_id] {
        let command = json!({"command": "delete_job", "job_id": job_id});
        let done = json!({"job_id": job_id, "deleted": true});
        assert_eq!((&World::admin(command.clone()).await, &World::admin(command).await), (&done, &done));
        assert_eq!(world.user.get(&format!("/jobs/{job_id}")).await.status, 404);
        assert_eq!(World::refused(cancel(job_id)).await, format!("Job {job_id} not found"));
    }
    for job in [&running, &reported] {
        assert_eq!(job.finish(json!({"status": "error"})).await.status, 404);
    }
    assert_eq!(world.user.get("/jobs").await.ok()["jobs"], json!([]));
    assert_eq!(claimable(&world).await, 0);
}

#[tokio::test]
async fn the_reaper_removes_the_files_of_a_job_that_an_administrator_has_deleted() {
    let night = Night::begin().await;
    let (job_id, url, answer) = night.finished(&night.miner().await, &["a"]).await;
    assert_eq!(upload(answer["output_storage_urls"]["a"].as_str().unwrap(), b"hello").await.status, 200);
    assert_eq!(Client::nobody().put(&url, Value::Null).await.ok()["status"], "complete");
    night.stack.invoke("admin", json!({"command": "delete_job", "job_id": job_id})).await.unwrap();
    assert_eq!(objects(&night.stack, &job_id).await.len(), 1);
    night.stack.clock().advance(Duration::from_secs(90));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
    night.stack.shutdown().await;
}
