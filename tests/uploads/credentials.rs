//! A URL ends with the credentials that signed it. What a function says of its URLs is no more than it knows.

use std::time::Duration;

use local::{Stack, own_engines};
use serde_json::{Value, json};
use shared::time::Timestamp;
use tests::{Answer, Client, Job, objects, text, upload};

use crate::target;

/// When the API says that a new job's upload URL ends; and what the URL says.
async fn announced(stack: &Stack) -> (String, bool) {
    let answer = Job::on(stack).await.finish(json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    let target = target(&answer, "a");
    (text(&target["expires_at"]), text(&target["url"]).contains("X-Amz-Expires=21600&"))
}

#[tokio::test]
async fn every_url_of_one_environment_ends_when_its_credentials_can_be_relied_on_no_longer() {
    own_engines("the credentials are given");
    let stack = Stack::builder().parameter("UploadWindowSeconds", "21600").start().await.unwrap();
    let first = announced(&stack).await;
    // As old as the environment is, so much is missing; whoever cannot renew has all that S3 gives.
    assert_eq!(announced(&stack).await, first);
    assert!(first.1);
    stack.reclaim();
    assert!(announced(&stack).await.0 > first.0, "a new environment has new credentials");
    stack.shutdown().await;
}

#[tokio::test]
async fn no_url_is_said_to_work_longer_than_credentials_whose_end_is_known() {
    own_engines("the credentials are given");
    let soon = Timestamp::system().plus_seconds(600).to_string();
    let stack = Stack::builder().environment("AWS_CREDENTIAL_EXPIRATION", soon.as_str()).start().await.unwrap();
    let job = Job::on(&stack).await;
    let answer = job.finish(json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    assert_eq!(target(&answer, "a")["expires_at"], soon);
    assert_eq!(job.renew("a").await["expires_at"], soon);
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);

    let done = job.complete().await.ok();
    let (file_id, _) = done["output_files"].as_object().unwrap().iter().next().unwrap();
    let route = format!("{}/jobs/{}/download/{file_id}", stack.url(), job.job_id);
    let headers = [("accept", "application/json")];
    let download = job.owner.send(reqwest::Method::GET, &route, Vec::new(), &headers).await.ok();
    assert_eq!(download["expires_at"], soon);
    stack.shutdown().await;
}

#[tokio::test]
async fn s3_refuses_a_url_that_has_outlived_its_credentials() {
    let code = |answer: &Answer| (answer.status, answer.body.as_str().unwrap_or_default().contains("ExpiredToken"));
    let stack = Stack::builder().credentials_life(Duration::ZERO).start().await.unwrap();
    let job = Job::on(&stack).await;
    let answer = job.finish(json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    let url = text(&answer["output_storage_urls"]["a"]);
    assert_eq!(code(&upload(&url, b"hello").await), (400, true));
    assert_eq!(objects(&stack, &job.job_id).await, [""; 0]);
    // The environment's, not the URL's: a stranger's is refused as such.
    let forged =
        Client::nobody().send(reqwest::Method::PUT, &url.replace("ASIALOCAL", "ASIAOTHER"), vec![1], &[]).await;
    assert_eq!(code(&forged), (403, false));
    let done: Value = job.complete().await.ok();
    assert_eq!(done["status"], "partial_failure");
    stack.shutdown().await;
}

#[tokio::test]
async fn an_environment_has_no_request_more_when_its_credentials_are_old() {
    let cold_starts = async |life| {
        let stack = Stack::builder().credentials_life(life).start().await.unwrap();
        let jobs = format!("{}/jobs", stack.url());
        let is_cold = async || Client::nobody().get(&jobs).await.header("x-local-cold-start-ms").is_some();
        let found = [is_cold().await, is_cold().await];
        stack.shutdown().await;
        found
    };
    assert_eq!(cold_starts(Duration::from_secs(12 * 3600)).await, [true, false]);
    assert_eq!(cold_starts(Duration::ZERO).await, [true, true]);
}
