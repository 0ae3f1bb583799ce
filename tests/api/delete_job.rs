//! `DELETE /jobs/{job_id}`.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt, stream};
use local::{Fault, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Night, World, input::uploaded, item, objects, s3, stack, text, upload};

#[tokio::test]
async fn defect_1_a_deleted_job_is_gone_for_everyone_with_its_files() {
    let world = World::new().await;
    let (job, complete) = world.completed(&[("a.txt", b"first"), ("sub dir/ü.bin", b"second")]).await;
    let path = format!("/jobs/{}", job.job_id);
    let mut downloads = Vec::new();
    for file_id in complete["output_files"].as_object().unwrap().keys() {
        let answer = world.user.get(&format!("{path}/download/{file_id}")).await;
        downloads.push((format!("{path}/download/{file_id}"), answer.header("location").unwrap().to_owned()));
    }
    for (_, url) in &downloads {
        assert_eq!(Client::nobody().get(url).await.status, 200);
    }

    let deleted = world.user.delete(&path).await;
    assert_eq!(deleted.header("content-type"), Some("application/json"));
    assert_eq!(deleted.ok(), json!({"deleted": true, "job_id": job.job_id}));

    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    world.user.get(&path).await.is_error(404, &detail);
    assert_eq!(downloads.len(), 2);
    for (route, url) in &downloads {
        world.user.get(route).await.is_error(404, &detail);
        assert_eq!(Client::nobody().get(url).await.status, 404, "the file is gone from S3");
    }
}

#[tokio::test]
async fn a_job_can_be_deleted_whatever_its_state() {
    let world = World::new().await;
    let pending = world.create().await;
    let running = world.claimed().await;
    let (uploading, answer) = world.finished(&["a.txt", "b.txt"]).await;
    assert_eq!(upload(answer["output_storage_urls"]["a.txt"].as_str().unwrap(), b"half").await.status, 200);
    let failed = world.claimed().await;
    failed.finish(json!({"status": "error", "detail": "no GPU"})).await.ok();
    for job_id in [&pending, &running.job_id, &uploading.job_id, &failed.job_id] {
        let path = format!("/jobs/{job_id}");
        assert_eq!(world.user.delete(&path).await.ok(), json!({"deleted": true, "job_id": job_id}));
        assert_eq!(world.user.get(&path).await.status, 404);
    }
    let list = world.miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await.ok();
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn defect_2_a_miner_learns_that_the_job_is_gone() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let pending = world.create().await;
    for job_id in [&job.job_id, &pending] {
        world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    }
    let gone = format!("job_id='{}' not found!", job.job_id);
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.is_error(404, &gone);
    job.upload("a.txt", b"late").await.is_error(404, &gone);
    job.complete().await.is_error(404, &gone);
    for job_id in [&job.job_id, &pending] {
        let answer = world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await;
        answer.is_error(404, &format!("job_id='{job_id}' not found!"));
    }
}

#[tokio::test]
async fn deleting_twice_answers_as_the_first_time() {
    let world = World::new().await;
    let path = format!("/jobs/{}", world.completed(&[("a.txt", b"a")]).await.0.job_id);
    let first = world.user.delete(&path).await.ok();
    assert_eq!(world.user.delete(&path).await.ok(), first);
}

#[tokio::test]
async fn only_the_owner_deletes_a_job() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a.txt", b"mine")]).await;
    let path = format!("/jobs/{}", job.job_id);
    let before = world.get(&job.job_id).await;
    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    let (_, stranger) = World::account(json!([])).await;
    Client::with_key(&stranger).delete(&path).await.is_error(404, &detail);
    world.miner.delete(&path).await.is_error(404, &detail);
    assert_eq!(Client::nobody().delete(&job.path).await.status, 401, "a job token is no account");
    assert_eq!(world.get(&job.job_id).await, before);
    let file_id = text(&before["output_files"].as_object().unwrap().keys().next().unwrap().as_str().into());
    assert_eq!(world.user.get(&format!("{path}/download/{file_id}")).await.status, 307);

    world.user.delete(&path).await.ok();
    Client::with_key(stranger).delete(&path).await.is_error(404, &detail);
}

