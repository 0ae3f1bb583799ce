//! What a job carries beside its state: megabytes through every route, faults between a payload and the write that refers to it, and
//! payloads that somebody removed.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use local::{Fault, Front, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Answer, Client, Form, Night, World, dynamodb, input::uploaded, item, objects, remove_objects, s3, text, upload,
};
use tokio::{runtime::Handle, task::block_in_place};

const MIB: usize = 1 << 20;
/// More than an item has room for.
const LARGE: usize = 100 << 10;
const TAKES_GZIP: (&str, &str) = ("accept-encoding", "gzip");

/// An object of `size` bytes of JSON.
fn object(size: usize) -> Value {
    json!({"a": "x".repeat(size - 8)})
}

/// The same as the job has it.
fn with_disk(mut arguments: Value) -> Value {
    arguments["_disk_gb"] = json!(10);
    arguments
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).unwrap()
}

async fn try_create(night: &Night, arguments: &Value, key: Option<&str>) -> Answer {
    let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
    let path = night.url(&format!("/jobs/{}/train", night.chute_id));
    night.user.send(Method::POST, &path, arguments.to_string().into_bytes(), &headers).await
}

/// A pending job with large arguments: its id.
async fn create(night: &Night, method: &str) -> String {
    let path = night.url(&format!("/jobs/{}/{method}", night.chute_id));
    text(&night.user.post(&path, object(LARGE)).await.ok()["job_id"])
}

/// So many names of files.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("frames/{number:04}.png")).collect()
}

/// A report with a large result and a long list of files.
fn report() -> Value {
    json!({"status": "complete", "result": object(LARGE), "output_filenames": names(200)})
}

/// The keys of a job's payloads in the bucket, one for each version.
async fn payloads(stack: &Stack, job_id: &str) -> Vec<String> {
    objects(stack, job_id).await.into_iter().filter(|key| key.contains("/payloads/")).collect()
}

/// Removes a job's payload behind its back.
async fn remove(stack: &Stack, key: &str) {
    remove_objects(stack, key, "").await;
}

async fn fetched(url: &Value) -> Value {
    let answer = Client::nobody().get(&text(url)).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.ok()
}

#[tokio::test]
async fn four_mebibytes_pass_through_every_route() {
    let world = World::new().await;
    let (arguments, result) = (object(4 * MIB), object(4 * MIB));
    let path = format!("/jobs/{}/train", world.chute_id);
    let created = world.user.post(&path, arguments.clone()).await.ok();
    let job_id = text(&created["job_id"]);
    assert_eq!(created["job_args"], with_disk(arguments.clone()));
    world.user.post(&path, object(4 * MIB + 1)).await.is_error(413, "Request body is larger than 4194304 bytes");

    let route = format!("/jobs/{job_id}");
    let claimed = world.miner.put(&format!("{route}/claim"), Value::Null).await.ok();
    assert_eq!(claimed["job_data"], with_disk(arguments.clone()));
    let (nobody, url) = (Client::nobody(), text(&claimed["job_status_url"]));
    let more = json!({"status": "complete", "result": object(4 * MIB + 1)});
    nobody.post(&url, more).await.is_error(413, "result is larger than 4194304 bytes");
    let finished = nobody.post(&url, json!({"status": "complete", "result": result.clone()})).await.ok();
    let completed = nobody.put(&url, Value::Null).await.ok();
    for answer in [finished, completed] {
        assert_eq!((&answer["job_args"], &answer["result"]), (&Value::Null, &Value::Null));
        assert_eq!(fetched(&answer["job_args_url"]).await, with_disk(arguments.clone()));
        assert_eq!(fetched(&answer["result_url"]).await, result);
    }

    let whole = world.user.send(Method::GET, &route, Vec::new(), &[TAKES_GZIP]).await.ok();
    assert_eq!((&whole["job_args"], &whole["result"]), (&with_disk(arguments.clone()), &result));
    assert!(whole.get("job_args_url").is_none() && whole.get("result_url").is_none());
    let plain = world.user.get(&route).await.ok();
    assert_eq!((&plain["job_args"], &plain["result"]), (&Value::Null, &result));
    assert_eq!(fetched(&plain["job_args_url"]).await, with_disk(arguments));
    assert!(plain.get("result_url").is_none());
}

#[tokio::test]
async fn what_lambda_cannot_take_as_text_comes_and_goes_in_gzip() {
    let world = World::new().await;
    // Each of its characters is four bytes where Lambda has the body as a JSON string. A REST API sends it as base64.
    let arguments = json!({"a": "\"".repeat(2 * MIB - 4)});
    let (body, path) = (arguments.to_string(), format!("/jobs/{}/train", world.chute_id));
    assert_eq!(body.len(), 4 * MIB);
    let kind = [("content-type", "application/json")];
    let plain = world.user.send(Method::POST, &path, body.clone().into_bytes(), &kind).await;
    match Front::of_environment() {
        Front::HttpApi | Front::FunctionUrls => assert!(plain.is_too_large(), "{}", plain.body),
        Front::RestApi => assert_eq!(fetched(&plain.ok()["job_args_url"]).await, with_disk(arguments.clone())),
    }
    let headers = [("content-encoding", "gzip"), TAKES_GZIP];
    let job = world.user.send(Method::POST, &path, gzip(&body), &headers).await.ok();
    assert_eq!(job["job_args"], with_disk(arguments.clone()));

    let claim = format!("/jobs/{}/claim", text(&job["job_id"]));
    let claimed = world.miner.send(Method::PUT, &claim, Vec::new(), &[TAKES_GZIP]).await.ok();
    assert_eq!(claimed["job_data"], with_disk(arguments.clone()));
    let again = world.miner.send(Method::PUT, &claim, Vec::new(), &[]).await.ok();
    assert_eq!(again["job_data"], Value::Null);
    assert_eq!(fetched(&again["job_data_url"]).await, with_disk(arguments.clone()));

    let report = json!({"status": "complete", "result": arguments}).to_string();
    let url = text(&claimed["job_status_url"]);
    Client::nobody().send(Method::POST, &url, gzip(&report), &headers).await.ok();
    let plain = world.get(&text(&job["job_id"])).await;
    assert_eq!((&plain["job_args"], &plain["result"]), (&Value::Null, &Value::Null));
    assert_eq!(fetched(&plain["result_url"]).await, arguments);
}

