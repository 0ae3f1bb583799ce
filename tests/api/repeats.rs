//! The same request again: creates with an `Idempotency-Key`, and signatures that are good for one change.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, World, text};

async fn create(world: &World, key: &str, body: &str) -> Answer {
    let path = format!("/jobs/{}/train", world.chute_id);
    world.user.send(Method::POST, &path, body.as_bytes().to_vec(), &[("idempotency-key", key)]).await
}

async fn one_job_a_day(world: &World) {
    World::admin(json!({"command": "set_quotas", "user_id": world.user_id, "quotas": {"*": 1}})).await;
}

#[tokio::test]
async fn a_create_with_a_key_gives_the_same_job_again_and_costs_nothing() {
    let world = World::new().await;
    one_job_a_day(&world).await;
    let first = create(&world, "order 66", "{\"epochs\":3}").await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let again = create(&world, "order 66", "{\"epochs\":3}").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.ok(), again.ok());
    assert_eq!(create(&world, "order 67", "{\"epochs\":3}").await.status, 429, "another key is another job");
}

#[tokio::test]
async fn the_repeat_shows_the_job_as_it_is_now() {
    let world = World::new().await;
    let job_id = text(&create(&world, "k", "{}").await.ok()["job_id"]);
    world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await.ok();
    assert_eq!(create(&world, "k", "{}").await.ok()["status"], "running");
}

#[tokio::test]
async fn a_key_for_anything_different_is_refused() {
    let world = World::new().await;
    create(&world, "k", "{\"epochs\":3}").await.ok();
    let refused = "Idempotency-Key was used with a different request";
    create(&world, "k", "{\"epochs\":4}").await.is_error(422, refused);
    let other = format!("/jobs/{}/serve", world.chute_id);
    let headers = [("idempotency-key", "k")];
    world.user.send(Method::POST, &other, b"{\"epochs\":3}".to_vec(), &headers).await.is_error(422, refused);
}

#[tokio::test]
async fn a_key_knows_its_chute_by_any_spelling() {
    let world = World::new().await;
    let job = create(&world, "k", "{}").await.ok();
    for id in [world.chute_id.to_uppercase(), world.chute_id.replace('-', "")] {
        let (path, key) = (format!("/jobs/{id}/train"), [("idempotency-key", "k")]);
        assert_eq!(world.user.send(Method::POST, &path, b"{}".to_vec(), &key).await.ok(), job);
    }
}

#[tokio::test]
async fn a_key_is_its_users_own() {
    let (one, other) = (World::new().await, World::new().await);
    let job = create(&one, "k", "{}").await.ok();
    assert_ne!(create(&other, "k", "{}").await.ok()["job_id"], job["job_id"]);
}

#[tokio::test]
async fn a_key_has_1_to_255_printable_characters() {
    let world = World::new().await;
    for bad in ["", &"k".repeat(256), "tab\there"] {
        let (status, detail) = create(&world, bad, "{}").await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["header", "idempotency-key"])), "{bad:?}");
    }
    create(&world, &"k".repeat(255), "{}").await.ok();
}

#[tokio::test]
async fn a_late_copy_of_a_create_does_not_bring_back_a_deleted_job() {
    let world = World::new().await;
    let job_id = text(&create(&world, "k", "{}").await.ok()["job_id"]);
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    create(&world, "k", "{}").await.is_error(409, &format!("Job {job_id} of this Idempotency-Key was deleted"));
    let refused = "Idempotency-Key was used with a different request";
    create(&world, "k", "{\"a\":1}").await.is_error(422, refused);
    create(&world, "another", "{}").await.ok();
}

#[tokio::test]
async fn what_is_left_of_a_deleted_job_outlives_its_tokens() {
    let world = World::new().await;
    // The key gives its id to another job only when no token of this one can be valid any more.
    let job_id = text(&create(&world, "k", "{}").await.ok()["job_id"]);
    let job = world.claim_with(&job_id, Value::Null).await;
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    let expires: i64 = text(&job.stored().await["expires_at"]["N"]).parse().unwrap();
    assert!(expires > tests::parts_of(&job.token).1["exp"].as_i64().unwrap());
}

