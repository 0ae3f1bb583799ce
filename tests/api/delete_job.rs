//! `DELETE /jobs/{job_id}`.

use serde_json::{Value, json};
use tests::{Client, World, text, upload};

#[tokio::test]
async fn defect_1_a_deleted_job_is_gone_for_everyone_with_its_files() {
    let world = World::new().await;
    let (job, complete) = world.completed(&[("a.txt", b"first"), ("sub dir/ü.bin", b"second")]).await;
    let path = format!("/jobs/{}", job.job_id);
    let mut downloads = Vec::new();
    for file_id in complete["output_files"].as_object().unwrap().keys() {
        let answer = world.user.get(&format!("{path}/download/{file_id}")).await;
        downloads.push((format!("{path}/download/{file_id}"), answer.header("location").unwrap().to_owned()));
    }
    for (_, url) in &downloads {
        assert_eq!(Client::nobody().get(url).await.status, 200);
    }

    let deleted = world.user.delete(&path).await;
    assert_eq!(deleted.header("content-type"), Some("application/json"));
    assert_eq!(deleted.ok(), json!({"deleted": true, "job_id": job.job_id}));

    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    world.user.get(&path).await.is_error(404, &detail);
    assert_eq!(downloads.len(), 2);
    for (route, url) in &downloads {
        world.user.get(route).await.is_error(404, &detail);
        // S3 tells nobody who may not list the bucket what is missing.
        assert_eq!(Client::nobody().get(url).await.status, 403, "the file is gone from S3");
    }
}

#[tokio::test]
async fn a_job_can_be_deleted_whatever_its_state() {
    let world = World::new().await;
    let pending = world.create().await;
    let running = world.claimed().await;
    let (uploading, answer) = world.finished(&["a.txt", "b.txt"]).await;
    assert_eq!(upload(answer["output_storage_urls"]["a.txt"].as_str().unwrap(), b"half").await.status, 200);
    let failed = world.claimed().await;
    failed.finish(json!({"status": "error", "detail": "no GPU"})).await.ok();
    for job_id in [&pending, &running.job_id, &uploading.job_id, &failed.job_id] {
        let path = format!("/jobs/{job_id}");
        assert_eq!(world.user.delete(&path).await.ok(), json!({"deleted": true, "job_id": job_id}));
        assert_eq!(world.user.get(&path).await.status, 404);
    }
    let list = world.miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await.ok();
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn a_miner_learns_that_the_job_is_gone() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let pending = world.create().await;
    for job_id in [&job.job_id, &pending] {
        world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    }
    let gone = format!("job_id='{}' not found!", job.job_id);
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.is_error(404, &gone);
    job.upload("a.txt", b"late").await.is_error(404, &gone);
    job.complete().await.is_error(404, &gone);
    for job_id in [&job.job_id, &pending] {
        let answer = world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await;
        answer.is_error(404, &format!("job_id='{job_id}' not found!"));
    }
}

#[tokio::test]
async fn deleting_twice_answers_as_the_first_time() {
    let world = World::new().await;
    let path = format!("/jobs/{}", world.completed(&[("a.txt", b"a")]).await.0.job_id);
    let first = world.user.delete(&path).await.ok();
    assert_eq!(world.user.delete(&path).await.ok(), first);
}

#[tokio::test]
async fn only_the_owner_deletes_a_job() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a.txt", b"mine")]).await;
    let path = format!("/jobs/{}", job.job_id);
    let before = world.get(&job.job_id).await;
    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    let (_, stranger) = World::account(json!([])).await;
    Client::with_key(&stranger).delete(&path).await.is_error(404, &detail);
    world.miner.delete(&path).await.is_error(404, &detail);
    assert_eq!(Client::nobody().delete(&job.path).await.status, 401, "a job token is no account");
    assert_eq!(world.get(&job.job_id).await, before);
    let file_id = text(&before["output_files"].as_object().unwrap().keys().next().unwrap().as_str().into());
    assert_eq!(world.user.get(&format!("{path}/download/{file_id}")).await.status, 307);

    world.user.delete(&path).await.ok();
    Client::with_key(stranger).delete(&path).await.is_error(404, &detail);
}

#[tokio::test]
async fn an_id_that_names_no_job_is_not_found() {
    let world = World::new().await;
    for id in ["00000000-0000-4000-8000-000000000000", "nonsense", "claimable", "1"] {
        let answer = world.user.delete(&format!("/jobs/{id}")).await;
        answer.is_error(404, &format!("Job {id} not found or does not belong to you"));
    }
}
