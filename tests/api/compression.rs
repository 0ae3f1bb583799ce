//! Long answers come compressed to whoever asks for that (RFC 9110, "Accept-Encoding").

use local::own_engines;
use reqwest::Method;
use serde_json::json;
use tests::{Client, World};

#[tokio::test]
async fn a_thousand_upload_urls_take_a_tenth_when_gzip_is_taken() {
    own_engines("the session token in each URL is as long as Lambda's");
    let world = World::new().await;
    let job = world.claimed().await;
    let names: Vec<_> = (0..1000).map(|number| format!("checkpoints/{number}.bin")).collect();
    let report = json!({"status": "complete", "output_filenames": names}).to_string().into_bytes();
    let plain = Client::nobody().send(Method::POST, &job.path, report.clone(), &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let asked = [("accept-encoding", "br, gzip;q=0.8")];
    let zipped = Client::nobody().send(Method::POST, &job.path, report, &asked).await;
    assert_eq!((zipped.header("content-encoding"), zipped.header("vary")), (Some("gzip"), Some("accept-encoding")));
    assert_eq!(zipped.header("content-type"), Some("application/json"));
    assert!(zipped.bytes.len() * 10 < plain.bytes.len(), "{} of {}", zipped.bytes.len(), plain.bytes.len());
    assert_eq!(zipped.body["output_files"], plain.body["output_files"]);
    assert_eq!(zipped.body["uploads"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_short_answer_and_one_for_a_client_that_does_not_ask_stay_as_they_are() {
    let world = World::new().await;
    let path = format!("/jobs/{}/train", world.chute_id);
    let long = json!({"prompt": "x".repeat(5000)});
    let job = world.user.post(&path, long.clone()).await;
    assert_eq!((job.header("content-encoding"), &job.body["job_args"]["prompt"]), (None, &long["prompt"]));
    for refused in ["identity", "gzip;q=0", "br"] {
        let body = long.to_string().into_bytes();
        let answer = world.user.send(Method::POST, &path, body, &[("accept-encoding", refused)]).await;
        assert_eq!(answer.header("content-encoding"), None, "{refused}");
    }
    let missing = world.user.send(Method::GET, "/jobs/none", Vec::new(), &[("accept-encoding", "gzip")]).await;
    missing.is_error(404, "Job none not found or does not belong to you");
}
