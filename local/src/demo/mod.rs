//! One whole job, from outside: a user creates it, a miner claims it, runs it and uploads its files straight to S3, and
//! the user downloads them.

mod client;

use anyhow::{Context, Result, ensure};
use jobchute::{Hotkey, Identity};
use local::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use client::{Answer, Client, Header};

/// What the demo's miner makes: a large file, and one whose name needs care.
fn outputs() -> [(&'static str, &'static str, Vec<u8>); 2] {
    let pixels = (0_u32..2 << 20).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    [
        ("frames.bin", "application/octet-stream", pixels),
        ("bericht/Übersicht.txt", "text/plain", b"42 frames\n".to_vec()),
    ]
}

struct Demo<'a> {
    client: Client,
    api: &'a str,
    aws: &'a str,
}

/// Accounts that the demo made, for the reader to go on with.
struct Seeded {
    chute: Uuid,
    user_key: String,
    miner_key: String,
    hotkey: Hotkey,
}

impl Seeded {
    /// The headers of the user, whose key says the same for every request.
    fn user(&self) -> Vec<Header<'static>> {
        Identity::Key(self.user_key.clone()).headers("", "", b"")
    }
}

/// Runs the demo; any step that does not go as the contract says is an error.
pub(crate) async fn run(stack: &Stack) -> Result<()> {
    let demo = Demo { client: Client::new()?, api: stack.url(), aws: stack.aws_url() };
    println!("\nAccounts and a chute, through the function `admin`, which only IAM opens:");
    let seeded = demo.seed().await?;
    println!("\nA job: the user creates it, the miner runs it and uploads to S3, the user downloads:");
    let job = demo.job(&seeded).await?;
    println!("\nA second job, deleted before anybody claims it:");
    demo.deleted_job(&seeded).await?;
    println!("\nThe files that were downloaded are those that were uploaded (SHA-256).");
    let pending = demo.pending(&seeded).await?;
    demo.print_curl(&seeded, &job, &pending);
    Ok(())
}

