//! `PUT /inputs/{input_id}`. Uploads in parts are in `tests/uploads/inputs.rs`.

use serde_json::{Value, json};
use tests::{Client, Hotkey, World, input::declared, text, upload_to};
use uuid::Uuid;

#[tokio::test]
async fn a_fresh_url_is_given_until_the_file_is_there() {
    let world = World::new().await;
    let input = world.user.post("/inputs", json!({"filename": "a", "size": 5})).await.ok();
    let path = format!("/inputs/{}", text(&input["input_id"]));
    let fresh = world.user.put(&path, json!({"size": 7, "ignored": true})).await;
    assert_eq!(fresh.engine_calls(), (1, 1));
    let fresh = fresh.ok();
    assert_eq!((&fresh["uri"], &fresh["upload"]["renew_url"]), (&input["uri"], &input["upload"]["renew_url"]));
    assert_eq!(upload_to(&fresh["upload"], b"hello").await.status, 200);
    let there = world.user.put(&path, Value::Null).await;
    assert_eq!(there.engine_calls(), (1, 1));
    assert_eq!(there.ok()["upload"], Value::Null);
    // However the id is spelt.
    let capitals = format!("/inputs/{}", text(&input["input_id"]).to_uppercase());
    assert_eq!(world.user.put(&capitals, Value::Null).await.ok()["input_id"], input["input_id"]);
}

#[tokio::test]
async fn somebody_elses_input_is_not_found() {
    let (world, other) = (World::new().await, World::new().await);
    let input = world.user.post("/inputs", declared("a", b"hello")).await.ok();
    let own = format!("/inputs/{}", text(&input["input_id"]));
    let unknown = Uuid::new_v4().to_string();
    for (client, id) in [(&other.user, &own[8..]), (&world.user, unknown.as_str()), (&world.user, "no-id")] {
        let detail = format!("Input {id} not found or does not belong to you");
        client.put(&format!("/inputs/{id}"), Value::Null).await.is_error(404, &detail);
    }
    assert_eq!(Client::nobody().put(&own, Value::Null).await.status, 401);
    assert_eq!(Client::with_hotkey(Hotkey::generate()).put(&own, Value::Null).await.status, 401);
}
