//! The bytes that a job's files may have together.

use local::Stack;
use serde_json::{Value, json};
use tests::{Client, Job, Night, objects, text, upload};

use crate::{file, put_envelope, target};

async fn stack() -> Stack {
    Stack::builder().parameter("MaxJobBytes", "100").start().await.unwrap()
}

fn declared(files: &[(&str, u64)]) -> Value {
    files.iter().map(|(name, size)| json!({"filename": name, "size": size})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_declares_more_is_refused_and_changes_nothing() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let too_much = json!({"status": "complete", "output_files": declared(&[("a", 60), ("b", 41)])});
    let detail = "The declared files have 101 bytes together, and a job may have 100";
    job.finish(too_much).await.is_error(413, detail);

    // As much as may be, and one of which nobody knows.
    let report =
        json!({"status": "complete", "output_files": declared(&[("a", 60), ("b", 40)]), "output_filenames": ["c"]});
    job.finish(report.clone()).await.ok();
    let renew = async |body: Value| Client::nobody().put(&job.upload_path(), body).await;
    renew(json!({"path": "b", "size": 41})).await.is_error(413, detail);
    renew(json!({"path": "c", "size": 1})).await.is_error(413, detail);
    // What was taken before goes on.
    renew(json!({"path": "b"})).await.ok();
    job.finish(report).await.ok();
    renew(json!({"path": "b", "size": 39})).await.ok();
    renew(json!({"path": "c", "size": 1})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_nobody_declared_those_that_fit_are_delivered_and_the_others_are_named() {
    let stack = stack().await;
    let job = Job::on(&stack).await;
    let names = ["a-log", "b-log", "envelope", "form", "missing"];
    let report = json!({"status": "complete", "output_files": declared(&[("model", 60)]), "output_filenames": names});
    let answer = job.finish(report).await.ok();
    let put = async |name: &str, bytes: usize| {
        assert_eq!(upload(&text(&target(&answer, name)["url"]), &vec![b'x'; bytes]).await.status, 200);
    };
    put("model", 60).await;
    put("a-log", 41).await;
    put("b-log", 30).await;
    put_envelope(&tests::Envelope::default(), &answer, "envelope", &[b'e'; 11]).await;
    job.upload("form", &[b'f'; 10]).await.ok();

    let done = job.complete().await.ok();
    let detail =
        "Failed to upload files: a-log, envelope, missing\nBeyond the 100 bytes that a job may have: a-log, envelope";
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("partial_failure"), &json!(detail)));
    for (name, bytes) in [("model", 60), ("b-log", 30), ("form", 10)] {
        assert_eq!(job.download(name).await.bytes.len(), bytes, "{name}");
    }
    for name in names {
        assert_eq!(file(&done, name)["uploaded"], name == "b-log" || name == "form", "{name}");
    }
    // What was left out is not paid for any longer.
    let mut kept = objects(&stack, &job.job_id).await;
    kept.retain(|key| !["model", "b-log", "form"].iter().any(|name| key.ends_with(name)));
    assert_eq!(kept, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_for_a_miner_that_was_lost() {
    let night = Night::on(stack().await).await;
    let miner = night.miner().await;
    let (job_id, _, answer) = night.finished(&miner, &["a", "b"]).await;
    for name in ["a", "b"] {
        assert_eq!(upload(&text(&answer["output_storage_urls"][name]), &[b'x'; 70]).await.status, 200);
    }
    night.stack.clock().advance(std::time::Duration::from_secs(40 * 24 * 3600));
    assert_eq!(night.reap().await, json!({"completed": 1}));
    let done = night.get(&job_id).await;
    let detail = "Failed to upload files: b\nBeyond the 100 bytes that a job may have: b";
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("partial_failure"), &json!(detail)));
    assert_eq!(objects(&night.stack, &format!("{job_id}/outputs/b")).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_report_is_answered_though_a_job_may_have_less_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let first = Stack::builder().data_dir(folder.path()).start().await.unwrap();
    let (mut job, mut other) = (Job::on(&first).await, Job::on(&first).await);
    let report = json!({"status": "complete", "output_files": declared(&[("a", 101)])});
    job.finish(report.clone()).await.ok();
    let before = first.url().to_owned();
    first.shutdown().await;

    let lowered = Stack::builder().data_dir(folder.path()).parameter("MaxJobBytes", "100").start().await.unwrap();
    for job in [&mut job, &mut other] {
        job.path = job.path.replace(&before, lowered.url());
    }
    let again = job.finish(report.clone()).await.ok();
    assert_eq!(upload(&text(&target(&again, "a")["url"]), &[b'x'; 101]).await.status, 200);
    // Another report is another matter, and so is the first one of another job.
    let more = json!({"status": "complete", "output_files": declared(&[("a", 102)])});
    job.finish(more).await.is_error(400, "Job already finished");
    other.finish(report).await.is_error(413, "The declared files have 101 bytes together, and a job may have 100");
    let done = job.complete().await.ok();
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("complete"), &Value::Null));
}
