//! How long a job is kept when it is over.

use std::time::Duration;

use local::{Fault, Stack};
use serde_json::{Value, json};
use tests::{Client, Night, item, objects, text, upload};

/// A day, and the second that a schedule's time leaves out.
const DAY: u64 = 86_400;

async fn advance(night: &Night, days: u64) {
    night.stack.clock().advance(Duration::from_secs(days * DAY));
}

/// A job of `train` with large arguments and a file.
async fn with_a_file(night: &Night) -> (String, Value) {
    let arguments = json!({"prompt": "x".repeat(5000)});
    let job = night.user.post(&night.url(&format!("/jobs/{}/train", night.chute_id)), arguments).await.ok();
    let job_id = text(&job["job_id"]);
    let url = night.claim(&night.miner().await, &job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let answer = Client::nobody().post(&url, report).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);
    (job_id, Client::nobody().put(&url, Value::Null).await.ok())
}

async fn is_gone(night: &Night, job_id: &str) {
    let answer = night.user.get(&night.url(&format!("/jobs/{job_id}"))).await;
    answer.is_error(404, &format!("Job {job_id} not found or does not belong to you"));
    assert!(objects(&night.stack, job_id).await.is_empty());
    assert_eq!(night.user.get(&night.url("/jobs")).await.ok()["jobs"], json!([]));
    let row = item(&night.stack, "JobsTable", "job_id", job_id).await;
    for attribute in ["result", "files", "owner", "queue", "due_at", "labels", "error_detail"] {
        assert_eq!(row[attribute], Value::Null, "{attribute}");
    }
    assert_eq!(row["job_args"]["S"], "{}");
}

#[tokio::test]
async fn a_job_goes_with_its_files_and_payloads_thirty_days_after_its_end() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let (job_id, done) = with_a_file(&night).await;
    assert_eq!(done["kept_until"], "2026-12-18T11:06:40.000Z");
    assert_eq!(objects(&night.stack, &job_id).await.len(), 2);
    advance(&night, 29).await;
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await["status"], "complete");
    advance(&night, 1).await;
    assert_eq!(night.reap().await, json!({"retired": 1}));
    is_gone(&night, &job_id).await;
    // No token is valid any more: the row has nothing to wait for.
    let row = item(&night.stack, "JobsTable", "job_id", &job_id).await;
    assert_eq!(row["expires_at"]["N"], "1797592000");
    assert_eq!(night.reap().await, json!({}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_without_files_goes_whatever_its_end() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let reported = night.create("train").await;
    let url = night.claim(&miner, &reported).await;
    Client::nobody().post(&url, json!({"status": "error", "detail": "no"})).await.ok();
    let cancelled = night.create("train").await;
    night.user.put(&night.url(&format!("/jobs/{cancelled}/cancel")), Value::Null).await.ok();
    let lost = night.create("train").await;
    let url = night.claim(&miner, &lost).await;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    let unclaimed = text(
        &night.user.post(&night.url(&format!("/jobs/{}/train?cancel_after=10", night.chute_id)), json!({})).await.ok()
            ["job_id"],
    );
    night.stack.clock().advance(Duration::from_secs(11));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    for job_id in [&reported, &cancelled, &lost, &unclaimed] {
        assert_ne!(night.get(job_id).await["kept_until"], Value::Null);
    }
    advance(&night, 30).await;
    assert_eq!(night.reap().await, json!({"retired": 4}));
    for job_id in [&reported, &cancelled, &lost, &unclaimed] {
        is_gone(&night, job_id).await;
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_deployment_keeps_jobs_for_as_long_as_it_likes_and_a_method_for_less() {
    let stack = Stack::builder().parameter("RetentionDays", "365").start().await.unwrap();
    let night = Night::on(stack).await;
    night.stack.clock().set(1_795_000_000_000);
    let mut chute = tests::chute(&night.chute_id, &night.user_id);
    chute["methods"][1]["retention_days"] = json!(1);
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();
    let (long, done) = with_a_file(&night).await;
    assert_eq!(done["kept_until"], "2027-11-18T11:06:40.000Z");
    let short = night.create("serve").await;
    let url = night.claim(&night.miner().await, &short).await;
    let done = Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
    assert_eq!(done["kept_until"], "2026-11-19T11:06:40.000Z");
    advance(&night, 1).await;
    assert_eq!(night.reap().await, json!({"retired": 1}));
    // Its token would still be valid: it opens nothing, and the key of a create gives its id to nobody else.
    Client::nobody().put(&url, Value::Null).await.is_error(404, &format!("job_id='{short}' not found!"));
    let row = item(&night.stack, "JobsTable", "job_id", &short).await;
    let expires: i64 = text(&row["expires_at"]["N"]).parse().unwrap();
    let token = url.split_once("?token=").unwrap().1;
    assert!(expires > tests::parts_of(token).1["exp"].as_i64().unwrap());
    advance(&night, 363).await;
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&long).await["status"], "complete");
    advance(&night, 1).await;
    assert_eq!(night.reap().await, json!({"retired": 1}));
    is_gone(&night, &long).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_was_tried_again_is_kept_from_its_new_end() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("train").await;
    let miner = night.miner().await;
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "error"})).await.ok();
    advance(&night, 29).await;
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "error"})).await.ok();
    advance(&night, 29).await;
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await["status"], "error");
    advance(&night, 1).await;
    assert_eq!(night.reap().await, json!({"retired": 1}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_stops_half_way_is_gone_on_with() {
    let night = Night::begin().await;
    let (job_id, _) = with_a_file(&night).await;
    advance(&night, 31).await;
    night.fail(Some("DeleteObjects"), Fault::FailBefore(500));
    assert_eq!(night.reap().await, json!({"failed": 1}));
    let answer = night.user.get(&night.url(&format!("/jobs/{job_id}"))).await;
    assert_eq!(answer.status, 404, "gone for its owner");
    assert_eq!(objects(&night.stack, &job_id).await.len(), 2);
    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(120));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    is_gone(&night, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_methods_retention_is_one_day_to_a_year() {
    for (days, is_good) in [(1, true), (365, true), (0, false), (366, false)] {
        let mut chute = tests::chute(&uuid::Uuid::new_v4().to_string(), &tests::World::account(json!([])).await.0);
        chute["methods"][0]["retention_days"] = json!(days);
        let command = json!({"command": "put_chute", "chute": chute});
        match is_good {
            true => drop(tests::World::admin(command).await),
            false => assert_eq!(
                tests::World::refused(command).await,
                "retention_days of method \"train\" is not from 1 to 365"
            ),
        }
    }
}

#[tokio::test]
async fn what_is_left_outlives_every_token_of_every_attempt() {
    let night = Night::begin().await;
    let lost = night.create("serve").await;
    let url = night.claim(&night.miner().await, &lost).await;
    let token = url.split_once("?token=").unwrap().1;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    // It waits again, without a deadline.
    night.user.put(&night.url(&format!("/jobs/{lost}/cancel")), Value::Null).await.ok();
    night.user.delete(&night.url(&format!("/jobs/{lost}"))).await.ok();
    let row = item(&night.stack, "JobsTable", "job_id", &lost).await;
    let expires: i64 = text(&row["expires_at"]["N"]).parse().unwrap();
    assert!(expires > tests::parts_of(token).1["exp"].as_i64().unwrap());
    night.stack.shutdown().await;
}
