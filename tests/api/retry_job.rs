//! `PUT /jobs/{job_id}/retry`.

use std::time::Duration;

use futures_util::future::join_all;
use local::{Fault, Stack};
use serde_json::{Value, json};
use tests::{Answer, Client, Job, Night, World, input::uploaded, item, objects, s3, text, upload};

async fn retry(world: &World, job_id: &str) -> Answer {
    world.user.put(&format!("/jobs/{job_id}/retry"), Value::Null).await
}

async fn failed(world: &World) -> Job {
    let job = world.claimed().await;
    let report = json!({"status": "error", "detail": "out of memory", "result": {"step": 3}, "output_filenames": ["log"]});
    let answer = job.finish(report).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["log"]), b"hello").await.status, 200);
    assert_eq!(job.complete().await.ok()["status"], "error");
    job
}

#[tokio::test]
async fn a_failed_job_is_pending_as_it_was_created_and_its_former_miner_is_fenced_off() {
    let world = World::new().await;
    let job = failed(&world).await;
    let before = world.get(&job.job_id).await;
    let answer = retry(&world, &job.job_id).await;
    // The caller, the job and the quota; the chute; the transaction. One listing of uploads and one of files, and a delete.
    assert_eq!(answer.engine_calls(), (3, 3));
    let after = world.get(&job.job_id).await;
    let mut expected = before.clone();
    for gone in ["error_detail", "result", "output_files", "finished_at", "started_at", "deadline_at", "miner_hotkey"] {
        expected[gone] = Value::Null;
    }
    for (field, value) in [
        ("status", json!("pending")),
        ("terminal", json!(false)),
        ("active", json!(false)),
        ("verified", json!(false)),
        ("max_attempts", json!(2)),
        ("updated_at", after["updated_at"].clone()),
        ("expires_at", after["expires_at"].clone()),
        ("kept_until", Value::Null),
    ] {
        expected[field] = value;
    }
    assert_eq!(after, expected);
    assert_eq!(after["attempt"], 1, "attempts count on: so the tokens of the former ones stay closed");
    assert_eq!(answer.ok(), world.user.get(&format!("/jobs/{}?view=status", job.job_id)).await.ok());
    assert_eq!(objects(tests::stack(), &job.job_id).await, Vec::<String>::new());

    let heartbeat = job.path.replace("?token=", "/heartbeat?token=");
    for answer in [
        job.finish(json!({"status": "complete"})).await,
        job.complete().await,
        Client::nobody().put(&heartbeat, json!({})).await,
        job.upload("log", b"hello").await,
    ] {
        answer.is_error(401, "Missing or invalid JWT");
    }
    // The miner may claim it like any other.
    let again = world.claim_with(&job.job_id, Value::Null).await;
    assert_eq!(Client::nobody().put(&heartbeat, json!({})).await.status, 401);
    let done = again.finish(json!({"status": "complete", "result": 1})).await.ok();
    assert_eq!((&done["status"], &done["attempt"]), (&json!("complete"), &json!(2)));
}

