//! A job's life over HTTP, request by request, with what each took.

use anyhow::{Context, Result, ensure};
use local::Stack;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use super::samples::{Sample, Samples};

/// A user, a miner and a chute, and everything that their requests took.
pub(super) struct Bench<'a> {
    stack: &'a Stack,
    http: Client,
    chute: Uuid,
    user_key: String,
    miner_key: String,
    pub(super) samples: Samples,
    /// The requests of the last life.
    pub(super) last: Vec<(String, Sample)>,
}

/// An answer that was measured.
struct Answer {
    body: Value,
    location: Option<String>,
}

/// Output files to be: how many, and bytes of each.
#[derive(Clone, Copy)]
pub(super) struct Outputs {
    pub(super) files: usize,
    pub(super) size: usize,
}

/// Of an output file.
pub(super) fn filename(n: usize) -> String {
    format!("outputs/checkpoint-{n:04}.safetensors")
}

impl<'a> Bench<'a> {
    pub(super) async fn start(stack: &'a Stack) -> Result<Self> {
        let id = |answer: Value, field: &str| answer[field].as_str().map(str::to_owned).context("admin: no id");
        let admin = async |command| stack.invoke("admin", command).await;
        let user = id(admin(json!({"command": "create_user"})).await?, "user_id")?;
        let quotas = json!({"command": "set_quotas", "user_id": user, "quotas": {"*": u32::MAX, "global": u32::MAX}});
        admin(quotas).await?;
        let user_key = id(admin(json!({"command": "create_key", "user_id": user})).await?, "key")?;
        let miner = id(admin(json!({"command": "create_user", "roles": ["miner"]})).await?, "user_id")?;
        let miner_key = id(admin(json!({"command": "create_key", "user_id": miner})).await?, "key")?;
        let chute = Uuid::new_v4();
        admin(json!({"command": "put_chute", "chute": {
            "chute_id": chute, "user_id": user, "name": "bench", "public": true, "version": "1",
            "methods": [{"name": "run", "timeout": 3600, "upload": true}],
        }}))
        .await?;
        let http = jobchute::plain_http().redirect(reqwest::redirect::Policy::none()).build()?;
        let (samples, last) = (Samples::default(), Vec::new());
        Ok(Self { stack, http, chute, user_key, miner_key, samples, last })
    }

    /// Every function once, and what they are held against.
    pub(super) async fn everything(&mut self, outputs: Outputs) -> Result<()> {
        let job_id = self.life(outputs).await?;
        self.others(&job_id).await
    }

    /// One job from its creation to the download of its files: its id.
    pub(super) async fn life(&mut self, outputs: Outputs) -> Result<String> {
        self.last.clear();
        let job_id = self.create().await?;
        let (user, miner) = (self.user_key.clone(), self.miner_key.clone());
        let url = format!("{}/jobs/{job_id}", self.stack.url());
        let next = format!("{}/jobs/claim?chute_id={}", self.stack.url(), self.chute);
        let claim = self.call("claim-next-job", Method::PUT, &next, &miner, Some(json!({"worker": job_id}))).await?;
        ensure!(claim.body["job_id"] == job_id, "another job waits");
        let own = claim.body["job_status_url"].as_str().map(str::to_owned).context("no job_status_url")?;
        let beat = own.replace("?token=", "/heartbeat?token=");
        self.call("heartbeat-job", Method::PUT, &beat, "", Some(json!({"progress": 0.5}))).await?;

        let names: Vec<_> = (0..outputs.files).map(filename).collect();
        let files: Vec<_> = names.iter().map(|name| json!({"filename": name, "size": outputs.size})).collect();
        let report = json!({"status": "complete", "result": {"loss": 0.5}, "output_files": files});
        let finished = self.call("finish-job", Method::POST, &own, "", Some(report)).await?;
        if let Some(name) = names.first() {
            let renew = own.replace("?token=", "/upload?token=");
            self.call("upload-job-file", Method::PUT, &renew, "", Some(json!({"path": name}))).await?;
        }
        let bytes = bytes::Bytes::from(vec![7; outputs.size]);
        for target in finished.body["uploads"].as_array().into_iter().flatten() {
            self.upload(target, &bytes).await?;
        }
        let done = self.call("complete-job", Method::PUT, &own, "", None).await?;
        ensure!(done.body["status"] == "complete", "the job is {}", done.body["status"]);

        let job = self.call("get-job", Method::GET, &url, &user, None).await?;
        let files = job.body["output_files"].as_object().map(|files| files.keys().cloned().collect::<Vec<_>>());
        for file in files.into_iter().flatten().take(10) {
            let path = format!("{url}/download/{file}");
            let found = self.call("download-output-file", Method::GET, &path, &user, None).await?;
            ensure!(found.location.is_some(), "no Location");
        }
        Ok(job_id)
    }

    /// What is no part of a usual life: the two programs that all others are held against (one of them reads this job); a delete; a
    /// cancel, a retry of that, and its claim by its id; the reaper; the list; the description.
    pub(super) async fn others(&mut self, job_id: &str) -> Result<()> {
        let user = self.user_key.clone();
        self.call("hello", Method::GET, &format!("{}/hello", self.stack.url()), "", None).await?;
        let read = format!("{}/hello-get-item/{job_id}", self.stack.url());
        self.call("hello-get-item", Method::GET, &read, "", None).await?;
        let unwanted = self.create().await?;
        self.call("delete-job", Method::DELETE, &format!("{}/jobs/{unwanted}", self.stack.url()), &user, None).await?;
        let unwanted = self.create().await?;
        let cancel = format!("{}/jobs/{unwanted}/cancel", self.stack.url());
        self.call("cancel-job", Method::PUT, &cancel, &user, None).await?;
        self.call("retry-job", Method::PUT, &cancel.replace("/cancel", "/retry"), &user, None).await?;
        self.look_and_claim(&unwanted).await?;
        let reaper = format!("{}/2015-03-31/functions/reap-jobs/invocations", self.stack.aws_url());
        self.call("reap-jobs", Method::POST, &reaper, "", Some(json!({}))).await?;
        self.list().await?;
        self.call("get-usage", Method::GET, &format!("{}/usage", self.stack.url()), &user, None).await?;
        self.input().await?;
        self.call("docs", Method::GET, &format!("{}/openapi.json", self.stack.url()), "", None).await?;
        Ok(())
    }

