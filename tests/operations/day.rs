//! A day in the life of a deployment: every function, called in every way that needs a right, by every kind of caller, with a
//! stack of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::Algorithm;
use local::{EngineCall, Fault, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::time::Timestamp;
use tests::{Answer, Client, Form, Hotkey, chute, job_token_keys, remove_objects, s3, signed, text, upload, upload_to};
use tokio::{runtime::Handle, task::block_in_place};
use uuid::Uuid;

/// A secret that users' JWTs are signed with: 32 bytes, as in [`Day::begin`]'s JWKS.
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A deployment with a user and a miner, both with an API key and a hotkey, and a chute.
pub(crate) struct Day {
    pub(crate) stack: Stack,
    pub(crate) user_id: String,
    pub(crate) key: String,
    jwt: String,
    hotkey: Hotkey,
    pub(crate) chute_id: String,
    /// Every token, key and signature that was used.
    pub(crate) secrets: Vec<String>,
}

/// A claimed job, and the URL, with token, of its own routes.
pub(crate) struct Claimed {
    pub(crate) job_id: String,
    pub(crate) url: String,
}

impl Claimed {
    pub(crate) fn route(&self, name: &str) -> String {
        self.url.replace("?token=", &format!("/{name}?token="))
    }
}

impl Day {
    /// Files of more than 16 bytes are sent in parts.
    pub(crate) async fn begin() -> Self {
        let jwks = json!({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256", "use": "sig",
            "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]});
        let stack = Stack::builder()
            .parameter("UserJwtKeys", jwks.to_string())
            .parameter("MultipartThresholdBytes", "16")
            .parameter("EventBusName", "default")
            .start()
            .await
            .unwrap();
        let admin = async |command| stack.invoke("admin", command).await.unwrap();
        let user_id = text(&admin(json!({"command": "create_user", "roles": ["miner"]})).await["user_id"]);
        admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": 1000}})).await;
        let key = text(&admin(json!({"command": "create_key", "user_id": user_id})).await["key"]);
        let hotkey = Hotkey::generate();
        admin(json!({"command": "register_hotkey", "user_id": user_id, "hotkey": hotkey.address})).await;
        let chute_id = Uuid::new_v4().to_string();
        admin(json!({"command": "put_chute", "chute": chute(&chute_id, &user_id)})).await;

        let claims = json!({"sub": user_id, "exp": stack.clock().now() / 1000 + 3600});
        let jwt = signed(Algorithm::HS256, &json!({"alg": "HS256", "kid": "k"}), &claims, &json!(JWT_SECRET));
        let job_keys = job_token_keys(&stack).await;
        let mut secrets: Vec<_> = job_keys.as_object().unwrap().iter().filter(|(kid, _)| *kid != "current").collect();
        let mut secrets: Vec<_> = secrets.drain(..).map(|(_, secret)| text(secret)).collect();
        secrets.extend(
            [local::SECRET_ACCESS_KEY, JWT_SECRET, &key, key.rsplit('.').next().unwrap(), &jwt].map(str::to_owned),
        );
        Self { stack, user_id, key, jwt, hotkey, chute_id, secrets }
    }

    /// The whole of it.
    pub(crate) async fn live(&mut self) {
        self.create_in_every_way().await;
        let done = self.reported("train").await;
        self.lose_the_answer_of_assembling("complete-job");
        assert_eq!(Client::nobody().put(&done.url, Value::Null).await.ok()["status"], "complete");
        self.download(&done.job_id).await;
        // Assembled by nobody: the upload is aborted while complete looks at it.
        let torn = self.reported_with_one_to_assemble().await;
        self.abort_while_assembling("complete-job");
        assert_eq!(Client::nobody().put(&torn.url, Value::Null).await.status, 503);
        assert_eq!(Client::nobody().put(&torn.url, Value::Null).await.ok()["status"], "partial_failure");
        let given_back = self.claimed("train").await;
        Client::nobody().put(&given_back.route("release"), json!({"reason": "spot shutdown"})).await.ok();
        // So many files are listed.
        let many = self.claimed("train").await;
        let names: Vec<_> = (0..13).map(|number| number.to_string()).collect();
        Client::nobody().post(&many.url, json!({"status": "complete", "output_filenames": names})).await.ok();
        assert_eq!(Client::nobody().put(&many.url, Value::Null).await.ok()["status"], "partial_failure");
        self.delete_with_a_signature(&done.job_id).await;
        let unfinished = self.reported("train").await;
        self.delete_with_a_signature(&unfinished.job_id).await;
        let unwanted = self.claimed("train").await;
        let told = Client::nobody().put(&unwanted.route("heartbeat"), json!({"log_bytes": 5})).await.ok();
        assert_eq!(upload_to(&told["log"], b"hello").await.status, 200);
        let logs = self.user().get(&self.at(&format!("/jobs/{}/logs", unwanted.job_id))).await.ok();
        assert_eq!(Client::nobody().get(&text(&logs["chunks"][0]["url"])).await.status, 200);
        self.sign(Method::PUT, &format!("/jobs/{}/cancel", unwanted.job_id), b"").await.ok();
        self.user().get(&self.at("/usage")).await.ok();
        self.give_inputs().await;
        self.retry().await;
        self.administer().await;
        self.lose_miners().await;
        self.carry_much().await;
        self.take_what_is_next().await;
        self.retry_late().await;
        self.tell().await;
        self.run_few_at_once().await;
    }

    /// With an API key, a JWT and a hotkey's signature; with an Idempotency-Key, twice; over the quota.
    async fn create_in_every_way(&mut self) {
        let path = format!("/jobs/{}/train", self.chute_id);
        let bearer = format!("Bearer {}", self.jwt);
        let again = [("idempotency-key", "once"), ("authorization", bearer.as_str())];
        for _ in 0..2 {
            Client::nobody().send(Method::POST, &self.at(&path), b"{}".to_vec(), &again).await.ok();
        }
        let job_id = text(&self.sign(Method::POST, &path, b"{}").await.ok()["job_id"]);
        let list = format!("/jobs/claimable?chute_id={}", self.chute_id);
        assert_eq!(self.sign(Method::GET, &list, b"").await.ok()["jobs"].as_array().unwrap().len(), 2);
        for list in [self.sign(Method::GET, "/jobs", b"").await, self.user().get(&self.at("/jobs")).await] {
            assert_eq!(list.ok()["jobs"].as_array().unwrap().len(), 2);
        }
        let job = self.claim(&job_id).await;
        let done = Client::nobody().post(&job.url, json!({"status": "cancelled"})).await.ok();
        assert_eq!(done["status"], "cancelled");
    }

    /// A job of `method`, created by key and claimed by signature.
    pub(crate) async fn claimed(&mut self, method: &str) -> Claimed {
        let job = self.user().post(&self.at(&format!("/jobs/{}/{method}", self.chute_id)), json!({})).await.ok();
        self.claim(&text(&job["job_id"])).await
    }

    /// This job, claimed by signature and held by a heartbeat.
    pub(crate) async fn claim(&mut self, job_id: &str) -> Claimed {
        let ports = json!({"port_mappings": [{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]});
        let answer = self.sign(Method::PUT, &format!("/jobs/{job_id}/claim"), ports.to_string().as_bytes()).await;
        let job = Claimed { job_id: job_id.to_owned(), url: text(&answer.ok()["job_status_url"]) };
        self.remember_token(&job.url);
        Client::nobody().put(&job.route("heartbeat"), json!({"progress": 0.5})).await.ok();
        job
    }

    /// A job whose files are all there but not yet checked.
    pub(crate) async fn reported(&mut self, method: &str) -> Claimed {
        let job = self.claimed(method).await;
        self.report(&job).await;
        job
    }

    /// Reports success and sends the files: two envelopes, one of which S3 copies from, a file in parts, one
    /// that came through the API and one that was sent twice.
    pub(crate) async fn report(&mut self, job: &Claimed) {
        self.report_with(job, &["envelope", "large"]).await;
    }

    /// Such a job, with no envelope that S3 copies from: one file is assembled, and no other.
    async fn reported_with_one_to_assemble(&mut self) -> Claimed {
        let job = self.claimed("train").await;
        self.report_with(&job, &["envelope"]).await;
        job
    }

    async fn report_with(&mut self, job: &Claimed, envelopes: &[&str]) {
        let names: Vec<_> = envelopes.iter().chain(&["small", "twice"]).collect();
        let report = json!({
            "status": "complete", "result": {"loss": 0.5}, "output_filenames": names,
            "output_files": [{"filename": "in parts", "size": 20, "sha256": "0".repeat(64)}],
        });
        Client::nobody().post(&job.url, report.clone()).await.ok();
        // Again: the upload in parts that was begun is found.
        let answer = Client::nobody().post(&job.url, report).await.ok();
        let other = json!({"path": "in parts", "sha256": hex::encode(Sha256::digest([1; 20]))});
        Client::nobody().put(&job.route("upload"), other).await.ok();
        // Again: its parts are asked for.
        let fresh = Client::nobody().put(&job.route("upload"), json!({"path": "in parts"})).await.ok();
        for target in answer["uploads"].as_array().unwrap().iter().chain([&fresh]) {
            self.remember_token(&text(&target["renew_url"]));
            let urls =
                target["parts"].as_array().into_iter().flatten().map(|part| &part["url"]).chain([&target["url"]]);
            self.remember_signatures(urls);
        }
        let url = |name: &str| text(&answer["output_storage_urls"][name]);
        let envelope = |content: &[u8]| Form::default().file("text/plain", content).path("x").end();
        let kind = [("content-type", Form::CONTENT_TYPE)];
        for name in envelopes {
            let body = if *name == "large" { envelope(&[7; (5 << 20) + 1]) } else { envelope(b"hello") };
            assert_eq!(Client::nobody().send(Method::PUT, &url(name), body, &kind).await.status, 200);
        }
        assert_eq!(upload(&text(&fresh["parts"][0]["url"]), &[1; 20]).await.status, 200);
        for content in [b"first", b"again"] {
            assert_eq!(upload(&url("twice"), content).await.status, 200);
        }
        let form = Form::of("small", b"hello");
        let small = Client::nobody().send(Method::PUT, &job.route("upload"), form, &kind).await.ok();
        self.download_file(&job.job_id, &text(&small["file_id"])).await;
        let fresh = Client::nobody().put(&job.route("upload"), json!({"path": "twice"})).await.ok();
        self.remember_signatures([&fresh["url"]]);
        assert_eq!(upload_to(&fresh, b"last").await.status, 200);
    }

    async fn download(&mut self, job_id: &str) {
        let job = self.user().get(&self.at(&format!("/jobs/{job_id}"))).await.ok();
        for file_id in job["output_files"].as_object().unwrap().keys() {
            self.download_file(job_id, file_id).await;
        }
    }

    async fn download_file(&mut self, job_id: &str, file_id: &str) {
        let answer = self.user().get(&self.at(&format!("/jobs/{job_id}/download/{file_id}"))).await;
        let url = answer.header("location").expect("a presigned URL").to_owned();
        self.remember_signatures([&url.as_str().into()]);
        assert_eq!(Client::nobody().get(&url).await.status, 200);
    }

    /// A job that failed, with a file and a large result; something else of it is on its way.
    async fn retry(&mut self) {
        let failed = self.claimed("train").await;
        let report = json!({"status": "error", "result": "x".repeat(10_000), "output_filenames": ["log"]});
        let answer = Client::nobody().post(&failed.url, report).await.ok();
        assert_eq!(upload(&text(&answer["output_storage_urls"]["log"]), b"hello").await.status, 200);
        assert_eq!(Client::nobody().put(&failed.url, Value::Null).await.ok()["status"], "error");
        self.leave_behind(&failed.job_id).await;
        let path = format!("/jobs/{}/retry", failed.job_id);
        assert_eq!(self.sign(Method::PUT, &path, b"").await.ok()["status"], "pending");
        self.delete_with_a_signature(&failed.job_id).await;
    }

    async fn delete_with_a_signature(&mut self, job_id: &str) {
        self.sign(Method::DELETE, &format!("/jobs/{job_id}"), b"").await.ok();
    }

    /// Inputs in one piece and in parts, and a job that names so many that their list is stored apart.
    async fn give_inputs(&mut self) {
        let (user, inputs) = (self.user(), self.at("/inputs"));
        let declared = |name: String, content: &[u8]| json!({"filename": name, "size": content.len(), "sha256": hex::encode(Sha256::digest(content))});
        // Each is begun twice, and made a file by another function.
        let other = declared("in parts, too".to_owned(), &[8; 20]);
        let input = user.post(&inputs, other.clone()).await.ok();
        self.remember_signatures([&input["upload"]["parts"][0]["url"]]);
        self.begin_again(&input).await;
        assert_eq!(upload(&text(&input["upload"]["parts"][0]["url"]), &[8; 20]).await.status, 200);
        assert_eq!(user.post(&inputs, other).await.ok()["upload"], Value::Null);
        let large = declared("in parts".to_owned(), &[7; 20]);
        let first = self.sign(Method::POST, "/inputs", large.to_string().as_bytes()).await.ok();
        let again = user.post(&inputs, large).await.ok();
        self.remember_signatures([&first["upload"]["parts"][0]["url"], &again["upload"]["parts"][0]["url"]]);
        assert_eq!(upload(&text(&again["upload"]["parts"][0]["url"]), &[7; 20]).await.status, 200);
        self.begin_again(&first).await;
        let path = format!("/inputs/{}", text(&first["input_id"]));
        assert_eq!(self.sign(Method::PUT, &path, b"").await.ok()["upload"], Value::Null);
        let (mut uris, mut half) = (vec![first["uri"].clone()], Value::Null);
        for number in 0..8 {
            let file = declared(number.to_string(), number.to_string().as_bytes());
            let input = user.post(&inputs, file).await.ok();
            self.remember_signatures([&input["upload"]["url"]]);
            half = input["uri"].clone();
            if number < 7 {
                assert_eq!(upload_to(&input["upload"], number.to_string().as_bytes()).await.status, 200);
                uris.push(input["uri"].clone());
            }
        }
        let create = self.at(&format!("/jobs/{}/train", self.chute_id));
        assert_eq!(user.post(&create, json!({"a": half})).await.status, 422);
        for uris in [&uris[..1], &uris[..]] {
            let job_id = text(&user.post(&create, json!({"a": uris})).await.ok()["job_id"]);
            let claimed = self.sign(Method::PUT, &format!("/jobs/{job_id}/claim"), b"").await.ok();
            let url = text(&claimed["job_data"]["a"][0]);
            self.remember_token(&text(&claimed["job_status_url"]));
            self.remember_token(&url);
            let found = Client::nobody().get(&url).await;
            let file = found.header("location").expect("a presigned URL").to_owned();
            self.remember_signatures([&file.as_str().into()]);
            assert_eq!(Client::nobody().get(&file).await.status, 200);
            // Of what is in the item nothing is lost with it.
            self.remove(&job_id).await;
            let status = if uris.len() == 1 { 307 } else { 500 };
            assert_eq!(Client::nobody().get(&url).await.status, status);
        }
    }

    /// Begins another upload of an input in parts.
    async fn begin_again(&self, input: &Value) {
        let (client, bucket) = (s3(&self.stack), self.stack.resource("OutputsBucket").unwrap());
        let name = text(&input["upload"]["filename"]);
        let key = format!("inputs/{}/{}/{name}", self.user_id, text(&input["input_id"]));
        client.create_multipart_upload().bucket(bucket).key(&key).send().await.unwrap();
    }

    /// Hours in which miners die, at every stage, and nobody but the reaper is awake.
    async fn lose_miners(&mut self) {
        // `serve` is tried three times, `train` once.
        let (again, gone) = (self.claimed("serve").await, self.claimed("train").await);
        let reported = self.reported("train").await;
        let torn = self.reported("train").await;
        let deleted = self.reported("train").await;
        self.user().delete(&self.at(&format!("/jobs/{}", deleted.job_id))).await.ok();
        assert_eq!(Client::nobody().put(&deleted.route("heartbeat"), json!({})).await.status, 404);
        // A part that was under way when the job was deleted, and a file.
        self.leave_behind(&deleted.job_id).await;
        self.stack.clock().advance(Duration::from_secs(2 * 3600 + 60));
        self.lose_the_answer_of_assembling("reap-jobs");
        self.stack.run_schedule("reap-jobs").await.unwrap();
        self.abort_while_assembling("reap-jobs");
        let late = self.reported_with_one_to_assemble().await;
        self.stack.clock().advance(Duration::from_secs(2 * 3600 + 60));
        for _ in 0..2 {
            self.stack.run_schedule("reap-jobs").await.unwrap();
            // What it could not look after was put off.
            self.stack.clock().advance(Duration::from_secs(60));
        }
        for (job, status) in [
            (&again, "pending"),
            (&gone, "timeout"),
            (&reported, "complete"),
            (&torn, "complete"),
            (&late, "partial_failure"),
        ] {
            let job = self.user().get(&self.at(&format!("/jobs/{}", job.job_id))).await.ok();
            assert_eq!(job["status"], status);
        }
    }

    /// Every kind of command that is not part of the beginning.
    async fn administer(&mut self) {
        let running = self.claimed("serve").await;
        let (by, job_id) = ("alice", &running.job_id);
        let other = self.admin(json!({"command": "create_user"})).await;
        let key = self.admin(json!({"command": "create_key", "user_id": other["user_id"]})).await;
        self.secrets.push(text(&key["key"]));
        for command in [
            json!({"command": "revoke_key", "by": by, "key_id": key["key_id"]}),
            json!({"command": "disable_user", "by": by, "user_id": other["user_id"]}),
            json!({"command": "list_users", "by": by}),
            json!({"command": "list_keys", "by": by, "user_id": self.user_id}),
            json!({"command": "list_jobs", "by": by, "user_id": self.user_id}),
            json!({"command": "list_jobs", "by": by, "chute_id": self.chute_id}),
            json!({"command": "cancel_job", "by": by, "job_id": job_id}),
            json!({"command": "delete_job", "by": by, "job_id": job_id}),
        ] {
            self.admin(command).await;
        }
    }

    pub(crate) async fn admin(&self, command: Value) -> Value {
        self.stack.invoke("admin", command).await.unwrap()
    }

    /// Jobs whose arguments, results and lists of files are stored apart, and somebody who is faster each time.
    async fn carry_much(&mut self) {
        let (user, nobody) = (self.user(), Client::nobody());
        let url = self.stack.url().to_owned();
        let route = |job_id: &str| format!("{url}/jobs/{job_id}");
        let create = format!("{url}/jobs/{}/serve", self.chute_id);
        let large = json!({"a": "x".repeat(10_000)}).to_string().into_bytes();
        let send = async |key: &'static str| {
            user.send(Method::POST, &create, large.clone(), &[("idempotency-key", key)]).await
        };
        self.while_it_puts("create-job", Method::POST, &create, json!({}), Some("faster"));
        assert_eq!(send("faster").await.status, 422);
        let (gone, much) = (send("gone").await.ok(), send("much").await.ok());
        assert_eq!(send("gone").await.ok(), gone);
        let (gone, much) = (&text(&gone["job_id"]), &text(&much["job_id"]));
        user.get(&route(much)).await.ok();

        // So late that the arguments are put anew.
        self.stack.clock().advance(Duration::from_secs(25 * 86_400));
        let claim = |worker: &str| {
            let ports = json!([{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]);
            json!({"worker": worker, "port_mappings": ports})
        };
        let claimed = format!("{}/claim", route(much));
        self.while_it_puts("claim-job", Method::PUT, &claimed, claim("faster"), None);
        assert_eq!(user.put(&claimed, claim("slower")).await.status, 409);
        let miner = text(&user.put(&claimed, claim("faster")).await.ok()["job_status_url"]);
        self.remember_token(&miner);
        self.remove(gone).await;
        assert_eq!(user.get(&route(gone)).await.status, 500);
        assert_eq!(send("gone").await.status, 500);
        assert_eq!(user.put(&format!("{}/claim", route(gone)), claim("late")).await.status, 500);

        let names: Vec<_> = (0..200).map(|number| format!("frames/{number:04}.png")).collect();
        let report = |status: &str| json!({"status": status, "result": "x".repeat(10_000), "output_filenames": names});
        let too_much = json!({"status": "complete", "output_files": [{"filename": "a", "size": 1_u64 << 40}]});
        assert_eq!(nobody.post(&miner, too_much).await.status, 413);
        self.while_it_puts("finish-job", Method::POST, &miner, report("complete"), None);
        assert_eq!(nobody.post(&miner, report("error")).await.status, 400);
        nobody.post(&miner, report("complete")).await.ok();
        let upload = miner.replace("?token=", "/upload?token=");
        let declared = |number: usize| json!({"path": names[number], "size": 5});
        self.while_it_puts("upload-job-file", Method::PUT, &upload, declared(1), None);
        let target = nobody.put(&upload, declared(0)).await.ok();
        assert_eq!(upload_to(&target, b"hello").await.status, 200);
        let done = nobody.put(&miner, Value::Null).await.ok();
        let files = done["output_files"].as_object().unwrap().iter();
        let arrived: Vec<_> = files.filter(|(_, file)| file["uploaded"] == true).map(|(id, _)| id.clone()).collect();
        self.download_file(much, &arrived[0]).await;
        self.remove(much).await;
        assert_eq!(user.get(&format!("{}/download/{}", route(much), arrived[0])).await.status, 500);
    }

    /// A worker that takes what comes next of a chute of its own, with somebody who is faster, and asks again.
    async fn take_what_is_next(&mut self) {
        let (user, chute_id) = (self.user(), Uuid::new_v4().to_string());
        self.admin(json!({"command": "put_chute", "chute": chute(&chute_id, &self.user_id)})).await;
        let create = self.at(&format!("/jobs/{chute_id}/serve"));
        let create = async || text(&user.post(&create, json!({"a": "x".repeat(10_000)})).await.ok()["job_id"]);
        let first = create().await;
        // Of jobs of one moment nobody says which is first.
        self.stack.clock().advance(Duration::from_secs(1));
        let (_, _) = (create().await, create().await);
        // So late that the arguments are put anew.
        self.stack.clock().advance(Duration::from_secs(25 * 86_400));
        let next = format!("/jobs/claim?chute_id={chute_id}");
        let claim = |worker: &str| {
            let ports = json!([{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]);
            json!({"worker": worker, "port_mappings": ports})
        };
        let claimed = self.at(&format!("/jobs/{first}/claim"));
        self.while_it_puts("claim-next-job", Method::PUT, &claimed, claim("faster"), None);
        let mut given = vec![user.put(&self.at(&next), claim("slower")).await.ok()];
        for _ in 0..2 {
            given.push(self.sign(Method::PUT, &next, claim("signs").to_string().as_bytes()).await.ok());
        }
        assert_eq!(given[1], given[2]);
        given.iter().for_each(|given| self.remember_token(&text(&given["job_status_url"])));
        self.remove(&create().await).await;
        assert_eq!(user.put(&self.at(&next), claim("late")).await.status, 500);
    }

    /// A job whose arguments are put anew when it is tried again, and are gone after that.
    async fn retry_late(&mut self) {
        let user = self.user();
        let create = self.at(&format!("/jobs/{}/train", self.chute_id));
        let job_id = text(&user.post(&create, json!({"a": "x".repeat(10_000)})).await.ok()["job_id"]);
        let url = |route: &str| self.at(&format!("/jobs/{job_id}/{route}"));
        self.stack.clock().advance(Duration::from_secs(60 * 86_400));
        user.put(&url("cancel"), Value::Null).await.ok();
        user.put(&url("retry"), Value::Null).await.ok();
        user.put(&url("cancel"), Value::Null).await.ok();
        self.remove(&job_id).await;
        assert_eq!(user.put(&url("retry"), Value::Null).await.status, 409);
    }

    /// At most one at once: a claim that finds the row full tidies it.
    async fn run_few_at_once(&mut self) {
        self.admin(json!({"command": "set_running_limit", "user_id": self.user_id, "most": 1})).await;
        let (user, chute_id) = (self.user(), Uuid::new_v4().to_string());
        self.admin(json!({"command": "put_chute", "chute": chute(&chute_id, &self.user_id)})).await;
        let next = self.at(&format!("/jobs/claim?chute_id={chute_id}"));
        for by_id in [true, false, true, false] {
            let create = self.at(&format!("/jobs/{chute_id}/train"));
            let job_id = text(&user.post(&create, json!({})).await.ok()["job_id"]);
            let claim = if by_id { self.at(&format!("/jobs/{job_id}/claim")) } else { next.clone() };
            let url = text(&user.put(&claim, Value::Null).await.ok()["job_status_url"]);
            self.remember_token(&url);
            Client::nobody().post(&url, json!({"status": "error"})).await.ok();
        }
    }

    /// Webhooks of a server that nobody finds, and the secrets that sign them.
    async fn tell(&mut self) {
        let user = self.user();
        let create = self.at(&format!("/jobs/{}/train?webhook=https://nobody.invalid.example/", self.chute_id));
        let job_id = text(&user.post(&create, json!({})).await.ok()["job_id"]);
        let job = self.claim(&job_id).await;
        let report = json!({"status": "complete", "result": "x".repeat(10_000)});
        Client::nobody().post(&job.url, report).await.ok();
        let log = self.at(&format!("/jobs/{job_id}/webhook"));
        let tried = async |tries: usize| {
            while user.get(&log).await.ok()["deliveries"].as_array().unwrap().len() < tries {
                self.stack.events_at_rest().await;
            }
        };
        tried(2).await;
        self.stack.clock().advance(Duration::from_secs(600));
        assert_eq!(self.stack.run_schedule("reap-jobs").await.unwrap()["told"], 1);
        tried(3).await;
        // Its result is gone, which a function that may not list the bucket could not tell.
        self.remove(&job_id).await;
        self.sign(Method::PUT, &format!("/jobs/{job_id}/webhook"), b"").await.ok();
        self.stack.events_at_rest().await;

        // The delivery has made the first one. Somebody else's is made by whoever asks.
        let first = user.get(&self.at("/webhooks/secret")).await.ok();
        let second = self.sign(Method::PUT, "/webhooks/secret", b"").await.ok();
        self.secrets.extend([&first, &second].map(|secret| text(&secret["secret"])));
        for method in [Method::GET, Method::PUT] {
            let other = self.admin(json!({"command": "create_user"})).await;
            let key = text(&self.admin(json!({"command": "create_key", "user_id": other["user_id"]})).await["key"]);
            let made = Client::with_key(key).send(method, &self.at("/webhooks/secret"), Vec::new(), &[]).await.ok();
            self.secrets.push(text(&made["secret"]));
        }
    }

    /// While this function puts its next payload, another request of the user's is faster.
    fn while_it_puts(&self, function: &'static str, method: Method, url: &str, body: Value, key: Option<&'static str>) {
        let (user, url, body) = (self.user(), url.to_owned(), body.to_string().into_bytes());
        self.once(function, "PutObject", move || {
            let key: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
            let kind = [("content-type", "application/json")];
            let headers = [&kind[..], &key].concat();
            let other = user.send(method.clone(), &url, body.clone(), &headers);
            block_in_place(|| Handle::current().block_on(other)).ok();
            Fault::None
        });
    }

    /// Removes what is stored apart of a job.
    async fn remove(&self, job_id: &str) {
        remove_objects(&self.stack, "jobs/", &format!("{job_id}/payloads/")).await;
    }

    async fn leave_behind(&self, job_id: &str) {
        let (client, bucket) = (s3(&self.stack), self.stack.resource("OutputsBucket").unwrap());
        let today = Timestamp::from_millis(self.stack.clock().now()).date();
        let key = format!("jobs/{}/{today}/{job_id}/outputs/late", self.chute_id);
        client.create_multipart_upload().bucket(bucket).key(&key).send().await.unwrap();
        client.put_object().bucket(bucket).key(&key).send().await.unwrap();
    }

    /// The next upload that this function assembles is assembled, and it is not told so.
    fn lose_the_answer_of_assembling(&self, function: &'static str) {
        self.once(function, "CompleteMultipartUpload", || Fault::FailAfter);
    }

    /// The next upload that this function assembles is gone.
    fn abort_while_assembling(&self, function: &'static str) {
        let (client, bucket) = (s3(&self.stack), self.stack.resource("OutputsBucket").unwrap().to_owned());
        self.once(function, "CompleteMultipartUpload", move || {
            let abort = async {
                let found = client.list_multipart_uploads().bucket(&bucket).send().await.unwrap();
                for upload in found.uploads() {
                    let abort = client.abort_multipart_upload().bucket(&bucket).key(upload.key().unwrap());
                    abort.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
                }
            };
            block_in_place(|| Handle::current().block_on(abort));
            Fault::None
        });
    }

    /// Asks `fault` what happens to the next call of this operation by this function.
    fn once(&self, function: &'static str, operation: &'static str, fault: impl Fn() -> Fault + Send + Sync + 'static) {
        let armed = Arc::new(AtomicBool::new(true));
        self.stack.set_faults(move |call: &EngineCall| {
            let is_meant = call.operation == operation && call.function.as_deref() == Some(function);
            if is_meant && armed.swap(false, Ordering::SeqCst) { fault() } else { Fault::None }
        });
    }

    /// A URL of this deployment.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.stack.url())
    }

    /// The user, with an API key.
    pub(crate) fn user(&self) -> Client {
        Client::with_key(self.key.clone())
    }

    /// A request that the hotkey signs, by this deployment's clock.
    pub(crate) async fn sign(&mut self, method: Method, path: &str, body: &[u8]) -> Answer {
        let nonce = (self.stack.clock().now() / 1000).to_string();
        let headers = self.hotkey.headers_at(&nonce, method.as_str(), path, body);
        self.secrets.push(headers[2].1.clone());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Client::nobody().send(method, &self.at(path), body.to_vec(), &headers).await
    }

    fn remember_token(&mut self, url: &str) {
        let token = url.split_once("?token=").expect("a token").1;
        self.secrets.extend([token.to_owned(), token.rsplit('.').next().unwrap().to_owned()]);
    }

    fn remember_signatures<'a>(&mut self, urls: impl IntoIterator<Item = &'a Value>) {
        for url in urls.into_iter().filter_map(Value::as_str) {
            for name in ["X-Amz-Signature=", "X-Amz-Security-Token="] {
                let value = url.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)).expect("a presigned URL");
                self.secrets.push(value.to_owned());
            }
        }
    }
}
