//! Clocks that jump: every request carries the time at which API Gateway received it, and nothing makes those times agree.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Night};

const DAY: i64 = 86_400_000;

#[tokio::test]
async fn a_clock_that_jumps_back_and_forth_neither_loses_nor_repeats_a_job() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let clock = night.stack.clock();
    let now = clock.now();
    let job_id = night.create("train").await;
    clock.set(now - DAY);
    let url = night.claim(&miner, &job_id).await;
    let heartbeat = url.replace("?token=", "/heartbeat?token=");
    assert_eq!(Client::nobody().put(&heartbeat, json!({"progress": 0.5})).await.ok()["cancelled"], false);
    assert_eq!(night.reap().await, json!({}), "its lease holds by the same clock");

    clock.set(now - 2 * DAY);
    assert_eq!(Client::nobody().put(&heartbeat, Value::Null).await.ok()["cancelled"], false);
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    assert_eq!(Client::nobody().post(&url, report.clone()).await.ok()["status"], "complete_pending_uploads");
    clock.set(now - DAY);
    assert_eq!(Client::nobody().post(&url, report).await.ok()["status"], "complete_pending_uploads");
    assert_eq!(night.reap().await, json!({}), "its first lease holds");
    // An hour's timeout, and an hour to upload, by the clock of the claim.
    clock.set(now - DAY + 7_200_000);
    assert_eq!(night.reap().await, json!({"completed": 1}));
    clock.set(now - 3 * DAY);
    let end = night.get(&job_id).await;
    assert_eq!((&end["status"], &end["terminal"]), (&json!("partial_failure"), &json!(true)));
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await, end);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn one_request_from_the_future_ends_no_attempt() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let clock = night.stack.clock();
    let now = clock.now();
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    let heartbeat = url.replace("?token=", "/heartbeat?token=");
    let before = night.get(&job_id).await;
    // An hour's timeout, and an hour to upload: the deadline is over, the token is not.
    clock.set(now + 7_500_000);
    assert_eq!(Client::nobody().put(&heartbeat, json!({"progress": 1})).await.ok()["cancelled"], true);
    clock.set(now + 2 * DAY);
    assert_eq!(Client::nobody().put(&heartbeat, Value::Null).await.status, 401, "the token has expired");
    clock.set(now);
    assert_eq!(night.get(&job_id).await, before);
    assert_eq!(Client::nobody().put(&heartbeat, Value::Null).await.ok()["cancelled"], false);
    assert_eq!(Client::nobody().post(&url, json!({"status": "complete"})).await.ok()["status"], "complete");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_lease_cut_short_by_a_late_clock_is_mended_by_the_next_heartbeat() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let clock = night.stack.clock();
    let now = clock.now();
    let job_id = night.create("serve").await;
    let heartbeat = night.claim(&miner, &job_id).await.replace("?token=", "/heartbeat?token=");
    clock.set(now - 3_600_000);
    Client::nobody().put(&heartbeat, Value::Null).await.ok();
    clock.set(now);
    Client::nobody().put(&heartbeat, Value::Null).await.ok();
    clock.advance(Duration::from_secs(80));
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await["status"], "running");
    night.stack.shutdown().await;
}
