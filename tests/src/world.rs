//! A user, a miner and a chute, and the steps of a job's life.

use jobchute::Hotkey;
use local::Stack;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    answer::Answer,
    client::Client,
    engine::item,
    form::Form,
    stack::{invoke, stack},
};

/// What most tests need: nobody else's, so that tests can run side by side.
pub struct World {
    /// A user with an API key.
    pub user: Client,
    /// The user's id.
    pub user_id: String,
    /// The user's API key.
    pub key: String,
    /// A miner that signs with its hotkey.
    pub miner: Client,
    /// The miner's account.
    pub miner_id: String,
    /// The miner's hotkey.
    pub hotkey: Hotkey,
    /// A public chute of the user's with the job `train`.
    pub chute_id: String,
}

/// A chute as `put_chute` takes it, with the jobs `train` and `serve`, which opens a port and is tried three times.
pub fn chute(chute_id: &str, user_id: &str) -> Value {
    json!({
        "chute_id": chute_id, "user_id": user_id, "name": "trainer", "slug": "acme-trainer", "public": true,
        "version": "v1", "chutes_version": "0.3.1",
        "image": {"image_id": Uuid::nil(), "name": "trainer", "tag": "1.0", "public": true, "patch_version": "initial"},
        "node_selector": {"gpu_count": 1},
        "methods": [
            {"name": "train", "timeout": 3600, "upload": true},
            {"name": "serve", "retry": 2, "ports": [{"name": "ssh", "port": 2222, "proto": "tcp"}]},
        ],
    })
}

impl World {
    /// A new one.
    pub async fn new() -> Self {
        let (user_id, key) = Self::account(json!([])).await;
        let (miner_id, _) = Self::account(json!(["miner"])).await;
        let hotkey = Self::hotkey(&miner_id).await;
        let chute_id = Uuid::new_v4().to_string();
        Self::admin(json!({"command": "put_chute", "chute": chute(&chute_id, &user_id)})).await;
        Self {
            user: Client::with_key(key.clone()),
            user_id,
            key,
            miner: Client::with_hotkey(hotkey.clone()),
            miner_id,
            hotkey,
            chute_id,
        }
    }

    /// One administrator's command.
    pub async fn admin(command: Value) -> Value {
        invoke("admin", command).await.expect("the command succeeds")
    }

    /// What a command says that fails.
    pub async fn refused(command: Value) -> String {
        let error = invoke("admin", command.clone()).await.expect_err(&command.to_string()).to_string();
        let document = error.strip_prefix("admin: ").expect("an error of the function");
        let document: Value = serde_json::from_str(document).expect("an error document");
        text(&document["detail"])
    }

    /// A new account with these roles: its id and an API key.
    pub async fn account(roles: Value) -> (String, String) {
        let user = Self::admin(json!({"command": "create_user", "roles": roles})).await;
        let key = Self::admin(json!({"command": "create_key", "user_id": user["user_id"]})).await;
        (text(&user["user_id"]), text(&key["key"]))
    }

    /// A new hotkey that signs for this account.
    pub async fn hotkey(user_id: &str) -> Hotkey {
        let hotkey = Hotkey::generate();
        Self::admin(json!({"command": "register_hotkey", "user_id": user_id, "hotkey": hotkey.address})).await;
        hotkey
    }

    /// Another miner, with an account and a hotkey of its own.
    pub async fn another_miner() -> Client {
        let (user_id, _) = Self::account(json!(["miner"])).await;
        Client::with_hotkey(Self::hotkey(&user_id).await)
    }

    /// A pending job of `train`: its id.
    pub async fn create(&self) -> String {
        let job = self.user.post(&format!("/jobs/{}/train", self.chute_id), json!({"epochs": 3})).await.ok();
        text(&job["job_id"])
    }

    /// A running job: its id and the path, with token, of its own routes.
    pub async fn claimed(&self) -> Job {
        self.claim_with(&self.create().await, Value::Null).await
    }

    /// This job, claimed with this body.
    pub async fn claim_with(&self, job_id: &str, body: Value) -> Job {
        let assignment = self.miner.put(&format!("/jobs/{job_id}/claim"), body).await.ok();
        let url = text(&assignment["job_status_url"]);
        let path = url.strip_prefix(stack().url()).expect("an address of this API").to_owned();
        Job::new(job_id.to_owned(), path, self.user.clone())
    }

    /// A job that has reported success with these files, and the report's answer.
    pub async fn finished(&self, filenames: &[&str]) -> (Job, Value) {
        let job = self.claimed().await;
        let report = json!({"status": "complete", "result": {"loss": 0.5}, "output_filenames": filenames});
        let answer = job.finish(report).await.ok();
        (job, answer)
    }

