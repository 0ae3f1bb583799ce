//! `GET /jobs/{job_id}/download/{file_id}`.

use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Answer, Client, Envelope, Job, World, redacted, text, upload};
use uuid::Uuid;

/// The route of one of the job's files.
fn route(job: &Job, filename: &str) -> String {
    format!("/jobs/{}/download/{}", job.job_id, file_id(job, filename))
}

fn file_id(job: &Job, filename: &str) -> Uuid {
    Uuid::new_v5(&Uuid::try_parse(&job.job_id).unwrap(), filename.as_bytes())
}

/// Follows the redirect, as a browser does.
async fn follow(redirect: &Answer, headers: &[(&str, &str)]) -> Answer {
    assert_eq!(redirect.status, 307, "{}", redirect.body);
    Client::nobody().send(Method::GET, redirect.header("location").unwrap(), Vec::new(), headers).await
}

/// The two names of a `Content-Disposition`, for old and for other clients; panics at what RFC 6266 does not allow.
fn names_of(answer: &Answer) -> (String, String) {
    let mut rest = answer.header("content-disposition").expect("ASCII").strip_prefix("attachment").expect("its type");
    let (mut plain, mut extended) = (None, None);
    while !rest.is_empty() {
        let (name, value) = rest.strip_prefix("; ").expect("a separator").split_once('=').expect("a parameter");
        let earlier = match (name, value.strip_prefix('"')) {
            ("filename", Some(quoted)) => {
                // What may stand in quotes without being escaped. ("quoted-string" of RFC 9110.)
                let end = quoted.find('"').expect("an end");
                assert!(quoted[..end].bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\'), "{quoted}");
                rest = &quoted[end + 1..];
                plain.replace(quoted[..end].to_owned())
            }
            ("filename*", None) => {
                let encoded = value.strip_prefix("UTF-8''").expect("UTF-8 of no language");
                let end = encoded.find(';').unwrap_or(encoded.len());
                // "attr-char" of RFC 8187, and escapes.
                let is_attr = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(&byte);
                assert!(encoded[..end].bytes().all(is_attr), "{encoded}");
                let decoded = percent_decode_str(&encoded[..end]).decode_utf8().expect("UTF-8").into_owned();
                rest = &encoded[end..];
                extended.replace(decoded)
            }
            _ => panic!("{name}={value}"),
        };
        assert_eq!(earlier, None, "given once");
    }
    (plain.expect("a name for old clients"), extended.expect("a name"))
}

#[tokio::test]
async fn a_download_is_a_redirect_to_the_bytes() {
    let world = World::new().await;
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (job, _) = world.completed(&[("out/model.bin", &content)]).await;
    let redirect = world.user.get(&route(&job, "out/model.bin")).await;
    assert_eq!(redirect.header("cache-control"), Some("no-store"));
    assert!(redirect.bytes.is_empty());
    let location = redirect.header("location").unwrap();
    assert!(location.contains("X-Amz-Expires=900&"), "{location}");
    assert!(location.contains("versionId="), "{location}");
    let file = follow(&redirect, &[]).await;
    assert_eq!((file.status, file.bytes == content), (200, true));
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"model.bin\"; filename*=UTF-8''model.bin")
    );
}

#[tokio::test]
async fn a_range_is_served_by_s3() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a.txt", b"0123456789")]).await;
    let redirect = world.user.get(&route(&job, "a.txt")).await;
    let part = follow(&redirect, &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &b"234"[..]));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let tail = follow(&redirect, &[("range", "bytes=-3")]).await;
    assert_eq!((tail.status, &tail.bytes[..]), (206, &b"789"[..]));
    assert_eq!(follow(&redirect, &[("range", "bytes=10-")]).await.status, 416);
}

#[tokio::test]
async fn a_client_that_accepts_json_gets_the_url_in_it() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("sub dir/a.txt", b"hello")]).await;
    let path = route(&job, "sub dir/a.txt");
    let json = [("accept", "application/json")];
    let answer = world.user.send(Method::GET, &path, Vec::new(), &json).await.ok();
    let url = text(&answer["url"]);
    insta::assert_snapshot!(redacted(&answer, &[("url", &url)]), @r#"
    {
      "url": "[url]",
      "filename": "sub dir/a.txt",
      "size": 5,
      "sha256": null,
      "content_type": null,
      "expires_at": "[time]"
    }
    "#);
    assert_eq!(Client::nobody().get(&url).await.bytes, b"hello");
}

