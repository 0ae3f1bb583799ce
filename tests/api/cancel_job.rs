//! `PUT /jobs/{job_id}/cancel`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Answer, Client, Job, Night, World, objects, text, upload};

async fn cancel(world: &World, job_id: &str) -> Answer {
    world.user.put(&format!("/jobs/{job_id}/cancel"), Value::Null).await
}

async fn heartbeat(job: &Job) -> Answer {
    Client::nobody().put(&job.path.replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_at_once_and_for_good() {
    let world = World::new().await;
    let job_id = world.create().await;
    let answer = cancel(&world, &job_id).await;
    assert_eq!(answer.engine_calls(), (2, 0));
    let job = world.get(&job_id).await;
    assert_eq!(
        (&job["status"], &job["terminal"], &job["error_detail"], &job["cancel_requested_at"]),
        (&json!("cancelled"), &json!(true), &json!("Cancelled by its owner"), &Value::Null)
    );
    // The answer is the state alone.
    let state = world.user.get(&format!("/jobs/{job_id}?view=status")).await.ok();
    assert_eq!(answer.ok(), state);
    assert_eq!(job["job_args"]["epochs"], 3, "it stays readable");
    // Repeating it changes nothing.
    let again = cancel(&world, &job_id).await;
    assert_eq!(again.engine_calls(), (1, 0));
    assert_eq!((again.ok(), world.get(&job_id).await), (state, job));
    assert_eq!(world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await.status, 409);
    let list = world.miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await.ok();
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn the_miner_of_a_running_job_is_told_with_one_write_that_reads_nothing_of_the_job() {
    let world = World::new().await;
    for beats in [false, true] {
        let job = world.claimed().await;
        if beats {
            assert_eq!(heartbeat(&job).await.ok()["cancelled"], false);
        }
        let answer = cancel(&world, &job.job_id).await;
        assert_eq!(answer.engine_calls(), (2, 0));
        let answer = answer.ok();
        assert_eq!((&answer["status"], &answer["terminal"]), (&json!("running"), &json!(false)));
        assert!(answer["cancel_requested_at"].is_string());
        assert_eq!(cancel(&world, &job.job_id).await.ok()["cancel_requested_at"], answer["cancel_requested_at"]);
        // The first time its row is refused, and then says that the miner was told.
        let told = heartbeat(&job).await;
        assert_eq!(told.engine_calls(), (2, 0));
        let told = told.ok();
        assert_eq!((&told["cancelled"], told["next_heartbeat_at"].is_string()), (&json!(true), true));
        // The lease is a last one: heartbeats do not extend it.
        let again = heartbeat(&job).await.ok();
        assert_eq!((&again["cancelled"], &again["lease_expires_at"]), (&json!(true), &told["lease_expires_at"]));
    }
}

#[tokio::test]
async fn what_a_cancelled_miner_still_reports_is_kept_with_its_files_and_the_job_ends_cancelled_whatever_it_says() {
    let world = World::new().await;
    for (status, detail, told) in [
        ("complete", Value::Null, "Cancelled by its owner"),
        ("error", json!("out of memory"), "out of memory"),
        ("cancelled", json!("stopped at step 3"), "stopped at step 3"),
    ] {
        let job = world.claimed().await;
        heartbeat(&job).await.ok();
        cancel(&world, &job.job_id).await.ok();
        heartbeat(&job).await.ok();
        let report =
            json!({"status": status, "detail": detail, "result": {"step": 3}, "output_filenames": ["checkpoint"]});
        let first = job.finish(report.clone()).await;
        assert_eq!(first.engine_calls(), (2, 0));
        let first = first.ok();
        assert_eq!((&first["status"], &first["terminal"]), (&json!("cancelled"), &json!(false)), "{status}");
        // A miner that sends files goes on to hold the job, and may repeat its report.
        assert_eq!(heartbeat(&job).await.ok()["cancelled"], true);
        assert_eq!(job.finish(report).await.ok()["status"], "cancelled");
        job.finish(json!({"status": "error"})).await.is_error(400, "Job already finished");
        assert_eq!(upload(&text(&first["output_storage_urls"]["checkpoint"]), b"weights").await.status, 200);
        let done = job.complete().await.ok();
        assert_eq!(
            (&done["status"], &done["terminal"], &done["error_detail"], &done["result"]),
            (&json!("cancelled"), &json!(true), &json!(told), &json!({"step": 3})),
        );
        assert_eq!(job.download("checkpoint").await.bytes, b"weights");
    }
    // Without files it is over at once.
    let job = world.claimed().await;
    cancel(&world, &job.job_id).await.ok();
    let done = job.finish(json!({"status": "complete"})).await.ok();
    assert_eq!((&done["status"], &done["terminal"]), (&json!("cancelled"), &json!(true)));
}

#[tokio::test]
async fn what_was_reported_before_ends_as_it_would_have() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a"]).await;
    let before = world.get(&job.job_id).await;
    assert_eq!(cancel(&world, &job.job_id).await.ok()["status"], "complete_pending_uploads");
    assert_eq!(world.get(&job.job_id).await, before);
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    let done = world.get(&job.job_id).await;
    assert_eq!(cancel(&world, &job.job_id).await.ok()["status"], "complete");
    assert_eq!(world.get(&job.job_id).await, done);
}

#[tokio::test]
async fn only_its_owner_cancels_a_job() {
    let world = World::new().await;
    let job_id = world.create().await;
    let path = format!("/jobs/{job_id}/cancel");
    let not_found = format!("Job {job_id} not found or does not belong to you");
    world.miner.put(&path, Value::Null).await.is_error(404, &not_found);
    assert_eq!(Client::nobody().put(&path, Value::Null).await.status, 401);
    assert_eq!(world.get(&job_id).await["status"], "pending");
    for unknown in ["x", "7c1d0a52-0000-4000-8000-000000000002"] {
        assert_eq!(cancel(&world, unknown).await.status, 404);
    }
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    cancel(&world, &job_id).await.is_error(404, &not_found);
}

#[tokio::test]
async fn a_signature_cancels_one_job() {
    let world = World::new().await;
    let hotkey = World::hotkey(&world.user_id).await;
    let (one, other) = (world.create().await, world.create().await);
    let path = |job_id: &str| format!("/jobs/{job_id}/cancel");
    let headers = hotkey.headers("PUT", &path(&one), b"");
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = async |job_id: &str| {
        Client::nobody().send(reqwest::Method::PUT, &path(job_id), Vec::new(), &headers).await
    };
    for _ in 0..2 {
        assert_eq!(send(&one).await.ok()["status"], "cancelled");
    }
    send(&other).await.is_error(401, "This signature has been used already");
    assert_eq!(world.get(&other).await["status"], "pending");
}

#[tokio::test]
async fn a_miner_that_says_nothing_more_loses_a_cancelled_job_90_seconds_after_it_was_told() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let beat = async || {
        Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({})).await
    };
    // So old an attempt has a lease of 15 minutes.
    for _ in 0..24 {
        night.stack.clock().advance(Duration::from_secs(300));
        beat().await.ok();
        night.reap().await;
    }
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(299));
    assert_eq!(night.reap().await, json!({"held": 1}), "it is not told yet");
    assert_eq!(beat().await.ok()["cancelled"], true);
    night.stack.clock().advance(Duration::from_secs(89));
    assert_eq!(night.get(&job_id).await["status"], "running");
    night.stack.clock().advance(Duration::from_secs(61));
    // Two attempts are left, and nobody gets them.
    assert_eq!(night.reap().await, json!({"cancelled": 1}));
    let job = night.get(&job_id).await;
    assert_eq!(
        (&job["status"], &job["terminal"], &job["error_detail"], &job["attempt"]),
        (&json!("cancelled"), &json!(true), &json!("Cancelled by its owner"), &json!(1))
    );
    // Whoever comes now is told that nothing will count.
    assert_eq!(
        beat().await.ok(),
        json!({"lease_expires_at": null, "next_heartbeat_at": null, "cancelled": true})
    );
    assert_eq!(Client::nobody().post(&url, json!({"status": "complete"})).await.status, 400);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_miner_without_heartbeats_has_until_the_deadline_to_report_of_a_cancelled_job() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let (one, other) = (night.create("train").await, night.create("train").await);
    let miner = night.miner().await;
    let url = night.claim(&miner, &one).await;
    night.claim(&miner, &other).await;
    for job_id in [&one, &other] {
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    }
    night.stack.clock().advance(Duration::from_secs(3600));
    assert_eq!(night.reap().await, json!({"held": 2}));
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let answer = Client::nobody().post(&url, report).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);
    // An hour of its own, and one for uploads; then both end.
    night.stack.clock().advance(Duration::from_secs(3600 + 400));
    assert_eq!(night.reap().await, json!({"cancelled": 1, "completed": 1}));
    for (job_id, files) in [(&one, 1), (&other, 0)] {
        let job = night.get(job_id).await;
        assert_eq!((&job["status"], &job["terminal"]), (&json!("cancelled"), &json!(true)));
        assert_eq!(objects(&night.stack, job_id).await.len(), files);
    }
    night.stack.shutdown().await;
}
