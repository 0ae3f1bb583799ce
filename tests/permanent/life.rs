//! Lives of jobs on a server that is killed: whoever gets no answer asks again, and whatever was answered has to hold.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Answer, Client, text};
use tokio::sync::watch;
use uuid::Uuid;

use crate::server::Machine;

/// S3's smallest part.
const PART: usize = 5 << 20;
/// Answers that say "later" before a caller gives up.
const TRIES: usize = 200;

/// Who lives jobs, and knows what was answered.
pub(crate) struct Owner<'a> {
    machine: &'a Machine,
    user: Client,
    chute_id: String,
    /// Where the ends of jobs are told.
    webhook: Option<String>,
    /// How many requests were answered, all together.
    answered: watch::Sender<u64>,
}

/// What a job has to be, now and later.
#[derive(Debug)]
pub(crate) struct Lived {
    pub(crate) job_id: String,
    arguments: Value,
    result: Value,
    /// As it was declared.
    input: Value,
    files: Vec<(&'static str, Vec<u8>)>,
    log: Vec<u8>,
}

impl<'a> Owner<'a> {
    /// A new one, with a chute.
    pub(crate) async fn new(machine: &'a Machine, webhook: Option<String>) -> Self {
        let (user_id, user) = machine.account().await;
        let chute_id = Uuid::new_v4().to_string();
        machine.admin(json!({"command": "put_chute", "chute": tests::chute(&chute_id, &user_id)})).await;
        Self { machine, user, chute_id, webhook, answered: watch::Sender::new(0) }
    }

    /// Counts the requests that were answered.
    pub(crate) fn answered(&self) -> watch::Receiver<u64> {
        self.answered.subscribe()
    }

    /// Asks until there is an answer: after a connection that was cut, once the next server is there. "Later" is no answer.
    async fn ask(&self, client: &Client, method: Method, url: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", self.machine.url()) };
        let mut starts = self.machine.starts();
        for _ in 0..TRIES {
            let start = *starts.borrow_and_update();
            match client.try_send(method.clone(), &url, body.to_vec(), headers).await {
                Ok(answer) if answer.status < 500 => {
                    self.answered.send_modify(|answered| *answered += 1);
                    return answer;
                }
                Ok(_) => {}
                Err(_) => {
                    starts.wait_for(|starts| *starts > start).await.unwrap();
                }
            }
        }
        panic!("{method} {url} has no answer")
    }

