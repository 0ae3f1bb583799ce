//! `GET /webhooks/secret`.

use tests::World;

#[tokio::test]
async fn a_user_has_one_secret_from_the_first_look_on() {
    let world = World::new().await;
    let first = world.user.get("/webhooks/secret").await;
    // The caller and the secret; the secret again, and the write that makes it.
    assert_eq!(first.engine_calls(), (3, 0));
    let secret = first.ok();
    assert!(secret["secret"].as_str().unwrap().starts_with("whsec_"));
    assert!(secret["previous_until"].is_null());
    let again = world.user.get("/webhooks/secret").await;
    assert_eq!(again.engine_calls(), (1, 0));
    assert_eq!(again.ok(), secret);
    assert_ne!(world.miner.get("/webhooks/secret").await.ok()["secret"], secret["secret"]);
}
