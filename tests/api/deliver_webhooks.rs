//! Delivering webhooks: what receivers are told, how often, and that nobody inside is called.

use std::time::Duration;

use local::Fault;
use serde_json::{Value, json};
use tests::{Authority, Client, Hooks, Receiver, Reply, dynamodb, item, objects, s3, text};

#[tokio::test]
async fn the_end_of_a_job_is_told_and_signed() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::With(202, Vec::new(), "thanks".to_owned())).await;
    let url = format!("{}/hook?team=red", receiver.url);
    let job_id = hooks.create("train", &url.replace('?', "%3F")).await;
    let before = night.get(&job_id).await;
    assert_eq!(before["webhook"], url);
    assert_eq!(hooks.log(&job_id).await, json!({"webhook_id": null, "state": null, "next_try_at": null, "deliveries": []}));

    let miner = night.miner().await;
    let assignment = night.claim(&miner, &job_id).await;
    let report = Client::nobody().post(&assignment, json!({"status": "complete", "result": {"loss": 0.5}})).await.ok();
    assert_eq!(report["webhook"], Value::Null, "its URL may be a secret, and the miner is a stranger");

    let told = receiver.next().await;
    assert_eq!((&*told.method, &*told.path), ("POST", "/hook?team=red"));
    assert_eq!(told.header("content-type"), "application/json");
    let job = night.get(&job_id).await;
    let mut expected = job.clone();
    expected["job_args"] = Value::Null;
    assert_eq!(told.json(), json!({"type": "job.complete", "timestamp": job["updated_at"], "data": expected}));
    assert_eq!(told.json()["data"]["result"], json!({"loss": 0.5}));
    told.is_signed(&text(&hooks.secret().await["secret"]));

    let log = hooks.log_when(&job_id, "delivered").await;
    assert_eq!(log["webhook_id"], told.header("webhook-id"));
    assert_eq!(log["next_try_at"], Value::Null);
    let tries = log["deliveries"].as_array().unwrap();
    assert_eq!(tries.len(), 1);
    assert_eq!((&tries[0]["status"], &tries[0]["body"], &tries[0]["error"]), (&json!(202), &json!("thanks"), &Value::Null));
    assert_eq!(receiver.others(), 0);
    hooks.end().await;
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_for_seventeen_hours_and_a_half() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    // The clock stands still.
    night.stack.clock().advance(Duration::ZERO);
    let redirect = vec![("location", "https://localhost:1/elsewhere".to_owned())];
    let receiver = hooks.receiver(move |number| match number {
        0 => Reply::With(500, Vec::new(), "oops".repeat(1000)),
        1 => Reply::With(301, redirect.clone(), String::new()),
        _ => Reply::With(404, Vec::new(), String::new()),
    });
    let mut receiver: Receiver = receiver.await;
    let job_id = hooks.ended(&receiver.url, json!(1)).await;
    let first = receiver.next().await;
    assert_eq!(receiver.next().await.header("webhook-id"), first.header("webhook-id"), "after five seconds");
    for (tries, (pause, earlier)) in [(300, 240), (1800, 1740), (7200, 7140), (18_000, 17_940), (36_000, 35_940)].iter().enumerate() {
        hooks.log_of(&job_id, tries + 2).await;
        night.stack.clock().advance(Duration::from_secs(*earlier));
        assert_eq!(night.reap().await, json!({}), "{pause}");
        night.stack.clock().advance(Duration::from_secs(pause - earlier + 10));
        assert_eq!(night.reap().await, json!({"told": 1}), "{pause}");
        let again = receiver.next().await;
        assert_eq!((again.header("webhook-id"), &again.body), (first.header("webhook-id"), &first.body));
    }
    let log = hooks.log_when(&job_id, "failed").await;
    let statuses: Vec<_> = log["deliveries"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(json!(statuses), json!([500, 301, 404, 404, 404, 404, 404]));
    assert_eq!(text(&log["deliveries"][0]["body"]), "oops".repeat(256), "the first KiB of the answer");
    night.stack.clock().advance(Duration::from_secs(86_400));
    assert_eq!(night.reap().await, json!({}));
    hooks.end().await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_gets_no_more() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::With(410, Vec::new(), String::new())).await;
    let job_id = hooks.ended(&receiver.url, json!(1)).await;
    receiver.next().await;
    assert_eq!(hooks.log_when(&job_id, "failed").await["next_try_at"], Value::Null);
    night.stack.clock().advance(Duration::from_secs(86_400));
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(receiver.others(), 0);
    hooks.end().await;
}