#[tokio::test]
async fn json_is_answered_to_whoever_prefers_it_to_the_file() {
    let world = World::new().await;
    let job = world.claimed().await;
    let file = |name: &str, kind: &str| json!({"filename": name, "content_type": kind});
    let files = [file("text", "text/plain"), file("json", "application/json"), file("zip", "application/zip")];
    let answer = job.finish(json!({"status": "complete", "output_files": files})).await.ok();
    for target in answer["uploads"].as_array().unwrap() {
        assert_eq!(tests::upload_to(target, b"{}").await.status, 200);
    }
    job.complete().await.ok();
    let all = ["text", "json", "zip"];
    let json: [(&str, &[&str]); 11] = [
        ("application/json", &all),
        ("APPLICATION/JSON", &all),
        ("application/json; charset=utf-8", &all),
        ("application/json, */*;q=0.1", &all),
        ("*/*;q=0.5, Application/Json;q=0.9", &all),
        ("application/json;q=0.5, text/html", &all),
        ("application/json;q=0.5, text/plain", &["json", "zip"]),
        ("application/json, text/*", &["json", "zip"]),
        ("application/*;q=0.3", &["text"]),
        ("nonsense, application/json", &all),
        ("*/*, text/plain;q=0.2, application/json;q=0.5", &["text"]),
    ];
    let file = [
        "*/*",
        "",
        "text/html",
        "nonsense",
        "application/json, text/plain, */*",
        "application/json;q=0",
        "application/json;q=0, */*",
        "application/json;q=nonsense",
        "application/jsonp",
        "text/x-application/json",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ];
    let file = file.map(|accept| (accept, &[][..]));
    for (accept, gets_json) in json.into_iter().chain(file) {
        for name in all {
            let answer = world.user.send(Method::GET, &route(&job, name), Vec::new(), &[("accept", accept)]).await;
            let expected = if gets_json.contains(&name) { 200 } else { 307 };
            assert_eq!(answer.status, expected, "{name} for {accept:?}");
        }
    }
}

#[tokio::test]
async fn what_was_declared_is_told() {
    let world = World::new().await;
    let job = world.claimed().await;
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let file = json!({"filename": "a.txt", "size": 5, "sha256": sha256, "content_type": "text/x-greeting"});
    let finished = job.finish(json!({"status": "complete", "output_files": [file]})).await.ok();
    assert_eq!(tests::upload_to(&finished["uploads"][0], b"hello").await.status, 200);
    job.complete().await.ok();
    let path = route(&job, "a.txt");
    let told = world.user.send(Method::GET, &path, Vec::new(), &[("accept", "application/json")]).await.ok();
    assert_eq!((&told["size"], &told["sha256"]), (&5.into(), &sha256.into()));
    assert_eq!(told["content_type"], "text/x-greeting");
    assert_eq!(follow(&world.user.get(&path).await, &[]).await.header("content-type"), Some("text/x-greeting"));
}

#[tokio::test]
async fn defect_10_a_file_is_saved_under_its_own_name_however_hard() {
    let world = World::new().await;
    let longest = "é".repeat(127) + "x";
    let names = [
        &longest,
        "\"quote\".txt",
        "ünï ✓ 日本.bin",
        "semi;colon, comma=.txt",
        "100% (a)'b*.txt",
        "a+b c&d?e#f.txt",
        "%22%0D%0A.txt",
        ".hidden",
        "sub dir/ü/last \"one\".txt",
    ];
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    let (job, complete) = world.completed(&files).await;
    assert_eq!(complete["status"], "complete");
    for name in names {
        let file = follow(&world.user.get(&route(&job, name)).await, &[]).await;
        assert_eq!((file.status, &file.bytes[..]), (200, name.as_bytes()), "{name}");
        let (plain, extended) = names_of(&file);
        let own = name.rsplit('/').next().unwrap();
        assert_eq!(extended, own);
        let is_kept = |(char, kept): (char, char)| kept == char || (kept == '_' && !char.is_ascii_alphanumeric());
        assert!(own.chars().zip(plain.chars()).all(is_kept) && plain.len() == own.chars().count(), "{plain}");
    }
}

#[tokio::test]
async fn a_download_gives_what_was_checked_though_the_upload_url_still_works() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a.txt"]).await;
    let url = text(&answer["output_storage_urls"]["a.txt"]);
    assert_eq!(upload(&url, b"checked").await.status, 200);
    job.complete().await.ok();
    assert_eq!(upload(&url, b"changed").await.status, 200);
    assert_eq!(follow(&world.user.get(&route(&job, "a.txt")).await, &[]).await.bytes, b"checked");
}

#[tokio::test]
async fn a_file_that_came_through_the_api_can_be_had_before_the_job_is_complete() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt", "b.txt"]).await;
    job.upload("a.txt", b"early").await.ok();
    assert_eq!(follow(&world.user.get(&route(&job, "a.txt")).await, &[]).await.bytes, b"early");
}

