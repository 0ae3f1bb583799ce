//! The stream of the jobs table: each end of a job with a webhook is told, whoever has made it and whatever fails.

use std::time::Duration;

use local::Fault;
use serde_json::{Value, json};
use tests::{Client, Hooks, Reply, text};

#[tokio::test]
async fn every_end_is_told_whoever_has_made_it() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let miner = night.miner().await;
    let claimed = async |method: &str| {
        let job_id = hooks.create(method, &receiver.url).await;
        let url = night.claim(&miner, &job_id).await;
        (job_id, url)
    };
    // A pending job that its owner cancels.
    let cancelled = hooks.create("train", &receiver.url).await;
    night.user.put(&night.url(&format!("/jobs/{cancelled}/cancel")), Value::Null).await.ok();
    // One that the administrator cancels.
    let (by_admin, _) = claimed("train").await;
    night.stack.invoke("admin", json!({"command": "cancel_job", "job_id": by_admin})).await.unwrap();
    // A report of an error; one with files that never come.
    let (failed, url) = claimed("train").await;
    Client::nobody().post(&url, json!({"status": "error", "detail": "out of memory"})).await.ok();
    let (partial, url) = claimed("train").await;
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    Client::nobody().put(&url, Value::Null).await.ok();
    // A miner that dies, and a job that nobody claims.
    let (lost, _) = claimed("train").await;
    let unclaimed = hooks.create("train", &format!("{}%3F&cancel_after=60", receiver.url)).await;
    night.stack.clock().advance(Duration::from_secs(10_800));
    assert_eq!(night.reap().await, json!({"timed_out": 2}));

    let mut told = std::collections::BTreeMap::new();
    while told.len() < 6 {
        // Where a call was lost on a busy machine, the reaper makes up for it.
        let Some(one) = receiver.soon().await else {
            night.stack.clock().advance(Duration::from_secs(61));
            night.reap().await;
            continue;
        };
        let one = one.json();
        assert_eq!(one["data"]["terminal"], true);
        told.insert(text(&one["data"]["job_id"]), text(&one["type"]));
    }
    let expected = [
        (cancelled, "job.cancelled"),
        (by_admin, "job.cancelled"),
        (failed, "job.error"),
        (partial, "job.partial_failure"),
        (lost, "job.timeout"),
        (unclaimed, "job.timeout"),
    ];
    assert_eq!(told, expected.map(|(job_id, kind)| (job_id, kind.to_owned())).into());
    hooks.end().await;
}

#[tokio::test]
async fn nothing_is_lost_when_something_fails_between_the_end_and_its_delivery() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    for (function, operation, fault) in [
        ("queue-webhooks", "UpdateItem", Fault::FailBefore(500)),
        ("queue-webhooks", "UpdateItem", Fault::KillFunction),
        ("queue-webhooks", "UpdateItem", Fault::KillAfter),
        ("queue-webhooks", "Invoke", Fault::KillFunction),
        ("queue-webhooks", "Invoke", Fault::KillAfter),
        ("deliver-webhooks", "BatchGetItem", Fault::KillFunction),
        ("deliver-webhooks", "UpdateItem", Fault::KillFunction),
        ("deliver-webhooks", "UpdateItem", Fault::KillAfter),
    ] {
        let armed = std::sync::atomic::AtomicBool::new(true);
        night.stack.set_faults(move |call| {
            let is_meant = call.function.as_deref() == Some(function) && call.operation == operation;
            match is_meant && armed.swap(false, std::sync::atomic::Ordering::SeqCst) {
                true => fault,
                false => Fault::None,
            }
        });
        let job_id = hooks.ended(&receiver.url, json!(1)).await;
        // What the reaper finds, it finds after a minute; what a lost batch brings back, comes by itself.
        let state = async || hooks.log(&job_id).await["state"].clone();
        while state().await != "delivered" {
            night.stack.clock().advance(Duration::from_secs(20));
            night.reap().await;
        }
        while receiver.next().await.json()["data"]["job_id"] != job_id {}
        receiver.others();
    }
    hooks.end().await;
}

#[tokio::test]
async fn a_job_without_a_webhook_costs_nothing_more() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    for result in 0..3 {
        let job_id = night.create("train").await;
        let url = night.claim(&night.miner().await, &job_id).await;
        Client::nobody().post(&url, json!({"status": "complete", "result": result})).await.ok();
    }
    hooks.ended(&receiver.url, json!(1)).await;
    receiver.next().await;
    let lines = hooks.end().await;
    let runs = lines.iter().filter(|line| line.function == "queue-webhooks" && line.text.contains("\"invoke\"")).count();
    assert_eq!(runs, 1, "the stream shows it that one end");
}

#[tokio::test]
async fn a_job_that_is_made_under_the_key_of_a_deleted_one_is_told_of_as_well() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let path = night.url(&format!("/jobs/{}/train?webhook={}", night.chute_id, receiver.url));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let headers = [("idempotency-key", "nightly"), ("content-type", "application/json")];
        let job_id = text(&night.user.send(reqwest::Method::POST, &path, b"{}".to_vec(), &headers).await.ok()["job_id"]);
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
        let told = receiver.next().await;
        assert_eq!(told.json()["data"]["job_id"], job_id);
        ids.push((job_id.clone(), told.header("webhook-id").to_owned()));
        hooks.log_when(&job_id, "delivered").await;
        night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
        // The row of a deleted job goes by itself a day later; the delivery's would stay for a month.
        night.stack.clock().advance(Duration::from_secs(3 * 86_400));
        night.stack.expire_items().await.unwrap();
    }
    assert_eq!(ids[0].0, ids[1].0);
    assert_ne!(ids[0].1, ids[1].1);
    hooks.end().await;
}

#[tokio::test]
async fn the_record_of_an_end_is_enough_for_its_delivery() {
    let hooks = Hooks::on_any_engines("127.0.0.0/8").await;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let job_id = hooks.ended(&receiver.url, json!({"loss": 0.5})).await;
    hooks.tell(&job_id).await;
    let told = receiver.next().await;
    assert_eq!((&told.json()["type"], &told.json()["data"]["job_id"]), (&json!("job.complete"), &json!(job_id)));
    told.is_signed(&text(&hooks.secret().await["secret"]));
    let log = hooks.log_when(&job_id, "delivered").await;
    assert_eq!(log["webhook_id"], told.header("webhook-id"));
    // A record that comes twice tells nothing twice.
    hooks.tell(&job_id).await;
    assert_eq!(hooks.log(&job_id).await, log);
    hooks.end().await;
}
