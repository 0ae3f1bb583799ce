//! `PUT /jobs/{job_id}/upload?token=`: a small file as a form, or a fresh upload target.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Form, Job, World, text, upload, upload_to};

/// The field that a form lacks, as FastAPI words it.
fn missing(field: &str) -> Value {
    json!({"type": "missing", "loc": ["body", field], "msg": "Field required", "input": null})
}

/// A request to the route with any body of any type.
async fn put(job: &Job, content_type: &str, body: &[u8]) -> Answer {
    Client::nobody().send(Method::PUT, &job.upload_path(), body.to_vec(), &[("content-type", content_type)]).await
}

/// The file as its owner downloads it.
async fn download(world: &World, job: &Job, file_id: &str) -> Answer {
    let found = world.user.get(&format!("/jobs/{}/download/{file_id}", job.job_id)).await;
    assert_eq!(found.status, 307, "{}", found.body);
    Client::nobody().get(found.header("location").unwrap()).await
}

#[tokio::test]
async fn a_form_stores_a_file() {
    let world = World::new().await;
    let (job, _) = world.finished(&["ünï/a \"b\".txt"]).await;
    let answer = job.upload("ünï/a \"b\".txt", b"hello").await.ok();
    let seen = world.get(&job.job_id).await;
    let (file_id, file) = seen["output_files"].as_object().unwrap().iter().next().unwrap();
    let expected = json!({
        "status": "success", "filename": "ünï/a \"b\".txt", "file_id": file_id, "path": file["path"], "uploaded": true,
    });
    assert_eq!(answer, expected);
    assert_eq!(file["uploaded"], true);
    assert_eq!((&seen["status"], &seen["terminal"]), (&json!("complete_pending_uploads"), &json!(false)));

    assert_eq!(job.complete().await.ok()["status"], "complete");
    let downloaded = download(&world, &job, file_id).await;
    assert_eq!((downloaded.status, downloaded.bytes.as_slice()), (200, &b"hello"[..]));
}

#[tokio::test]
async fn its_fields_come_in_either_order_among_others() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a", "b"]).await;
    let file_first = Form::default().file("image/png", b"one").path("a").end();
    assert_eq!(job.send_form(file_first).await.ok()["filename"], "a");
    let path_first = Form::default().field("name=\"x\"", b"1").path("b").file("image/png", b"two").end();
    assert_eq!(job.send_form(path_first).await.ok()["filename"], "b");
}

#[tokio::test]
async fn the_content_type_of_the_file_is_kept() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    // Looks like an envelope, and is a file all the same.
    let kind = "multipart/form-data; boundary=inner";
    let content = b"--inner\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--inner--\r\n";
    let answer = job.send_form(Form::default().file(kind, content).path("a").end()).await.ok();
    let done = job.complete().await.ok();
    let file_id = text(&answer["file_id"]);
    let file = &done["output_files"][&file_id];
    assert_eq!((&file["content_type"], &file["size"]), (&json!(kind), &json!(content.len())));
    let downloaded = download(&world, &job, &file_id).await;
    assert_eq!((downloaded.header("content-type"), downloaded.bytes.as_slice()), (Some(kind), &content[..]));
}