#[tokio::test]
async fn defect_9_a_download_before_the_upload_is_not_found() {
    let world = World::new().await;
    let not_found = async |job: &Job| {
        let (path, file_id) = (route(job, "a.txt"), file_id(job, "a.txt"));
        let detail = format!("Job output file not found job_id='{}' file_id='{file_id}'", job.job_id);
        world.user.get(&path).await.is_error(404, &detail);
        let json = world.user.send(Method::GET, &path, Vec::new(), &[("accept", "application/json")]).await;
        json.is_error(404, &detail);
    };
    let job = world.claimed().await;
    not_found(&job).await;
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.ok();
    not_found(&job).await;
    assert_eq!(job.complete().await.ok()["status"], "partial_failure");
    not_found(&job).await;
}

#[tokio::test]
async fn a_file_id_that_names_none_is_not_found() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a.txt", b"a")]).await;
    let other = file_id(&job, "b.txt").to_string();
    for (sent, shown) in [(other.as_str(), other.as_str()), ("a.txt", "a.txt"), ("1", "1"), ("%27%00%C3%BC", "'\0ü")] {
        let answer = world.user.get(&format!("/jobs/{}/download/{sent}", job.job_id)).await;
        answer.is_error(404, &format!("Job output file not found job_id='{}' file_id='{shown}'", job.job_id));
    }
}

#[tokio::test]
async fn only_the_owner_downloads() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a.txt", b"mine")]).await;
    let path = route(&job, "a.txt");
    let detail = format!("Job {} not found or does not belong to you", job.job_id);
    let (_, stranger) = World::account(json!([])).await;
    Client::with_key(stranger).get(&path).await.is_error(404, &detail);
    world.miner.get(&path).await.is_error(404, &detail);
    let with_token = format!("{path}?token={}", job.token);
    assert_eq!(Client::nobody().get(&with_token).await.status, 401);
    for id in [Uuid::new_v4().to_string(), "nonsense".to_owned()] {
        let answer = world.user.get(&format!("/jobs/{id}/download/{}", file_id(&job, "a.txt"))).await;
        assert_eq!(answer.error(), (404, Value::from(format!("Job {id} not found or does not belong to you"))));
    }
}

/// What an uploader can say beside the bytes without S3 refusing it, and what nobody may hear of it.
const BESIDE_THE_BYTES: [(&str, &str); 5] = [
    ("content-encoding", "gzip"),
    ("cache-control", "public, max-age=31536000, immutable"),
    ("content-language", "tlh"),
    ("content-disposition", "inline; filename=\"other.html\""),
    ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
];

/// Fetches a file the way a browser does, and finds nothing in the answer that its uploader said beside the bytes.
async fn comes_bare(job: &Job, filename: &str, bytes: &[u8]) {
    let redirect = job.owner.get(&route(job, filename)).await;
    let expires = "response-expires=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20GMT&";
    assert!(redirect.header("location").unwrap().contains(expires), "{}", redirect.header("location").unwrap());
    let file = follow(&redirect, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!((file.status, file.bytes == bytes), (200, true), "{filename}");
    for (name, said) in BESIDE_THE_BYTES {
        assert_ne!(file.header(name), Some(said), "{filename}");
    }
    assert_eq!(file.header("content-encoding"), Some("identity"), "{filename}: what no client decodes");
    assert_eq!(file.header("cache-control"), Some("no-store"), "{filename}");
    assert!(file.header("content-disposition").unwrap().starts_with("attachment; "), "{filename}");
}

#[tokio::test]
async fn what_an_uploader_says_beside_the_bytes_does_not_reach_the_owner() {
    let world = World::new().await;
    let job = world.claimed().await;
    let bytes = b"some bytes that are no gzip".to_vec();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let files = json!([
        {"filename": "declared", "size": bytes.len(), "sha256": sha256, "content_type": "text/plain"},
        {"filename": "sized", "size": bytes.len()},
    ]);
    let report = json!({"status": "complete", "output_files": files, "output_filenames": ["bare", "brotli", "envelope"]});
    let answer = job.finish(report).await.ok();
    let envelope = Envelope::default();
    for target in answer["uploads"].as_array().unwrap() {
        let name = text(&target["filename"]);
        let declared = target["headers"].as_object().unwrap().iter().map(|(name, value)| (&**name, text(value)));
        let said = BESIDE_THE_BYTES.map(|(header, value)| match (header, &*name) {
            ("content-encoding", "brotli") => (header, "br".to_owned()),
            _ => (header, value.to_owned()),
        });
        let mut headers: Vec<_> = declared.chain(said).collect();
        let mut body = bytes.clone();
        if name == "envelope" {
            headers.push(("content-type", envelope.header()));
            body = envelope.of(&name, &bytes);
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let stored = Client::nobody().send(Method::PUT, &text(&target["url"]), body, &headers).await;
        assert_eq!(stored.status, 200, "{name}: {}", stored.body);
    }
    assert_eq!(job.complete().await.ok()["status"], "complete");
    for name in ["declared", "sized", "bare", "brotli", "envelope"] {
        comes_bare(&job, name, &bytes).await;
    }
}