    /// An input, and a job that names it: as its miner fetches it.
    async fn input(&mut self) -> Result<()> {
        let (user, inputs) = (self.user_key.clone(), format!("{}/inputs", self.stack.url()));
        let file = json!({"filename": "input", "size": 7});
        let input = self.call("create-input", Method::POST, &inputs, &user, Some(file)).await?.body;
        let id = input["input_id"].as_str().context("no input_id")?;
        self.call("renew-input", Method::PUT, &format!("{inputs}/{id}"), &user, None).await?;
        let headers = input["upload"]["headers"].as_object().context("no headers")?;
        let mut put = self.http.put(input["upload"]["url"].as_str().context("no upload URL")?).body(vec![7; 7]);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
            put = put.header(name, value.as_str().context("no header")?);
        }
        put.send().await?.error_for_status()?;
        let create = format!("{}/jobs/{}/run", self.stack.url(), self.chute);
        let job = self.call("create-job", Method::POST, &create, &user, Some(json!({"a": input["uri"]}))).await?.body;
        let own = self.claim(job["job_id"].as_str().context("no job_id")?).await?;
        let url = own.replace("?token=", &format!("/inputs/{id}?token="));
        self.call("download-input", Method::GET, &url, "", None).await.map(drop)
    }

    /// The first page of the user's jobs.
    pub(super) async fn list(&mut self) -> Result<()> {
        let (url, user) = (format!("{}/jobs", self.stack.url()), self.user_key.clone());
        self.call("list-jobs", Method::GET, &url, &user, None).await.map(drop)
    }

    /// A job that waits for a miner: its id.
    pub(super) async fn create(&mut self) -> Result<String> {
        let url = format!("{}/jobs/{}/run", self.stack.url(), self.chute);
        let user = self.user_key.clone();
        let job = self.call("create-job", Method::POST, &url, &user, Some(json!({"epochs": 3}))).await?;
        job.body["job_id"].as_str().map(str::to_owned).context("no job_id")
    }

    /// A job that its miner looks for, and claims by its id.
    pub(super) async fn look_and_claim(&mut self, job: &str) -> Result<()> {
        let claimable = format!("{}/jobs/claimable?chute_id={}", self.stack.url(), self.chute);
        let miner = self.miner_key.clone();
        self.call("list-claimable-jobs", Method::GET, &claimable, &miner, None).await?;
        self.claim(job).await.map(drop)
    }

    /// The URL of the job's own routes.
    async fn claim(&mut self, job: &str) -> Result<String> {
        let (url, miner) = (format!("{}/jobs/{job}/claim", self.stack.url()), self.miner_key.clone());
        let claim = self.call("claim-job", Method::PUT, &url, &miner, Some(json!({}))).await?;
        claim.body["job_status_url"].as_str().map(str::to_owned).context("no job_status_url")
    }

    /// A file of this many bytes that goes through the API.
    pub(super) async fn form(&mut self, size: usize) -> Result<()> {
        let job = self.create().await?;
        let own = self.claim(&job).await?;
        let report = json!({"status": "complete", "output_filenames": ["a"]});
        self.call("finish-job", Method::POST, &own, "", Some(report)).await?;
        let part = |disposition, content: &str| {
            format!("--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
        };
        let form = part("name=\"path\"", "a") + &part("name=\"file\"; filename=\"a\"", &"7".repeat(size)) + "--x--\r\n";
        let request = self.http.put(own.replace("?token=", "/upload?token=")).body(form);
        self.send("upload-job-file", request.header("content-type", "multipart/form-data; boundary=x")).await.map(drop)
    }

    /// Sends a file where its target says, in parts when it says so.
    async fn upload(&self, target: &Value, bytes: &bytes::Bytes) -> Result<()> {
        let put = async |url: &Value, bytes: bytes::Bytes| -> Result<()> {
            let url = url.as_str().context("no upload URL")?;
            self.http.put(url).body(bytes).send().await?.error_for_status()?;
            Ok(())
        };
        let Some(parts) = target["parts"].as_array() else { return put(&target["url"], bytes.clone()).await };
        for part in parts {
            let number = |field: &str| part[field].as_u64().and_then(|n| usize::try_from(n).ok()).context("no number");
            let (offset, size) = (number("offset")?, number("size")?);
            put(&part["url"], bytes.slice(offset..offset + size)).await?;
        }
        Ok(())
    }

    async fn call(
        &mut self,
        function: &str,
        method: Method,
        url: &str,
        key: &str,
        body: Option<Value>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method, url);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(function, request).await
    }

    async fn send(&mut self, function: &str, request: RequestBuilder) -> Result<Answer> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await?;
        ensure!(status.is_success() || status == 307, "{function}: {status} {}", String::from_utf8_lossy(&bytes));
        let sample = Sample::read(&headers, bytes.len());
        self.samples.add(function, sample);
        self.last.push((function.to_owned(), sample));
        let location = headers.get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { body: serde_json::from_slice(&bytes).unwrap_or_default(), location })
    }
}