    async fn json(&self, client: &Client, method: Method, url: &str, body: Value) -> Value {
        let headers = [("content-type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.ask(client, method, url, &body, &headers).await.ok()
    }

    /// PUTs bytes where an entry of `uploads` says.
    async fn put(&self, target: &Value, bytes: &[u8]) {
        let headers = target["headers"].as_object().unwrap().iter().filter(|(name, _)| *name != "content-length");
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let parts = target["parts"].as_array().cloned().unwrap_or_default();
        if parts.is_empty() {
            let stored = self.ask(&Client::nobody(), Method::PUT, &text(&target["url"]), bytes, &headers).await;
            // What is written once was written, if the answer was lost.
            assert!([200, 412].contains(&stored.status), "{}", stored.body);
        }
        for part in parts {
            let from = usize::try_from(part["offset"].as_u64().unwrap()).unwrap();
            let to = from + usize::try_from(part["size"].as_u64().unwrap()).unwrap();
            let url = text(&part["url"]);
            let stored = self.ask(&Client::nobody(), Method::PUT, &url, &bytes[from..to], &headers).await;
            assert_eq!(stored.status, 200, "{}", stored.body);
        }
    }

    /// A whole life: an input, a job, its claim, a chunk of its log, its report, its files (one of them in parts, if `large`), its end.
    pub(crate) async fn live(&self, large: bool) -> Lived {
        let nobody = Client::nobody();
        let input = bytes(3000);
        let declared =
            json!({"filename": "in.bin", "size": input.len(), "sha256": hex::encode(Sha256::digest(&input))});
        let place = self.json(&self.user, Method::POST, "/inputs", declared.clone()).await;
        self.put(&place["upload"], &input).await;

        let arguments = json!({"scene": place["uri"], "seed": Uuid::new_v4(), "_disk_gb": 20});
        let webhook = self.webhook.as_ref().map(|url| format!("?webhook={url}")).unwrap_or_default();
        let key = Uuid::new_v4().to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let create = format!("/jobs/{}/train{webhook}", self.chute_id);
        let body = arguments.to_string();
        let job = self.ask(&self.user, Method::POST, &create, body.as_bytes(), &headers).await.ok();
        let job_id = text(&job["job_id"]);

        let claim = json!({"worker": key[..8]});
        let claimed = self.json(&self.user, Method::PUT, &format!("/jobs/{job_id}/claim"), claim).await;
        let url = text(&claimed["job_status_url"]);
        let found = self.ask(&nobody, Method::GET, &text(&claimed["job_data"]["scene"]), b"", &[]).await;
        let found = self.ask(&nobody, Method::GET, found.header("location").unwrap(), b"", &[]).await;
        assert_eq!((found.status, &found.bytes), (200, &input), "an upload that was answered is gone");
        let log = bytes(200);
        let beat = url.replace("?token=", "/heartbeat?token=");
        let beat = self.json(&nobody, Method::PUT, &beat, json!({"progress": 0.5, "log_bytes": log.len()})).await;
        self.put(&beat["log"], &log).await;

        let mut files = vec![("a.bin", bytes(5000)), ("b/ü.txt", bytes(10))];
        let mut output_files: Vec<Value> =
            files.iter().map(|(name, content)| json!({"filename": name, "size": content.len()})).collect();
        if large {
            files.push(("large.bin", bytes(PART + 1000)));
            output_files.push(json!({"filename": "large.bin", "size": PART + 1000, "part_size": PART}));
        }
        let result = json!({"loss": 0.5, "of": key});
        let report = json!({"status": "complete", "result": result, "output_files": output_files});
        let report = self.json(&nobody, Method::POST, &url, report).await;
        for (name, content) in &files {
            let target = report["uploads"].as_array().unwrap().iter().find(|target| target["filename"] == *name);
            self.put(target.unwrap(), content).await;
        }
        let done = self.json(&nobody, Method::PUT, &url, Value::Null).await;
        assert_eq!(done["status"], "complete", "an upload that was answered is gone: {done}");
        Lived { job_id, arguments, result, input: declared, files, log }
    }

    /// Asks for one more job, and takes any answer.
    pub(crate) async fn try_create(&self) -> Answer {
        self.user.post(&format!("{}/jobs/{}/train", self.machine.url(), self.chute_id), json!({})).await
    }

    /// A job whose miner has reported it with one file, which it has not sent yet: where it completes the job, and where the file goes.
    pub(crate) async fn reported(&self) -> (String, String) {
        let job_id = text(&self.try_create().await.ok()["job_id"]);
        let claimed = self.json(&self.user, Method::PUT, &format!("/jobs/{job_id}/claim"), json!({})).await;
        let url = text(&claimed["job_status_url"]);
        let report = json!({"status": "complete", "output_filenames": ["a"]});
        let report = self.json(&Client::nobody(), Method::POST, &url, report).await;
        (url, text(&report["output_storage_urls"]["a"]))
    }

    /// The same as [`Owner::check`] of a job that may not have come to its end, or not have been there yet, at the moment that is left.
    pub(crate) async fn check_if_complete(&self, lived: &Lived, url: &str) {
        let job = self.user.get(&format!("{url}/jobs/{}", lived.job_id)).await;
        if job.status != 404 && job.ok()["status"] == "complete" {
            self.check(lived, url).await;
        }
    }

    /// Asserts that everything of a job is as it was answered, on the server at `url`.
    pub(crate) async fn check(&self, lived: &Lived, url: &str) {
        let route = format!("{url}/jobs/{}", lived.job_id);
        let job = self.user.get(&route).await.ok();
        assert_eq!(
            (&job["status"], &job["job_args"], &job["result"]),
            (&json!("complete"), &lived.arguments, &lived.result)
        );
        for (name, content) in &lived.files {
            let file_id = Uuid::new_v5(&Uuid::try_parse(&lived.job_id).unwrap(), name.as_bytes());
            let found = self.user.get(&format!("{route}/download/{file_id}")).await;
            assert_eq!(fetched(&found).await, *content, "{name} of {}", lived.job_id);
        }
        let logs = self.user.get(&format!("{route}/logs")).await.ok();
        let mut chunks = Vec::new();
        for chunk in logs["chunks"].as_array().unwrap() {
            chunks.push(Client::nobody().get(&text(&chunk["url"])).await.bytes);
        }
        assert!(chunks.contains(&lived.log), "the log of {}", lived.job_id);
        // The same file is asked for no more, as long as it is there.
        let place = self.user.post(&format!("{url}/inputs"), lived.input.clone()).await.ok();
        assert_eq!((&place["uri"], &place["upload"]), (&lived.arguments["scene"], &Value::Null));
    }
}

/// What is where a redirect leads.
async fn fetched(found: &Answer) -> Vec<u8> {
    assert_eq!(found.status, 307, "{}", found.body);
    Client::nobody().get(found.header("location").unwrap()).await.bytes
}

/// Bytes that are nobody else's.
fn bytes(length: usize) -> Vec<u8> {
    Uuid::new_v4().into_bytes().into_iter().cycle().take(length).collect()
}
