//! Files whose size and hash are known before they are sent.

use serde_json::json;
use sha2::{Digest, Sha256};
use tests::{Client, World, text, upload, upload_to};

use crate::{file, target};

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[tokio::test]
async fn the_hash_comes_with_the_job_and_with_every_download() {
    let world = World::new().await;
    let job = world.claimed().await;
    let (content, form) = (b"hello".to_vec(), b"through the API".to_vec());
    let declared = json!([
        {"filename": "a", "size": content.len(), "sha256": sha256(&content), "content_type": "text/plain"},
        {"filename": "form", "sha256": sha256(&form)},
    ]);
    let answer = job.finish(json!({"status": "complete", "output_files": declared})).await.ok();
    assert_eq!(upload_to(target(&answer, "a"), &content).await.status, 200);
    job.upload("form", &form).await.ok();
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "complete");
    for (name, content) in [("a", &content), ("form", &form)] {
        assert_eq!(file(&done, name)["sha256"], sha256(content));
        let stored = job.download(name).await;
        assert_eq!((stored.header("x-amz-meta-sha256"), &stored.bytes), (Some(&*sha256(content)), content));
    }
}

#[tokio::test]
async fn a_hash_declared_later_does_not_bless_what_an_older_url_took() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["old", "new", "both"]).await;
    let old_url = |name: &str| text(&answer["output_storage_urls"][name]);
    let declare = async |name: &str, content: &[u8]| {
        let body = json!({"path": name, "size": content.len(), "sha256": sha256(content)});
        Client::nobody().put(&job.upload_path(), body).await.ok()
    };
    assert_eq!(upload(&old_url("old"), b"hullo").await.status, 200);
    declare("old", b"hello").await;
    assert_eq!(upload_to(&declare("new", b"hello").await, b"hello").await.status, 200);
    assert_eq!(upload_to(&declare("both", b"hello").await, b"hello").await.status, 200);
    assert_eq!(upload(&old_url("both"), b"hullo").await.status, 200);

    let done = job.complete().await.ok();
    let note = |name: &str| format!("The upload of {name} has not the declared SHA-256");
    let detail = format!("Failed to upload files: both, old\n{}\n{}", note("both"), note("old"));
    assert_eq!((&done["status"], &done["error_detail"]), (&json!("partial_failure"), &json!(detail)));
    assert_eq!(job.download("new").await.bytes, b"hello");
}