#[tokio::test]
async fn the_file_sent_last_counts() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    for content in ["first", "second", ""] {
        job.upload("a", content.as_bytes()).await.ok();
    }
    let done = job.complete().await.ok();
    let (_, file) = done["output_files"].as_object().unwrap().iter().next().unwrap();
    assert_eq!((&file["uploaded"], &file["size"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn a_file_over_4_mib_is_too_large() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    let detail = "Files over 4194304 bytes do not go through the API: PUT them to the presigned URL";
    job.upload("a", &vec![0; (4 << 20) + 1]).await.is_error(413, detail);
    assert_eq!(job.stored().await, before);
    job.upload("a", &vec![0; 4 << 20]).await.ok();
}

#[tokio::test]
async fn missing_fields_are_named() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    let (no_path, no_file) = (Form::default().file("text/plain", b"x"), Form::default().path("a"));
    assert_eq!(job.send_form(no_path.end()).await.error(), (422, json!([missing("path")])));
    assert_eq!(job.send_form(no_file.end()).await.error(), (422, json!([missing("file")])));
    let both = (422, json!([missing("file"), missing("path")]));
    assert_eq!(job.send_form(Form::default().end()).await.error(), both);
    assert_eq!(job.send_form(Form::default().field("name=\"File\"", b"x").end()).await.error(), both);
    // No form at all.
    for kind in
        ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data", ""]
    {
        assert_eq!(put(&job, kind, b"file=x&path=a").await.error(), both, "{kind}");
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_broken_form_is_a_bad_request() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    let whole = Form::of("a", b"hello");
    let no_headers = [b"--c68a09cb27c94576afcf4282eb70d1a4\r\n\x00\xff\r\n\r\n", &whole[..]].concat();
    for body in [&b""[..], b"nonsense", &whole[..whole.len() / 2], &whole[..whole.len() - 8], &no_headers] {
        put(&job, Form::CONTENT_TYPE, body).await.is_error(400, "There was an error parsing the body");
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_file_that_was_not_announced_is_not_found() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    for path in ["b", "", "A", "a/", "./a", "../a", "a\u{0}", "a'); --"] {
        let detail = format!("File {path} not found in job output files");
        job.upload(path, b"x").await.is_error(404, &detail);
        Client::nobody().put(&job.upload_path(), json!({"path": path})).await.is_error(404, &detail);
    }
    assert_eq!(job.stored().await, before);
    let early = world.claimed().await;
    early.upload("a", b"x").await.is_error(404, "File a not found in job output files");
}

#[tokio::test]
async fn a_terminal_job_takes_no_more_files() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a", b"hello")]).await;
    let before = job.stored().await;
    job.upload("a", b"late").await.is_error(400, "Job already finished");
    Client::nobody().put(&job.upload_path(), json!({"path": "a"})).await.is_error(400, "Job already finished");
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_deleted_job_is_not_found() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    job.upload("a", b"late").await.is_error(404, &format!("job_id='{}' not found!", job.job_id));
}

#[tokio::test]
async fn a_form_keeps_to_what_was_declared() {
    let world = World::new().await;
    let job = world.claimed().await;
    let declared = json!([
        {"filename": "size", "size": 5},
        {"filename": "hash", "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
    ]);
    job.finish(json!({"status": "complete", "output_files": declared})).await.ok();
    let before = job.stored().await;
    job.upload("size", b"hell").await.is_error(400, "File size has not the declared size");
    job.upload("hash", b"jello").await.is_error(400, "File hash has not the declared SHA-256");
    assert_eq!(job.stored().await, before);
    job.upload("size", b"hello").await.ok();
    job.upload("hash", b"hello").await.ok();
    assert_eq!(job.complete().await.ok()["status"], "complete");
}

#[tokio::test]
async fn json_asks_for_a_fresh_target() {
    let world = World::new().await;
    let (job, first) = world.finished(&["a"]).await;
    let target = Client::nobody().put(&text(&first["uploads"][0]["renew_url"]), json!({"path": "a"})).await.ok();
    let fields = |target: &Value| target.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&target), fields(&first["uploads"][0]));
    assert_eq!(upload(&text(&target["url"]), b"hello").await.status, 200);

    // What it declares holds from now on.
    let declared = json!({"path": "a", "size": 3});
    let target = Client::nobody().put(&job.upload_path(), declared).await.ok();
    assert_eq!(upload_to(&target, b"hello").await.status, 403);
    assert_eq!(upload_to(&target, b"hey").await.status, 200);
    job.upload("a", b"hello").await.is_error(400, "File a has not the declared size");
    assert_eq!(job.complete().await.ok()["status"], "complete");
}

#[tokio::test]
async fn json_that_asks_for_nothing_is_refused() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    let ask = async |body: Value| Client::nobody().put(&job.upload_path(), body).await.error();
    assert_eq!(ask(json!({})).await, (422, json!([missing("path")])));
    let wrong = json!({
        "type": "string_type", "loc": ["body", "path"], "msg": "Input should be a valid string", "input": 1,
    });
    assert_eq!(ask(json!({"path": 1})).await, (422, json!([wrong])));
    for (field, value) in [("size", json!(-1)), ("sha256", json!("x")), ("part_size", json!(1))] {
        let (status, errors) = ask(json!({"path": "a", field: value})).await;
        assert_eq!((status, &errors[0]["loc"]), (422, &json!(["body", field])));
    }
    assert_eq!(put(&job, "application/json", b"{\"path\":").await.error().0, 422);
    assert_eq!(job.stored().await, before);
}
