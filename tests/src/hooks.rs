//! A stack whose functions may call receivers on this machine.

use local::{LogLine, STREAMS, Stack, own_engines};
use serde_json::{Value, json};

use crate::{
    client::Client,
    engine::item,
    night::Night,
    receiver::{Authority, Receiver, Reply},
    world::text,
};

/// A night, and receivers whose certificates it trusts.
pub struct Hooks {
    /// The night.
    pub night: Night,
    authority: Authority,
}

impl Hooks {
    /// A new one.
    pub async fn begin() -> Self {
        Self::with_networks("127.0.0.0/8").await
    }

    /// One whose functions may call these networks beside the public ones.
    pub async fn with_networks(networks: &str) -> Self {
        own_engines(STREAMS);
        Self::on_any_engines(networks).await
    }

    /// The same also where nobody reads the stream of the jobs table: the test says itself what is in it ([`Hooks::tell`]).
    pub async fn on_any_engines(networks: &str) -> Self {
        let authority = Authority::default();
        let file = authority.file().to_str().unwrap().to_owned();
        let stack = Stack::builder().parameter("WebhookNetworks", networks).environment("SSL_CERT_FILE", file);
        Self { night: Night::on(stack.start().await.unwrap()).await, authority }
    }

    /// Stops it: what its functions have logged.
    pub async fn end(self) -> Vec<LogLine> {
        self.night.stack.shutdown().await
    }

    /// A receiver that answers the n-th webhook, from 0 on, as `reply` says.
    pub async fn receiver(&self, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Receiver {
        self.authority.receiver(reply).await
    }

    /// The id of a new job whose end is to be told at this URL.
    pub async fn create(&self, method: &str, url: &str) -> String {
        let path = self.night.url(&format!("/jobs/{}/{method}?webhook={url}", self.night.chute_id));
        text(&self.night.user.post(&path, json!({"seed": 7})).await.ok()["job_id"])
    }

    /// The same of `train`, which has ended with this result.
    pub async fn ended(&self, url: &str, result: Value) -> String {
        let job_id = self.create("train", url).await;
        let miner = self.night.miner().await;
        let assignment = self.night.claim(&miner, &job_id).await;
        Client::nobody().post(&assignment, json!({"status": "complete", "result": result})).await.ok();
        job_id
    }

    /// Shows the job's last change to `queue-webhooks`, as its stream does: once more, where that is read.
    pub async fn tell(&self, job_id: &str) {
        let stack = &self.night.stack;
        let record = json!({
            "eventID": job_id, "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": stack.clock().now() / 1000,
                "Keys": {"job_id": {"S": job_id}},
                "NewImage": item(stack, "JobsTable", "job_id", job_id).await,
                "SequenceNumber": "111000000000000000001", "SizeBytes": 400, "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        });
        let answer = stack.invoke("queue-webhooks", json!({"Records": [record]})).await.unwrap();
        assert_eq!(answer, json!({"batchItemFailures": []}));
    }

    /// What the owner reads of the job's webhook.
    pub async fn log(&self, job_id: &str) -> Value {
        self.night.user.get(&self.night.url(&format!("/jobs/{job_id}/webhook"))).await.ok()
    }

    /// The same, once it is in this state: a receiver hears before that is written.
    pub async fn log_when(&self, job_id: &str, state: &str) -> Value {
        loop {
            let log = self.log(job_id).await;
            if log["state"] == state {
                return log;
            }
        }
    }

    /// The same, once it has so many tries.
    pub async fn log_of(&self, job_id: &str, tries: usize) -> Value {
        loop {
            let log = self.log(job_id).await;
            if log["deliveries"].as_array().unwrap().len() >= tries {
                return log;
            }
        }
    }

    /// The user's secret.
    pub async fn secret(&self) -> Value {
        self.night.user.get(&self.night.url("/webhooks/secret")).await.ok()
    }
}