#[tokio::test]
async fn a_slow_receiver_keeps_nobody_waiting_and_a_long_answer_is_not_read() {
    let hooks = Hooks::begin().await;
    let mut silent = hooks.receiver(|_| Reply::Never).await;
    let mut endless = hooks.receiver(|_| Reply::Endless(200)).await;
    let waits = hooks.ended(&silent.url, json!(1)).await;
    silent.next().await;
    let told = hooks.ended(&endless.url, json!(1)).await;
    endless.next().await;
    let log_of_told = hooks.log_when(&told, "delivered").await;
    assert_eq!(text(&log_of_told["deliveries"][0]["body"]), "x".repeat(1024));
    let first = hooks.log(&waits).await;
    assert_eq!((&first["state"], &first["deliveries"]), (&json!("pending"), &json!([])), "the first try is still under way");
    let tried = hooks.log_of(&waits, 1).await;
    assert_eq!(tried["deliveries"][0]["error"], "No answer within 15 seconds");
    hooks.end().await;
}

#[tokio::test]
async fn what_has_become_private_since_is_not_called() {
    let hooks = Hooks::with_networks("").await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let port = receiver.url.rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let job_id = hooks.create("train", "https://a.example/").await;
        let url = json!({
            "TableName": night.stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": job_id}},
            "UpdateExpression": "SET webhook = :url", "ExpressionAttributeValues": {":url": {"S": format!("https://{host}:{port}/")}},
        });
        dynamodb(&night.stack, "UpdateItem", url).await;
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
        let log = hooks.log_of(&job_id, 1).await;
        assert_eq!(log["deliveries"][0]["error"], "Input should name a server that is public");
    }
    assert_eq!(receiver.others(), 0);
    hooks.end().await;
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let (hooks, stranger) = (Hooks::begin().await, Authority::default());
    let mut receiver = stranger.receiver(|_| Reply::OK).await;
    let job_id = hooks.ended(&receiver.url, json!(1)).await;
    let log = hooks.log_of(&job_id, 1).await;
    let error = text(&log["deliveries"][0]["error"]);
    assert!(error.starts_with("TLS failed: invalid peer certificate: "), "{error}");
    assert_eq!(receiver.others(), 0);
    hooks.end().await;
}

#[tokio::test]
async fn a_result_is_told_up_to_256_kib_and_every_file_is() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    for (length, is_told) in [(5000, true), ((256 << 10) - 2, true), ((256 << 10) - 1, false), (1 << 20, false)] {
        let result = json!("x".repeat(length));
        hooks.ended(&receiver.url, result.clone()).await;
        let told = receiver.next().await.json();
        assert_eq!(told["data"]["result"], if is_told { result } else { Value::Null }, "{length}");
    }
    let job_id = hooks.create("train", &receiver.url).await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let names: Vec<_> = (0..1000).map(|number| format!("{number}.bin")).collect();
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": names})).await.ok();
    Client::nobody().put(&url, Value::Null).await.ok();
    assert_eq!(receiver.next().await.json()["data"]["output_files"].as_object().unwrap().len(), 1000);
    hooks.end().await;
}

#[tokio::test]
async fn a_result_that_is_gone_is_not_told_as_none() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    night.fail(Some("Invoke"), Fault::FailBefore(500));
    let job_id = hooks.ended(&receiver.url, json!("x".repeat(5000))).await;
    while hooks.log(&job_id).await["state"] != "pending" {}
    for key in objects(&night.stack, &job_id).await {
        let request = s3(&night.stack).delete_object().bucket(night.stack.resource("OutputsBucket").unwrap());
        let stored = item(&night.stack, "JobsTable", "job_id", &job_id).await;
        request.key(key).version_id(text(&stored["result"]["M"]["v"]["S"])).send().await.unwrap();
    }
    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(61));
    night.reap().await;
    let log = hooks.log_of(&job_id, 1).await;
    assert_eq!(log["deliveries"][0]["error"], "The bucket of outputs no longer has the job's result", "{log}");
    assert!(receiver.others() == 0);
    let lines = hooks.end().await;
    assert!(lines.iter().any(|line| line.text.contains("payload is gone") && line.text.contains("/payloads/")));
}

#[tokio::test]
async fn a_job_that_was_deleted_is_not_told() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    night.fail(Some("Invoke"), Fault::FailBefore(500));
    let job_id = hooks.ended(&receiver.url, json!(1)).await;
    while hooks.log(&job_id).await["state"] != "pending" {}
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(61));
    night.reap().await;
    // The next one is, so there was time for it.
    let next = hooks.ended(&receiver.url, json!(2)).await;
    assert_eq!(receiver.next().await.json()["data"]["job_id"], next);
    hooks.end().await;
}
