//! `GET /usage`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Night, World, dynamodb, text};

#[tokio::test]
async fn what_was_used_of_the_days_quotas_is_told_by_chute_and_in_all() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let usage = async || night.user.get(&night.url("/usage")).await;
    let quotas = json!({"*": 7, "global": 9, "3f0a1f6e-0000-4000-8000-000000000009": 3});
    let command = json!({"command": "set_quotas", "user_id": night.user_id, "quotas": quotas});
    night.stack.invoke("admin", command).await.unwrap();
    let nothing = json!({
        "day": "2026-11-18", "resets_at": "2026-11-19T00:00:00.000Z", "global": {"used": 0, "quota": 9},
        "chutes": {"3f0a1f6e-0000-4000-8000-000000000009": {"used": 0, "quota": 3}},
    });
    let answer = usage().await;
    assert_eq!(answer.engine_calls(), (1, 0));
    assert_eq!(answer.ok(), nothing);

    let job_id = night.create("train").await;
    night.create("serve").await;
    // A slot is used, whatever becomes of the job; and a retry uses one.
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    let used = usage().await.ok();
    assert_eq!(used["global"], json!({"used": 3, "quota": 9}));
    assert_eq!(used["chutes"][&night.chute_id], json!({"used": 3, "quota": 7}));

    // Tomorrow is another day.
    night.stack.clock().advance(Duration::from_secs(86_400));
    let tomorrow = usage().await.ok();
    assert_eq!((&tomorrow["day"], &tomorrow["global"]["used"]), (&json!("2026-11-19"), &json!(0)));
    assert_eq!(tomorrow["chutes"], nothing["chutes"]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn all_shards_of_a_busy_user_are_counted() {
    let night = Night::begin().await;
    let registry = night.stack.resource("RegistryTable").unwrap();
    let busy = json!({
        "TableName": registry, "Key": {"pk": {"S": format!("user#{}", night.user_id)}},
        "UpdateExpression": "SET busy_since = :long", "ExpressionAttributeValues": {":long": {"N": "0"}},
    });
    dynamodb(&night.stack, "UpdateItem", busy).await;
    for _ in 0..5 {
        night.create("train").await;
    }
    let answer = night.user.get(&night.url("/usage")).await;
    assert_eq!(answer.engine_calls(), (2, 0));
    assert_eq!(answer.ok()["chutes"][&night.chute_id], json!({"used": 5, "quota": 1_000_000}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn nobodys_usage_is_told() {
    assert_eq!(Client::nobody().get("/usage").await.status, 401);
    let world = World::new().await;
    world.create().await;
    let own = world.user.get("/usage").await.ok();
    assert_eq!(own["global"], json!({"used": 1, "quota": 100}), "the deployment's");
    let other = world.miner.get("/usage").await.ok();
    assert_eq!((&other["global"]["used"], &other["chutes"]), (&json!(0), &json!({})));
    assert!(text(&own["resets_at"]).ends_with("T00:00:00.000Z"));
}
