//! Inputs on their way from a user to a miner: in parts, in a bucket without versions, and through functions that die.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use local::{Fault, Stack};
use serde_json::{Value, json};
use tests::{
    Night,
    input::{declared, fetched, uploaded},
    objects, s3, template_with, text, unfinished_uploads, upload, upload_to,
};
use tokio::{runtime::Handle, task::block_in_place};

use crate::{MIB, content};

/// Two parts of 5 MiB and a last one of 7 bytes.
const SIZE: usize = 10 * MIB + 7;

async fn night() -> Night {
    Night::on(Stack::builder().parameter("MultipartThresholdBytes", (5 * MIB).to_string()).start().await.unwrap()).await
}

fn large(content: &[u8]) -> Value {
    let mut file = declared("large", content);
    file["part_size"] = json!(5 * MIB);
    file["content_type"] = json!("a/b");
    file
}

fn numbers(input: &Value) -> Vec<u64> {
    input["upload"]["parts"].as_array().unwrap().iter().map(|part| part["part_number"].as_u64().unwrap()).collect()
}

/// Sends the part of that number.
async fn send(input: &Value, number: u64, content: &[u8]) {
    let parts = input["upload"]["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["part_number"] == number).expect("a part that is missing");
    let (offset, size) = (part["offset"].as_u64().unwrap() as usize, part["size"].as_u64().unwrap() as usize);
    assert_eq!(upload(&text(&part["url"]), &content[offset..offset + size]).await.status, 200);
}

/// What a miner of a new job with this input gets.
async fn delivered(night: &Night, uri: &Value) -> Vec<u8> {
    let create = night.url(&format!("/jobs/{}/train", night.chute_id));
    let job = night.user.post(&create, json!({"a": uri})).await.ok();
    let claimed = night.try_claim(&night.miner().await, &text(&job["job_id"])).await.ok();
    fetched(&text(&claimed["job_data"]["a"])).await
}

#[tokio::test]
async fn an_input_in_parts_goes_on_where_it_stopped_and_is_there_once_all_parts_are() {
    let night = night().await;
    let content = content(SIZE);
    let (url, file) = (night.url("/inputs"), large(&content));
    let first = night.user.post(&url, file.clone()).await;
    assert_eq!(first.engine_calls(), (2, 1), "it begins an upload");
    let first = first.ok();
    assert_eq!((&first["upload"]["url"], numbers(&first)), (&Value::Null, vec![1, 2, 3]));
    assert_eq!(upload(&text(&first["upload"]["parts"][2]["url"]), b"seven+1!").await.status, 403);
    send(&first, 3, &content).await;
    send(&first, 1, &content).await;

    // The same request again, as by a command that was killed; and the URL of the answer.
    let renew = text(&first["upload"]["renew_url"]);
    assert_eq!(numbers(&night.user.post(&url, file.clone()).await.ok()), [2]);
    let fresh = night.user.put(&renew, Value::Null).await.ok();
    assert_eq!(numbers(&fresh), [2]);
    let create = night.url(&format!("/jobs/{}/train", night.chute_id));
    let half = night.user.post(&create, json!({"a": first["uri"]})).await;
    assert_eq!(half.error().1[0]["msg"], "The input has not been uploaded, or not whole");
    send(&fresh, 2, &content).await;
    for _ in 0..2 {
        assert_eq!(night.user.put(&renew, Value::Null).await.ok()["upload"], Value::Null);
    }
    assert_eq!(night.user.post(&url, file).await.ok()["upload"], Value::Null);
    assert!(delivered(&night, &first["uri"]).await == content);
    assert_eq!(unfinished_uploads(&night.stack, &text(&first["input_id"])).await, [""; 0]);
    night.stack.shutdown().await;
}

/// Runs this the next time that a function is about to make a call of this operation.
fn run_before<F: Future<Output = ()>>(
    night: &Night,
    operation: &'static str,
    run: impl Fn() -> F + Send + Sync + 'static,
) {
    let armed = AtomicBool::new(true);
    night.stack.set_faults(move |call| {
        if call.function.is_some() && call.operation == operation && armed.swap(false, Ordering::SeqCst) {
            block_in_place(|| Handle::current().block_on(run()));
        }
        Fault::None
    });
}

/// Asks twice for a place for the file: the second time while the first request is about to make a call of this operation.
async fn post_within(night: &Night, file: &Value, operation: &'static str) -> (Value, Value) {
    let (user, url, body, faster) =
        (night.user.clone(), night.url("/inputs"), file.clone(), Arc::new(Mutex::new(None)));
    let inner = faster.clone();
    run_before(night, operation, move || {
        let (user, url, body, inner) = (user.clone(), url.clone(), body.clone(), inner.clone());
        async move {
            let answer = user.post(&url, body).await.ok();
            *inner.lock().unwrap() = Some(answer);
        }
    });
    let slower = night.user.post(&night.url("/inputs"), file.clone()).await.ok();
    let faster = faster.lock().unwrap().take().expect("the operation");
    (faster, slower)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_at_once_the_slower_goes_on_with_the_upload_of_the_faster() {
    let night = night().await;
    let (faster, slower) = post_within(&night, &large(&content(SIZE)), "PutItem").await;
    let upload = |input: &Value| {
        let url = text(&input["upload"]["parts"][0]["url"]);
        url.split(['?', '&']).find(|pair| pair.starts_with("uploadId=")).map(str::to_owned)
    };
    assert!(upload(&faster).is_some() && upload(&faster) == upload(&slower), "{faster} {slower}");
    assert_eq!(unfinished_uploads(&night.stack, &text(&faster["input_id"])).await.len(), 1);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_request_makes_meanwhile_is_not_asked_for_again() {
    let night = night().await;
    let content = content(SIZE);
    let input = night.user.post(&night.url("/inputs"), large(&content)).await.ok();
    for number in 1..=3 {
        send(&input, number, &content).await;
    }
    let renew = text(&input["upload"]["renew_url"]);
    let (user, url) = (night.user.clone(), renew.clone());
    run_before(&night, "ListMultipartUploads", move || {
        let (user, url) = (user.clone(), url.clone());
        async move { assert_eq!(user.put(&url, Value::Null).await.ok()["upload"], Value::Null) }
    });
    assert_eq!(night.user.put(&renew, Value::Null).await.ok()["upload"], Value::Null);
    assert_eq!(unfinished_uploads(&night.stack, &text(&input["input_id"])).await, [""; 0]);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_of_one_input_the_first_that_ends_is_the_file() {
    let night = night().await;
    let (content, other) = (content(SIZE), vec![7; SIZE]);
    let file = large(&content);
    // Neither knows of the other's.
    let (one, two) = post_within(&night, &file, "CreateMultipartUpload").await;
    assert_eq!(one["input_id"], two["input_id"]);
    // Of two that have all parts, a function takes the one that S3 lists first.
    let bucket = night.stack.resource("OutputsBucket").unwrap();
    let uploads = s3(&night.stack).list_multipart_uploads().bucket(bucket).send().await.unwrap().uploads.unwrap();
    assert_eq!(uploads.len(), 2);
    let is_first = |input: &Value| {
        let url = text(&input["upload"]["parts"][0]["url"]);
        url.contains(uploads[0].upload_id().unwrap())
    };
    let (first, second) = if is_first(&one) { (one, two) } else { (two, one) };
    for number in 1..=3 {
        send(&second, number, &other).await;
    }
    // While the second is made a file, the first gets its last part, and is made one, too.
    send(&first, 1, &content).await;
    send(&first, 2, &content).await;
    let renew = text(&first["upload"]["renew_url"]);
    let (user, again, last, bytes) = (night.user.clone(), renew.clone(), first.clone(), content.clone());
    let armed = AtomicBool::new(true);
    night.stack.set_faults(move |call| {
        if call.operation == "CompleteMultipartUpload" && armed.swap(false, Ordering::SeqCst) {
            let faster = async {
                send(&last, 3, &bytes).await;
                user.put(&again, Value::Null).await.ok()
            };
            assert_eq!(block_in_place(|| Handle::current().block_on(faster))["upload"], Value::Null);
        }
        Fault::None
    });
    assert_eq!(night.user.put(&renew, Value::Null).await.ok()["upload"], Value::Null);
    assert_eq!(objects(&night.stack, &text(&first["input_id"])).await.len(), 1, "nothing was covered");
    assert_eq!(unfinished_uploads(&night.stack, &text(&first["input_id"])).await, [""; 0]);
    assert!(delivered(&night, &first["uri"]).await == content);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn an_upload_survives_whatever_becomes_of_the_function_that_ends_it() {
    let night = night().await;
    for (number, fault) in
        [Fault::KillFunction, Fault::KillAfter, Fault::FailAfter, Fault::Cut, Fault::Throttle].into_iter().enumerate()
    {
        let content = content(SIZE + number);
        let url = night.url("/inputs");
        let input = night.user.post(&url, large(&content)).await.ok();
        for part in 1..=3 {
            send(&input, part, &content).await;
        }
        night.fail_once("CompleteMultipartUpload", fault);
        let renew = text(&input["upload"]["renew_url"]);
        let first = night.user.put(&renew, Value::Null).await;
        assert!(matches!(first.status, 200 | 500 | 503) || first.is_failure(), "{fault:?}: {first:?}");
        assert_eq!(night.user.put(&renew, Value::Null).await.ok()["upload"], Value::Null, "{fault:?}");
        assert!(delivered(&night, &input["uri"]).await == content, "{fault:?}");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_bucket_without_versions_delivers_inputs_too_and_replaces_none() {
    let template = template_with(&[(
        "VersioningConfiguration: {Status: Enabled}",
        "VersioningConfiguration: {Status: Suspended}",
    )]);
    let night = Night::on(Stack::builder().template(template.path()).start().await.unwrap()).await;
    let input = night.user.post(&night.url("/inputs"), json!({"filename": "a", "size": 5})).await.ok();
    assert_eq!(upload_to(&input["upload"], b"first").await.status, 200);
    assert_eq!(upload_to(&input["upload"], b"other").await.status, 412);
    assert_eq!(delivered(&night, &input["uri"]).await, b"first");
    let empty = uploaded(night.stack.url(), &night.user, "empty", b"").await;
    assert_eq!(delivered(&night, &json!(empty)).await, b"");
    night.stack.shutdown().await;
}
