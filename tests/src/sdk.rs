//! A miner that is the Chutes SDK: its order of calls, its envelopes, eight uploads at a time, and every step tried again
//! whatever went wrong. Its pauses are left out.

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{answer::Answer, client::Client, envelope::Envelope, world::text};

/// Times that a step is tried.
const TRIES: usize = 7;
/// Files uploaded at the same time.
const AT_ONCE: usize = 8;

/// The SDK inside a miner's container.
pub struct Sdk {
    miner: Client,
    /// The API's address.
    api: String,
}

impl Sdk {
    /// Of a miner with this API key.
    pub fn new(key: &str, api: &str) -> Self {
        Self { miner: Client::with_key(key), api: api.to_owned() }
    }

    /// Claims a job, runs it, which takes no time and results in what the job was given, and brings its files. The job in the end, or the step that failed for good.
    pub async fn run(&self, job_id: &str, files: &[(&str, Vec<u8>)]) -> Result<Value, String> {
        let claim = format!("{}/jobs/{job_id}/claim", self.api);
        let assignment = tried("claim", || self.send(Method::PUT, &claim, Vec::new(), JSON)).await?;
        let job = text(&assignment["job_status_url"]);

        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let report =
            json!({"status": "complete", "result": assignment["job_data"], "output_filenames": names}).to_string();
        let report = || self.send(Method::POST, &job, report.clone().into_bytes(), JSON);
        let urls = tried("finish", report).await?["output_storage_urls"].take();

        let envelope = Envelope::default();
        let header = envelope.header();
        let uploads = files.iter().map(|(name, content)| {
            let (url, body, header) = (text(&urls[name]), envelope.of(name, content), &header);
            async move { tried("upload", || self.send(Method::PUT, &url, body.clone(), header)).await }
        });
        let uploads: Vec<_> = uploads.collect();
        stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;

        tried("complete", || self.send(Method::PUT, &job, Vec::new(), JSON)).await
    }

    async fn send(&self, method: Method, url: &str, body: Vec<u8>, content_type: &str) -> reqwest::Result<Answer> {
        // Presigned URLs and job tokens speak for themselves.
        let client = if url.ends_with("/claim") { self.miner.clone() } else { Client::nobody() };
        client.try_send(method, url, body, &[("content-type", content_type)]).await
    }
}

const JSON: &str = "application/json";

async fn tried<F: Future<Output = reqwest::Result<Answer>>>(name: &str, step: impl Fn() -> F) -> Result<Value, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match step().await {
            Ok(answer) if answer.status < 400 => return Ok(answer.body),
            Ok(answer) => last = format!("{} {}", answer.status, answer.body),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("{name}: {last}"))
}