#[tokio::test]
async fn an_upload_url_of_the_former_run_changes_nothing_of_the_new_one() {
    let world = World::new().await;
    let (job, first) = world.finished(&["model.bin"]).await;
    let former = text(&first["output_storage_urls"]["model.bin"]);
    assert_eq!(job.complete().await.ok()["status"], "partial_failure");
    retry(&world, &job.job_id).await.ok();
    let again = world.claim_with(&job.job_id, Value::Null).await;
    let answer = again.finish(json!({"status": "complete", "output_filenames": ["model.bin"]})).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["model.bin"]), b"right").await.status, 200);
    assert_eq!(upload(&former, b"wrong").await.status, 200);
    let done = again.complete().await.ok();
    assert_eq!(done["status"], "complete");
    assert_eq!(again.download("model.bin").await.bytes, b"right");
    let file = done["output_files"].as_object().unwrap().values().next().unwrap();
    assert!(text(&file["path"]).ends_with("/run0001/model.bin"), "{file}");
    // What came late goes with the job.
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    assert_eq!(objects(tests::stack(), &job.job_id).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_over_or_succeeded_is_409_and_stays_as_it_is() {
    let world = World::new().await;
    let (pending, running) = (world.create().await, world.claimed().await);
    let (reported, _) = world.finished(&["a"]).await;
    let (complete, _) = world.completed(&[("a", b"hello")]).await;
    for (job_id, status) in [
        (&pending, "pending"),
        (&running.job_id, "running"),
        (&reported.job_id, "complete_pending_uploads"),
        (&complete.job_id, "complete"),
    ] {
        let before = world.get(job_id).await;
        let answer = retry(&world, job_id).await;
        assert_eq!(answer.engine_calls(), (1, 0));
        answer.is_error(409, &format!("Job {job_id} is {status}, and cannot be retried"));
        assert_eq!(world.get(job_id).await, before);
    }
    let not_found = format!("Job {pending} not found or does not belong to you");
    world.miner.put(&format!("/jobs/{pending}/retry"), Value::Null).await.is_error(404, &not_found);
    assert_eq!(Client::nobody().put(&format!("/jobs/{pending}/retry"), Value::Null).await.status, 401);
    world.user.delete(&format!("/jobs/{pending}")).await.ok();
    retry(&world, &pending).await.is_error(404, &not_found);
}

#[tokio::test]
async fn a_retry_counts_like_a_new_job() {
    let world = World::new().await;
    let job_id = world.create().await;
    let cancel = format!("/jobs/{job_id}/cancel");
    world.user.put(&cancel, Value::Null).await.ok();
    let quotas = |jobs: u32| json!({"command": "set_quotas", "user_id": world.user_id, "quotas": {"*": jobs}});
    World::admin(quotas(1)).await;
    let before = world.get(&job_id).await;
    let exceeded = "Daily job quota exceeded: chute_job_count=1 total_job_count=1 of job_quota=1 and total_quota=1";
    retry(&world, &job_id).await.is_error(429, exceeded);
    assert_eq!(world.get(&job_id).await, before);
    World::admin(quotas(2)).await;
    assert_eq!(retry(&world, &job_id).await.ok()["status"], "pending");
    // Once for each: the second finds it pending.
    assert_eq!(retry(&world, &job_id).await.status, 409);
    world.user.put(&cancel, Value::Null).await.ok();
    assert_eq!(retry(&world, &job_id).await.status, 429);
}

#[tokio::test]
async fn of_many_retries_at_once_one_happens_and_counts() {
    let world = World::new().await;
    let job_id = world.create().await;
    world.user.put(&format!("/jobs/{job_id}/cancel"), Value::Null).await.ok();
    let all = join_all((0..8).map(|_| retry(&world, &job_id))).await;
    let mut statuses: Vec<_> = all.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    World::admin(json!({"command": "set_quotas", "user_id": world.user_id, "quotas": {"*": 3}})).await;
    world.create().await;
    let full = world.user.post(&format!("/jobs/{}/train", world.chute_id), json!({})).await;
    assert_eq!(full.status, 429, "one retry and two creates: {}", full.body);
}

#[tokio::test]
async fn a_chute_that_takes_no_new_jobs_takes_no_retry() {
    let world = World::new().await;
    let (owner_id, _) = World::account(json!([])).await;
    let chute_id = uuid::Uuid::new_v4().to_string();
    let mut chute = tests::chute(&chute_id, &owner_id);
    World::admin(json!({"command": "put_chute", "chute": chute})).await;
    let job = world.user.post(&format!("/jobs/{chute_id}/train"), json!({})).await.ok();
    let job_id = text(&job["job_id"]);
    world.user.put(&format!("/jobs/{job_id}/cancel"), Value::Null).await.ok();
    chute["public"] = false.into();
    World::admin(json!({"command": "put_chute", "chute": chute})).await;
    retry(&world, &job_id).await.is_error(404, &format!("Chute {chute_id} not found"));
    chute["public"] = true.into();
    let methods = chute["methods"].take();
    chute["methods"] = json!([methods[1]]);
    World::admin(json!({"command": "put_chute", "chute": chute})).await;
    retry(&world, &job_id).await.is_error(404, &format!("Chute {chute_id} has no job named 'train'"));
    assert_eq!(world.get(&job_id).await["status"], "cancelled");
}

#[tokio::test]
async fn attempts_are_as_many_as_a_new_job_has_and_the_row_does_not_expire() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    for _ in 0..3 {
        let url = night.claim(&miner, &job_id).await;
        Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({})).await.ok();
        night.stack.clock().advance(Duration::from_secs(91));
        night.reap().await;
        night.stack.clock().advance(Duration::from_secs(300));
    }
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["attempt"], &job["max_attempts"]), (&json!("timeout"), &json!(3), &json!(3)));
    assert!(tests::item(&night.stack, "JobsTable", "job_id", &job_id).await["expires_at"].is_object());
    let job = night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    assert_eq!((&job["status"], &job["attempt"], &job["max_attempts"]), (&json!("pending"), &json!(3), &json!(6)));
    assert!(tests::item(&night.stack, "JobsTable", "job_id", &job_id).await["expires_at"].is_null());
    assert_eq!(night.reap().await, json!({}));
    let url = night.claim(&miner, &job_id).await;
    assert_eq!(Client::nobody().post(&url, json!({"status": "complete"})).await.ok()["status"], "complete");
    night.stack.shutdown().await;
}

