//! A request is carried out and its reply is lost: the very same request, with the very same signature, is then answered as the
//! first would have been, and nothing happens twice.

use futures_util::future::join_all;
use local::Fault;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Form, Hotkey, Night, item, text};

/// A signed request that can be sent again as it is.
struct Signed {
    method: Method,
    url: String,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Signed {
    fn new(night: &Night, hotkey: &Hotkey, method: Method, path: &str, body: &[u8]) -> Self {
        let nonce = night.stack.clock().now() / 1000;
        let headers = hotkey.headers_at(nonce, method.as_str(), path, body).to_vec();
        Self { method, url: night.url(path), body: body.to_vec(), headers }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    async fn send(&self) -> Answer {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Client::nobody().send(self.method.clone(), &self.url, self.body.clone(), &headers).await
    }
}

/// Sends a request whose change is made while the function dies before it hears so, and then the same request twice.
async fn lose_reply<F: Future<Output = Answer>>(night: &Night, operation: &'static str, send: impl Fn() -> F) -> Value {
    night.fail_once(operation, Fault::KillAfter);
    assert!(send().await.is_failure(), "{operation}");
    let (second, third) = (send().await.ok(), send().await.ok());
    assert_eq!(second, third, "{operation}");
    second
}

#[tokio::test]
async fn a_lost_reply_is_given_when_the_request_is_repeated() {
    let night = Night::begin().await;
    let (owner, miner) = (night.hotkey(Some(&night.user_id)).await, night.hotkey(None).await);

    let path = format!("/jobs/{}/train", night.chute_id);
    let create = Signed::new(&night, &owner, Method::POST, &path, b"{}").with("idempotency-key", "k");
    let job = lose_reply(&night, "TransactWriteItems", || create.send()).await;
    let (job_id, day) = (text(&job["job_id"]), &text(&job["created_at"])[..10]);
    let usage = item(&night.stack, "RegistryTable", "pk", &format!("usage#{}#{day}", night.user_id)).await;
    assert_eq!(usage["total"], json!({"N": "1"}));

    let claim = Signed::new(&night, &miner, Method::PUT, &format!("/jobs/{job_id}/claim"), b"");
    let assignment = lose_reply(&night, "TransactWriteItems", || claim.send()).await;
    assert_eq!(assignment["attempt"], 1);
    let url = text(&assignment["job_status_url"]);

    let nobody = Client::nobody();
    let report = json!({"status": "complete", "result": 1, "output_filenames": ["a"]});
    night.fail_once("UpdateItem", Fault::KillAfter);
    assert!(nobody.post(&url, report.clone()).await.is_failure());
    let finished = nobody.post(&url, report.clone()).await.ok();
    assert_eq!((&finished["status"], &finished["result"]), (&json!("complete_pending_uploads"), &json!(1)));
    tests::upload(&text(&finished["output_storage_urls"]["a"]), b"a").await;
    let complete = lose_reply(&night, "UpdateItem", || nobody.put(&url, Value::Null)).await;
    assert_eq!(complete["status"], "complete");

    let delete = Signed::new(&night, &owner, Method::DELETE, &format!("/jobs/{job_id}"), b"");
    let deleted = lose_reply(&night, "TransactWriteItems", || delete.send()).await;
    assert_eq!(deleted, json!({"deleted": true, "job_id": job_id}));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn the_same_signed_request_many_times_at_once_is_one_request() {
    let night = Night::begin().await;
    let (owner, miner) = (night.hotkey(Some(&night.user_id)).await, night.hotkey(None).await);
    let job_id = night.create("train").await;
    let claim = Signed::new(&night, &miner, Method::PUT, &format!("/jobs/{job_id}/claim"), b"");
    let delete = Signed::new(&night, &owner, Method::DELETE, &format!("/jobs/{job_id}"), b"");
    for request in [claim, delete] {
        let answers: Vec<_> = join_all((0..8).map(|_| request.send())).await;
        // Those that were in each other's way may be told to come back.
        let answers: Vec<_> = answers.into_iter().filter(|answer| answer.status != 503).map(Answer::ok).collect();
        assert!(!answers.is_empty() && answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_create_without_a_key_whose_reply_was_lost_is_not_made_again() {
    let night = Night::begin().await;
    let owner = night.hotkey(Some(&night.user_id)).await;
    let create = Signed::new(&night, &owner, Method::POST, &format!("/jobs/{}/train", night.chute_id), b"{}");
    night.fail_once("TransactWriteItems", Fault::KillAfter);
    assert!(create.send().await.is_failure());
    create.send().await.is_error(401, "This signature has been used already");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_claims_signature_shows_no_other_jobs_token() {
    let night = Night::begin().await;
    let miner = night.hotkey(None).await;
    let (one, other) = (night.create("train").await, night.create("train").await);
    let claim = |job_id: &str| Signed::new(&night, &miner, Method::PUT, &format!("/jobs/{job_id}/claim"), b"");
    let (mut claim, claim_of_other) = (claim(&one), claim(&other));
    claim.send().await.ok();
    claim_of_other.send().await.ok();
    claim.url = claim_of_other.url;
    claim.send().await.is_error(401, "This signature has been used already");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn of_two_claims_at_once_both_signatures_are_spent() {
    let night = Night::begin().await;
    let miner = night.hotkey(None).await;
    let (one, other) = (night.create("train").await, night.create("train").await);
    let claim = || Signed::new(&night, &miner, Method::PUT, &format!("/jobs/{one}/claim"), b"");
    let mut claims = [claim(), claim()];
    assert_ne!(claims[0].headers, claims[1].headers);
    night.fail_once("TransactWriteItems", Fault::Delay(std::time::Duration::from_secs(1)));
    let (first, second) = tokio::join!(claims[0].send(), claims[1].send());
    assert_eq!(first.ok(), second.ok());
    for claim in &mut claims {
        claim.url = night.url(&format!("/jobs/{other}/claim"));
        claim.send().await.is_error(401, "This signature has been used already");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_throttles_is_503_with_retry_after_and_nothing_is_lost() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let nobody = Client::nobody();
    let pending = night.create("train").await;
    let (job_id, url, _) = night.finished(&miner, &[]).await;
    let running = night.claim(&miner, &night.create("train").await).await;
    night.stack.set_faults(|call| match call.function.is_some() {
        true => Fault::Throttle,
        false => Fault::None,
    });
    let job = night.url(&format!("/jobs/{job_id}"));
    let heartbeat = running.replace("?token=", "/heartbeat?token=");
    let upload = running.replace("?token=", "/upload?token=");
    for answer in [
        night.user.post(&night.url(&format!("/jobs/{}/train", night.chute_id)), json!({})).await,
        night.user.get(&job).await,
        night.user.delete(&job).await,
        night.try_claim(&miner, &pending).await,
        nobody.put(&heartbeat, Value::Null).await,
        nobody.post(&running, json!({"status": "complete"})).await,
        nobody.put(&url, Value::Null).await,
        night.user.get(&night.url("/jobs")).await,
        night.user.get(&format!("{job}/download/{job_id}")).await,
        miner.get(&night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id))).await,
        nobody.put(&upload, json!({"path": "a"})).await,
        nobody.send(Method::PUT, &upload, Form::of("a", b"x"), &[("content-type", Form::CONTENT_TYPE)]).await,
    ] {
        answer.is_error(503, "Service busy, please try again");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    night.stack.set_faults(|_| Fault::None);
    assert_eq!(night.get(&job_id).await["status"], "complete");
    assert_eq!(night.get(&pending).await["status"], "pending");
    assert_eq!(nobody.post(&running, json!({"status": "complete"})).await.ok()["status"], "complete");
    night.stack.shutdown().await;
}
