//! `GET /docs`, `GET /console`, their files, and `GET /openapi.json`. What the pages do, `tests/browser` tests.

use std::{fs, io::Read};

use flate2::read::GzDecoder;
use local::own_engines;
use reqwest::Method;
use tests::{Answer, Client, repository, stack};

async fn get(path: &str, headers: &[(&str, &str)]) -> Answer {
    Client::nobody().send(Method::GET, path, Vec::new(), headers).await
}

/// What a page loads: addresses of its own folder, in `href` and `src`. They are relative: a stage's name may stand before the page's own.
fn loaded(path: &str, page: &str) -> Vec<String> {
    let folder = format!("{}/", path.trim_start_matches('/'));
    page.split('"').filter(|text| text.starts_with(&folder)).map(|address| format!("/{address}")).collect()
}

#[tokio::test]
async fn the_description_is_the_committed_one() {
    let answer = get("/openapi.json", &[]).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.bytes, fs::read(repository("functions/docs/openapi.json")).unwrap());
}

#[tokio::test]
async fn a_page_and_all_that_it_loads_come_from_here_with_a_strict_policy() {
    own_engines("the bucket has the stack's own address");
    for (path, most_bytes) in [("/docs", 600_000), ("/console", 48_000)] {
        let page = get(path, &[]).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let html = String::from_utf8(page.bytes).unwrap();
        assert!(!html.contains("://") && !html.contains("<script>") && !html.contains("style="), "{html}");
        let mut bytes = 0;
        for address in loaded(path, &html) {
            // As a browser asks.
            let answer = get(&address, &[("accept-encoding", "gzip, br")]).await;
            assert_eq!(answer.status, 200, "{address}");
            assert_ne!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{address}");
            let policy = answer.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            // Files of the bucket are shown and sent; they are never a script, a style or a frame.
            let bucket = stack().aws_url();
            let with_bucket: Vec<_> = policy.split("; ").filter(|part| part.contains(bucket)).collect();
            let allowed = ["img-src 'self' data:", "media-src", "connect-src 'self'"].map(|part| format!("{part} {bucket}"));
            assert_eq!(with_bucket, allowed, "{policy}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            bytes += answer.bytes.len();
        }
        assert!((1000..most_bytes).contains(&bytes), "{path}: {bytes} bytes");
    }
}

#[tokio::test]
async fn a_file_is_compressed_for_who_can_read_it() {
    let plain = get("/docs/docs.css", &[]).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    let gzip = get("/docs/docs.css", &[("accept-encoding", "deflate, gzip, br")]).await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    GzDecoder::new(&gzip.bytes[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
}

#[tokio::test]
async fn the_bundle_is_compressed_whatever_is_asked_for() {
    let vendored = repository("functions/docs/assets/swagger-ui");
    for name in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        let file = fs::read(vendored.join(name)).unwrap();
        for accepted in [None, Some("identity"), Some("gzip;q=0"), Some("gzip, br")] {
            let headers: Vec<_> = accepted.map(|codings| ("accept-encoding", codings)).into_iter().collect();
            let answer = get(&format!("/docs/{name}"), &headers).await;
            assert_eq!(answer.header("content-encoding"), Some("gzip"), "{name} {accepted:?}");
            assert!(answer.bytes.len() * 3 < file.len(), "{name}: {} bytes", answer.bytes.len());
            let mut unpacked = Vec::new();
            GzDecoder::new(&answer.bytes[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == file, "{name}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_still_good_is_not_sent_again() {
    let first = get("/docs", &[]).await;
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let etag = first.header("etag").expect("an ETag");
    for tag in [etag, &format!("\"x\", W/{etag}")] {
        let again = get("/docs", &[("if-none-match", tag)]).await;
        assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, Some(etag)), "{tag}");
    }
    assert_eq!(get("/docs", &[("if-none-match", "\"x\"")]).await.status, 200);
    let vendored = get("/docs/swagger-ui.css?5.35.0", &[]).await;
    assert_eq!(vendored.header("cache-control"), Some("public, max-age=31536000, immutable"));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found() {
    for path in ["/docs/x", "/console/x", "/docs/..%2Fopenapi.json", "/docs/docs.html"] {
        get(path, &[]).await.is_error(404, "Not Found");
    }
}
