//! The reaper: lost leases and deleted jobs. Every test has a stack of its own, whose clock it moves.

use std::time::Duration;

use local::Stack;
use serde_json::{Value, json};
use tests::{Answer, Client, chute, objects, text, upload};
use uuid::Uuid;

/// An hour, and the second that a schedule's time leaves out.
const HOUR: Duration = Duration::from_secs(3601);

/// A stack with a user, a chute and as many miners as a test asks for.
struct Night {
    stack: Stack,
    user: Client,
    chute_id: String,
}

impl Night {
    async fn begin() -> Self {
        let stack = Stack::start().await.unwrap();
        let (user_id, key) = account(&stack, json!([])).await;
        let chute_id = Uuid::new_v4().to_string();
        let command = json!({"command": "put_chute", "chute": chute(&chute_id, &user_id)});
        stack.invoke("admin", command).await.unwrap();
        Self { stack, user: Client::with_key(key), chute_id }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.url())
    }

    async fn miner(&self) -> Client {
        Client::with_key(account(&self.stack, json!(["miner"])).await.1)
    }

    /// `serve` is tried three times, `train` once.
    async fn create(&self, method: &str) -> String {
        let job = self.user.post(&self.url(&format!("/jobs/{}/{method}", self.chute_id)), json!({})).await.ok();
        text(&job["job_id"])
    }

    async fn try_claim(&self, miner: &Client, job_id: &str) -> Answer {
        let ports = json!({"port_mappings": [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]});
        miner.put(&self.url(&format!("/jobs/{job_id}/claim")), ports).await
    }

    /// Claims the job: the URL of its own routes.
    async fn claim(&self, miner: &Client, job_id: &str) -> String {
        text(&self.try_claim(miner, job_id).await.ok()["job_status_url"])
    }

    async fn get(&self, job_id: &str) -> Value {
        self.user.get(&self.url(&format!("/jobs/{job_id}"))).await.ok()
    }

    /// What one run did, by the names that are not zero.
    async fn reap(&self) -> Value {
        let mut done = self.stack.run_schedule("reap-jobs").await.unwrap();
        done.as_object_mut().unwrap().retain(|_, count| *count != json!(0) && *count != json!(false));
        done
    }
}

async fn account(stack: &Stack, roles: Value) -> (String, String) {
    let user = stack.invoke("admin", json!({"command": "create_user", "roles": roles})).await.unwrap();
    let key = stack.invoke("admin", json!({"command": "create_key", "user_id": user["user_id"]})).await.unwrap();
    (text(&user["user_id"]), text(&key["key"]))
}

fn heartbeat(url: &str) -> String {
    url.replace("?token=", "/heartbeat?token=")
}

#[tokio::test]
async fn defect_16_a_dead_miners_job_goes_to_another_miner() {
    let night = Night::begin().await;
    let (first, second) = (night.miner().await, night.miner().await);
    let job_id = night.create("serve").await;
    let lost = night.claim(&first, &job_id).await;
    Client::nobody().put(&heartbeat(&lost), json!({"progress": 0.5})).await.ok();
    night.stack.clock().advance(Duration::from_secs(89));
    assert_eq!(night.reap().await, json!({}), "the lease holds for 90 s");
    night.stack.clock().advance(Duration::from_secs(2));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["progress"], &job["instance"]), (&json!("pending"), &Value::Null, &Value::Null));

    // The first miner is fenced off, before and after another one has the job.
    let report = json!({"status": "complete", "result": "late"});
    Client::nobody().post(&lost, report.clone()).await.is_error(401, "Missing or invalid JWT");
    let detail = format!("Your hotkey has already attempted to claim job_id='{job_id}'");
    night.try_claim(&first, &job_id).await.is_error(403, &detail);
    let url = night.claim(&second, &job_id).await;
    for answer in [
        Client::nobody().post(&lost, report).await,
        Client::nobody().put(&lost, Value::Null).await,
        Client::nobody().put(&heartbeat(&lost), Value::Null).await,
    ] {
        answer.is_error(401, "Missing or invalid JWT");
    }
    let job = Client::nobody().post(&url, json!({"status": "complete", "result": "in time"})).await.ok();
    assert_eq!((&job["result"], &job["attempt"]), (&json!("in time"), &json!(2)));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_without_attempts_left_times_out_for_ever() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    // An hour's timeout, and an hour to upload.
    night.stack.clock().advance(2 * HOUR);
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["terminal"]), (&json!("timeout"), &json!(true)));
    assert_eq!(job["error_detail"], "No result after 1 of 1 attempts");
    let report = json!({"status": "complete"});
    Client::nobody().post(&url, report).await.is_error(400, "Job already finished");
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await, job);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_reported_job_is_completed_with_what_arrived() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a", "b"]});
    let answer = Client::nobody().post(&url, report).await.ok();
    upload(&text(&answer["output_storage_urls"]["a"]), b"arrived").await;
    night.stack.clock().advance(HOUR);
    assert_eq!(night.reap().await, json!({"completed": 1}));
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["terminal"]), (&json!("partial_failure"), &json!(true)));
    assert_eq!(job["error_detail"], "Failed to upload files: b");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn two_reapers_at_once_do_each_thing_once() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    for _ in 0..8 {
        let job_id = night.create("train").await;
        night.claim(&miner, &job_id).await;
    }
    night.stack.clock().advance(2 * HOUR);
    let (one, other) = tokio::join!(night.reap(), night.reap());
    let timed_out = |done: &Value| done["timed_out"].as_u64().unwrap_or(0);
    assert_eq!(timed_out(&one) + timed_out(&other), 8, "{one} {other}");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_arrives_after_a_delete_is_swept() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("train").await;
    let url = night.claim(&miner, &job_id).await;
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let target = text(&Client::nobody().post(&url, report).await.ok()["output_storage_urls"]["a"]);
    night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
    assert_eq!(upload(&target, b"late").await.status, 200, "the URL is still valid");
    assert_eq!(objects(&night.stack, &job_id).await.len(), 1);
    night.stack.clock().advance(Duration::from_secs(61));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    upload(&target, b"later still").await;
    night.stack.clock().advance(2 * HOUR);
    assert_eq!(night.reap().await, json!({"swept": 1}));
    assert_eq!(night.reap().await, json!({}), "nothing is left of the job");
    assert_eq!(objects(&night.stack, &job_id).await, Vec::<String>::new());
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_late_heartbeat_renews_a_lease_that_nobody_has_taken_back() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&miner, &job_id).await;
    Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(91));
    Client::nobody().put(&heartbeat(&url), Value::Null).await.ok();
    assert_eq!(night.reap().await, json!({}));
    assert_eq!(night.get(&job_id).await["status"], "running");
    night.stack.shutdown().await;
}
