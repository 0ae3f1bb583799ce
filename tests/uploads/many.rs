//! As many files as a job may have.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tests::{Job, World, objects, stack, text, upload, upload_to};

use crate::{MIB, content};

/// "Lambda quotas", with what stands beside the body. In it every quote of the body is two bytes.
const LAMBDA_LIMIT: usize = 6 << 20;

#[tokio::test]
async fn a_thousand_declared_files_are_checked_in_four_calls_to_s3() {
    let world = World::new().await;
    let job = world.claimed().await;
    let content = [7; 1024];
    let files: Vec<_> =
        (0..1000).map(|number| json!({"filename": format!("frames/{number:04}.png"), "size": 1024})).collect();
    let answer = job.finish(json!({"status": "complete", "output_files": files})).await.ok();
    let targets = answer["uploads"].as_array().unwrap();
    assert_eq!(targets.len(), 1000);
    let uploads: Vec<_> = targets.iter().map(|target| upload_to(target, &content)).collect();
    let statuses: Vec<_> = stream::iter(uploads).buffer_unordered(16).map(|stored| stored.status).collect().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");

    let complete = job.complete().await;
    let (dynamodb, s3) = complete.engine_calls();
    // The list of files as it was and as it is; and a listing, which may have an empty second page.
    assert!(dynamodb == 2 && s3 <= 2 + 1 + 1000 / 1000, "{dynamodb} and {s3}");
    assert_eq!(complete.ok()["status"], "complete");
    assert_eq!(job.download("frames/0999.png").await.bytes, content);
}

#[tokio::test]
async fn large_uploads_that_were_sent_again_are_searched_for_at_the_end() {
    let world = World::new().await;
    for (size, left) in [(64 * MIB, 2), (64 * MIB + 1, 1)] {
        let (job, answer) = world.finished(&["a"]).await;
        let content = content(size);
        for _ in 0..2 {
            assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), &content).await.status, 200);
        }
        assert_eq!(job.complete().await.ok()["status"], "complete");
        assert!(job.download("a").await.bytes == content);
        assert_eq!(objects(stack(), &job.job_id).await.len(), left);
    }
}

/// The report with `files` names of this length, each character of which takes as much of the answer as any can.
async fn report(job: &Job, files: usize, length: usize) -> tests::Answer {
    let names: Vec<_> = (0..files).map(|number| format!("{number:03}{}", "\"".repeat(length - 3))).collect();
    job.finish(json!({"status": "complete", "output_filenames": names})).await
}

#[tokio::test]
async fn an_answer_with_the_longest_names_still_passes_through_lambda() {
    let world = World::new().await;
    let mut left_out = 0;
    for (files, length) in [(340, 926), (1000, 239)] {
        let answer = report(&world.claimed().await, files, length).await;
        let body = String::from_utf8(answer.bytes.clone()).unwrap();
        let answer = answer.ok();
        assert_eq!(answer["output_storage_urls"].as_object().unwrap().len(), files);
        let sent = Value::from(body).to_string().len();
        assert!(sent < LAMBDA_LIMIT, "{sent}");
        left_out += usize::from(answer.get("uploads").is_none());
    }
    assert!(left_out > 0, "names that are too long for the full list were tried");
}
