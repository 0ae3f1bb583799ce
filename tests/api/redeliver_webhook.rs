//! `PUT /jobs/{job_id}/webhook`.

use serde_json::{Value, json};
use tests::{Client, Hooks, Reply};

#[tokio::test]
async fn it_is_delivered_again_on_request_under_the_same_id() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let again = async |job_id: &str| night.user.put(&night.url(&format!("/jobs/{job_id}/webhook")), Value::Null).await;
    let job_id = hooks.create("serve", &receiver.url).await;
    again(&job_id).await.is_error(409, "Job is not over");
    let none = night.create("serve").await;
    again(&none).await.is_error(409, "Job has no webhook");

    let miner = night.miner().await;
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "error", "detail": "no"})).await.ok();
    let first = receiver.next().await;
    let before = hooks.log_when(&job_id, "delivered").await;
    let answer = again(&job_id).await;
    // The caller, the job and the delivery; the write.
    assert_eq!(answer.engine_calls(), (2, 0));
    let asked = answer.ok();
    assert_eq!((&asked["state"], &asked["deliveries"]), (&json!("pending"), &before["deliveries"]));
    let second = receiver.next().await;
    assert_eq!((second.header("webhook-id"), &second.body), (first.header("webhook-id"), &first.body));
    assert_eq!(hooks.log_of(&job_id, 2).await["deliveries"].as_array().unwrap().len(), 2);

    // What its owner has had tried again has another end, and that another id.
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    assert_eq!(hooks.log(&job_id).await["deliveries"], json!([]));
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
    let third = receiver.next().await;
    assert_ne!(third.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(third.json()["type"], "job.complete");
    // Nobody else sees or does this.
    let stranger = night.miner().await;
    let path = night.url(&format!("/jobs/{job_id}/webhook"));
    assert_eq!((stranger.get(&path).await.status, stranger.put(&path, Value::Null).await.status), (404, 404));
    hooks.end().await;
}

#[tokio::test]
async fn while_a_try_is_under_way_nobody_is_called_once_more() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut silent = hooks.receiver(|_| Reply::Never).await;
    let job_id = hooks.ended(&silent.url, json!(1)).await;
    silent.next().await;
    for _ in 0..10 {
        let answer = night.user.put(&night.url(&format!("/jobs/{job_id}/webhook")), Value::Null).await;
        // No write and no call.
        assert_eq!(answer.engine_calls(), (1, 0));
        assert_eq!(answer.ok()["state"], "pending");
    }
    assert_eq!(silent.others(), 0);
    hooks.end().await;
}
