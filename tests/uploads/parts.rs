//! Large files in parts, on a stack where 5 MiB is large.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::presigning::PresigningConfig;
use local::{Fault, Stack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Client, Job, dynamodb, objects, s3, text, unfinished_uploads, upload};
use tokio::{runtime::Handle, task::block_in_place};
use uuid::Uuid;

use crate::{MIB, content, file, target};

/// Two parts of 5 MiB and a last one of 7 bytes.
const SIZE: usize = 10 * MIB + 7;

async fn stack() -> Stack {
    let builder = Stack::builder().parameter("MultipartThresholdBytes", (5 * MIB).to_string());
    // What is declared here is more than anybody uploads.
    builder.parameter("MaxJobBytes", "0").start().await.unwrap()
}

fn report(names: &[&str]) -> Value {
    let file = |name: &&str| json!({"filename": name, "size": SIZE, "part_size": 5 * MIB, "content_type": "a/b"});
    json!({"status": "complete", "output_files": names.iter().map(file).collect::<Vec<_>>()})
}

fn numbers(target: &Value) -> Vec<u64> {
    target["parts"].as_array().unwrap().iter().map(|part| part["part_number"].as_u64().unwrap()).collect()
}

/// Sends the part of that number.
async fn send(target: &Value, number: u64, content: &[u8]) {
    let parts = target["parts"].as_array().unwrap();
    let part = parts.iter().find(|part| part["part_number"] == number).expect("a part that is missing");
    let (offset, size) = (part["offset"].as_u64().unwrap() as usize, part["size"].as_u64().unwrap() as usize);
    assert_eq!(upload(&text(&part["url"]), &content[offset..offset + size]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_goes_on_where_it_stopped() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let content = content(SIZE);
    let answer = job.finish(report(&["large"])).await.ok();
    let first = target(&answer, "large");
    assert_eq!((&first["url"], numbers(first)), (&Value::Null, vec![1, 2, 3]));
    assert_eq!(answer["output_storage_urls"], json!({}));
    // The size of a part is signed.
    assert_eq!(upload(&text(&first["parts"][2]["url"]), b"seven+1!").await.status, 403);
    send(first, 3, &content).await;
    send(first, 1, &content).await;

    // By a repeated finish as by a renewal.
    assert_eq!(numbers(target(&job.finish(report(&["large"])).await.ok(), "large")), [2]);
    let renewed = Client::nobody().put(&text(&first["renew_url"]), json!({"path": "large"})).await.ok();
    assert_eq!(numbers(&renewed), [2]);
    send(&renewed, 2, &content).await;
    assert_eq!(numbers(&job.renew("large").await), [0; 0]);

    let done = job.complete().await.ok();
    assert_eq!((&done["status"], &file(&done, "large")["size"]), (&json!("complete"), &json!(SIZE)));
    let stored = job.download("large").await;
    assert!(stored.bytes == content);
    assert_eq!(stored.header("content-type"), Some("a/b"));
    assert_eq!(stored.header("content-encoding"), Some("identity"), "as of any other file");
    assert_eq!(unfinished_uploads(&stack, &job.job_id).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_url_is_renewed_and_the_same_file_completed() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let mut report = report(&["large"]);
    report["output_filenames"] = json!(["small"]);
    let answer = job.finish(report).await.ok();
    let content = content(SIZE);
    let parts = target(&answer, "large");
    send(parts, 1, &content).await;

    // What was signed an hour and a minute ago, by the same rules.
    let (signed, hour) = (SystemTime::now() - Duration::from_secs(3660), Duration::from_secs(3600));
    let expired = || PresigningConfig::builder().start_time(signed).expires_in(hour).build().unwrap();
    let (client, bucket) = (s3(&stack), stack.resource("OutputsBucket").unwrap());
    let key = |name: &str| text(&file(&answer, name)["path"]);
    let small = client.put_object().bucket(bucket).key(key("small")).presigned(expired()).await.unwrap();
    let url = text(&parts["parts"][1]["url"]);
    let upload_id = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("uploadId=")).unwrap();
    let part = client.upload_part().bucket(bucket).key(key("large")).upload_id(upload_id).part_number(2);
    let part = part.presigned(expired()).await.unwrap();
    for url in [small.uri(), part.uri()] {
        let refused = upload(url, b"late").await;
        assert_eq!(refused.status, 403, "{}", refused.body);
    }

    let fresh = job.renew("large").await;
    assert_eq!(numbers(&fresh), [2, 3]);
    send(&fresh, 2, &content).await;
    send(&fresh, 3, &content).await;
    assert_eq!(upload(&text(&job.renew("small").await["url"]), b"small").await.status, 200);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert!(job.download("large").await.bytes == content);
    assert_eq!(job.download("small").await.bytes, b"small");
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_is_told_late_loses_no_parts() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let answer = job.finish(json!({"status": "complete", "output_filenames": ["sent", "torn"]})).await.ok();
    let content = content(SIZE);
    let declared = |name: &str| json!({"path": name, "size": SIZE, "part_size": 5 * MIB, "sha256": sha256(&content)});
    let renew = async |name: &str| Client::nobody().put(&job.upload_path(), declared(name)).await.ok();
    // What came whole, to a URL from before the declaration, S3 has not checked: it has to come again.
    assert_eq!(upload(&text(&answer["output_storage_urls"]["sent"]), &content).await.status, 200);
    for name in ["sent", "torn"] {
        let fresh = renew(name).await;
        assert_eq!(numbers(&fresh), [1, 2, 3], "{name}");
        for number in [1, 2, 3] {
            send(&fresh, number, &content).await;
        }
    }
    // The files are assembled, and the database does not take it.
    stack.set_faults(|call| match call.operation == "UpdateItem" {
        true => Fault::FailBefore(500),
        false => Fault::None,
    });
    assert_eq!(job.complete().await.status, 503);
    stack.set_faults(|_| Fault::None);
    assert_eq!(numbers(&renew("torn").await), [0; 0], "it is whole");
    assert_eq!(job.complete().await.ok()["status"], "complete");
    for name in ["sent", "torn"] {
        assert!(job.download(name).await.bytes == content, "{name}");
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_other_bytes_are_not_gone_on_with() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let (before, after) = (content(SIZE), vec![7; SIZE]);
    let declare = |content: &[u8]| json!({"size": SIZE, "part_size": 5 * MIB, "sha256": sha256(content)});
    let mut file = declare(&before);
    file["filename"] = "large".into();
    let answer = job.finish(json!({"status": "complete", "output_files": [file]})).await.ok();
    send(target(&answer, "large"), 1, &before).await;

    let mut again = declare(&after);
    again["path"] = "large".into();
    let fresh = Client::nobody().put(&job.upload_path(), again).await.ok();
    assert_eq!(numbers(&fresh), [1, 2, 3]);
    for number in [1, 2, 3] {
        send(&fresh, number, &after).await;
    }
    assert_eq!(job.complete().await.ok()["status"], "complete");
    let stored = job.download("large").await;
    assert!(stored.bytes == after);
    assert_eq!(stored.header("x-amz-meta-sha256"), Some(sha256(&after).as_str()));
    assert_eq!(unfinished_uploads(&stack, &job.job_id).await, [""; 0]);
    stack.shutdown().await;
}

/// A file of that many bytes is declared, in parts of 5 MiB and with what else there is.
async fn declared(job: &Job, size: usize, mut file: Value) -> Value {
    (file["path"], file["size"], file["part_size"]) = ("large".into(), size.into(), (5 * MIB).into());
    Client::nobody().put(&job.upload_path(), file).await.ok()
}

/// Sends all parts of a file, and has the job completed: the file is made of them, and the database does not take it.
async fn is_made_of_all(stack: &Stack, job: &Job, target: &Value, content: &[u8]) {
    for number in numbers(target) {
        send(target, number, content).await;
    }
    stack.set_faults(|call| match call.operation == "UpdateItem" {
        true => Fault::FailBefore(500),
        false => Fault::None,
    });
    assert_eq!(job.complete().await.status, 503);
    stack.set_faults(|_| Fault::None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_made_of_its_parts_does_not_pass_for_the_one_declared_after_it() {
    let stack = stack().await;
    let (before, after) = (content(SIZE), vec![7; SIZE]);
    // A few files are looked at, and many are listed.
    for others in [0, 12] {
        let others: Vec<_> = (0..others).map(|number| number.to_string()).collect();
        for has_hash in [true, false] {
            let job = Job::on(&stack).await;
            let mut report = report(&["large"]);
            report["output_filenames"] = json!(others);
            let first = job.finish(report).await.ok();
            is_made_of_all(&stack, &job, target(&first, "large"), &before).await;
            let declare = async |content: &[u8]| match has_hash {
                true => declared(&job, SIZE, json!({"sha256": sha256(content)})).await,
                false => declared(&job, SIZE, json!({})).await,
            };
            assert_eq!(numbers(&declare(&before).await), [0; 0], "it is whole, and its hash is told late");
            if !has_hash {
                declared(&job, SIZE - 1, json!({})).await;
            }
            let fresh = declare(&after).await;
            assert_eq!(numbers(&fresh), [1, 2, 3]);
            send(&fresh, 2, &after).await;
            let fresh = declare(&after).await;
            assert_eq!(numbers(&fresh), [1, 3], "it goes on, as any other");
            is_made_of_all(&stack, &job, &fresh, &after).await;
            assert_eq!(numbers(&declare(&after).await), [0; 0]);
            let done = job.complete().await.ok();
            assert_eq!(file(&done, "large")["uploaded"], true);
            assert!(job.download("large").await.bytes == after);
        }
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_declared_after_another_is_missing_until_it_comes_itself() {
    let stack = stack().await;
    let before = content(SIZE);
    for others in [0, 12] {
        let others: Vec<_> = (0..others).map(|number| number.to_string()).collect();
        let job = Job::on(&stack).await;
        let mut report = report(&["large"]);
        report["output_filenames"] = json!(others);
        let first = job.finish(report).await.ok();
        is_made_of_all(&stack, &job, target(&first, "large"), &before).await;
        declared(&job, SIZE - 1, json!({})).await;
        declared(&job, SIZE, json!({})).await;
        let done = job.complete().await.ok();
        assert_eq!((&done["status"], &file(&done, "large")["uploaded"]), (&json!("partial_failure"), &json!(false)));
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_gone_has_not_become_the_file_that_was_declared_before_it() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let (before, after) = (content(SIZE), vec![7; SIZE]);
    let first = job.finish(report(&["large"])).await.ok();
    is_made_of_all(&stack, &job, target(&first, "large"), &before).await;
    declared(&job, SIZE - 1, json!({})).await;
    let fresh = declared(&job, SIZE, json!({})).await;
    for number in [1, 2, 3] {
        send(&fresh, number, &after).await;
    }
    // Somebody gives the upload up as the file is about to be made of it.
    let (client, bucket) = (s3(&stack), stack.resource("OutputsBucket").unwrap().to_owned());
    let (key, url) = (text(&file(&first, "large")["path"]), text(&fresh["parts"][0]["url"]));
    let upload_id = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("uploadId=")).unwrap().to_owned();
    stack.set_faults(move |call| {
        if call.operation == "CompleteMultipartUpload" {
            let abort = client.abort_multipart_upload().bucket(&bucket).key(&key).upload_id(&upload_id);
            let given_up = async { abort.send().await.is_ok() };
            assert!(block_in_place(|| Handle::current().block_on(given_up)));
        }
        Fault::None
    });
    job.complete().await.is_error(503, "Service busy, please try again");
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_parts_whatever_the_threshold_has_become() {
    let folder = std::env::temp_dir().join(format!("jobchute-threshold-{}", Uuid::new_v4()));
    let start = |threshold: usize| {
        Stack::builder().data_dir(&folder).parameter("MultipartThresholdBytes", threshold.to_string())
    };
    let first = start(5 * MIB).start().await.unwrap();
    let mut job = Job::on(&first).await;
    let content = content(SIZE);
    // Of one the miner chooses the size of the parts, of the other we do.
    let declared = json!([
        {"filename": "sent", "size": SIZE},
        {"filename": "torn", "size": SIZE, "part_size": 5 * MIB},
    ]);
    let answer = job.finish(json!({"status": "complete", "output_files": declared})).await.ok();
    send(target(&answer, "sent"), 1, &content).await;
    send(target(&answer, "torn"), 1, &content).await;
    let before = first.url().to_owned();
    first.shutdown().await;

    let second = start(64 * MIB).start().await.unwrap();
    job.path = job.path.replace(&before, second.url());
    let rest = job.renew("torn").await;
    assert_eq!(numbers(&rest), [2, 3]);
    for number in [2, 3] {
        send(&rest, number, &content).await;
    }
    assert_eq!(job.complete().await.ok()["status"], "complete");
    for name in ["sent", "torn"] {
        assert!(job.download(name).await.bytes == content, "{name}");
    }
    second.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Reports a file of 20 MiB that goes in parts of this size: where they go.
async fn in_parts_of(job: &Job, part_size: usize) -> Value {
    let file = json!({"filename": "large", "size": 20 * MIB, "part_size": part_size});
    target(&job.finish(json!({"status": "complete", "output_files": [file]})).await.ok(), "large").clone()
}

/// Declares another size of its parts, of which all have to be sent, and sends them.
async fn is_sent_in_parts_of(job: &Job, part_size: usize, content: &[u8]) {
    let declared = json!({"path": "large", "part_size": part_size});
    let fresh = Client::nobody().put(&job.upload_path(), declared).await.ok();
    assert_eq!(numbers(&fresh), (1..=content.len().div_ceil(part_size) as u64).collect::<Vec<_>>());
    for number in numbers(&fresh) {
        send(&fresh, number, content).await;
    }
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert!(job.download("large").await.bytes == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_another_size_are_not_gone_on_with() {
    let stack = stack().await;
    let content = content(20 * MIB);
    // The second part has 5 MiB either way, of other bytes.
    for (before, after) in [(5 * MIB, 15 * MIB), (15 * MIB, 5 * MIB)] {
        let job = Job::on(&stack).await;
        send(&in_parts_of(&job, before).await, 2, &content).await;
        is_sent_in_parts_of(&job, after, &content).await;
        assert_eq!(unfinished_uploads(&stack, &job.job_id).await, [""; 0]);
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_of_parts_that_cuts_the_file_alike_loses_no_parts() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let content = content(20 * MIB);
    let first = in_parts_of(&job, 20 * MIB).await;
    send(&first, 1, &content).await;
    // The job and its file before and after; the uploads, and the parts of one.
    assert_eq!(Client::nobody().put(&job.upload_path(), json!({"path": "large"})).await.engine_calls(), (2, 2));
    let declared = json!({"path": "large", "part_size": 30 * MIB});
    assert_eq!(numbers(&Client::nobody().put(&job.upload_path(), declared).await.ok()), [0; 0]);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_others_are_declared_beside_are_not_told() {
    let stack = stack().await;
    let content = content(20 * MIB);
    for repeats_its_report in [false, true] {
        let job = Job::on(&stack).await;
        in_parts_of(&job, 5 * MIB).await;
        // Another request declares other parts when this one has read the job.
        let (path, declare) = (job.upload_path(), AtomicBool::new(true));
        stack.set_faults(move |call| {
            if call.operation == "ListMultipartUploads" && declare.swap(false, Ordering::SeqCst) {
                let declared = Client::nobody();
                let declared =
                    async { declared.put(&path, json!({"path": "large", "part_size": 15 * MIB})).await.ok() };
                block_in_place(|| Handle::current().block_on(declared));
            }
            Fault::None
        });
        let (client, file) = (Client::nobody(), json!({"filename": "large", "size": 20 * MIB, "part_size": 5 * MIB}));
        let answer = match repeats_its_report {
            false => client.put(&job.upload_path(), json!({"path": "large"})).await,
            true => job.finish(json!({"status": "complete", "output_files": [file]})).await,
        };
        answer.is_error(503, "Service busy, please try again");
        is_sent_in_parts_of(&job, 15 * MIB, &content).await;
    }
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_begins_while_other_parts_are_declared_is_not_gone_on_with() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let content = content(20 * MIB);
    in_parts_of(&job, 5 * MIB).await;
    // What was begun is given up, and before the declaration is stored, another request begins anew.
    let (path, renew, bytes) = (job.upload_path(), AtomicBool::new(true), content.clone());
    stack.set_faults(move |call| {
        let is_declared = call.operation == "UpdateItem" && call.function.as_deref() == Some("upload-job-file");
        if is_declared && renew.swap(false, Ordering::SeqCst) {
            let begun = async {
                let renewed = Client::nobody().put(&path, json!({"path": "large"})).await.ok();
                send(&renewed, 2, &bytes).await;
            };
            block_in_place(|| Handle::current().block_on(begun));
        }
        Fault::None
    });
    is_sent_in_parts_of(&job, 15 * MIB, &content).await;
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_missing_are_named() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let answer = job.finish(report(&["none", "some", "all"])).await.ok();
    let content = content(SIZE);
    send(target(&answer, "some"), 2, &content).await;
    for number in [1, 2, 3] {
        send(target(&answer, "all"), number, &content).await;
    }
    let done = job.complete().await.ok();
    let detail = "Failed to upload files: none, some\nParts of none that are missing: 1-3\n\
                  Parts of some that are missing: 1, 3";
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("partial_failure"), &json!(detail)));
    assert!(job.download("all").await.bytes == content);
    // Nobody can go on with the others.
    assert_eq!(unfinished_uploads(&stack, &job.job_id).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_costs_neither_the_parts_nor_the_file() {
    let stack = stack().await;
    let (begins, assembles) = (AtomicBool::new(true), AtomicBool::new(true));
    let once = Arc::new((begins, assembles));
    let hook = once.clone();
    stack.set_faults(move |call| {
        let lost = match (call.operation.as_str(), call.function.as_deref()) {
            ("CreateMultipartUpload", Some("finish-job")) => hook.0.swap(false, Ordering::SeqCst),
            ("UpdateItem", Some("complete-job")) => hook.1.swap(false, Ordering::SeqCst),
            _ => false,
        };
        match (lost, call.operation.as_str()) {
            (false, _) => Fault::None,
            (true, "UpdateItem") => Fault::KillFunction,
            (true, _) => Fault::FailAfter,
        }
    });
    let job = Job::on(&stack).await;
    let answer = job.finish(report(&["large"])).await.ok();
    let content = content(SIZE);
    let first = target(&answer, "large");
    assert_eq!(unfinished_uploads(&stack, &job.job_id).await.len(), 2, "one nobody knows of");
    send(first, 1, &content).await;
    let fresh = job.renew("large").await;
    assert_eq!(numbers(&fresh), [2, 3]);
    send(&fresh, 2, &content).await;
    send(&fresh, 3, &content).await;

    // It dies with the file in one piece and the job not yet told.
    assert_ne!(job.complete().await.status, 200);
    assert_eq!(numbers(&job.renew("large").await), [0; 0]);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert!(job.download("large").await.bytes == content);
    assert_eq!(objects(&stack, &job.job_id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_declared_anew_is_what_was_declared_last() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let answer = job.finish(report(&["grows", "shrinks"])).await.ok();
    let content = content(3 * SIZE);
    for number in [1, 2, 3] {
        send(target(&answer, "shrinks"), number, &content).await;
    }
    let declare = async |name: &str, size: usize| {
        Client::nobody().put(&job.upload_path(), json!({"path": name, "size": size})).await.ok()
    };
    // Of another size it is another file: what came of the first is given up.
    let shrunk = declare("shrinks", 10 * MIB).await;
    assert_eq!(numbers(&shrunk), [1, 2]);
    for number in [1, 2] {
        send(&shrunk, number, &content).await;
    }
    let grown = declare("grows", 2 * SIZE).await;
    for number in numbers(&grown) {
        send(&grown, number, &content).await;
    }
    let too_many = json!({"path": "grows", "size": 5_u64 << 40});
    assert_eq!(Client::nobody().put(&job.upload_path(), too_many).await.status, 422);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert!(job.download("shrinks").await.bytes == content[..10 * MIB]);
    assert!(job.download("grows").await.bytes == content[..2 * SIZE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_parts_that_it_began_with() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let large = |name: &str, size: u64| json!({"filename": name, "size": size});
    let report = json!({"status": "complete", "output_files": [large("a", 10 << 30), large("b", 10 << 30)]});
    let answer = job.finish(report.clone()).await.ok();
    let cut = |target: &Value| (numbers(target).len(), target["parts"][0]["size"].as_u64().unwrap() as usize);
    assert_eq!(cut(target(&answer, "a")), (100, 103 * MIB));

    // As the release before left it, which had chosen by another rule and written nothing down.
    let (jobs, file_id) = (stack.resource("JobsTable").unwrap(), Uuid::new_v5(&job.job_id.parse().unwrap(), b"a"));
    let update = json!({
        "TableName": jobs, "Key": {"job_id": {"S": job.job_id}}, "UpdateExpression": "REMOVE files.#file.c",
        "ExpressionAttributeNames": {"#file": file_id},
    });
    dynamodb(&stack, "UpdateItem", update).await;
    assert_eq!(cut(&job.renew("a").await), (640, 16 * MIB));
    // The report is the same, and of the other file nothing has changed.
    let again = job.finish(report).await.ok();
    assert_eq!(cut(target(&again, "a")), (640, 16 * MIB));
    assert_eq!(cut(target(&again, "b")), (100, 103 * MIB));
    // Of another size it is another file.
    let declare = json!({"path": "a", "size": 20_u64 << 30});
    let declared = Client::nobody().put(&job.upload_path(), declare).await.ok();
    assert_eq!(cut(&declared), (100, 205 * MIB));
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_parts_than_an_answer_holds_come_one_file_at_a_time() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let large = |name: usize| json!({"filename": name.to_string(), "size": 500_u64 << 30});
    let files: Vec<_> = (0..500).map(large).collect();
    let finished = job.finish(json!({"status": "complete", "output_files": files, "output_filenames": ["s"]})).await;
    // A read, the list of so many files as an object of its own, and the write that refers to it.
    assert_eq!(finished.engine_calls(), (2, 1), "nothing is begun that nobody is told of");
    let answer = finished.ok();
    assert_eq!(answer.get("uploads"), None);
    assert_eq!(answer["output_storage_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["s"]);
    let one = job.renew("7").await;
    assert_eq!(numbers(&one), (1..=1000).collect::<Vec<_>>());
    assert_eq!(unfinished_uploads(&stack, &job.job_id).await.len(), 1);
}
