//! Webhooks: that a job is over is told to who wants to know, at least once, and to nobody inside.

use std::time::Duration;

use local::{Fault, Stack};
use serde_json::{Value, json};
use tests::{Authority, Client, Night, Received, Receiver, Reply, dynamodb, text};

const OK: Reply = Reply::With(200, Vec::new(), String::new());

/// A stack whose functions may call receivers on this machine.
async fn night(authority: &Authority) -> Night {
    let file = authority.file().to_str().unwrap().to_owned();
    let stack = Stack::builder().parameter("WebhookNetworks", "127.0.0.0/8").environment("SSL_CERT_FILE", file);
    Night::on(stack.start().await.unwrap()).await
}

/// A job of `train` that is to be told of at this URL.
async fn create(night: &Night, method: &str, url: &str) -> String {
    let path = night.url(&format!("/jobs/{}/{method}?webhook={url}", night.chute_id));
    text(&night.user.post(&path, json!({"seed": 7})).await.ok()["job_id"])
}

/// The same, which has ended with this result.
async fn ended(night: &Night, url: &str, result: Value) -> String {
    let job_id = create(night, "train", url).await;
    let miner = night.miner().await;
    let assignment = night.claim(&miner, &job_id).await;
    Client::nobody().post(&assignment, json!({"status": "complete", "result": result})).await.ok();
    job_id
}

async fn log(night: &Night, job_id: &str) -> Value {
    night.user.get(&night.url(&format!("/jobs/{job_id}/webhook"))).await.ok()
}

async fn secret(night: &Night) -> Value {
    night.user.get(&night.url("/webhooks/secret")).await.ok()
}

/// The log, once it is in this state. The receiver hears before the row is written.
async fn log_when(night: &Night, job_id: &str, state: &str) -> Value {
    loop {
        let log = log(night, job_id).await;
        if log["state"] == state {
            return log;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_end_of_a_job_is_told_and_signed() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| Reply::With(202, Vec::new(), "thanks".to_owned())).await;
    let url = format!("{}/hook?team=red", receiver.url);
    let job_id = create(&night, "train", &url.replace('?', "%3F")).await;
    let before = night.get(&job_id).await;
    assert_eq!(before["webhook"], url);
    assert_eq!(log(&night, &job_id).await, json!({"webhook_id": null, "state": null, "next_try_at": null, "deliveries": []}));

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
    is_signed(&told, &text(&secret(&night).await["secret"]));

    let log = log_when(&night, &job_id, "delivered").await;
    assert_eq!(log["webhook_id"], told.header("webhook-id"));
    assert_eq!(log["next_try_at"], Value::Null);
    let tries = log["deliveries"].as_array().unwrap();
    assert_eq!(tries.len(), 1);
    assert_eq!((&tries[0]["status"], &tries[0]["body"], &tries[0]["error"]), (&json!(202), &json!("thanks"), &Value::Null));
    assert_eq!(receiver.others(), 0);
    night.stack.shutdown().await;
}

/// The log, once it has so many tries.
async fn log_of(night: &Night, job_id: &str, tries: usize) -> Value {
    loop {
        let log = log(night, job_id).await;
        if log["deliveries"].as_array().unwrap().len() >= tries {
            return log;
        }
        tokio::task::yield_now().await;
    }
}

/// Verified as the specification says, by code that is not the product's.
#[track_caller]
fn is_signed(told: &Received, secret: &str) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256};
    // HMAC by its definition. (RFC 2104.)
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect() };
    let content = format!("{}.{}.{}", told.header("webhook-id"), told.header("webhook-timestamp"), told.body);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(content).finalize();
    let mac = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac));
    assert!(told.header("webhook-signature").split(' ').any(|it| it == expected), "{told:?}");
}

