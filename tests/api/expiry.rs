//! Jobs that nobody claims in time.

use std::{sync::Arc, time::Duration};

use local::Fault;
use serde_json::{Value, json};
use tests::{Client, Night, World, text};
use tokio::{runtime::Handle, task::block_in_place};

const DAY: u64 = 86_400;

async fn create(night: &Night, query: &str) -> Value {
    night.user.post(&night.url(&format!("/jobs/{}/serve{query}", night.chute_id)), json!({})).await.ok()
}

#[tokio::test]
async fn a_job_that_nobody_claims_in_its_time_ends_as_timeout() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job = create(&night, "?cancel_after=90").await;
    assert_eq!(job["expires_at"], "2026-11-18T11:08:10.000Z");
    let job_id = text(&job["job_id"]);
    night.stack.clock().advance(Duration::from_secs(89));
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await["status"], "pending");
    night.stack.clock().advance(Duration::from_secs(1));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["terminal"], &job["expires_at"]), (&json!("timeout"), &json!(true), &Value::Null));
    assert_eq!(job["error_detail"], "No miner claimed the job within 90 seconds");
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.try_claim(&night.miner().await, &job_id).await.status, 409);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_waits_for_seven_days_unless_it_says_otherwise() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let first = text(&create(&night, "").await["job_id"]);
    let longer = text(&create(&night, "?cancel_after=10d").await["job_id"]);
    night.stack.clock().advance(Duration::from_secs(DAY));
    let second = create(&night, "").await;
    assert_eq!(second["expires_at"], "2026-11-26T11:06:40.000Z");
    let second = text(&second["job_id"]);
    let status = async |job_id: &str| text(&night.get(job_id).await["status"]);
    night.stack.clock().advance(Duration::from_secs(6 * DAY - 1));
    assert_eq!(night.reap().await, json!({}));
    night.stack.clock().advance(Duration::from_secs(1));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    assert_eq!([status(&first).await, status(&second).await], ["timeout", "pending"]);
    night.stack.clock().advance(Duration::from_secs(DAY));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    assert_eq!([status(&second).await, status(&longer).await], ["timeout", "pending"]);
    night.stack.clock().advance(Duration::from_secs(2 * DAY));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    assert_eq!(status(&longer).await, "timeout");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn more_than_a_page_of_jobs_expire_and_a_busy_chutes_too() {
    let night = Night::begin().await;
    let mut busy = tests::chute(&night.chute_id, &night.user_id);
    let first = create(&night, "").await;
    for _ in 0..120 {
        create(&night, "").await;
    }
    busy["busy"] = json!(true);
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": busy})).await.unwrap();
    for _ in 0..20 {
        create(&night, "").await;
    }
    night.stack.clock().advance(Duration::from_secs(7 * DAY + 60));
    assert_eq!(night.reap().await, json!({"timed_out": 141}));
    assert_eq!(night.get(&text(&first["job_id"])).await["status"], "timeout");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_requeued_jobs_time_begins_anew() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    for query in ["?cancel_after=2m", ""] {
        let wait = if query.is_empty() { 7 * DAY } else { 120 };
        let job_id = text(&create(&night, query).await["job_id"]);
        night.stack.clock().advance(Duration::from_secs(wait - 10));
        let url = night.claim(&night.miner().await, &job_id).await;
        assert_eq!(night.get(&job_id).await["expires_at"], Value::Null);
        night.stack.clock().advance(Duration::from_secs(50));
        assert_eq!(night.reap().await, json!({}), "{query}: it runs");
        Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
        night.stack.clock().advance(Duration::from_secs(91));
        assert_eq!(night.reap().await, json!({"requeued": 1}));
        night.stack.clock().advance(Duration::from_secs(wait - 1));
        assert_eq!(night.reap().await, json!({}), "{query}: since the requeue");
        // A schedule tells whole seconds.
        night.stack.clock().advance(Duration::from_secs(1));
        assert_eq!(night.reap().await, json!({"timed_out": 1}));
        let detail = format!("No miner claimed the job within {wait} seconds");
        assert_eq!(night.get(&job_id).await["error_detail"], detail);
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_was_given_back_or_retried_expires_too() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = text(&create(&night, "?cancel_after=60").await["job_id"]);
    let url = night.claim(&night.miner().await, &job_id).await;
    night.stack.clock().advance(Duration::from_secs(600));
    assert_eq!(night.reap().await, json!({"held": 1}), "it runs");
    Client::nobody().put(&url.replace("?token=", "/release?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(60));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    night.stack.clock().advance(Duration::from_secs(60));
    night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(59));
    assert_eq!(night.reap().await, json!({}));
    night.stack.clock().advance(Duration::from_secs(1));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    assert_eq!(night.get(&job_id).await["status"], "timeout");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_is_tried_again_waits_from_when_it_may_be_claimed() {
    let night = Night::begin().await;
    let mut chute = tests::chute(&night.chute_id, &night.user_id);
    chute["methods"][1]["retry_errors"] = json!(true);
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();
    night.stack.clock().set(1_795_000_000_000);
    let job_id = text(&create(&night, "?cancel_after=10").await["job_id"]);
    let url = night.claim(&night.miner().await, &job_id).await;
    let job = Client::nobody().post(&url, json!({"status": "error", "detail": "no"})).await.ok();
    assert_eq!(job["expires_at"], "2026-11-18T11:07:00.000Z");
    night.stack.clock().advance(Duration::from_secs(19));
    assert_eq!(night.reap().await, json!({}));
    night.stack.clock().advance(Duration::from_secs(1));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    // The report may be repeated, and completed by who does not know.
    for answer in [
        Client::nobody().post(&url, json!({"status": "error", "detail": "no"})).await,
        Client::nobody().put(&url, Value::Null).await,
    ] {
        assert_eq!(answer.ok()["status"], "timeout");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn an_alarm_is_no_job() {
    let world = World::new().await;
    let chute_id = uuid::Uuid::try_parse(&world.chute_id).unwrap();
    let alarm = uuid::Uuid::new_v5(&chute_id, b"waiting").to_string();
    assert!(tests::item(tests::stack(), "JobsTable", "job_id", &alarm).await["alarm"].is_object());
    let (get, claim) = (format!("/jobs/{alarm}"), format!("/jobs/{alarm}/claim"));
    for answer in [
        world.user.get(&get).await,
        world.user.delete(&get).await,
        world.user.put(&format!("{get}/cancel"), Value::Null).await,
        world.user.put(&format!("{get}/retry"), Value::Null).await,
        world.miner.put(&claim, Value::Null).await,
    ] {
        assert_eq!(answer.status, 404, "{}", answer.body);
    }
    for command in [
        json!({"command": "cancel_job", "job_id": alarm, "reason": "Against the rules"}),
        json!({"command": "delete_job", "job_id": alarm}),
    ] {
        assert_eq!(World::refused(command).await, format!("Job {alarm} not found"));
    }
}

#[tokio::test]
async fn how_long_a_job_may_wait_is_ten_seconds_to_thirty_days() {
    let world = World::new().await;
    let path = format!("/jobs/{}/train?cancel_after=", world.chute_id);
    for good in ["10", "10s", "15m", "2h", "30d", "2592000"] {
        world.user.post(&format!("{path}{good}"), json!({})).await.ok();
    }
    for wrong in ["0", "-1", "1e9", "5x", "9", "31d", "2592001", "%2B10", "", "1.5h", "99999999999999999999d"] {
        let answer = world.user.post(&format!("{path}{wrong}"), json!({})).await;
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.body);
        assert_eq!(answer.body["detail"][0]["loc"], json!(["query", "cancel_after"]));
    }
}

#[tokio::test]
async fn a_time_of_its_own_costs_no_call() {
    let world = World::new().await;
    let path = format!("/jobs/{}/train", world.chute_id);
    world.user.post(&path, json!({})).await.ok();
    let answer = world.user.post(&format!("{path}?cancel_after=1h"), json!({})).await;
    assert_eq!(answer.engine_calls(), (2, 0));
    let job = answer.ok();
    assert_ne!(job["expires_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_begins_to_wait_as_its_alarm_rings_expires_all_the_same() {
    let night = Arc::new(Night::begin().await);
    night.stack.clock().set(1_795_000_000_000);
    let job_id = text(&create(&night, "?cancel_after=10").await["job_id"]);
    let url = |route: &str| night.url(&format!("/jobs/{job_id}/{route}"));
    night.user.put(&url("cancel"), Value::Null).await.ok();
    // The retry has set the alarm, and comes to its write after 11 seconds.
    let (slow, runtime) = (Arc::clone(&night), Handle::current());
    night.stack.set_faults(move |call| {
        if call.function.as_deref() == Some("retry-job") && call.operation == "TransactWriteItems" {
            block_in_place(|| {
                slow.stack.clock().advance(Duration::from_secs(11));
                assert_eq!(runtime.block_on(slow.reap()), json!({}));
            });
        }
        Fault::None
    });
    assert_eq!(night.user.put(&url("retry"), Value::Null).await.ok()["status"], "pending");
    night.fail(None, Fault::None);
    night.stack.clock().advance(Duration::from_secs(60));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    night.stack.clock().advance(Duration::from_secs(60));
    assert_eq!(night.reap().await, json!({}));
    Arc::into_inner(night).expect("nobody else has it").stack.shutdown().await;
}
