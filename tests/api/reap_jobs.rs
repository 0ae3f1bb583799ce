//! The reaper: lost leases and deleted jobs. Every test has a stack of its own, whose clock it moves.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use local::Fault;
use serde_json::{Value, json};
use shared::time::Timestamp;
use tests::{Client, Night, item, objects, text, upload};
use tokio::{runtime::Handle, task::block_in_place};

/// An hour, and the second that a schedule's time leaves out.
const HOUR: Duration = Duration::from_secs(3601);

fn heartbeat(url: &str) -> String {
    url.replace("?token=", "/heartbeat?token=")
}

#[tokio::test]
async fn defect_16_a_dead_miners_job_goes_to_another_miner() {
    let night = Night::begin().await;
    let (first, second) = (night.miner().await, night.miner().await);
    let job_id = night.create("serve").await;
    let lost = night.claim(&first, &job_id).await;
    Client::nobody().put(&heartbeat(&lost), json!({"progress": 0.5})).await.ok();
    night.stack.clock().advance(Duration::from_secs(89));
    assert_eq!(night.reap().await, json!({}), "the lease holds for 90 s");
    night.stack.clock().advance(Duration::from_secs(2));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["progress"], &job["instance"]), (&json!("pending"), &Value::Null, &Value::Null));

    // The first miner is fenced off, before and after another one has the job.
    let report = json!({"status": "complete", "result": "late"});
    Client::nobody().post(&lost, report.clone()).await.is_error(401, "Missing or invalid JWT");
    let detail = format!("Your hotkey has already attempted to claim job_id='{job_id}'");
    night.try_claim(&first, &job_id).await.is_error(403, &detail);
    let url = night.claim(&second, &job_id).await;
    for answer in [
        Client::nobody().post(&lost, report).await,
        Client::nobody().put(&lost, Value::Null).await,
        Client::nobody().put(&heartbeat(&lost), Value::Null).await,
    ] {
        answer.is_error(401, "Missing or invalid JWT");
    }
    let job = Client::nobody().post(&url, json!({"status": "complete", "result": "in time"})).await.ok();
    assert_eq!((&job["result"], &job["attempt"]), (&json!("in time"), &json!(2)));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_lost_job_is_withheld_from_the_account_that_lost_it_for_five_minutes() {
    let night = Night::begin().await;
    // The clock stands still.
    night.stack.clock().advance(Duration::ZERO);
    let account = night.stack.invoke("admin", json!({"command": "create_user", "roles": ["miner"]})).await.unwrap();
    let account = text(&account["user_id"]);
    let key = json!({"command": "create_key", "user_id": account});
    let by_key = async || {
        let key = night.stack.invoke("admin", key.clone()).await.unwrap();
        Client::with_key(text(&key["key"]))
    };
    let (one, other) = (by_key().await, by_key().await);
    // Their signatures are of now, and the clock leaves them behind: they are there for the first loss.
    let hotkeys = [night.hotkey(Some(&account)).await, night.hotkey(Some(&account)).await].map(Client::with_hotkey);
    let job_id = night.create("serve").await;
    let detail = format!("Your hotkey has already attempted to claim job_id='{job_id}'");
    for (loser, signing) in [(&hotkeys[0], &hotkeys[..]), (&one, &[])] {
        let lost = night.claim(loser, &job_id).await;
        Client::nobody().put(&heartbeat(&lost), Value::Null).await.ok();
        night.stack.clock().advance(Duration::from_secs(91));
        assert_eq!(night.reap().await, json!({"requeued": 1}));
        // A schedule tells whole seconds.
        night.stack.clock().advance(Duration::from_secs(298));
        for client in [&one, &other].into_iter().chain(signing) {
            night.try_claim(client, &job_id).await.is_error(403, &detail);
        }
        night.stack.clock().advance(Duration::from_secs(2));
    }
    // A lone miner's job is not stuck.
    let url = night.claim(&other, &job_id).await;
    let job = Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
    assert_eq!((&job["status"], &job["attempt"]), (&json!("complete"), &json!(3)));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_an_earlier_release_requeued_is_withheld_for_as_long() {
    let night = Night::begin().await;
    night.stack.clock().advance(Duration::ZERO);
    let hotkey = night.hotkey(None).await;
    let (address, miner) = (hotkey.address.clone(), Client::with_hotkey(hotkey));
    let job_id = night.create("serve").await;
    let update = json!({
        "TableName": night.stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": job_id}},
        "UpdateExpression": "SET lost_by = :lost, attempt = :one",
        "ExpressionAttributeValues": {":lost": {"SS": [address]}, ":one": {"N": "1"}},
    });
    tests::dynamodb(&night.stack, "UpdateItem", update).await;
    night.is_withheld_for_five_minutes(&miner, &job_id).await;
    night.stack.shutdown().await;
}

/// A job that waits for its second attempt. The row of heartbeats says that the first one is over, and nothing of the second.
async fn tried_again(night: &Night, method: &str) -> String {
    let job_id = night.create(method).await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().post(&url, json!({"status": "error"})).await.ok();
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    job_id
}

#[tokio::test]
async fn a_reported_job_is_held_until_its_deadline_and_for_as_long_as_fresh_urls_work() {
    let night = Night::begin().await;
    // The clock stands still.
    night.stack.clock().advance(Duration::ZERO);
    for job_id in [night.create("train").await, tried_again(&night, "train").await] {
        is_held_once_reported(&night, &job_id).await;
    }
    night.stack.shutdown().await;
}

async fn is_held_once_reported(night: &Night, job_id: &str) {
    let url = night.claim(&night.miner().await, job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a", "b"]});
    Client::nobody().post(&url, report.clone()).await.ok();
    let held = async |name: &str| item(&night.stack, "JobsTable", "job_id", job_id).await[name]["N"].clone();
    let deadline = night.stack.clock().now() + 7_200_000;
    assert_eq!(held("lease_expires_at").await, json!((deadline / 1000 * 1000).to_string()));

    // The first URLs work no more.
    night.stack.clock().advance(Duration::from_secs(3901));
    assert_eq!(night.reap().await, json!({"held": 1}));
    let renew = url.replace("?token=", "/upload?token=");
    for again in [true, false] {
        match again {
            true => Client::nobody().post(&url, report.clone()).await.ok(),
            false => Client::nobody().put(&renew, json!({"path": "b"})).await.ok(),
        };
        assert_eq!(held("uploads_until").await, json!((night.stack.clock().now() + 3_900_000).to_string()));
        night.stack.clock().advance(HOUR);
        assert_eq!(night.reap().await, json!({"held": 1}));
    }
    night.stack.clock().advance(Duration::from_secs(300));
    assert_eq!(night.reap().await, json!({"completed": 1}));
}

#[tokio::test]
async fn a_miner_that_sends_its_first_heartbeat_late_and_dies_is_found() {
    let night = Night::begin().await;
    for job_id in [night.create("serve").await, tried_again(&night, "serve").await] {
        let url = night.claim(&night.miner().await, &job_id).await;
        night.stack.clock().advance(Duration::from_secs(91));
        assert_eq!(night.reap().await, json!({"held": 1}));
        Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
        night.stack.clock().advance(Duration::from_secs(89));
        assert_eq!(night.reap().await, json!({}));
        // The lease is over.
        night.stack.clock().advance(Duration::from_secs(2));
        assert_eq!(night.reap().await, json!({"requeued": 1}));
        night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_miner_that_sends_its_first_heartbeat_late_and_dies_is_found() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    night.stack.clock().advance(Duration::from_secs(1200));
    assert_eq!(night.reap().await, json!({"held": 1}));
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    let told = Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    assert_eq!(told["cancelled"], true);
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"cancelled": 1}));
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_heartbeat_that_is_late_and_comes_while_the_reaper_looks_is_not_overlooked() {
    let night = Night::begin().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    night.stack.clock().advance(Duration::from_secs(91));
    // It comes between what the reaper reads and what it writes.
    let (beat, first) = (heartbeat(&url), AtomicBool::new(true));
    night.stack.set_faults(move |call| {
        let writes = call.function.as_deref() == Some("reap-jobs") && call.operation == "UpdateItem";
        if writes && first.swap(false, Ordering::SeqCst) {
            block_in_place(|| Handle::current().block_on(Client::nobody().put(&beat, Value::Null)).ok());
        }
        Fault::None
    });
    assert_eq!(night.reap().await, json!({"unchanged": 1}));
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn an_attempt_shows_no_progress_of_the_one_before() {
    let night = Night::begin().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&heartbeat(&url), json!({"progress": 0.8})).await.ok();
    Client::nobody().put(&url.replace("?token=", "/release?token="), Value::Null).await.ok();
    let url = night.claim(&night.miner().await, &job_id).await;
    for body in [Value::Null, json!({"progress": 0.1})] {
        let expected = body["progress"].clone();
        Client::nobody().put(&heartbeat(&url), body).await.ok();
        assert_eq!(night.get(&job_id).await["progress"], expected);
    }
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_a_miners_first_heartbeat_in_a_later_attempt_leaves_it_its_lease() {
    let night = Night::begin().await;
    let job_id = tried_again(&night, "serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    // The heartbeat comes between what the cancel reads and what it writes.
    let (beat, first) = (heartbeat(&url), AtomicBool::new(true));
    night.stack.set_faults(move |call| {
        let writes = call.function.as_deref() == Some("cancel-job") && call.operation == "TransactWriteItems";
        if writes && first.swap(false, Ordering::SeqCst) {
            block_in_place(|| Handle::current().block_on(Client::nobody().put(&beat, Value::Null)).ok());
        }
        Fault::None
    });
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    // It says nothing more: its lease ends, long before its deadline.
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"cancelled": 1}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_miner_that_sent_heartbeats_and_dies_while_it_uploads_holds_the_job_no_longer_than_its_urls_work() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let url = night.claim(&miner, &night.create("train").await).await;
    Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    night.stack.clock().advance(HOUR);
    assert_eq!(night.reap().await, json!({"held": 1}));
    night.stack.clock().advance(Duration::from_secs(300));
    assert_eq!(night.reap().await, json!({"completed": 1}), "its deadline is an hour later");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_without_attempts_left_times_out_for_ever() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    // It sends no heartbeats, and so holds the job for an hour's timeout, and an hour to upload.
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"held": 1}));
    assert_eq!(night.reap().await, json!({}));
    night.stack.clock().advance(2 * HOUR);
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["terminal"]), (&json!("timeout"), &json!(true)));
    assert_eq!(job["error_detail"], "No result after 1 of 1 attempts");
    let report = json!({"status": "complete"});
    Client::nobody().post(&url, report).await.is_error(400, "Job already finished");
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await, job);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_reported_job_is_completed_with_what_arrived() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a", "b"]});
    let answer = Client::nobody().post(&url, report).await.ok();
    upload(&text(&answer["output_storage_urls"]["a"]), b"arrived").await;
    night.stack.clock().advance(HOUR);
    assert_eq!(night.reap().await, json!({"held": 1}), "an hour's timeout, and an hour to upload");
    night.stack.clock().advance(HOUR);
    assert_eq!(night.reap().await, json!({"completed": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["terminal"]), (&json!("partial_failure"), &json!(true)));
    assert_eq!(job["error_detail"], "Failed to upload files: b");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn two_reapers_at_once_do_each_thing_once() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    for _ in 0..8 {
        let job_id = night.create("train").await;
        night.claim(&miner, &job_id).await;
    }
    night.stack.clock().advance(2 * HOUR);
    let (one, other) = tokio::join!(night.reap(), night.reap());
    let timed_out = |done: &Value| done["timed_out"].as_u64().unwrap_or(0);
    assert_eq!(timed_out(&one) + timed_out(&other), 8, "{one} {other}");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_arrives_after_a_delete_is_swept() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let target = text(&Client::nobody().post(&url, report).await.ok()["output_storage_urls"]["a"]);
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    assert_eq!(upload(&target, b"late").await.status, 200, "the URL is still valid");
    assert_eq!(objects(&night.stack, &job_id).await.len(), 1);
    upload(&target, b"later still").await;
    night.stack.clock().advance(HOUR);
    assert_eq!(night.reap().await, json!({}), "more may still arrive");
    // A schedule tells whole seconds.
    night.stack.clock().advance(HOUR + Duration::from_secs(1));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(night.reap().await, json!({}), "nothing is left of the job");
    assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_late_heartbeat_renews_a_lease_that_nobody_has_taken_back() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(91));
    Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    assert_eq!(night.reap().await, json!({"held": 1}));
    assert_eq!(night.get(&job_id).await["status"], "running");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_dead_miner_is_found_one_lease_after_its_last_heartbeat() {
    let night = Night::begin().await;
    // The clock stands still, at a whole second.
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    let beat = heartbeat(&night.claim(&miner, &job_id).await);
    // Its heartbeats come at the pace that it is told for an hour, with the reaper every minute in between.
    let (mut now, mut next, mut lease) = (1_795_000_000_000, String::new(), String::new());
    let (mut beats, mut looks) = (0, 0);
    for second in (0..=3600).step_by(30) {
        now = 1_795_000_000_000 + second * 1000;
        night.stack.clock().set(now);
        if Timestamp::from_millis(now).to_string() >= next {
            let answer = Client::nobody().put(&beat, Value::Null).await.ok();
            (next, lease) = (text(&answer["next_heartbeat_at"]), text(&answer["lease_expires_at"]));
            beats += 1;
        }
        if second % 60 == 30 {
            looks += night.reap().await["held"].as_u64().unwrap_or(0);
        }
    }
    assert!((50..=60).contains(&beats), "{beats} heartbeats");
    // It was looked at each minute after its first lease, and never written.
    let job = item(&night.stack, "JobsTable", "job_id", &job_id).await;
    assert_eq!((looks, &job["due_at"]["N"]), (59, &json!("1795000090000")));
    // Then it dies. The reaper takes the job when the lease is over, and not a second before.
    while Timestamp::from_millis(now + 1000).to_string() < lease {
        now += 1000;
    }
    night.stack.clock().set(now);
    assert_eq!(night.reap().await, json!({"held": 1}), "a second before {lease}");
    night.stack.clock().set(now + 1000);
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    Client::nobody().put(&beat, Value::Null).await.is_error(401, "Missing or invalid JWT");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_heartbeat_while_files_are_uploaded_holds_the_job_for_as_long_as_an_upload_url_works() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let (_, url, _) = night.finished(&miner, &["a"]).await;
    // An hour's timeout, and an hour to upload; and another one from the last heartbeat, past the deadline.
    for minutes in [59, 118, 177] {
        night.stack.clock().set(1_795_000_000_000 + minutes * 60_000);
        assert_eq!(Client::nobody().put(&heartbeat(&url), Value::Null).await.ok()["cancelled"], false);
    }
    night.stack.clock().set(1_795_000_000_000 + 236 * 60_000);
    assert_eq!(night.reap().await, json!({"held": 1}));
    night.stack.clock().set(1_795_000_000_000 + 237 * 60_000);
    assert_eq!(night.reap().await, json!({"completed": 1}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_the_reaper_ended_refuses_heartbeats() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let (first, second) = (night.create("train").await, night.finished(&miner, &["a"]).await.1);
    let first = night.claim(&miner, &first).await;
    Client::nobody().put(&heartbeat(&first), Value::Null).await.ok();
    night.stack.clock().advance(2 * HOUR);
    assert_eq!(night.reap().await, json!({"timed_out": 1, "completed": 1}));
    // Its miner may still run the one; the other's has reported it.
    assert_eq!(Client::nobody().put(&heartbeat(&first), Value::Null).await.ok()["cancelled"], true);
    Client::nobody().put(&heartbeat(&second), Value::Null).await.is_error(400, "Job already finished");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn leases_that_an_earlier_release_left_in_the_job_hold() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let now = 1_795_000_000_000_i64;
    let deadline = now + 7_200_000;
    // One miner has sent a heartbeat to the earlier release, one has not, and one goes on with this release.
    for (lease, beats, over) in [(90, false, 90), (7200, false, 7200), (7200, true, 120), (150, true, 150)] {
        night.stack.clock().set(now);
        let job_id = night.create("train").await;
        let url = night.claim(&miner, &job_id).await;
        let lease = (now + lease * 1000).to_string();
        let update = json!({
            "TableName": night.stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": job_id}},
            "UpdateExpression": "SET lease_expires_at = :lease, due_at = :lease",
            "ExpressionAttributeValues": {":lease": {"N": lease}},
        });
        tests::dynamodb(&night.stack, "UpdateItem", update).await;
        night.stack.clock().set(now + 30_000);
        if beats {
            Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
        }
        for second in [over * 1000 - 1000, over * 1000] {
            night.stack.clock().set(now + second);
            let done = night.reap().await;
            // Where the earlier release had the deadline, it is due no sooner.
            let due = second == over * 1000 && lease != deadline.to_string() || second == 7_200_000;
            assert_eq!(done, if due { json!({"timed_out": 1}) } else { json!({}) }, "{lease} {second}");
        }
        night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_always_fails_is_put_off_and_in_nobodys_way() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let (stuck, _, _) = night.finished(&miner, &["a"]).await;
    let others = [night.create("train").await, night.create("train").await];
    for job_id in &others {
        night.claim(&miner, job_id).await;
    }
    night.fail(Some("GetObject"), Fault::FailBefore(500));
    night.stack.clock().advance(2 * HOUR);
    assert_eq!(night.reap().await, json!({"timed_out": 2, "failed": 1}));
    assert_eq!(night.reap().await, json!({}), "it waits a minute");
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await, json!({"failed": 1}));

    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await, json!({"completed": 1}));
    assert_eq!(night.get(&stuck).await["error_detail"], "Failed to upload files: a");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_part_of_the_queue_that_can_not_be_read_is_left_to_the_next_run() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    for _ in 0..12 {
        night.claim(&miner, &night.create("train").await).await;
    }
    night.stack.clock().advance(2 * HOUR);
    // The first part's query fails for good, the others' go through.
    let failing = std::sync::atomic::AtomicU32::new(3);
    night.stack.set_faults(move |call| {
        let left = std::sync::atomic::Ordering::SeqCst;
        let meant = call.function.is_some() && call.operation == "Query";
        let hit = meant && failing.fetch_update(left, left, |count| count.checked_sub(1)).is_ok();
        if hit { Fault::Throttle } else { Fault::None }
    });
    let mut ended = 0;
    for run in 0.. {
        let done = night.reap().await;
        ended += done["timed_out"].as_u64().unwrap_or(0);
        if done["more"] != json!(true) {
            break;
        }
        assert!(run < 3, "{done}");
    }
    assert_eq!(ended, 12);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_run_that_dies_half_way_is_made_up_for_by_the_next_one() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(night.create("train").await);
        night.claim(&miner, &jobs[jobs.len() - 1]).await;
    }
    night.stack.clock().advance(2 * HOUR);
    let mut ended = 0;
    for fault in [Fault::KillAfter, Fault::KillFunction, Fault::FailAfter] {
        night.fail_once("TransactWriteItems", fault);
        let done = night.stack.run_schedule("reap-jobs").await;
        ended += done.map_or(0, |done| done["timed_out"].as_u64().unwrap_or(0));
    }
    assert!(ended < 12, "{ended} of 12 jobs were told to have ended in runs that died");
    // What failed was put off for a minute.
    night.stack.clock().advance(Duration::from_secs(60));
    night.reap().await;
    for job_id in &jobs {
        let job = night.get(job_id).await;
        assert_eq!((&job["status"], &job["terminal"]), (&json!("timeout"), &json!(true)));
    }
    assert_eq!(night.reap().await, json!({}));
    night.stack.shutdown().await;
}