#[tokio::test]
async fn every_end_is_told_whoever_has_made_it() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    let miner = night.miner().await;
    let claimed = async |method: &str| {
        let job_id = create(&night, method, &receiver.url).await;
        let url = night.claim(&miner, &job_id).await;
        (job_id, url)
    };
    // A pending job that its owner cancels.
    let cancelled = create(&night, "train", &receiver.url).await;
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
    let unclaimed = create(&night, "train", &format!("{}%3F&cancel_after=60", receiver.url)).await;
    night.stack.clock().advance(Duration::from_secs(7200));
    assert_eq!(night.reap().await, json!({"timed_out": 2}));

    let mut told = std::collections::BTreeMap::new();
    for _ in 0..6 {
        let one = receiver.next().await.json();
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
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_for_seventeen_hours_and_a_half() {
    let authority = Authority::default();
    let night = night(&authority).await;
    // The clock stands still.
    night.stack.clock().advance(Duration::ZERO);
    let redirect = vec![("location", "https://localhost:1/elsewhere".to_owned())];
    let receiver = authority.receiver(move |number| match number {
        0 => Reply::With(500, Vec::new(), "oops".repeat(1000)),
        1 => Reply::With(301, redirect.clone(), String::new()),
        _ => Reply::With(404, Vec::new(), String::new()),
    });
    let mut receiver: Receiver = receiver.await;
    let job_id = ended(&night, &receiver.url, json!(1)).await;
    let first = receiver.next().await;
    assert_eq!(receiver.next().await.header("webhook-id"), first.header("webhook-id"), "after five seconds");
    for (tries, (pause, earlier)) in [(300, 240), (1800, 1740), (7200, 7140), (18_000, 17_940), (36_000, 35_940)].iter().enumerate() {
        log_of(&night, &job_id, tries + 2).await;
        night.stack.clock().advance(Duration::from_secs(*earlier));
        assert_eq!(night.reap().await, json!({}), "{pause}");
        night.stack.clock().advance(Duration::from_secs(pause - earlier + 10));
        assert_eq!(night.reap().await, json!({"told": 1}), "{pause}");
        let again = receiver.next().await;
        assert_eq!((again.header("webhook-id"), &again.body), (first.header("webhook-id"), &first.body));
    }
    let log = log_when(&night, &job_id, "failed").await;
    let statuses: Vec<_> = log["deliveries"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(json!(statuses), json!([500, 301, 404, 404, 404, 404, 404]));
    assert_eq!(text(&log["deliveries"][0]["body"]), "oops".repeat(256), "the first KiB of the answer");
    night.stack.clock().advance(Duration::from_secs(86_400));
    assert_eq!(night.reap().await, json!({}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_gets_no_more() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| Reply::With(410, Vec::new(), String::new())).await;
    let job_id = ended(&night, &receiver.url, json!(1)).await;
    receiver.next().await;
    assert_eq!(log_when(&night, &job_id, "failed").await["next_try_at"], Value::Null);
    night.stack.clock().advance(Duration::from_secs(86_400));
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(receiver.others(), 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn it_is_delivered_again_on_request_under_the_same_id() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    let again = async |job_id: &str| night.user.put(&night.url(&format!("/jobs/{job_id}/webhook")), Value::Null).await;
    let job_id = create(&night, "serve", &receiver.url).await;
    again(&job_id).await.is_error(409, "Job is not over");
    let none = night.create("serve").await;
    again(&none).await.is_error(409, "Job has no webhook");

    let miner = night.miner().await;
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "error", "detail": "no"})).await.ok();
    let first = receiver.next().await;
    let before = log_when(&night, &job_id, "delivered").await;
    let asked = again(&job_id).await.ok();
    assert_eq!((&asked["state"], &asked["deliveries"]), (&json!("pending"), &before["deliveries"]));
    let second = receiver.next().await;
    assert_eq!((second.header("webhook-id"), &second.body), (first.header("webhook-id"), &first.body));
    assert_eq!(log_of(&night, &job_id, 2).await["deliveries"].as_array().unwrap().len(), 2);

    // What its owner has had tried again has another end, and that another id.
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    assert_eq!(log(&night, &job_id).await["deliveries"], json!([]));
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
    let third = receiver.next().await;
    assert_ne!(third.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(third.json()["type"], "job.complete");
    // Nobody else sees or does this.
    let stranger = night.miner().await;
    let path = night.url(&format!("/jobs/{job_id}/webhook"));
    assert_eq!((stranger.get(&path).await.status, stranger.put(&path, Value::Null).await.status), (404, 404));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_new_secret_signs_beside_the_one_before_it_for_a_day() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    let first = secret(&night).await;
    assert_eq!(first, secret(&night).await);
    assert_eq!(first["previous_until"], Value::Null);
    let second = night.user.put(&night.url("/webhooks/secret"), Value::Null).await.ok();
    assert_ne!(second["secret"], first["secret"]);
    assert!(second["previous_until"].is_string());
    assert_eq!(secret(&night).await, second);
    ended(&night, &receiver.url, json!(1)).await;
    let told = receiver.next().await;
    for secret in [&first, &second] {
        is_signed(&told, &text(&secret["secret"]));
    }
    let other = night.miner().await.get(&night.url("/webhooks/secret")).await.ok();
    assert!(other["secret"] != second["secret"] && other["secret"] != first["secret"]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn nothing_is_lost_when_something_fails_between_the_end_and_its_delivery() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
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
        let job_id = ended(&night, &receiver.url, json!(1)).await;
        // What the reaper finds, it finds after a minute; what a lost batch brings back, comes by itself.
        let state = async || log(&night, &job_id).await["state"].clone();
        while state().await != "delivered" {
            night.stack.clock().advance(Duration::from_secs(20));
            night.reap().await;
        }
        while receiver.next().await.json()["data"]["job_id"] != job_id {}
        receiver.others();
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_slow_receiver_keeps_nobody_waiting_and_a_long_answer_is_not_read() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut silent = authority.receiver(|_| Reply::Never).await;
    let mut endless = authority.receiver(|_| Reply::Endless(200)).await;
    let waits = ended(&night, &silent.url, json!(1)).await;
    silent.next().await;
    let told = ended(&night, &endless.url, json!(1)).await;
    endless.next().await;
    let log_of_told = log_when(&night, &told, "delivered").await;
    assert_eq!(text(&log_of_told["deliveries"][0]["body"]), "x".repeat(1024));
    let first = log(&night, &waits).await;
    assert_eq!((&first["state"], &first["deliveries"]), (&json!("pending"), &json!([])), "the first try is still under way");
    let tried = log_of(&night, &waits, 1).await;
    assert_eq!(tried["deliveries"][0]["error"], "No answer within 15 seconds");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn only_a_url_of_a_public_server_is_taken() {
    let world = tests::World::new().await;
    let create = async |query: &str| world.user.post(&format!("/jobs/{}/train?{query}", world.chute_id), json!({})).await;
    let long = format!("https://a.example/{}", "x".repeat(2032));
    for url in [
        "http://a.example/", "", "https://user:word@a.example/", "https://localhost/", "https://127.0.0.1/", "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/",
        "https://2130706433/", "https://0x7f.1/", "https://a.example:22/", "https://m%C3%BCller.example/", &long,
    ] {
        let answer = create(&format!("webhook={url}&cancel_after=5x")).await;
        assert_eq!(answer.status, 422, "{url}");
        let places: Vec<_> = answer.body["detail"].as_array().unwrap().iter().map(|it| it["loc"][1].clone()).collect();
        assert_eq!(json!(places), json!(["cancel_after", "webhook"]), "{url}");
    }
    let answer = create("webhook=https://a.example/hook%3Fa=b").await.ok();
    assert_eq!(answer["webhook"], "https://a.example/hook?a=b");
}

#[tokio::test]
async fn what_has_become_private_since_is_not_called() {
    let authority = Authority::default();
    let file = authority.file().to_str().unwrap().to_owned();
    let night = Night::on(Stack::builder().environment("SSL_CERT_FILE", file).start().await.unwrap()).await;
    let mut receiver = authority.receiver(|_| OK).await;
    let port = receiver.url.rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let job_id = create(&night, "train", "https://a.example/").await;
        let url = json!({
            "TableName": night.stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": job_id}},
            "UpdateExpression": "SET webhook = :url", "ExpressionAttributeValues": {":url": {"S": format!("https://{host}:{port}/")}},
        });
        dynamodb(&night.stack, "UpdateItem", url).await;
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
        let log = log_of(&night, &job_id, 1).await;
        assert_eq!(log["deliveries"][0]["error"], "Input should name a server that is public");
    }
    assert_eq!(receiver.others(), 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let (authority, stranger) = (Authority::default(), Authority::default());
    let night = night(&authority).await;
    let mut receiver = stranger.receiver(|_| OK).await;
    let job_id = ended(&night, &receiver.url, json!(1)).await;
    let log = log_of(&night, &job_id, 1).await;
    let error = text(&log["deliveries"][0]["error"]);
    assert!(error.starts_with("TLS failed: ") && error.contains("UnknownIssuer"), "{error}");
    assert_eq!(receiver.others(), 0);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_result_is_told_up_to_256_kib_and_every_file_is() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    for (length, is_told) in [(5000, true), ((256 << 10) - 2, true), ((256 << 10) - 1, false), (1 << 20, false)] {
        let result = json!("x".repeat(length));
        ended(&night, &receiver.url, result.clone()).await;
        let told = receiver.next().await.json();
        assert_eq!(told["data"]["result"], if is_told { result } else { Value::Null }, "{length}");
    }
    let job_id = create(&night, "train", &receiver.url).await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let names: Vec<_> = (0..1000).map(|number| format!("{number}.bin")).collect();
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": names})).await.ok();
    Client::nobody().put(&url, Value::Null).await.ok();
    assert_eq!(receiver.next().await.json()["data"]["output_files"].as_object().unwrap().len(), 1000);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_was_deleted_is_not_told() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    night.fail(Some("Invoke"), Fault::FailBefore(500));
    let job_id = ended(&night, &receiver.url, json!(1)).await;
    while log(&night, &job_id).await["state"] != "pending" {}
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await["told"], 1);
    // The next one is, so there was time for it.
    let next = ended(&night, &receiver.url, json!(2)).await;
    assert_eq!(receiver.next().await.json()["data"]["job_id"], next);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_without_a_webhook_costs_nothing_more() {
    let authority = Authority::default();
    let night = night(&authority).await;
    let mut receiver = authority.receiver(|_| OK).await;
    for result in 0..3 {
        let job_id = night.create("train").await;
        let url = night.claim(&night.miner().await, &job_id).await;
        Client::nobody().post(&url, json!({"status": "complete", "result": result})).await.ok();
    }
    ended(&night, &receiver.url, json!(1)).await;
    receiver.next().await;
    let lines = night.stack.shutdown().await;
    let runs = lines.iter().filter(|line| line.function == "queue-webhooks" && line.text.contains("\"invoke\"")).count();
    assert_eq!(runs, 1, "the stream shows it that one end");
}

#[tokio::test]
async fn each_end_is_an_event_where_there_is_a_bus() {
    let stack = Stack::builder().parameter("EventBusName", "jobs").start().await.unwrap();
    let night = Night::on(stack).await;
    let path = night.url(&format!("/jobs/{}/train?label=red", night.chute_id));
    let job_id = text(&night.user.post(&path, json!({})).await.ok()["job_id"]);
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    let event = night.stack.next_event().await;
    assert_eq!((&event["Source"], &event["DetailType"], &event["EventBusName"]), (&json!("jobchute"), &json!("Job ended"), &json!("jobs")));
    let detail: Value = serde_json::from_str(event["Detail"].as_str().unwrap()).unwrap();
    let job = night.get(&job_id).await;
    assert_eq!(detail["ended_at"], job["updated_at"]);
    for field in ["job_id", "user_id", "chute_id", "method", "status", "error_detail", "labels", "attempt", "max_attempts", "created_at", "started_at"] {
        assert_eq!(detail[field], job[field], "{field}");
    }
    night.stack.shutdown().await;
}