#[tokio::test]
async fn a_thousand_of_the_longest_names_finish_and_complete() {
    let world = World::new().await;
    let job = world.claimed().await;
    let names: Vec<_> = (0..1000).map(|number| format!("{number:03}{}", "n".repeat(923))).collect();
    let report = json!({"status": "complete", "output_filenames": names});
    let finished = job.finish(report).await.ok();
    assert_eq!(finished["output_files"].as_object().unwrap().len(), 1000);
    assert_eq!(tests::upload(&text(&finished["output_storage_urls"][&names[7]]), b"seven").await.status, 200);
    assert_eq!(job.upload(&names[8], b"eight").await.status, 200);
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "partial_failure");
    assert_eq!(job.download(&names[7]).await.bytes, b"seven");
    assert_eq!(job.download(&names[8]).await.bytes, b"eight");
    let files = world.get(&job.job_id).await["output_files"].take();
    assert_eq!(files.as_object().unwrap().values().filter(|file| file["uploaded"] == true).count(), 2);
}

#[tokio::test]
async fn names_of_any_characters_are_answered_whatever_their_length() {
    let world = World::new().await;
    let job = world.claimed().await;
    let names: Vec<_> = (0..1000).map(|number| format!("{number:03}{}", "\"".repeat(923))).collect();
    let finished = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
    assert_eq!(finished["output_storage_urls"].as_object().unwrap().len(), 1000);
    assert_eq!(world.get(&job.job_id).await["output_files"].as_object().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_create_that_is_refused_leaves_nothing() {
    let night = Night::begin().await;
    let command = json!({"command": "set_quotas", "user_id": night.user_id, "quotas": {"*": 1}});
    night.stack.invoke("admin", command).await.unwrap();
    // Before any of them counts, all have found room.
    night.fail(Some("PutObject"), Fault::Delay(Duration::from_secs(2)));
    let arguments = object(LARGE);
    let answers = join_all((0..4).map(|_| try_create(&night, &arguments, None))).await;
    night.fail(None, Fault::None);
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429, 429, 429]);
    assert_eq!(objects(&night.stack, "/payloads/").await.len(), 1);
    let job_id = answers.into_iter().find(|answer| answer.status == 200).map(|answer| text(&answer.body["job_id"]));
    assert_eq!(night.get(&job_id.unwrap()).await["job_args"], with_disk(arguments));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn creates_of_one_key_at_once_have_one_job_and_one_payload() {
    let night = Night::begin().await;
    let (one, other) = (object(LARGE), object(LARGE + 1));
    for (key, bodies) in [("same", [&one, &one]), ("other", [&one, &other])] {
        night.fail(Some("PutObject"), Fault::Delay(Duration::from_secs(2)));
        let (first, second) =
            tokio::join!(try_create(&night, bodies[0], Some(key)), try_create(&night, bodies[1], Some(key)));
        night.fail(None, Fault::None);
        let made: Vec<_> = [&first, &second].into_iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(made.len(), if bodies[0] == bodies[1] { 2 } else { 1 }, "{} {}", first.status, second.status);
        let refused = [&first, &second].into_iter().filter(|answer| answer.status != 200);
        refused.for_each(|answer| answer.is_error(422, "Idempotency-Key was used with a different request"));
        let job_id = text(&made[0].body["job_id"]);
        assert!(made.iter().all(|answer| answer.body == made[0].body));
        assert_eq!(payloads(&night.stack, &job_id).await.len(), 1, "{key}");
        assert_eq!(night.get(&job_id).await["job_args"], made[0].body["job_args"], "{key}");
    }
    night.stack.shutdown().await;
}

/// Sends a request that meets this fault at its first call of this operation, and then the same until it succeeds.
async fn after<F: Future<Output = Answer>>(
    night: &Night,
    operation: &'static str,
    fault: Fault,
    send: impl Fn() -> F,
) -> Value {
    night.fail_once(operation, fault);
    let first = send().await;
    assert!(matches!(first.status, 200 | 500 | 503) || first.is_failure(), "{operation} {fault:?}: {first:?}");
    let second = send().await;
    if second.status != 503 {
        return second.ok();
    }
    // Who checks many files is left alone with it for a while, also when it has died.
    night.stack.clock().advance(Duration::from_secs(30));
    send().await.ok()
}

#[tokio::test]
async fn a_fault_between_a_payload_and_its_write_loses_nothing() {
    let night = Night::begin().await;
    let (nobody, miner, given) = (Client::nobody(), night.miner().await, object(LARGE));
    let arguments = with_disk(given.clone());
    let faults = [Fault::KillFunction, Fault::KillAfter, Fault::FailAfter, Fault::Cut, Fault::Throttle];
    for (number, fault) in faults.into_iter().enumerate() {
        for (write, change) in [("PutObject", "PutObject"), ("TransactWriteItems", "UpdateItem")] {
            let key = format!("{number} {write}");
            let job = after(&night, write, fault, || try_create(&night, &given, Some(&key))).await;
            assert_eq!(job["job_args"], arguments);
            let job_id = text(&job["job_id"]);
            let route = night.url(&format!("/jobs/{job_id}"));
            let claimed = after(&night, "GetObject", fault, || night.try_claim(&miner, &job_id)).await;
            assert_eq!((&claimed["job_data"], &claimed["attempt"]), (&arguments, &json!(1)));
            let url = text(&claimed["job_status_url"]);
            let finished = after(&night, change, fault, || nobody.post(&url, report())).await;
            assert_eq!(fetched(&finished["result_url"]).await, object(LARGE));
            assert_eq!(finished["output_files"].as_object().unwrap().len(), 200);
            let target = text(&finished["output_storage_urls"]["frames/0007.png"]);
            assert_eq!(tests::upload(&target, b"seven").await.status, 200);
            let done = after(&night, change, fault, || nobody.put(&url, Value::Null)).await;
            assert_eq!(done["status"], "partial_failure");
            let job = after(&night, "GetObject", fault, || night.user.get(&route)).await;
            assert_eq!((&job["job_args"], &job["result"]), (&arguments, &object(LARGE)));
            let arrived = job["output_files"].as_object().unwrap().values().filter(|file| file["uploaded"] == true);
            assert_eq!(arrived.map(|file| &file["filename"]).collect::<Vec<_>>(), ["frames/0007.png"]);
            night.fail(None, Fault::None);
            night.user.delete(&route).await.ok();
            assert_eq!(objects(&night.stack, &job_id).await, [""; 0]);
        }
    }
    night.stack.shutdown().await;
}

/// A reported job with a long list of files: its id, and its miner's URL.
async fn reported(night: &Night) -> (String, String) {
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().post(&url, report()).await.ok();
    (job_id, url)
}

/// The URL of a miner that has reported so many files and nothing else.
async fn reported_files(night: &Night, count: usize) -> String {
    let url = night.claim(&night.miner().await, &night.create("train").await).await;
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": names(count)})).await.ok();
    url
}

/// Declares the size of one file of [`report`].
async fn declare(url: &str, number: usize) -> Answer {
    let body = json!({"path": format!("frames/{number:04}.png"), "size": number});
    Client::nobody().put(&url.replace("?token=", "/upload?token="), body).await
}

/// The declared sizes, in order.
fn sizes(files: &serde_json::Map<String, Value>) -> Vec<u64> {
    let mut sizes: Vec<_> = files.values().filter_map(|file| file["size"].as_u64()).collect();
    sizes.sort_unstable();
    sizes
}

/// Before this function's next call of this operation is carried out, and those beside it, the miner sends this.
fn sent_before<F: Future<Output = Answer>>(
    night: &Night,
    function: &'static str,
    operation: &'static str,
    send: impl Fn() -> F + Send + Sync + 'static,
) {
    let is_sent = Mutex::new(false);
    night.stack.set_faults(move |call| {
        let is_meant = call.operation == operation && call.function.as_deref() == Some(function);
        if is_meant {
            block_in_place(|| {
                let mut is_sent = is_sent.lock().unwrap();
                if !std::mem::replace(&mut *is_sent, true) {
                    Handle::current().block_on(send()).ok();
                }
            });
        }
        Fault::None
    });
}

/// Before the next call of this operation for an upload is carried out, the miner sends this. What that calls is not waited for.
fn sent_beside_upload<F: Future<Output = Answer>>(
    night: &Night,
    operation: &'static str,
    send: impl Fn() -> F + Send + Sync + 'static,
) {
    let is_due = AtomicBool::new(true);
    night.stack.set_faults(move |call| {
        let is_meant = call.operation == operation && call.function.as_deref() == Some("upload-job-file");
        if is_meant && is_due.swap(false, Ordering::SeqCst) {
            block_in_place(|| Handle::current().block_on(send()).ok());
        }
        Fault::None
    });
}

/// The same: the miner declares this file.
fn declared_before(night: &Night, function: &'static str, operation: &'static str, url: &str, number: usize) {
    let url = url.to_owned();
    sent_before(night, function, operation, move || {
        let url = url.clone();
        async move { declare(&url, number).await }
    });
}

/// Sends a file of [`report`] through the API.
async fn send_form(url: &str, number: usize) -> Answer {
    let (route, path) = (url.replace("?token=", "/upload?token="), format!("frames/{number:04}.png"));
    let kind = [("content-type", Form::CONTENT_TYPE)];
    Client::nobody().send(Method::PUT, &route, Form::of(&path, b"hello"), &kind).await
}

/// The names of the files that have arrived.
fn arrived(files: &Value) -> Vec<&str> {
    let files = files.as_object().unwrap().values().filter(|file| file["uploaded"] == true);
    files.filter_map(|file| file["filename"].as_str()).collect()
}

#[tokio::test]
async fn a_completion_that_was_written_needs_no_other_read() {
    let night = Night::begin().await;
    let (_, url) = reported(&night).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    night.stack.set_faults(move |call| match call.operation.as_str() {
        "GetObject" if counter.fetch_add(1, Ordering::SeqCst) > 0 => Fault::FailBefore(503),
        _ => Fault::None,
    });
    let done = Client::nobody().put(&url, Value::Null).await.ok();
    night.fail(None, Fault::None);
    assert_eq!((&done["status"], &done["terminal"]), (&json!("partial_failure"), &json!(true)));
    assert_eq!(done["output_files"].as_object().unwrap().len(), 200);
    assert_eq!(reads.load(Ordering::SeqCst), 1);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_while_the_job_is_completed_is_kept() {
    let night = Night::begin().await;
    // A list that is stored apart, before its check begins and after it, and one in the item.
    for (count, before, status) in [(200, "UpdateItem", 200), (200, "PutObject", 503), (8, "UpdateItem", 503)] {
        let (nobody, url) = (Client::nobody(), reported_files(&night, count).await);
        declare(&url, 3).await.ok();
        assert_eq!(send_form(&url, 5).await.status, 200);
        declared_before(&night, "complete-job", before, &url, 7);
        let completed = nobody.put(&url, Value::Null).await;
        assert_eq!(completed.status, status, "{count} {before}");
        assert!(status == 200 || completed.header("retry-after") == Some("1"));
        let done = nobody.put(&url, Value::Null).await.ok();
        assert_eq!(done["status"], "partial_failure");
        assert_eq!(sizes(done["output_files"].as_object().unwrap()), [3, 5, 7], "{count} {before}");
    }
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_while_the_job_is_completed_is_not_left_out() {
    let night = Night::begin().await;
    // A list that is stored apart, before its check begins and after it, and one in the item.
    for (count, before, status) in [(200, "UpdateItem", 200), (200, "PutObject", 503), (8, "UpdateItem", 503)] {
        let (nobody, url) = (Client::nobody(), reported_files(&night, count).await);
        assert_eq!(send_form(&url, 5).await.status, 200);
        let form = url.clone();
        sent_before(&night, "complete-job", before, move || {
            let url = form.clone();
            async move { send_form(&url, 7).await }
        });
        assert_eq!(nobody.put(&url, Value::Null).await.status, status, "{count} {before}");
        let done = nobody.put(&url, Value::Null).await.ok();
        let mut files = arrived(&done["output_files"]);
        files.sort_unstable();
        assert_eq!(files, ["frames/0005.png", "frames/0007.png"], "{count} {before}");
    }
    night.stack.shutdown().await;
}

/// Has a long list's miner fall silent for longer than its lease, with one file there.
async fn silent(night: &Night, beats: bool) -> (String, String) {
    let (job_id, url) = reported(night).await;
    if beats {
        beat(&url).await.ok();
    }
    assert_eq!(send_form(&url, 7).await.status, 200);
    night.stack.clock().advance(Duration::from_secs(2 * 3600 + 400));
    (job_id, url)
}

async fn beat(url: &str) -> Answer {
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({})).await
}

#[tokio::test]
async fn a_long_list_of_a_lost_miner_is_completed_and_tidied() {
    let night = Night::begin().await;
    let (job_id, url) = silent(&night, true).await;
    assert_eq!(night.reap().await, json!({"completed": 1}));
    assert_eq!(arrived(&night.get(&job_id).await["output_files"]), ["frames/0007.png"]);
    // The result, and the list that there is now.
    assert_eq!(payloads(&night.stack, &job_id).await.len(), 2);
    assert_eq!(Client::nobody().put(&url, Value::Null).await.ok()["status"], "partial_failure");
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_while_the_reaper_checks_leaves_the_list_as_it_was() {
    // Another one, and the attempt's first.
    for beats in [true, false] {
        let night = Night::begin().await;
        let (job_id, url) = silent(&night, beats).await;
        let late = url.clone();
        sent_before(&night, "reap-jobs", "TransactWriteItems", move || {
            let url = late.clone();
            async move { beat(&url).await }
        });
        assert_eq!(night.reap().await, json!({"unchanged": 1}));
        assert_eq!(night.get(&job_id).await["output_files"].as_object().unwrap().len(), 200);
        assert_eq!(payloads(&night.stack, &job_id).await.len(), 2);
        let done = Client::nobody().put(&url, Value::Null).await.ok();
        assert_eq!(
            (&done["status"], arrived(&done["output_files"])),
            (&json!("partial_failure"), vec!["frames/0007.png"])
        );
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn a_list_that_was_replaced_does_not_stay() {
    let night = Night::begin().await;
    let (job_id, url) = reported(&night).await;
    for number in 0..3 {
        declare(&url, number).await.ok();
        // The result, and the list that there is now.
        assert_eq!(payloads(&night.stack, &job_id).await.len(), 2);
    }
    Client::nobody().put(&url, Value::Null).await.ok();
    assert_eq!(payloads(&night.stack, &job_id).await.len(), 2);
    assert_eq!(sizes(night.get(&job_id).await["output_files"].as_object().unwrap()), [0, 1, 2]);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_list_was_replaced_reads_the_job_again() {
    let night = Night::begin().await;
    let (job_id, url) = reported(&night).await;
    declare(&url, 3).await.ok();
    night.get(&job_id).await;
    declared_before(&night, "get-job", "GetObject", &url, 7);
    let job = night.get(&job_id).await;
    assert_eq!(sizes(job["output_files"].as_object().unwrap()), [3, 7]);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_whose_list_was_replaced_reads_the_job_again() {
    let night = Night::begin().await;
    let none = json!({});
    let create = || try_create(&night, &none, Some("k"));
    let job_id = text(&create().await.ok()["job_id"]);
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().post(&url, report()).await.ok();
    declared_before(&night, "create-job", "GetObject", &url, 7);
    assert_eq!(sizes(create().await.ok()["output_files"].as_object().unwrap()), [7]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn declarations_at_once_of_a_long_list_are_all_kept() {
    let night = Night::begin().await;
    let (job_id, url) = reported(&night).await;
    let declared = async |number| {
        loop {
            let answer = declare(&url, number).await;
            if answer.status != 503 {
                break answer.ok();
            }
        }
    };
    join_all((0..8).map(declared)).await;
    assert_eq!(sizes(night.get(&job_id).await["output_files"].as_object().unwrap()), [0, 1, 2, 3, 4, 5, 6, 7]);
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_at_once_of_one_file_are_both_kept() {
    let night = Night::begin().await;
    let (job_id, url, _) = night.finished(&night.miner().await, &["a"]).await;
    let route = url.replace("?token=", "/upload?token=");
    let other = route.clone();
    sent_beside_upload(&night, "UpdateItem", move || {
        let route = other.clone();
        async move { Client::nobody().put(&route, json!({"path": "a", "sha256": "0".repeat(64)})).await }
    });
    Client::nobody().put(&route, json!({"path": "a", "size": 5})).await.ok();
    let job = night.get(&job_id).await;
    let file = job["output_files"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&file["size"], &file["sha256"]), (&json!(5), &json!("0".repeat(64))));
    night.stack.shutdown().await;
}

/// A reported job with 110 files, whose list outgrows its item with the next declaration, of number 10: its id, and its miner's URL.
async fn almost_too_long(night: &Night) -> (String, String) {
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().post(&url, json!({"status": "complete", "output_filenames": names(110)})).await.ok();
    for number in 0..10 {
        declare(&url, number).await.ok();
    }
    assert!(is_in_item(night, &job_id).await);
    (job_id, url)
}

/// Whether the job's list of files is in its item.
async fn is_in_item(night: &Night, job_id: &str) -> bool {
    let item = item(&night.stack, "JobsTable", "job_id", job_id).await;
    assert_ne!(item["files"].is_object(), item["file_list"].is_object());
    item["files"].is_object()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_outgrows_its_item_leaves_it_with_all_that_was_declared_and_sent() {
    let night = Night::begin().await;
    // Alone; beside another one that takes it out; beside a form.
    for (beside, declared) in [("nothing", 10), ("declaration", 11), ("form", 10)] {
        let (job_id, url) = almost_too_long(&night).await;
        let route = url.clone();
        sent_beside_upload(&night, "PutObject", move || {
            let url = route.clone();
            async move {
                match beside {
                    "declaration" => declare(&url, 11).await,
                    "form" => send_form(&url, 5).await,
                    _ => beat(&url).await,
                }
            }
        });
        declare(&url, 10).await.ok();
        assert!(!is_in_item(&night, &job_id).await, "{beside}");
        let job = night.get(&job_id).await;
        let sizes = sizes(job["output_files"].as_object().unwrap());
        assert_eq!(sizes, (0..=declared).collect::<Vec<_>>(), "{beside}");
        let arrived = arrived(&job["output_files"]);
        assert_eq!(arrived.len(), usize::from(beside == "form"), "{beside}");
        assert_eq!(payloads(&night.stack, &job_id).await.len(), 1, "{beside}");
    }
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_while_the_list_leaves_the_item_is_taken() {
    let night = Night::begin().await;
    let (job_id, url) = almost_too_long(&night).await;
    let other = url.clone();
    sent_beside_upload(&night, "UpdateItem", move || {
        let url = other.clone();
        async move { declare(&url, 10).await }
    });
    assert_eq!(send_form(&url, 5).await.status, 200);
    assert!(!is_in_item(&night, &job_id).await);
    let done = Client::nobody().put(&url, Value::Null).await.ok();
    assert_eq!(arrived(&done["output_files"]), ["frames/0005.png"]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_job_ends_cancelled_whatever_is_gone() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let (running, reported) = (create(&night, "serve").await, night.create("train").await);
    night.claim(&miner, &running).await;
    let url = night.claim(&miner, &reported).await;
    for job_id in [&running, &reported] {
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    }
    Client::nobody().post(&url, report()).await.ok();
    for key in [payloads(&night.stack, &running).await, payloads(&night.stack, &reported).await].concat() {
        remove(&night.stack, &key).await;
    }
    night.stack.clock().advance(Duration::from_secs(31 * 86_400));
    assert_eq!(night.reap().await, json!({"cancelled": 1, "lost": 1}));
    for job_id in [&running, &reported] {
        let stored = item(&night.stack, "JobsTable", "job_id", job_id).await;
        assert_eq!((&stored["status"]["S"], &stored["terminal"]["BOOL"]), (&json!("cancelled"), &json!(true)));
    }
    night.stack.shutdown().await;
}

/// A job whose large result is gone, whose file is there, and whose miner is silent: its id.
async fn without_result(night: &Night, cancelled: bool) -> String {
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    if cancelled {
        night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    }
    let report = json!({"status": "complete", "result": object(LARGE), "output_filenames": ["a", "b"]});
    let answer = Client::nobody().post(&url, report).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);
    for key in payloads(&night.stack, &job_id).await {
        remove(&night.stack, &key).await;
    }
    night.stack.clock().advance(Duration::from_secs(31 * 86_400));
    assert_eq!(night.reap().await["lost"], 1);
    job_id
}

#[tokio::test]
async fn a_lost_miners_files_are_kept_where_its_result_is_gone() {
    let night = Night::begin().await;
    for (cancelled, status) in [(false, "error"), (true, "cancelled")] {
        let job_id = without_result(&night, cancelled).await;
        let job = night.get(&job_id).await;
        assert_eq!((&job["status"], &job["result"]), (&json!(status), &Value::Null));
        let detail = text(&job["error_detail"]);
        assert!(detail.contains("Failed to upload files: b"), "{detail}");
        assert!(detail.ends_with("What the job needs is no longer in the bucket of outputs: its result"), "{detail}");
        assert_eq!(arrived(&job["output_files"]), ["a"]);
        let files = job["output_files"].as_object().unwrap();
        let (file_id, _) = files.iter().find(|(_, file)| file["filename"] == "a").unwrap();
        let download = night.user.get(&night.url(&format!("/jobs/{job_id}/download/{file_id}"))).await;
        assert_eq!(Client::nobody().get(download.header("location").unwrap()).await.bytes, b"hello");
        night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
        assert_eq!(objects(&night.stack, &job_id).await, [""; 0]);
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn files_that_nobody_has_looked_at_since_the_result_is_gone_go_with_the_job() {
    let night = Night::begin().await;
    let job_id = without_result(&night, false).await;
    // As an earlier checkout has ended it.
    let files = item(&night.stack, "JobsTable", "job_id", &job_id).await["files"]["M"].clone();
    for file_id in files.as_object().unwrap().keys() {
        let update = json!({
            "TableName": night.stack.resource("JobsTable").unwrap(), "Key": {"job_id": {"S": job_id}},
            "UpdateExpression": "SET files.#file.u = :no REMOVE files.#file.v",
            "ExpressionAttributeNames": {"#file": file_id}, "ExpressionAttributeValues": {":no": {"BOOL": false}},
        });
        dynamodb(&night.stack, "UpdateItem", update).await;
    }
    night.stack.clock().advance(Duration::from_secs(31 * 86_400));
    assert_eq!(night.reap().await, json!({"retired": 1}));
    assert_eq!(objects(&night.stack, &job_id).await, [""; 0]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_payload_that_is_gone_is_an_error_that_names_it_and_ends_the_job() {
    let night = Night::begin().await;
    let (nobody, miner) = (Client::nobody(), night.miner().await);
    let mut gone = Vec::new();

    // Nobody can run it: the claim that finds out ends it, though two attempts were left.
    let pending = create(&night, "serve").await;
    let keys = payloads(&night.stack, &pending).await;
    remove(&night.stack, &keys[0]).await;
    let route = |job_id: &str| night.url(&format!("/jobs/{job_id}"));
    night.user.get(&route(&pending)).await.is_error(500, "Internal server error");
    night.try_claim(&miner, &pending).await.is_error(500, "Internal server error");
    let ended = night.get(&pending).await;
    assert_eq!(
        (&ended["status"], &ended["terminal"], &ended["job_args"]),
        (&json!("error"), &json!(true), &Value::Null)
    );
    assert_eq!(ended["error_detail"], "What the job needs is no longer in the bucket of outputs: its arguments");
    assert_eq!(night.try_claim(&miner, &pending).await.status, 409);
    gone.extend(keys);

    // A running one, and one that was reported, end when their miners fall silent.
    let running = create(&night, "serve").await;
    night.claim(&miner, &running).await;
    let reported = night.create("train").await;
    let url = night.claim(&miner, &reported).await;
    nobody.post(&url, report()).await.ok();
    for job_id in [&running, &reported] {
        for key in payloads(&night.stack, job_id).await {
            remove(&night.stack, &key).await;
            gone.push(key);
        }
    }
    nobody.put(&url, Value::Null).await.is_error(500, "Internal server error");
    night.stack.clock().advance(Duration::from_secs(31 * 86_400));
    // What has ended before has been kept for its time.
    assert_eq!(night.reap().await, json!({"lost": 2, "retired": 1}));
    for job_id in [&running, &reported] {
        let stored = item(&night.stack, "JobsTable", "job_id", job_id).await;
        assert_eq!((&stored["status"]["S"], &stored["terminal"]["BOOL"]), (&json!("error"), &json!(true)));
        assert!(stored["error_detail"]["S"].as_str().unwrap().contains("no longer in the bucket"), "{stored}");
    }
    let lines = night.stack.shutdown().await;
    for key in &gone[..2] {
        assert!(lines.iter().any(|line| line.text.contains(key)), "no line names {key}");
    }
}

/// A pending job with large arguments and a long list of inputs.
async fn create_with_inputs(night: &Night) -> Answer {
    let uploads = (0..10)
        .map(|number| async move { uploaded(night.stack.url(), &night.user, &format!("{number}"), b"hello").await });
    let mut arguments = object(LARGE);
    arguments["inputs"] = json!(join_all(uploads).await);
    try_create(night, &arguments, None).await
}

#[tokio::test]
async fn a_list_of_inputs_that_is_gone_ends_its_job() {
    let night = Night::begin().await;
    let job_id = text(&create_with_inputs(&night).await.ok()["job_id"]);
    let claimed = night.try_claim(&night.miner().await, &job_id).await.ok();
    let url = text(&claimed["job_data"]["inputs"][0]);
    let keys = payloads(&night.stack, &job_id).await;
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in keys {
        remove(&night.stack, &key).await;
    }
    Client::nobody().get(&url).await.is_error(500, "Internal server error");
    Client::nobody().get(&url).await.is_error(400, "Job already finished");
    let ended = night.user.get(&night.url(&format!("/jobs/{job_id}?view=status"))).await.ok();
    assert_eq!((&ended["status"], &ended["terminal"]), (&json!("error"), &json!(true)));
    assert_eq!(ended["error_detail"], "What the job needs is no longer in the bucket of outputs: its list of inputs");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn arguments_are_taken_back_when_the_list_of_inputs_cannot_be_put() {
    let night = Night::begin().await;
    let puts = AtomicUsize::new(0);
    night.stack.set_faults(move |call| {
        let is_put = call.function.as_deref() == Some("create-job") && call.operation == "PutObject";
        if is_put && puts.fetch_add(1, Ordering::SeqCst) > 0 { Fault::FailBefore(503) } else { Fault::None }
    });
    create_with_inputs(&night).await.is_error(503, "Service busy, please try again");
    assert_eq!(objects(&night.stack, "/payloads/").await, [""; 0]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_result_is_taken_back_when_the_list_of_files_cannot_be_put() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let puts = AtomicUsize::new(0);
    night.stack.set_faults(move |call| {
        let is_put = call.function.as_deref() == Some("finish-job") && call.operation == "PutObject";
        if is_put && puts.fetch_add(1, Ordering::SeqCst) > 0 { Fault::FailBefore(503) } else { Fault::None }
    });
    Client::nobody().post(&url, report()).await.is_error(503, "Service busy, please try again");
    assert_eq!(objects(&night.stack, "/payloads/").await, [""; 0]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_a_report_has_put_that_never_came_to_its_write_goes_with_its_job() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    for is_deleted in [true, false] {
        let job_id = night.create("train").await;
        let url = night.claim(&miner, &job_id).await;
        night.fail(Some("PutObject"), Fault::KillAfter);
        assert!(Client::nobody().post(&url, report()).await.is_failure());
        night.fail(None, Fault::None);
        assert_eq!(payloads(&night.stack, &job_id).await.len(), 1);
        if is_deleted {
            night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
        } else {
            Client::nobody().post(&url, json!({"status": "complete"})).await.ok();
            night.stack.clock().advance(Duration::from_secs(30 * 86_400 + 1));
            assert_eq!(night.reap().await["retired"], 1);
        }
        assert_eq!(objects(&night.stack, &job_id).await, [""; 0], "{is_deleted}");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_large_report_that_is_settled_leaves_nothing_to_look_for() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    let done = Client::nobody().post(&url, json!({"status": "complete", "result": object(LARGE)})).await.ok();
    assert_eq!(done["terminal"], true);
    night.stack.clock().advance(Duration::from_secs(30 * 86_400 + 1));
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    night.stack.set_faults(move |call| {
        counted.fetch_add(usize::from(call.operation.starts_with("List")), Ordering::SeqCst);
        Fault::None
    });
    assert_eq!(night.reap().await, json!({"retired": 1}));
    assert_eq!(lists.load(Ordering::SeqCst), 0);
    assert_eq!(objects(&night.stack, &job_id).await, [""; 0]);
    night.stack.shutdown().await;
}

/// Write units and calls of S3 of what was answered 200.
fn cost(answer: &Answer) -> (f64, u32) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let units = text(&json!(answer.header("x-local-engine-units").unwrap()));
    (units.split_once(" write=").unwrap().1.parse().unwrap(), answer.engine_calls().1)
}

#[tokio::test]
async fn what_a_job_carries_adds_a_unit_to_a_step() {
    let night = Night::on(Stack::builder().capacity(true).start().await.unwrap()).await;
    let (nobody, miner) = (Client::nobody(), night.miner().await);
    let mut seen = Vec::new();
    for (arguments, files) in [(object(100), 1), (object(100 << 10), 20), (object((4 << 20) - 100), 20)] {
        let created = try_create(&night, &arguments, None).await;
        let claimed = night.try_claim(&miner, &text(&created.body["job_id"])).await;
        let url = text(&claimed.body["job_status_url"]);
        let beat = nobody.put(&url.replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await;
        let names = (0..files).map(|number| format!("{number:02}{}", "n".repeat(if files > 1 { 924 } else { 1 })));
        let declared: Vec<_> = names.map(|name| json!({"filename": name, "size": 1})).collect();
        let report = json!({"status": "complete", "result": arguments, "output_files": declared});
        let finished = nobody.post(&url, report).await;
        for url in finished.body["output_storage_urls"].as_object().unwrap().values() {
            upload(&text(url), b"x").await;
        }
        let completed = nobody.put(&url, Value::Null).await;
        assert_eq!(completed.body["status"], "complete");
        seen.push([&created, &claimed, &beat, &finished, &completed].map(cost));
    }
    // What was put for the first list goes, too, which is no call of S3's that costs.
    let large = [(6.0, 1), (3.0, 1), (1.0, 0), (3.0, 2), (4.0, 4)];
    assert_eq!(seen, [[(6.0, 0), (3.0, 0), (1.0, 0), (2.0, 0), (4.0, 1)], large, large]);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_payload_that_was_replaced_is_never_answered() {
    // In a bucket without versions yet, another object can take its place; with them, it cannot.
    for unversioned in [u64::MAX, 0] {
        let night = Night::on(Stack::builder().unversioned_objects(unversioned).start().await.unwrap()).await;
        let job_id = create(&night, "train").await;
        let key = payloads(&night.stack, &job_id).await.remove(0);
        let other = with_disk(object(LARGE)).to_string().replace('x', "y");
        for other in [other.clone(), other + " "] {
            let put = s3(&night.stack).put_object().bucket(night.stack.resource("OutputsBucket").unwrap()).key(&key);
            put.body(other.into_bytes().into()).send().await.unwrap();
            let answer = night.user.get(&night.url(&format!("/jobs/{job_id}"))).await;
            match unversioned {
                0 => assert_eq!(answer.ok()["job_args"], with_disk(object(LARGE))),
                _ => answer.is_error(500, "Internal server error"),
            }
        }
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn arguments_that_would_not_outlive_their_job_are_put_anew_by_its_claim() {
    let night = Night::begin().await;
    let (job_id, miner) = (create(&night, "serve").await, night.miner().await);
    let stored = async || item(&night.stack, "JobsTable", "job_id", &job_id).await["job_args"].take();
    let before = stored().await;
    // `serve` has no timeout: it may run for 30 days, and is kept for 30 after that. The bucket keeps an object for 94.
    night.stack.clock().advance(Duration::from_secs(25 * 86_400));
    night.fail(Some("PutObject"), Fault::KillAfter);
    assert!(night.try_claim(&miner, &job_id).await.is_failure());
    night.fail(None, Fault::None);
    assert_eq!(stored().await, before);
    let claimed = night.try_claim(&miner, &job_id).await;
    assert_eq!((claimed.engine_calls(), &claimed.body["job_data"]), ((2, 2), &with_disk(object(LARGE))));
    let after = stored().await;
    assert_eq!(after["M"]["h"], before["M"]["h"]);
    // Not under the same key: the bucket keeps what was overwritten for 30 days.
    assert_ne!(after["M"]["i"], before["M"]["i"]);

    // Lost soon after that, it has arguments that are young enough for the next attempt.
    let heartbeat = text(&claimed.body["job_status_url"]).replace("?token=", "/heartbeat?token=");
    Client::nobody().put(&heartbeat, json!({})).await.ok();
    night.stack.clock().advance(Duration::from_secs(600));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    let again = night.try_claim(&night.miner().await, &job_id).await.ok();
    assert_eq!((&again["attempt"], &again["job_data"]), (&json!(2), &with_disk(object(LARGE))));
    assert_eq!(stored().await, after);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn arguments_outlive_a_wait_after_a_lost_attempt_and_the_retention_after_that() {
    // Claimed at once, it may run for 30 days, wait for 30, and is kept for 30; claimed on day 29, all of that later. The bucket keeps an object for 94.
    for (days, is_put_anew) in [(0, false), (29, true)] {
        let night = Night::begin().await;
        let path = night.url(&format!("/jobs/{}/serve?cancel_after=30d", night.chute_id));
        let job_id = text(&night.user.post(&path, object(LARGE)).await.ok()["job_id"]);
        let stored = async || item(&night.stack, "JobsTable", "job_id", &job_id).await["job_args"]["M"]["i"].take();
        let before = stored().await;
        night.stack.clock().advance(Duration::from_secs(days * 86_400));
        night.claim(&night.miner().await, &job_id).await;
        assert_eq!(stored().await != before, is_put_anew, "{days}");
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn a_deleted_job_takes_its_payloads_along() {
    let night = Night::begin().await;
    let pending = create(&night, "train").await;
    let reported = create(&night, "train").await;
    let url = night.claim(&night.miner().await, &reported).await;
    Client::nobody().post(&url, report()).await.ok();
    night.fail(Some("ListObjectVersions"), Fault::FailBefore(503));
    // Without a report it has nothing but what it refers to.
    night.user.delete(&night.url(&format!("/jobs/{pending}"))).await.ok();
    assert_eq!(objects(&night.stack, &pending).await, [""; 0]);
    // The removal fails, and the reaper goes on with it.
    assert_eq!(night.user.delete(&night.url(&format!("/jobs/{reported}"))).await.status, 503);
    night.fail(None, Fault::None);
    assert!(!objects(&night.stack, &reported).await.is_empty());
    night.stack.clock().advance(Duration::from_secs(120));
    assert_eq!(night.reap().await, json!({"swept": 1}));
    for job_id in [&pending, &reported] {
        assert_eq!(objects(&night.stack, job_id).await, [""; 0]);
    }
    night.stack.shutdown().await;
}
