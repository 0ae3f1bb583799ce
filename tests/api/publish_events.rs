//! The ends of jobs as EventBridge events.

use local::Stack;
use serde_json::{Value, json};
use tests::{Night, text};

#[tokio::test]
async fn each_end_is_an_event_where_there_is_a_bus() {
    let stack = Stack::builder().parameter("EventBusName", "jobs").start().await.unwrap();
    let night = Night::on(stack).await;
    let path = night.url(&format!("/jobs/{}/train?label=red", night.chute_id));
    let job_id = text(&night.user.post(&path, json!({})).await.ok()["job_id"]);
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    night.stack.events_at_rest().await;
    let events = night.stack.take_events();
    assert_eq!(events.iter().map(|it| &*it.bus).collect::<Vec<_>>(), ["jobs"]);
    let event = &events[0].event;
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("jobchute"), &json!("Job ended")));
    let detail = &event["detail"];
    let job = night.get(&job_id).await;
    assert_eq!(detail["ended_at"], job["updated_at"]);
    for field in ["job_id", "user_id", "chute_id", "method", "status", "error_detail", "labels", "attempt", "max_attempts", "created_at", "started_at"] {
        assert_eq!(detail[field], job[field], "{field}");
    }
    night.stack.shutdown().await;
}
