//! `PUT /jobs/claim?chute_id=…`, of jobs that have waited before, or go as they are claimed.

use std::time::Duration;

use local::Fault;
use serde_json::{Value, json};
use tests::{Answer, Client, Night, text};
use tokio::{runtime::Handle, task::block_in_place};

async fn next(night: &Night, miner: &Client) -> Answer {
    let body = json!({
        "worker": "a", "port_mappings": [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}],
    });
    miner.put(&night.url(&format!("/jobs/claim?chute_id={}", night.chute_id)), body).await
}

#[tokio::test]
async fn a_worker_that_asks_again_gets_a_job_again_that_another_had_lost() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("serve").await;
    night.stack.clock().advance(Duration::from_millis(1));
    let other = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    let miner = night.miner().await;
    let given = next(&night, &miner).await.ok();
    assert_eq!((&given["job_id"], &given["attempt"]), (&json!(job_id), &json!(2)));
    assert_eq!(next(&night, &miner).await.ok(), given);
    // Until it shows that it knows.
    let url = text(&given["job_status_url"]);
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    assert_eq!(next(&night, &miner).await.ok()["job_id"], other);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_was_tried_again_is_taken_after_those_that_waited_already() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("serve").await;
    night.stack.clock().advance(Duration::from_secs(1));
    let other = night.create("serve").await;
    night.stack.clock().advance(Duration::from_secs(1));
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    for expected in [other, job_id] {
        assert_eq!(next(&night, &night.miner().await).await.ok()["job_id"], expected);
    }
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_as_it_is_claimed_leaves_the_miner_with_nothing() {
    let night = Night::begin().await;
    let create = night.url(&format!("/jobs/{}/serve", night.chute_id));
    let job = night.user.post(&create, json!({"text": "x".repeat(5000)})).await.ok();
    let url = night.url(&format!("/jobs/{}", text(&job["job_id"])));
    let (owner, runtime) = (night.user.clone(), Handle::current());
    night.stack.set_faults(move |call| {
        // It is claimed, and its arguments are about to be read.
        if call.function.as_deref() == Some("claim-next-job") && call.operation == "GetObject" {
            block_in_place(|| runtime.block_on(owner.delete(&url)).ok());
        }
        Fault::None
    });
    let answer = next(&night, &night.miner().await).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    night.fail(None, Fault::None);
    night.stack.shutdown().await;
}
