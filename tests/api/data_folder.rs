//! `--data DIR`: what a stack that was stopped leaves for the next one.

use local::Stack;
use serde_json::json;
use tests::{Client, Job, text, upload};

#[tokio::test]
async fn jobs_and_files_survive_a_restart() {
    let folder = std::env::temp_dir().join(format!("jobchute-data-{}", uuid::Uuid::new_v4()));
    let first = Stack::builder().data_dir(&folder).start().await.unwrap();
    let job = Job::on(&first).await;
    let answer = job.finish(json!({"status": "complete", "output_filenames": ["a/ü.txt"]})).await.ok();
    assert_eq!(upload(&text(&answer["output_storage_urls"]["a/ü.txt"]), b"hello").await.status, 200);
    let done = job.complete().await.ok();
    first.shutdown().await;

    let second = Stack::builder().data_dir(&folder).start().await.unwrap();
    let url = format!("{}/jobs/{}", second.url(), job.job_id);
    assert_eq!(job.owner.get(&url).await.ok(), done);
    let file_id = done["output_files"].as_object().unwrap().keys().next().unwrap();
    let found = job.owner.get(&format!("{url}/download/{file_id}")).await;
    assert_eq!(Client::nobody().get(found.header("location").unwrap()).await.bytes, b"hello");
    second.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
