//! `PUT /webhooks/secret`.

use serde_json::{Value, json};
use tests::{Hooks, Reply, text};

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