/// A job with large arguments that name so many inputs.
async fn with_inputs(night: &Night, inputs: usize) -> String {
    let uploads = (0..inputs).map(|number| async move {
        uploaded(night.stack.url(), &night.user, &number.to_string(), b"hello").await
    });
    let arguments = json!({"inputs": join_all(uploads).await, "text": "x".repeat(5000)});
    let create = night.url(&format!("/jobs/{}/serve", night.chute_id));
    text(&night.user.post(&create, arguments).await.ok()["job_id"])
}

/// Removes this of what the job has in the bucket, behind its back.
async fn remove(stack: &Stack, job_id: &str, attribute: &str) {
    let stored = item(stack, "JobsTable", "job_id", job_id).await;
    let id = text(&stored[attribute]["M"]["i"]["S"]);
    let keys = objects(stack, job_id).await;
    let key = keys.iter().find(|key| key.ends_with(&id)).expect("it is there");
    let version = text(&stored[attribute]["M"]["v"]["S"]);
    let request = s3(stack).delete_object().bucket(stack.resource("OutputsBucket").unwrap());
    request.key(key).version_id(version).send().await.unwrap();
}

#[tokio::test]
async fn a_job_that_has_lost_its_arguments_or_list_of_inputs_is_409_and_stays_as_it_is() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    for (attribute, name) in [("job_args", "arguments"), ("inputs", "list of inputs")] {
        for has_ended_for_it in [false, true] {
            let job_id = with_inputs(&night, 10).await;
            let url = |route: &str| night.url(&format!("/jobs/{job_id}/{route}"));
            if has_ended_for_it && attribute == "job_args" {
                remove(&night.stack, &job_id, attribute).await;
                assert_eq!(night.try_claim(&miner, &job_id).await.status, 500);
            } else {
                let assigned = night.try_claim(&miner, &job_id).await.ok();
                remove(&night.stack, &job_id, attribute).await;
                if has_ended_for_it {
                    let input = Client::nobody().get(&text(&assigned["job_data"]["inputs"][0])).await;
                    assert_eq!(input.status, 500);
                } else {
                    Client::nobody().post(&text(&assigned["job_status_url"]), json!({"status": "error"})).await.ok();
                }
            }
            let before = item(&night.stack, "JobsTable", "job_id", &job_id).await;
            assert_eq!(before["status"]["S"], "error");
            let gone = format!("Job {job_id} cannot be retried: the bucket of outputs no longer has its {name}");
            night.user.put(&url("retry"), Value::Null).await.is_error(409, &gone);
            assert_eq!(item(&night.stack, "JobsTable", "job_id", &job_id).await, before);
        }
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_would_not_outlive_another_wait_is_put_anew() {
    let night = Night::begin().await;
    let job_id = with_inputs(&night, 10).await;
    let stored = async || {
        let job = item(&night.stack, "JobsTable", "job_id", &job_id).await;
        ["job_args", "inputs"].map(|attribute| job[attribute]["M"].clone())
    };
    let retry = async || night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await;
    let first = stored().await;
    let cancel = night.url(&format!("/jobs/{job_id}/cancel"));
    night.user.put(&cancel, Value::Null).await.ok();
    let cancelled_and_kept = async || {
        night.stack.clock().advance(Duration::from_secs(5 * 86_400));
        night.user.put(&cancel, Value::Null).await.ok();
        night.stack.clock().advance(Duration::from_secs(29 * 86_400));
    };
    assert_eq!(retry().await.ok()["status"], "pending");
    cancelled_and_kept().await;
    assert_eq!(retry().await.ok()["status"], "pending");
    assert_eq!(stored().await, first, "young enough for another 7 days, and as long again as jobs are kept");
    cancelled_and_kept().await;
    // Put, and then killed: as it was.
    night.fail(Some("PutObject"), Fault::KillAfter);
    assert!(retry().await.is_failure());
    night.fail(None, Fault::None);
    assert_eq!(stored().await, first);
    assert_eq!(retry().await.ok()["status"], "pending");
    let second = stored().await;
    for (before, after) in first.iter().zip(&second) {
        assert_eq!(before["h"], after["h"]);
        assert_ne!(before["i"], after["i"], "it is where it was");
    }
    // The first ones' time is over.
    for key in objects(&night.stack, &job_id).await {
        if first.iter().any(|payload| key.ends_with(&text(&payload["i"]["S"]))) {
            let request = s3(&night.stack).delete_object().bucket(night.stack.resource("OutputsBucket").unwrap());
            request.key(key).send().await.unwrap();
        }
    }
    let assigned = night.try_claim(&night.miner().await, &job_id).await.ok();
    let input = Client::nobody().get(&text(&assigned["job_data"]["inputs"][9])).await;
    assert_eq!((input.status, &assigned["job_data"]["text"]), (307, &json!("x".repeat(5000))));
    night.stack.shutdown().await;
}