#[tokio::test]
async fn many_creates_with_one_key_at_once_make_one_job() {
    let world = World::new().await;
    let answers = join_all((0..16).map(|_| create(&world, "k", "{}"))).await;
    let mut ids: Vec<_> = answers.into_iter().map(|answer| text(&answer.ok()["job_id"])).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_signature_is_good_for_one_change() {
    let world = World::new().await;
    let hotkey = World::hotkey(&world.user_id).await;
    let path = format!("/jobs/{}/train", world.chute_id);
    let signed = hotkey.headers("POST", &path, b"{}");
    let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = async || Client::nobody().send(Method::POST, &path, b"{}".to_vec(), &headers).await;
    send().await.ok();
    send().await.is_error(401, "This signature has been used already");
    let upper = signed[2].1.to_ascii_uppercase();
    let mut respelt = headers.clone();
    respelt[2].1 = &upper;
    let answer = Client::nobody().send(Method::POST, &path, b"{}".to_vec(), &respelt).await;
    answer.is_error(401, "This signature has been used already");
}

#[tokio::test]
async fn a_cancels_signature_is_good_for_no_other_route() {
    let world = World::new().await;
    let job_id = world.create().await;
    let hotkey = World::hotkey(&world.user_id).await;
    let (cancel, retry) = (format!("/jobs/{job_id}/cancel"), format!("/jobs/{job_id}/retry"));
    let signed = hotkey.headers("PUT", &cancel, b"");
    let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for _ in 0..2 {
        let answer = Client::nobody().send(Method::PUT, &cancel, Vec::new(), &headers).await;
        assert_eq!(answer.ok()["status"], "cancelled");
    }
    let answer = Client::nobody().send(Method::PUT, &retry, Vec::new(), &headers).await;
    answer.is_error(401, "This signature has been used already");
    assert_eq!(world.get(&job_id).await["status"], "cancelled");
}

/// Sends a request with a body of none that was signed once.
async fn send_signed(path: &str, signed: &[(&'static str, String)]) -> Answer {
    let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::nobody().send(Method::PUT, path, Vec::new(), &headers).await
}

#[tokio::test]
async fn a_retrys_signature_retries_no_later_run() {
    let world = World::new().await;
    let job = world.claimed().await;
    job.finish(json!({"status": "error"})).await.ok();
    let retry = format!("/jobs/{}/retry", job.job_id);
    let signed = World::hotkey(&world.user_id).await.headers("PUT", &retry, b"");
    assert_eq!(send_signed(&retry, &signed).await.ok()["status"], "pending");
    assert_eq!(send_signed(&retry, &signed).await.status, 409, "it waits");
    let again = world.claim_with(&job.job_id, Value::Null).await;
    assert_eq!(send_signed(&retry, &signed).await.status, 409, "it runs");
    again.finish(json!({"status": "error", "result": {"step": 7}})).await.ok();
    send_signed(&retry, &signed).await.is_error(401, "This signature has been used already");
    let now = world.get(&job.job_id).await;
    assert_eq!((&now["status"], &now["result"]), (&json!("error"), &json!({"step": 7})));
}

#[tokio::test]
async fn a_cancels_signature_cancels_no_later_run() {
    let world = World::new().await;
    let job_id = world.create().await;
    let (cancel, retry) = (format!("/jobs/{job_id}/cancel"), format!("/jobs/{job_id}/retry"));
    let signed = World::hotkey(&world.user_id).await.headers("PUT", &cancel, b"");
    for _ in 0..2 {
        assert_eq!(send_signed(&cancel, &signed).await.ok()["status"], "cancelled");
    }
    let used = "This signature has been used already";
    world.user.put(&retry, Value::Null).await.ok();
    send_signed(&cancel, &signed).await.is_error(401, used);
    assert_eq!(world.get(&job_id).await["status"], "pending");
    let job = world.claim_with(&job_id, Value::Null).await;
    send_signed(&cancel, &signed).await.is_error(401, used);
    assert_eq!(world.get(&job_id).await["cancel_requested_at"], Value::Null);
    job.finish(json!({"status": "complete"})).await.ok();
    send_signed(&cancel, &signed).await.is_error(401, used);
}

#[tokio::test]
async fn a_claims_signature_claims_no_other_job() {
    let world = World::new().await;
    let (one, other) = (world.create().await, world.create().await);
    let claim = |job_id: &str| format!("/jobs/{job_id}/claim");
    // What is signed names the body, and not the path.
    let signed = world.hotkey.headers("PUT", &claim(&one), b"");
    let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::nobody().send(Method::PUT, &claim(&one), Vec::new(), &headers).await.ok();
    let answer = Client::nobody().send(Method::PUT, &claim(&other), Vec::new(), &headers).await;
    answer.is_error(401, "This signature has been used already");
    assert_eq!(world.get(&other).await["status"], "pending");
}

#[tokio::test]
async fn two_claims_in_one_second_are_two_signatures() {
    let world = World::new().await;
    for job_id in [world.create().await, world.create().await] {
        world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await.ok();
    }
}
