//! What a user files jobs under.

use serde_json::{Value, json};
use tests::{Answer, World, text};

async fn create(world: &World, query: &str) -> Answer {
    world.user.post(&format!("/jobs/{}/train?{query}", world.chute_id), json!({})).await
}

async fn listed(world: &World, query: &str) -> Vec<String> {
    let page = world.user.get(&format!("/jobs?{query}")).await.ok();
    page["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

#[tokio::test]
async fn a_job_shows_its_labels_and_is_listed_by_each_and_by_all_of_them() {
    let world = World::new().await;
    let both = create(&world, "label=team%20red&label=a,b&label=team%20red").await.ok();
    assert_eq!(both["labels"], json!(["team red", "a,b"]));
    let one = text(&create(&world, "label=a,b").await.ok()["job_id"]);
    let none = create(&world, "").await.ok();
    assert_eq!(none["labels"], json!([]));
    let both = text(&both["job_id"]);
    assert_eq!(world.get(&both).await["labels"], json!(["team red", "a,b"]));
    assert_eq!(listed(&world, "label=a,b").await, [one.clone(), both.clone()]);
    assert_eq!(listed(&world, "label=team%20red").await, std::slice::from_ref(&both));
    assert_eq!(listed(&world, "label=a,b&label=team%20red&status=pending").await, std::slice::from_ref(&both));
    assert!(listed(&world, "label=a").await.is_empty());
    assert!(listed(&world, "label=a,b&status=running").await.is_empty());
    assert_eq!(listed(&world, "").await, [text(&none["job_id"]), one, both.clone()]);
    let page = world.user.get("/jobs?label=team%20red").await.ok();
    assert_eq!(page["jobs"][0]["labels"], json!(["team red", "a,b"]));
}

#[tokio::test]
async fn labels_are_ten_at_most_and_printable() {
    let world = World::new().await;
    let longest = "%C3%BC".repeat(64);
    let ten: Vec<_> = (0..10).map(|number| format!("label={number}")).collect();
    for good in [format!("label={longest}"), ten.join("&"), "label=%22it's%22".to_owned()] {
        create(&world, &good).await.ok();
    }
    let eleven = format!("{}&label=x", ten.join("&"));
    let longer = format!("label={longest}a");
    for wrong in ["label=", "label=a%0Ab", "label=%00", "label=%1b[2J", "label=%E2%80%AE", &longer, &eleven] {
        let answer = create(&world, wrong).await;
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.body);
        assert_eq!(answer.body["detail"][0]["loc"], json!(["query", "label"]));
    }
    let both = create(&world, "label=&cancel_after=5x").await;
    assert_eq!(both.body["detail"].as_array().map(Vec::len), Some(2), "{}", both.body);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_the_options_too() {
    let world = World::new().await;
    let send = async |query: &str| {
        let path = format!("/jobs/{}/train?{query}", world.chute_id);
        let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
        world.user.send(reqwest::Method::POST, &path, b"{}".to_vec(), &headers).await
    };
    let first = send("label=a&cancel_after=60").await.ok();
    assert_eq!(send("cancel_after=1m&label=a").await.ok()["job_id"], first["job_id"]);
    for other in ["", "label=a", "label=b&cancel_after=60", "label=a&cancel_after=61", "label=a&cancel_after=x"] {
        let answer = send(other).await;
        assert_eq!(answer.status, 422, "{other}");
    }
    assert_ne!(first["expires_at"], Value::Null);
}
