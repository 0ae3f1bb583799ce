//! `PUT /webhooks/secret`.

use serde_json::{Value, json};
use tests::{Client, Hooks, Reply, World, text};

#[tokio::test]
async fn a_new_secret_signs_beside_the_one_before_it_for_a_day() {
    let hooks = Hooks::begin().await;
    let night = &hooks.night;
    let mut receiver = hooks.receiver(|_| Reply::OK).await;
    let first = hooks.secret().await;
    assert_eq!(first, hooks.secret().await);
    assert_eq!(first["previous_until"], Value::Null);
    let answer = night.user.put(&night.url("/webhooks/secret"), Value::Null).await;
    // The caller, the secret, and the write.
    assert_eq!(answer.engine_calls(), (3, 0));
    let second = answer.ok();
    assert_ne!(second["secret"], first["secret"]);
    assert!(second["previous_until"].is_string());
    assert_eq!(hooks.secret().await, second);
    hooks.ended(&receiver.url, json!(1)).await;
    let told = receiver.next().await;
    for secret in [&first, &second] {
        told.is_signed(&text(&secret["secret"]));
    }
    let other = night.miner().await.get(&night.url("/webhooks/secret")).await.ok();
    assert!(other["secret"] != second["secret"] && other["secret"] != first["secret"]);
    hooks.end().await;
}

#[tokio::test]
async fn a_signature_makes_one_secret_however_often_it_comes() {
    let world = World::new().await;
    let first = world.user.get("/webhooks/secret").await.ok();
    let nonce = tests::stack().clock().now() / 1000;
    let headers = World::hotkey(&world.user_id).await.headers_at(nonce, "PUT", "/webhooks/secret", b"{}");
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = async || Client::nobody().send(reqwest::Method::PUT, "/webhooks/secret", b"{}".to_vec(), &headers).await;
    let second = send().await.ok();
    assert_ne!(second["secret"], first["secret"]);
    for _ in 0..3 {
        assert_eq!(send().await.ok()["secret"], second["secret"]);
    }
}