    /// A terminal job with these files and their content.
    pub async fn completed(&self, files: &[(&str, &[u8])]) -> (Job, Value) {
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let (job, answer) = self.finished(&names).await;
        for (name, content) in files {
            let url = answer["output_storage_urls"][name].as_str().expect("a URL for every file");
            assert_eq!(upload(url, content).await.status, 200);
        }
        let answer = job.complete().await.ok();
        (job, answer)
    }

    /// The job as its owner sees it.
    pub async fn get(&self, job_id: &str) -> Value {
        self.user.get(&format!("/jobs/{job_id}")).await.ok()
    }
}

/// A claimed job, as the miner knows it.
pub struct Job {
    /// The job's id.
    pub job_id: String,
    /// `/jobs/{job_id}?token=…`
    pub path: String,
    /// The job token.
    pub token: String,
    /// The user whose job it is.
    pub owner: Client,
}

impl Job {
    fn new(job_id: String, path: String, owner: Client) -> Self {
        let token = path.split_once("?token=").expect("a token").1.to_owned();
        Self { job_id, path, token, owner }
    }

    /// A pending job of a stack that is the test's own: its id, and the API key of its user, who is a miner too.
    pub async fn created_on(stack: &Stack) -> (String, String) {
        let admin = async |command| stack.invoke("admin", command).await.expect("the command succeeds");
        let user_id = &admin(json!({"command": "create_user", "roles": ["miner"]})).await["user_id"];
        let key = &admin(json!({"command": "create_key", "user_id": user_id})).await["key"];
        let chute_id = Uuid::new_v4().to_string();
        admin(json!({"command": "put_chute", "chute": chute(&chute_id, &text(user_id))})).await;
        let client = Client::with_key(text(key));
        let job = client.post(&format!("{}/jobs/{chute_id}/train", stack.url()), json!({})).await.ok();
        (text(&job["job_id"]), text(key))
    }

    /// A running job of such a stack; its path is a whole URL.
    pub async fn on(stack: &Stack) -> Self {
        let (job_id, key) = Self::created_on(stack).await;
        let client = Client::with_key(key);
        let claim = format!("{}/jobs/{job_id}/claim", stack.url());
        let assignment = client.put(&claim, Value::Null).await.ok();
        Self::new(job_id, text(&assignment["job_status_url"]), client)
    }

    /// The same job, as somebody with another token sees it.
    pub fn with_token(&self, token: &str) -> Self {
        let path = self.path.replace(&self.token, token);
        Self { job_id: self.job_id.clone(), path, token: token.to_owned(), owner: self.owner.clone() }
    }

    /// Reports.
    pub async fn finish(&self, report: Value) -> Answer {
        Client::nobody().post(&self.path, report).await
    }

    /// Completes.
    pub async fn complete(&self) -> Answer {
        Client::nobody().put(&self.path, Value::Null).await
    }

    /// Sends a small file through the API.
    pub async fn upload(&self, path: &str, content: &[u8]) -> Answer {
        self.send_form(Form::of(path, content)).await
    }

    /// Sends any form.
    pub async fn send_form(&self, body: Vec<u8>) -> Answer {
        let headers = [("content-type", Form::CONTENT_TYPE)];
        Client::nobody().send(reqwest::Method::PUT, &self.upload_path(), body, &headers).await
    }

    /// `/jobs/{job_id}/upload?token=…`
    pub fn upload_path(&self) -> String {
        self.path.replace("?token=", "/upload?token=")
    }

    /// A fresh upload target for one file.
    pub async fn renew(&self, path: &str) -> Value {
        Client::nobody().put(&self.upload_path(), json!({"path": path})).await.ok()
    }

    /// A file as its owner downloads it.
    pub async fn download(&self, filename: &str) -> Answer {
        let file_id = Uuid::new_v5(&Uuid::try_parse(&self.job_id).expect("an id"), filename.as_bytes());
        let route = self.path.split('?').next().expect("a path");
        let found = self.owner.get(&format!("{route}/download/{file_id}")).await;
        assert_eq!(found.status, 307, "{filename}: {}", found.body);
        Client::nobody().get(found.header("location").expect("a place")).await
    }

    /// What the table holds of it.
    pub async fn stored(&self) -> Value {
        item(stack(), "JobsTable", "job_id", &self.job_id).await
    }
}

/// PUTs bytes to a presigned URL.
pub async fn upload(url: &str, content: &[u8]) -> Answer {
    Client::nobody().send(reqwest::Method::PUT, url, content.to_vec(), &[]).await
}

/// PUTs bytes where an entry of `uploads` says, with its headers. The length that is sent is the true one.
pub async fn upload_to(target: &Value, content: &[u8]) -> Answer {
    let headers = target["headers"].as_object().expect("headers").iter().filter(|(name, _)| *name != "content-length");
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), text(value))).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::nobody().send(reqwest::Method::PUT, &text(&target["url"]), content.to_vec(), &headers).await
}

/// A JSON string's text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
