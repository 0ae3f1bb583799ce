//! `GET /jobs/{job_id}/webhook`.

use serde_json::{Value, json};
use tests::World;

#[tokio::test]
async fn a_job_that_is_not_over_or_has_no_webhook_was_told_to_nobody() {
    let world = World::new().await;
    let path = format!("/jobs/{}/train?webhook=https://a.example/", world.chute_id);
    let with = world.user.post(&path, json!({})).await.ok()["job_id"].as_str().unwrap().to_owned();
    let none = json!({"webhook_id": null, "state": null, "next_try_at": null, "deliveries": []});
    for job_id in [with, world.create().await] {
        let path = format!("/jobs/{job_id}/webhook");
        let answer = world.user.get(&path).await;
        assert_eq!(answer.engine_calls(), (1, 0));
        assert_eq!(answer.ok(), none);
        // The job's miner is a stranger here as well.
        world.claim_with(&job_id, Value::Null).await;
        assert_eq!(world.miner.get(&path).await.status, 404);
    }
}
