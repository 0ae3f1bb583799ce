//! `PUT /jobs/{job_id}?token=`: a miner says that its uploads are done.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, Job, World, text, upload};

/// The file of that name in a job.
fn file<'a>(job: &'a Value, filename: &str) -> &'a Value {
    let files = job["output_files"].as_object().expect("files");
    files.values().find(|file| file["filename"] == filename).expect("the file")
}

/// A job that has reported these files with this status and detail.
async fn reported(world: &World, status: &str, detail: Option<&str>, files: &[&str]) -> (Job, Value) {
    let job = world.claimed().await;
    let answer = job.finish(json!({"status": status, "detail": detail, "output_filenames": files})).await.ok();
    (job, answer)
}

async fn put(answer: &Value, filename: &str, content: &[u8]) {
    let url = text(&answer["output_storage_urls"][filename]);
    assert_eq!(upload(&url, content).await.status, 200);
}

#[tokio::test]
async fn a_job_with_all_its_files_is_complete() {
    let world = World::new().await;
    let (job, answer) = world.completed(&[("model.bin", &[7; 100_000]), ("logs/out.txt", b"")]).await;
    assert_eq!((&answer["status"], &answer["terminal"]), (&json!("complete"), &json!(true)));
    assert_eq!((&answer["error_detail"], &answer["active"]), (&Value::Null, &json!(false)));
    assert_eq!(answer["output_storage_urls"], json!({}));
    for (name, size) in [("model.bin", 100_000), ("logs/out.txt", 0)] {
        assert_eq!((&file(&answer, name)["uploaded"], &file(&answer, name)["size"]), (&json!(true), &json!(size)));
    }
    assert_eq!(world.get(&job.job_id).await, answer);
}

#[tokio::test]
async fn files_that_are_missing_make_it_a_partial_failure() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["b", "c", "B", "a", "ü", "there"]).await;
    put(&answer, "there", b"hello").await;
    let done = job.complete().await.ok();
    assert_eq!((&done["status"], &done["terminal"]), (&json!("partial_failure"), &json!(true)));
    assert_eq!(done["error_detail"], "Failed to upload files: B, a, b, c, ü");
    assert_eq!(done["result"], json!({"loss": 0.5}));
    let uploaded = |name: &str| (file(&done, name)["uploaded"].clone(), file(&done, name)["size"].clone());
    assert_eq!(uploaded("there"), (json!(true), json!(5)));
    assert_eq!(uploaded("a"), (json!(false), Value::Null));
}

#[tokio::test]
async fn the_bucket_is_believed_and_not_the_miner() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["through-the-api", "straight"]).await;
    job.upload("through-the-api", b"hello").await.ok();
    put(&answer, "straight", b"hello").await;
    assert_eq!(file(&world.get(&job.job_id).await, "straight")["uploaded"], false);
    assert_eq!(job.complete().await.ok()["status"], "complete");
}

#[tokio::test]
async fn a_report_of_failure_keeps_its_status_and_its_files() {
    let world = World::new().await;
    for status in ["error", "cancelled"] {
        let (job, answer) = reported(&world, status, Some("boom"), &["log.txt"]).await;
        put(&answer, "log.txt", b"Traceback").await;
        let done = job.complete().await.ok();
        assert_eq!((&done["status"], &done["terminal"]), (&json!(status), &json!(true)));
        assert_eq!((&done["error_detail"], &file(&done, "log.txt")["size"]), (&json!("boom"), &json!(9)));
    }
}

#[tokio::test]
async fn defect_4_missing_files_are_told_with_and_without_a_detail() {
    let world = World::new().await;
    for status in ["error", "cancelled"] {
        for (detail, becomes) in
            [(None, "Failed to upload files: a, b"), (Some("boom\nbang"), "boom\nbang\nFailed to upload files: a, b")]
        {
            let (job, _) = reported(&world, status, detail, &["b", "a"]).await;
            let done = job.complete().await.ok();
            assert_eq!((&done["status"], &done["terminal"]), (&json!(status), &json!(true)));
            assert_eq!(done["error_detail"], becomes);
            // Once.
            assert_eq!(job.complete().await.ok()["error_detail"], becomes);
        }
    }
    let (job, _) = reported(&world, "complete", Some("with warnings"), &["a"]).await;
    assert_eq!(job.complete().await.ok()["error_detail"], "with warnings\nFailed to upload files: a");
}

