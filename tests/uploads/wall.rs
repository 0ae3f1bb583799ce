//! The wall between tenants: whoever has an upload URL may PUT that file, and nothing else. Another tenant's file stays unread and
//! as it is, whatever is sent with the URL.

use std::io;

use futures_util::stream;
use local::own_engines;
use reqwest::Method;
use serde_json::json;
use tests::{Answer, Client, World, s3, stack, text, upload};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::file;

/// What the victim's job has delivered.
const SECRET: &[u8] = b"the victim's weights";

/// A miner with a real upload URL, and a file of somebody else's whose key it knows.
struct Siege {
    url: String,
    bucket: String,
    /// The key that the URL is for, which holds nothing yet.
    own: String,
    victims: String,
}

impl Siege {
    async fn begin() -> Self {
        let (_, done) = World::new().await.completed(&[("weights", SECRET)]).await;
        let (_, answer) = World::new().await.finished(&["out"]).await;
        Self {
            url: text(&answer["output_storage_urls"]["out"]),
            bucket: stack().resource("OutputsBucket").unwrap().to_owned(),
            own: text(&file(&answer, "out")["path"]),
            victims: text(&file(&done, "weights")["path"]),
        }
    }

    fn victim_url(&self) -> String {
        self.url.replace(&self.own, &self.victims)
    }

    async fn with(&self, headers: &[(&str, &str)]) -> Answer {
        Client::nobody().send(Method::PUT, &self.url, b"mine".to_vec(), headers).await
    }

    /// Nothing was stored under the miner's key, and the victim's has its one version with its bytes.
    async fn changed_nothing(&self) {
        let client = s3(stack());
        let versions = async |key: &str| {
            let page = client.list_object_versions().bucket(&self.bucket).prefix(key).send().await.unwrap();
            (page.versions.unwrap_or_default().len(), page.delete_markers.unwrap_or_default().len())
        };
        assert_eq!((versions(&self.own).await, versions(&self.victims).await), ((0, 0), (1, 0)));
        let stored = client.get_object().bucket(&self.bucket).key(&self.victims).send().await.unwrap();
        assert_eq!(
            (stored.metadata().map(|all| all.len()), stored.content_type()),
            (Some(0), Some("binary/octet-stream"))
        );
        assert_eq!(stored.body.collect().await.unwrap().to_vec(), SECRET);
    }
}

