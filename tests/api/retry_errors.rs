//! `retry_errors` of a method: a job whose miner reports an error is tried again.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Answer, Client, Night, objects, text};

const FAILED: &str = "CUDA error: out of memory";

/// A stack whose method `serve`, which is tried three times, tries errors again; its clock stands still.
async fn begin() -> Night {
    let night = Night::begin().await;
    let mut chute = tests::chute(&night.chute_id, &night.user_id);
    chute["methods"][1]["retry_errors"] = json!(true);
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();
    night.stack.clock().set(1_795_000_000_000);
    night
}

async fn fail(url: &str) -> Answer {
    Client::nobody().post(url, json!({"status": "error", "detail": FAILED})).await
}

async fn next(night: &Night, miner: &Client) -> Answer {
    let ports = json!({"port_mappings": [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]});
    miner.put(&night.url(&format!("/jobs/claim?chute_id={}", night.chute_id)), ports).await
}

async fn claimable(night: &Night, miner: &Client) -> usize {
    let list = miner.get(&night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id))).await.ok();
    list["jobs"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_error_is_tried_again_after_a_while_that_grows_until_no_attempt_is_left() {
    let night = begin().await;
    let job_id = night.create("serve").await;
    for (attempt, pause) in [(1, 10), (2, 60)] {
        let url = night.claim(&night.miner().await, &job_id).await;
        let answer = fail(&url).await.ok();
        assert_eq!((&answer["status"], &answer["terminal"]), (&json!("pending"), &json!(false)));
        assert_eq!((&answer["error_detail"], &answer["attempt"]), (&json!(FAILED), &json!(attempt)));
        assert_eq!(answer["output_storage_urls"], json!({}));
        let other = night.miner().await;
        night.stack.clock().advance(Duration::from_secs(pause - 1));
        night.try_claim(&other, &job_id).await.is_error(409, &format!("Job {job_id} is not tried again yet"));
        assert_eq!(next(&night, &other).await.status, 204);
        assert_eq!(claimable(&night, &other).await, 0);
        night.stack.clock().advance(Duration::from_secs(1));
        assert_eq!(claimable(&night, &other).await, 1);
    }
    let last = next(&night, &night.miner().await).await.ok();
    let answer = fail(&text(&last["job_status_url"])).await.ok();
    assert_eq!((&answer["status"], &answer["terminal"], &answer["attempt"]), (&json!("error"), &json!(true), &json!(3)));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn who_has_failed_a_job_is_refused_it_for_five_minutes() {
    let night = begin().await;
    let (miner, job_id) = (night.miner().await, night.create("serve").await);
    let url = night.claim(&miner, &job_id).await;
    fail(&url).await.ok();
    night.is_withheld_for_five_minutes(&miner, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_may_be_repeated_until_the_next_attempt() {
    let night = begin().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let first = fail(&url).await.ok();
    assert_eq!(fail(&url).await.ok(), first);
    // Who does not know completes the job, which changes nothing.
    assert_eq!(Client::nobody().put(&url, Value::Null).await.ok()["status"], "pending");
    let other = Client::nobody().post(&url, json!({"status": "complete"})).await;
    other.is_error(401, "Missing or invalid JWT");
    assert_eq!(night.get(&job_id).await["status"], "pending");
    night.stack.clock().advance(Duration::from_secs(10));
    night.claim(&night.miner().await, &job_id).await;
    fail(&url).await.is_error(401, "Missing or invalid JWT");
    Client::nobody().put(&url, Value::Null).await.is_error(401, "Missing or invalid JWT");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_a_failed_attempt_brings_is_not_kept() {
    let night = begin().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let result = "x".repeat(10_000);
    let report = json!({"status": "error", "result": result, "output_filenames": ["log"]});
    for _ in 0..2 {
        let answer = Client::nobody().post(&url, report.clone()).await.ok();
        assert_eq!((&answer["status"], &answer["output_files"]), (&json!("pending"), &Value::Null));
    }
    assert!(objects(&night.stack, &job_id).await.is_empty(), "a large result stays nowhere");
    night.stack.clock().advance(Duration::from_secs(10));
    let url = night.claim(&night.miner().await, &job_id).await;
    let done = Client::nobody().post(&url, json!({"status": "complete", "result": 1})).await.ok();
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("complete"), &Value::Null));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_job_and_success_are_not_tried_again() {
    let night = begin().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    assert_eq!(fail(&url).await.ok()["status"], "cancelled");
    for status in ["complete", "cancelled"] {
        let job_id = night.create("serve").await;
        let url = night.claim(&night.miner().await, &job_id).await;
        assert_eq!(Client::nobody().post(&url, json!({"status": status})).await.ok()["status"], status);
    }
    // A method that does not ask for it.
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(fail(&url).await.ok()["status"], "error");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_its_owner_retries_has_its_pauses_anew() {
    let night = begin().await;
    let job_id = night.create("serve").await;
    for _ in 0..2 {
        let url = night.claim(&night.miner().await, &job_id).await;
        fail(&url).await.ok();
        night.stack.clock().advance(Duration::from_secs(60));
    }
    let url = night.claim(&night.miner().await, &job_id).await;
    assert_eq!(fail(&url).await.ok()["status"], "error");
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    let url = night.claim(&night.miner().await, &job_id).await;
    fail(&url).await.ok();
    night.stack.clock().advance(Duration::from_secs(10));
    night.claim(&night.miner().await, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn however_many_wait_for_their_next_attempt_a_look_for_work_reads_a_page() {
    let night = begin().await;
    let jobs: Vec<_> = futures_util::future::join_all((0..12).map(|_| night.create("serve"))).await;
    for job_id in &jobs {
        let url = night.claim(&night.miner().await, job_id).await;
        fail(&url).await.ok();
    }
    let miner = night.miner().await;
    let answer = next(&night, &miner).await;
    // The caller with the chute, and the queue.
    assert_eq!((answer.status, answer.engine_calls()), (204, (2, 0)));
    let list = miner.get(&night.url(&format!("/jobs/claimable?chute_id={}&limit=5", night.chute_id))).await.ok();
    assert_eq!((&list["jobs"], &list["next_cursor"]), (&json!([]), &Value::Null));
    night.stack.shutdown().await;
}