#[tokio::test]
async fn a_thousand_missing_files_are_told_in_short() {
    let world = World::new().await;
    let names: Vec<_> = (0..1000).map(|number| format!("checkpoints/{}-{number:03}", "x".repeat(40))).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (job, _) = reported(&world, "complete", Some(&"x".repeat(20_000)), &names).await;
    let done = job.complete().await.ok();
    let detail = text(&done["error_detail"]);
    assert_eq!(done["status"], "partial_failure");
    assert!(detail.contains("Failed to upload files: checkpoints/") && detail.ends_with('…'), "{detail}");
    assert!(detail.len() <= 32 << 10, "{} bytes", detail.len());
}

#[tokio::test]
async fn defect_5_a_job_without_a_report_can_not_be_completed() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    job.complete().await.is_error(400, "Job has not reported a result yet");
    assert_eq!(job.stored().await, before);
    assert_eq!(world.get(&job.job_id).await["status"], "running");
}

#[tokio::test]
async fn defect_5_a_repeat_gives_the_same_job() {
    let world = World::new().await;
    let (job, first) = world.completed(&[("a", b"hello")]).await;
    let before = job.stored().await;
    assert_eq!(job.complete().await.ok(), first);
    // Not even a file that changed meanwhile makes a difference.
    let (partial, answer) = world.finished(&["a"]).await;
    let done = partial.complete().await.ok();
    put(&answer, "a", b"late").await;
    assert_eq!(partial.complete().await.ok(), done);
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_job_that_ended_with_its_report_stays_as_it_is() {
    let world = World::new().await;
    for status in ["complete", "error", "cancelled"] {
        let (job, answer) = reported(&world, status, None, &[]).await;
        let before = job.stored().await;
        assert_eq!(job.complete().await.ok()["status"], answer["status"]);
        assert_eq!(job.stored().await, before);
    }
}

#[tokio::test]
async fn completing_at_the_same_time_gives_the_same_job() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a"]).await;
    put(&answer, "a", b"hello").await;
    let answers = futures_util::future::join_all((0..4).map(|_| job.complete())).await;
    let jobs: Vec<_> = answers.into_iter().map(tests::Answer::ok).collect();
    assert_eq!(jobs[0]["status"], "complete");
    assert!(jobs.iter().all(|other| *other == jobs[0]));
}

#[tokio::test]
async fn the_body_is_ignored() {
    let world = World::new().await;
    for body in [&b"{\"status\":\"error\"}"[..], b"not JSON", b"\xff\x00", b"[1,2]"] {
        let (job, answer) = world.finished(&["a"]).await;
        put(&answer, "a", b"hello").await;
        let headers = [("content-type", "application/json")];
        let answer = Client::nobody().send(Method::PUT, &job.path, body.to_vec(), &headers).await.ok();
        assert_eq!(answer["status"], "complete");
    }
}

#[tokio::test]
async fn a_deleted_job_is_not_found() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    job.complete().await.is_error(404, &format!("job_id='{}' not found!", job.job_id));
}

#[tokio::test]
async fn a_late_upload_changes_nothing_of_what_was_checked() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a"]).await;
    put(&answer, "a", b"checked").await;
    let done = job.complete().await.ok();
    put(&answer, "a", b"swapped!").await;
    let file_id = done["output_files"].as_object().unwrap().keys().next().unwrap();
    let found = world.user.get(&format!("/jobs/{}/download/{file_id}", job.job_id)).await;
    let downloaded = Client::nobody().get(found.header("location").unwrap()).await;
    assert_eq!(downloaded.bytes, b"checked");
}