impl Demo<'_> {
    async fn seed(&self) -> Result<Seeded> {
        let id = |answer: &Value, field: &str| {
            answer[field].as_str().map(str::to_owned).with_context(|| format!("admin answered no {field}"))
        };
        let user = id(&self.admin(json!({"command": "create_user"})).await?, "user_id")?;
        let user_key = id(&self.admin(json!({"command": "create_key", "user_id": user})).await?, "key")?;
        let miner = id(&self.admin(json!({"command": "create_user", "roles": ["miner"]})).await?, "user_id")?;
        let miner_key = id(&self.admin(json!({"command": "create_key", "user_id": miner})).await?, "key")?;
        let hotkey = Hotkey::generate();
        self.admin(json!({"command": "register_hotkey", "user_id": miner, "hotkey": hotkey.address})).await?;
        let chute = Uuid::new_v4();
        self.admin(json!({"command": "put_chute", "chute": {
            "chute_id": chute,
            "user_id": user,
            "name": "renderer",
            "public": true,
            "version": "1",
            "shared_with": [],
            "methods": [{"name": "render", "timeout": 3600, "ports": [], "upload": true}],
        }}))
        .await?;
        Ok(Seeded { chute, user_key, miner_key, hotkey })
    }

    /// Creates, claims, finishes, uploads, completes and downloads a job; tells its id.
    async fn job(&self, seeded: &Seeded) -> Result<String> {
        let job = self.create(seeded).await?;

        let path = "/jobs/claimable";
        let url = format!("{}{path}?chute_id={}", self.api, seeded.chute);
        let claimable = self.get(&url, &seeded.hotkey.headers("GET", path, b""), 200).await?.json()?;
        let listed =
            claimable["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(|it| it["job_id"] == job.as_str()));
        ensure!(listed, "the job is not listed as claimable");

        let body = json!({"region": "local"}).to_string();
        let path = format!("/jobs/{job}/claim");
        let headers = [&seeded.hotkey.headers("PUT", &path, body.as_bytes())[..], &json_headers()].concat();
        let claim = self.client.send(Method::PUT, &format!("{}{path}", self.api), &headers, body, 200).await?;
        let claim = claim.json()?;
        let status_url = claim["job_status_url"].as_str().context("no job_status_url")?;

        let files = outputs();
        let declared: Vec<Value> = files
            .iter()
            .map(|(name, kind, bytes)| {
                json!({"filename": name, "size": bytes.len(), "sha256": sha256(bytes), "content_type": kind})
            })
            .collect();
        let report = json!({"status": "complete", "result": {"frames": 42}, "output_files": declared});
        let finished =
            self.client.send(Method::POST, status_url, &json_headers(), report.to_string(), 200).await?.json()?;
        for (name, _, bytes) in &files {
            let uploads = finished["uploads"].as_array().context("no uploads")?;
            let upload =
                uploads.iter().find(|upload| upload["filename"] == *name).context("no upload URL for a file")?;
            self.upload(upload, bytes).await?;
        }
        self.client.send(Method::PUT, status_url, &[], "", 200).await?;

        let user = seeded.user();
        let done = self.get(&format!("{}/jobs/{job}", self.api), &user, 200).await?.json()?;
        ensure!(done["status"] == "complete", "the job is {} instead of complete", done["status"]);
        for (name, _, bytes) in &files {
            let files = done["output_files"].as_object().context("no output_files")?;
            let (file, _) = files.iter().find(|(_, file)| file["filename"] == *name).context("a file is missing")?;
            let redirect = self.get(&format!("{}/jobs/{job}/download/{file}", self.api), &user, 307).await?;
            let location =
                redirect.headers.get("location").and_then(|value| value.to_str().ok()).context("no Location")?;
            let download = self.get(location, &[], 200).await?;
            ensure!(sha256(&download.body) == sha256(bytes), "{name} arrived changed");
        }
        Ok(job)
    }

    async fn deleted_job(&self, seeded: &Seeded) -> Result<()> {
        let url = format!("{}/jobs/{}", self.api, self.create(seeded).await?);
        let user = seeded.user();
        self.client.send(Method::DELETE, &url, &user, "", 200).await?;
        self.get(&url, &user, 404).await.map(drop)
    }

    /// A job for the reader to claim.
    async fn pending(&self, seeded: &Seeded) -> Result<String> {
        println!("\nA third one, for you to claim:");
        self.create(seeded).await
    }

    async fn create(&self, seeded: &Seeded) -> Result<String> {
        let url = format!("{}/jobs/{}/render", self.api, seeded.chute);
        let headers = [&seeded.user()[..], &json_headers()].concat();
        let job = self.client.send(Method::POST, &url, &headers, json!({"scene": "teapot"}).to_string(), 200).await?;
        job.json()?["job_id"].as_str().map(str::to_owned).context("no job_id")
    }

    /// One PUT, straight to S3, exactly as the upload target says.
    async fn upload(&self, upload: &Value, bytes: &[u8]) -> Result<Answer> {
        let url = upload["url"].as_str().context("no url")?;
        let headers = upload["headers"].as_object().context("no headers")?.iter();
        let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?.to_owned())));
        let headers: Vec<Header<'_>> = headers.collect();
        self.client.send(Method::PUT, url, &headers, bytes.to_vec(), 200).await
    }

    async fn admin(&self, command: Value) -> Result<Value> {
        let name = command["command"].as_str().unwrap_or_default();
        let url = format!("{}/2015-03-31/functions/admin/invocations#{name}", self.aws);
        let answer = self.client.send(Method::POST, &url, &[], command.to_string(), 200).await?;
        ensure!(!answer.headers.contains_key("x-amz-function-error"), "admin: {}", answer.json()?["errorMessage"]);
        answer.json()
    }

    async fn get(&self, url: &str, headers: &[Header<'_>], expected: u16) -> Result<Answer> {
        self.client.send(Method::GET, url, headers, "", expected).await
    }

    fn print_curl(&self, seeded: &Seeded, job: &str, pending: &str) {
        let Seeded { chute, user_key, miner_key, .. } = seeded;
        let api = self.api;
        println!(
            "
To go on by hand. As the user:

  curl -s {api}/jobs/{chute}/render -H 'Authorization: Bearer {user_key}' -H 'Content-Type: application/json' -d '{{\"scene\":\"teapot\"}}'
  curl -s {api}/jobs/{job} -H 'Authorization: Bearer {user_key}'

As the miner:

  curl -s '{api}/jobs/claimable?chute_id={chute}' -H 'Authorization: Bearer {miner_key}'
  curl -s -X PUT {api}/jobs/{pending}/claim -H 'Authorization: Bearer {miner_key}'

As the administrator:

  curl -s {}/2015-03-31/functions/admin/invocations -d '{{\"command\":\"create_user\",\"roles\":[\"miner\"]}}'",
            self.aws
        );
    }
}

fn json_headers() -> [Header<'static>; 1] {
    [("content-type", "application/json".to_owned())]
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
