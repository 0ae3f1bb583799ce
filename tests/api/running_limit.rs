//! At most so many of a user's jobs at once.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Client, Night, item, text};

async fn limit(night: &Night, most: Value) {
    let command = json!({"command": "set_running_limit", "user_id": night.user_id, "most": most});
    night.stack.invoke("admin", command).await.unwrap();
}

async fn next(night: &Night, miner: &Client) -> Option<String> {
    let answer = miner.put(&night.url(&format!("/jobs/claim?chute_id={}", night.chute_id)), json!({})).await;
    (answer.status == 200).then(|| text(&answer.ok()["job_id"]))
}

#[tokio::test]
async fn no_more_run_than_may_and_the_next_begins_when_one_has_ended() {
    let night = Night::begin().await;
    limit(&night, json!(2)).await;
    let miner = night.miner().await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(night.create("train").await);
    }
    let first = night.claim(&miner, &jobs[0]).await;
    let second = night.claim(&miner, &jobs[1]).await;
    let full = |job_id: &str| format!("The owner of job {job_id} has as many jobs running as may be");
    night.try_claim(&miner, &jobs[2]).await.is_error(409, &full(&jobs[2]));
    assert_eq!(next(&night, &miner).await, None);
    // The one that has it gets it again.
    assert_eq!(night.claim(&miner, &jobs[0]).await, first);
    // Each way to end makes room.
    Client::nobody().post(&first, json!({"status": "complete"})).await.ok();
    let third = night.claim(&miner, &jobs[2]).await;
    night.try_claim(&miner, &jobs[3]).await.is_error(409, &full(&jobs[3]));
    night.user.delete(&night.url(&format!("/jobs/{}", jobs[1]))).await.ok();
    assert_eq!(next(&night, &miner).await, Some(jobs[3].clone()));
    Client::nobody().put(&third.replace("?token=", "/release?token="), json!({})).await.ok();
    assert_eq!(next(&night, &night.miner().await).await, Some(jobs[2].clone()));
    assert_eq!(Client::nobody().put(&second, Value::Null).await.status, 404);
    // A higher limit holds at once, and none lets all run.
    night.try_claim(&miner, &jobs[4]).await.is_error(409, &full(&jobs[4]));
    limit(&night, json!(3)).await;
    night.claim(&miner, &jobs[4]).await;
    let counted = night.create("train").await;
    limit(&night, Value::Null).await;
    for job_id in [counted.clone(), night.create("train").await] {
        night.claim(&miner, &job_id).await;
    }
    let row = item(&night.stack, "RegistryTable", "pk", &format!("running#{}", night.user_id)).await;
    assert_eq!(row["jobs"]["M"].get(&counted), None, "nothing is counted any more");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn of_many_who_claim_at_once_no_more_get_one_than_may_run() {
    let night = Night::begin().await;
    limit(&night, json!(3)).await;
    let miner = night.miner().await;
    for _ in 0..12 {
        night.create("train").await;
    }
    let taken: BTreeSet<_> = join_all((0..12).map(|_| next(&night, &miner))).await.into_iter().flatten().collect();
    let running = async || {
        let list = night.user.get(&night.url("/jobs?status=running")).await.ok();
        list["jobs"].as_array().unwrap().len()
    };
    assert_eq!((taken.len(), running().await), (3, 3));
    // Nor when they end at the same time as others begin.
    for job_id in &taken {
        night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    }
    let again: BTreeSet<_> = join_all((0..12).map(|_| next(&night, &miner))).await.into_iter().flatten().collect();
    assert_eq!((again.len(), running().await), (3, 3));
    // Those of another user are passed to the miner meanwhile.
    let other = night.stack.invoke("admin", json!({"command": "create_user"})).await.unwrap();
    let key = night.stack.invoke("admin", json!({"command": "create_key", "user_id": other["user_id"]})).await.unwrap();
    let create = night.url(&format!("/jobs/{}/train", night.chute_id));
    let theirs = text(&Client::with_key(text(&key["key"])).post(&create, json!({})).await.ok()["job_id"]);
    assert_eq!(next(&night, &miner).await, Some(theirs));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_lost_attempt_gives_its_place_back_and_takes_it_with_the_next() {
    let night = Night::begin().await;
    limit(&night, json!(1)).await;
    let (first, second) = (night.miner().await, night.miner().await);
    let (lost, waits) = (night.create("serve").await, night.create("serve").await);
    let url = night.claim(&first, &lost).await;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({})).await.ok();
    assert_eq!(night.try_claim(&second, &waits).await.status, 409);
    night.stack.clock().advance(Duration::from_secs(91));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    night.claim(&second, &lost).await;
    assert_eq!(night.try_claim(&second, &waits).await.status, 409);
    let row = item(&night.stack, "RegistryTable", "pk", &format!("running#{}", night.user_id)).await;
    assert_eq!(row["jobs"]["M"], json!({lost: {"N": "2"}}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn who_has_no_limit_pays_nothing_for_it() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    assert_eq!(night.try_claim(&night.miner().await, &job_id).await.engine_calls(), (2, 0));
    let row = item(&night.stack, "RegistryTable", "pk", &format!("running#{}", night.user_id)).await;
    assert_eq!(row, Value::Null);
    for wrong in [json!(0), json!(1001), json!(-1), json!("x")] {
        let command = json!({"command": "set_running_limit", "user_id": night.user_id, "most": wrong});
        assert!(night.stack.invoke("admin", command).await.is_err());
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_lower_limit_holds_for_those_that_had_a_place() {
    let night = Night::begin().await;
    limit(&night, json!(2)).await;
    let (first, second) = (night.miner().await, night.miner().await);
    let jobs = [night.create("serve").await, night.create("serve").await];
    for job_id in &jobs {
        let url = night.claim(&first, job_id).await;
        Client::nobody().put(&url.replace("?token=", "/release?token="), json!({})).await.ok();
    }
    limit(&night, json!(1)).await;
    night.claim(&second, &jobs[0]).await;
    assert_eq!(night.try_claim(&second, &jobs[1]).await.status, 409);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_ended_unclaimed_takes_no_place_though_one_of_its_id_ran_before() {
    let night = Night::begin().await;
    limit(&night, json!(1)).await;
    let miner = night.miner().await;
    let path = night.url(&format!("/jobs/{}/train", night.chute_id));
    let headers = [("idempotency-key", "nightly"), ("content-type", "application/json")];
    let create = async || {
        text(&night.user.send(reqwest::Method::POST, &path, b"{}".to_vec(), &headers).await.ok()["job_id"])
    };
    let first = create().await;
    night.claim(&miner, &first).await;
    night.user.delete(&night.url(&format!("/jobs/{first}"))).await.ok();
    night.stack.clock().advance(Duration::from_secs(40 * 86_400));
    night.stack.expire_items().await.unwrap();
    assert_eq!(create().await, first);
    night.user.put(&night.url(&format!("/jobs/{first}/cancel")), Value::Null).await.ok();
    let next = night.create("train").await;
    night.claim(&miner, &next).await;
    night.stack.shutdown().await;
}
