//! A stack of the test's own, whose clock it moves and whose engines it makes fail.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use jobchute::Hotkey;
use local::{Fault, Stack};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    answer::Answer,
    client::Client,
    stack::patient,
    world::{chute, text},
};

/// A stack with a user and a chute, and as many miners as a test asks for.
pub struct Night {
    /// The stack.
    pub stack: Stack,
    /// A user with an API key.
    pub user: Client,
    /// The user's id.
    pub user_id: String,
    /// A public chute of the user's: `serve` is tried three times, `train` once.
    pub chute_id: String,
}

impl Night {
    /// A new one.
    pub async fn begin() -> Self {
        Self::on(patient().start().await.unwrap()).await
    }

    /// On a stack that was started in a way of its own.
    pub async fn on(stack: Stack) -> Self {
        let (user_id, key) = account(&stack, json!([])).await;
        let chute_id = Uuid::new_v4().to_string();
        let command = json!({"command": "put_chute", "chute": chute(&chute_id, &user_id)});
        stack.invoke("admin", command).await.unwrap();
        let command = json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": 1_000_000}});
        stack.invoke("admin", command).await.unwrap();
        Self { stack, user: Client::with_key(key), user_id, chute_id }
    }

    /// The whole URL.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.url())
    }

    /// A new miner with an API key.
    pub async fn miner(&self) -> Client {
        Client::with_key(account(&self.stack, json!(["miner"])).await.1)
    }

    /// A new hotkey that signs for the user, or for a new miner.
    pub async fn hotkey(&self, user_id: Option<&str>) -> Hotkey {
        let user_id = match user_id {
            Some(user_id) => user_id.to_owned(),
            None => account(&self.stack, json!(["miner"])).await.0,
        };
        let hotkey = Hotkey::generate();
        let command = json!({"command": "register_hotkey", "user_id": user_id, "hotkey": hotkey.address});
        self.stack.invoke("admin", command).await.unwrap();
        hotkey
    }

    /// A pending job's id.
    pub async fn create(&self, method: &str) -> String {
        let job = self.user.post(&self.url(&format!("/jobs/{}/{method}", self.chute_id)), json!({})).await.ok();
        text(&job["job_id"])
    }

    /// Asks for the job.
    pub async fn try_claim(&self, miner: &Client, job_id: &str) -> Answer {
        let ports = json!({"port_mappings": [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]});
        miner.put(&self.url(&format!("/jobs/{job_id}/claim")), ports).await
    }

    /// Asserts that the job, which the miner has lost or given back just now, is withheld from it for 299 seconds and not for 300. The clock
    /// stands still.
    pub async fn is_withheld_for_five_minutes(&self, miner: &Client, job_id: &str) {
        let detail = format!("Your hotkey has already attempted to claim job_id='{job_id}'");
        self.stack.clock().advance(Duration::from_secs(299));
        self.try_claim(miner, job_id).await.is_error(403, &detail);
        self.stack.clock().advance(Duration::from_secs(1));
        self.claim(miner, job_id).await;
    }

    /// Claims the job: the URL of its own routes.
    pub async fn claim(&self, miner: &Client, job_id: &str) -> String {
        text(&self.try_claim(miner, job_id).await.ok()["job_status_url"])
    }

    /// A claimed job of `train` that has reported these files: its id, its URL and the report's answer.
    pub async fn finished(&self, miner: &Client, filenames: &[&str]) -> (String, String, Value) {
        let job_id = self.create("train").await;
        let url = self.claim(miner, &job_id).await;
        let report = json!({"status": "complete", "output_filenames": filenames});
        let answer = Client::nobody().post(&url, report).await.ok();
        (job_id, url, answer)
    }

    /// The job as its owner sees it.
    pub async fn get(&self, job_id: &str) -> Value {
        self.user.get(&self.url(&format!("/jobs/{job_id}"))).await.ok()
    }

    /// What one run of the reaper did, by the names that are not zero.
    pub async fn reap(&self) -> Value {
        let mut done = self.stack.run_schedule("reap-jobs").await.unwrap();
        done.as_object_mut().unwrap().retain(|_, count| *count != json!(0) && *count != json!(false));
        done
    }

    /// The next call of this operation by a function meets this fault.
    pub fn fail_once(&self, operation: &'static str, fault: Fault) {
        let armed = AtomicBool::new(true);
        self.stack.set_faults(move |call| {
            let meant = call.function.is_some() && call.operation == operation;
            if meant && armed.swap(false, Ordering::SeqCst) { fault } else { Fault::None }
        });
    }

    /// Every call of this operation by a function meets this fault; no operation: none does.
    pub fn fail(&self, operation: Option<&'static str>, fault: Fault) {
        self.stack.set_faults(move |call| {
            let meant = call.function.is_some() && Some(call.operation.as_str()) == operation;
            if meant { fault } else { Fault::None }
        });
    }
}

async fn account(stack: &Stack, roles: Value) -> (String, String) {
    let user = stack.invoke("admin", json!({"command": "create_user", "roles": roles})).await.unwrap();
    let key = stack.invoke("admin", json!({"command": "create_key", "user_id": user["user_id"]})).await.unwrap();
    (text(&user["user_id"]), text(&key["key"]))
}