fn code(answer: &Answer) -> (u16, String) {
    let body = answer.body.as_str().unwrap_or_default();
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (answer.status, code.map(|(code, _)| code.to_owned()).unwrap_or_default())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn an_unsigned_header_of_amazons_is_refused() {
    let siege = Siege::begin().await;
    let source = format!("{}/{}", siege.bucket, siege.victims);
    for (name, value) in [
        ("x-amz-copy-source", source.as_str()),
        ("x-amz-copy-source", &format!("/{source}")),
        ("X-Amz-Copy-Source", &source),
        ("x-amz-copy-source-range", "bytes=0-3"),
        ("x-amz-metadata-directive", "COPY"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\""),
        ("x-amz-tagging", "a=b"),
        ("x-amz-meta-sha256", "0"),
        ("x-amz-website-redirect-location", "https://example.com/"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-checksum-sha256", "AAAA"),
        ("x-amz-sdk-checksum-algorithm", "SHA256"),
        ("x-amz-security-token", "other"),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-expected-bucket-owner", "123456789012"),
        ("x-amz-request-payer", "requester"),
    ] {
        assert_eq!(code(&siege.with(&[(name, value)]).await), refused(403, "AccessDenied"), "{name}");
    }
    siege.changed_nothing().await;
    assert_eq!(siege.with(&[("content-type", "a/b")]).await.status, 200, "the URL itself is good");
}

#[tokio::test]
async fn a_url_is_good_for_one_method_key_and_query() {
    own_engines("the bucket has the stack's own address, and functions have a session's credentials");
    let siege = Siege::begin().await;
    let client = Client::nobody();
    let send = async |method: Method, url: &str| code(&client.send(method, url, b"mine".to_vec(), &[]).await);
    let mismatch = refused(403, "SignatureDoesNotMatch");
    for method in [Method::GET, Method::DELETE, Method::POST] {
        assert_eq!(send(method.clone(), &siege.url).await.0, 403, "{method}");
        assert_eq!(send(method.clone(), &siege.victim_url()).await.0, 403, "{method}");
    }
    assert_eq!(client.send(Method::HEAD, &siege.victim_url(), Vec::new(), &[]).await.status, 403);
    assert_eq!(send(Method::PUT, &siege.victim_url()).await, mismatch);
    assert_eq!(send(Method::PUT, &siege.url.replace("/out?", "/out/../other?")).await, mismatch);
    // Not in the signer's rights, which the local stack looks at first.
    let elsewhere = siege.url.replace(&siege.bucket, "another-bucket");
    assert_eq!(send(Method::PUT, &elsewhere).await, refused(403, "AccessDenied"));
    assert_eq!(send(Method::PUT, &siege.url.replace("127.0.0.1", "localhost")).await, mismatch);
    for parameter in
        ["acl", "tagging", "uploads", "versionId=null", "uploadId=x&partNumber=1", "x-amz-acl=public-read", "a=b"]
    {
        assert_eq!(send(Method::PUT, &format!("{}&{parameter}", siege.url)).await, mismatch, "{parameter}");
    }
    let token = siege.url.split('&').find(|pair| pair.starts_with("X-Amz-Security-Token=")).unwrap();
    assert_eq!(send(Method::PUT, &siege.url.replace(&format!("&{token}"), "")).await, mismatch);
    siege.changed_nothing().await;
}

#[tokio::test]
async fn a_urls_life_cannot_be_changed() {
    let siege = Siege::begin().await;
    let send = async |url: &str| code(&Client::nobody().send(Method::PUT, url, b"mine".to_vec(), &[]).await);
    let life = siege.url.split('&').find(|pair| pair.starts_with("X-Amz-Expires=")).unwrap();
    assert_eq!(send(&siege.url.replace(life, "X-Amz-Expires=604800")).await, refused(403, "SignatureDoesNotMatch"));
    let wrong = refused(400, "AuthorizationQueryParametersError");
    for other in ["X-Amz-Expires=604801", "X-Amz-Expires=-1", "X-Amz-Expires=", &format!("{life}&X-Amz-Expires=604800")]
    {
        assert_eq!(send(&siege.url.replace(life, other)).await, wrong, "{other}");
    }
    let date = siege.url.split('&').find(|pair| pair.starts_with("X-Amz-Date=")).unwrap();
    assert_eq!(send(&siege.url.replace(date, "X-Amz-Date=20200101T000000Z")).await, refused(403, "AccessDenied"));
    assert_eq!(send(&siege.url.replace(date, "X-Amz-Date=20990101T000000Z")).await, refused(403, "AccessDenied"));
    siege.changed_nothing().await;
}

#[tokio::test]
async fn a_request_authenticates_in_one_way() {
    let siege = Siege::begin().await;
    for value in ["Bearer cpk_x", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=0", "AWS a:b"] {
        assert_eq!(code(&siege.with(&[("authorization", value)]).await), refused(400, "InvalidArgument"), "{value}");
    }
    let unsigned = siege.url.split('?').next().unwrap();
    let send = async |url: &str| code(&Client::nobody().send(Method::PUT, url, b"mine".to_vec(), &[]).await);
    assert_eq!(send(unsigned).await, refused(403, "AccessDenied"));
    let version_2 = format!("{unsigned}?AWSAccessKeyId=LOCALTEST&Expires=9999999999&Signature=x");
    assert_eq!(send(&version_2).await, refused(400, "InvalidRequest"));
    siege.changed_nothing().await;
}

#[tokio::test]
async fn a_body_without_a_length_is_refused() {
    let siege = Siege::begin().await;
    let chunks = stream::iter([Ok::<_, io::Error>("mine")]);
    let chunked = reqwest::Client::new().put(&siege.url).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(code(&Answer::read(chunked).await.unwrap()), refused(501, "NotImplemented"));

    let (host, path) = siege.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = TcpStream::connect(host).await.unwrap();
    let request = format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 411 ") && answer.contains("<Code>MissingContentLength</Code>"), "{answer}");
    siege.changed_nothing().await;
}

#[tokio::test]
async fn a_form_needs_a_policy_that_is_signed() {
    let siege = Siege::begin().await;
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n{}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nmine\r\n--b--\r\n",
        siege.victims
    );
    let bucket = siege.url.split("/jobs/").next().unwrap().to_owned();
    let query = siege.url.split_once('?').unwrap().1;
    for url in [bucket.clone(), format!("{bucket}?{query}")] {
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        let answer = Client::nobody().send(Method::POST, &url, form.clone().into_bytes(), &headers).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    siege.changed_nothing().await;
}

#[tokio::test]
async fn a_part_url_copies_nothing_either() {
    let siege = Siege::begin().await;
    let world = World::new().await;
    let job = world.claimed().await;
    let large = json!({"filename": "large", "size": 65 << 20});
    let answer = job.finish(json!({"status": "complete", "output_files": [large]})).await.ok();
    let part = text(&crate::target(&answer, "large")["parts"][0]["url"]);
    let source = format!("{}/{}", siege.bucket, siege.victims);
    for headers in [vec![("x-amz-copy-source", source.as_str())], vec![("x-amz-copy-source-range", "bytes=0-3")]] {
        let answer = Client::nobody().send(Method::PUT, &part, Vec::new(), &headers).await;
        assert_eq!(code(&answer), refused(403, "AccessDenied"));
    }
    siege.changed_nothing().await;
    assert_eq!(upload(&part.replace("partNumber=1&", "partNumber=2&"), b"mine").await.status, 403);
}

#[tokio::test]
async fn a_download_url_reads_one_version_of_one_file() {
    let siege = Siege::begin().await;
    let world = World::new().await;
    let (job, done) = world.completed(&[("own", b"own")]).await;
    let file_id = done["output_files"].as_object().unwrap().keys().next().unwrap().clone();
    let found = world.user.get(&format!("/jobs/{}/download/{file_id}", job.job_id)).await;
    let url = found.header("location").unwrap().to_owned();
    let own = text(&file(&done, "own")["path"]);
    assert_eq!(Client::nobody().get(&url).await.bytes, b"own");
    for other in [
        url.replace(&own, &siege.victims),
        url.replace("versionId=", "versionId=x"),
        format!("{url}&response-content-type=text/html"),
        format!("{url}&acl"),
    ] {
        assert_eq!(Client::nobody().get(&other).await.status, 403, "{other}");
    }
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(Client::nobody().send(method, &url, b"x".to_vec(), &[]).await.status, 403);
    }
    assert_eq!(Client::nobody().get(&url).await.bytes, b"own");
}