#[tokio::test]
async fn an_id_that_names_no_job_is_not_found() {
    let world = World::new().await;
    for id in ["00000000-0000-4000-8000-000000000000", "nonsense", "claimable", "1"] {
        let answer = world.user.delete(&format!("/jobs/{id}")).await;
        answer.is_error(404, &format!("Job {id} not found or does not belong to you"));
    }
}

/// Puts this many more objects beside a job's.
async fn put_objects(night: &Night, job_id: &str, count: usize) {
    let bucket = night.stack.resource("OutputsBucket").unwrap();
    let key = objects(&night.stack, job_id).await.pop().unwrap();
    let client = s3(&night.stack);
    let puts = (0..count).map(|number| {
        let put = client.put_object().bucket(bucket).key(format!("{key}.{number}"));
        put.body(ByteStream::from_static(b"x")).send()
    });
    stream::iter(puts).buffer_unordered(16).for_each(|put| async { drop(put.unwrap()) }).await;
}

#[tokio::test]
async fn a_delete_that_fails_half_way_is_gone_at_once_and_the_reaper_goes_on() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let (job_id, _, answer) = night.finished(&miner, &["a"]).await;
    upload(&text(&answer["output_storage_urls"]["a"]), b"a").await;
    put_objects(&night, &job_id, 1100).await;

    // The first thousand go, then S3 has had enough.
    let calls = std::sync::atomic::AtomicU32::new(0);
    night.stack.set_faults(move |call| {
        let meant = call.operation == "DeleteObjects";
        let later = meant && calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
        if later { Fault::Throttle } else { Fault::None }
    });
    let path = night.url(&format!("/jobs/{job_id}"));
    night.user.delete(&path).await.is_error(503, "Service busy, please try again");
    assert_eq!(night.user.get(&path).await.status, 404);
    assert_eq!(objects(&night.stack, &job_id).await.len(), 101);
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await, json!({"failed": 1}));

    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
    assert_eq!(night.user.delete(&path).await.ok()["deleted"], true);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn an_upload_that_was_sent_again_goes_once_nothing_can_arrive_any_more() {
    let night = Night::begin().await;
    let (job_id, url, answer) = night.finished(&night.miner().await, &["a"]).await;
    for content in [b"first", b"again"] {
        assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), content).await.status, 200);
    }
    assert_eq!(Client::nobody().put(&url, Value::Null).await.ok()["status"], "complete");
    // Neither the end nor the delete of a job searches for what no look has shown.
    assert_eq!(objects(&night.stack, &job_id).await.len(), 2);
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    assert_eq!(objects(&night.stack, &job_id).await.len(), 1);
    night.stack.clock().advance(Duration::from_secs(2 * 3600 + 1));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_delete_that_is_killed_after_its_first_write_is_made_up_for() {
    for (fault, ended) in [(Fault::KillAfter, false), (Fault::KillFunction, false), (Fault::KillFunction, true)] {
        let night = Night::begin().await;
        let (job_id, url, answer) = night.finished(&night.miner().await, &["a"]).await;
        upload(&text(&answer["output_storage_urls"]["a"]), b"a").await;
        if ended {
            Client::nobody().put(&url, Value::Null).await.ok();
        }
        night.fail_once("DeleteObjects", fault);
        let path = night.url(&format!("/jobs/{job_id}"));
        assert!(night.user.delete(&path).await.is_failure());
        assert_eq!(night.user.get(&path).await.status, 404);
        night.stack.clock().advance(Duration::from_secs(61));
        assert_eq!(night.reap().await, json!({"swept": 1}));
        assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
        let usage = text(&item(&night.stack, "JobsTable", "job_id", &job_id).await["created_at"]["N"]);
        let day = shared::time::Timestamp::from_millis(usage.parse().unwrap()).date();
        let usage = item(&night.stack, "RegistryTable", "pk", &format!("usage#{}#{day}", night.user_id)).await;
        assert_eq!(usage["total"]["N"], "1", "the slot is not given back");
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn unfinished_uploads_in_parts_go_with_their_job() {
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "1000").start().await.unwrap();
    let night = Night::on(stack).await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let large = json!({"status": "complete", "output_files": [{"filename": "a", "size": 1001}, {"filename": "b", "size": 1001}]});
    let answer = Client::nobody().post(&url, large).await.ok();
    upload(&text(&answer["uploads"][0]["parts"][0]["url"]), &[b'x'; 1001]).await;
    let uploads = async || {
        let bucket = night.stack.resource("OutputsBucket").unwrap();
        s3(&night.stack).list_multipart_uploads().bucket(bucket).send().await.unwrap().uploads.unwrap_or_default().len()
    };
    assert_eq!(uploads().await, 2);
    // The first is aborted, then the function dies.
    night.fail_once("AbortMultipartUpload", Fault::KillAfter);
    let path = night.url(&format!("/jobs/{job_id}"));
    assert!(night.user.delete(&path).await.is_failure());
    assert_eq!(uploads().await, 1);
    night.user.delete(&path).await.ok();
    assert_eq!(uploads().await, 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn nothing_of_what_a_job_held_is_left_in_its_row() {
    let world = World::new().await;
    let uri = uploaded("", &world.user, "private.bin", b"hello").await;
    let path = format!("/jobs/{}/train?label=private", world.chute_id);
    let job = world.user.post(&path, json!({"file": uri, "prompt": "private"})).await.ok();
    world.user.delete(&format!("/jobs/{}", text(&job["job_id"]))).await.ok();
    let row = item(stack(), "JobsTable", "job_id", &text(&job["job_id"])).await;
    assert!(!row.to_string().contains("private"), "{row}");
}

#[tokio::test]
async fn a_job_that_takes_a_gone_ones_id_has_heartbeats_of_its_own() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let advance = |hours: u64| night.stack.clock().advance(Duration::from_secs(hours * 3600));
    for is_cancelled in [false, true] {
        let path = night.url(&format!("/jobs/{}/serve", night.chute_id));
        let key = [("idempotency-key", if is_cancelled { "cancelled" } else { "deleted" })];
        let create = async || text(&night.user.send(Method::POST, &path, b"{}".to_vec(), &key).await.ok()["job_id"]);
        let job_id = create().await;
        let url = night.claim(&miner, &job_id).await;
        if is_cancelled {
            // It goes when it has been kept for its time.
            advance(20 * 24);
            night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
            assert_eq!(Client::nobody().post(&url, json!({})).await.ok()["status"], "cancelled");
            advance(30 * 24);
        } else {
            let report = json!({"status": "complete", "output_filenames": ["a"]});
            let answer = Client::nobody().post(&url, report).await.ok();
            assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"a").await.status, 200);
            assert_eq!(Client::nobody().put(&url, Value::Null).await.ok()["status"], "complete");
            advance(10 * 24);
            night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
            advance(3);
        }
        night.reap().await;
        let row = item(&night.stack, "JobsTable", "job_id", &job_id).await;
        let expires_at: i64 = text(&row["expires_at"]["N"]).parse().unwrap();
        night.stack.clock().set((expires_at + 1) * 1000);
        night.stack.expire_items().await.unwrap();

        assert_eq!(create().await, job_id);
        let heartbeat = night.claim(&miner, &job_id).await.replace("?token=", "/heartbeat?token=");
        assert_eq!(Client::nobody().put(&heartbeat, Value::Null).await.ok()["cancelled"], false);
    }
    night.stack.shutdown().await;
}
