mod power_cut;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, Method, Uri, http::Extensions};
use s3s::{S3, S3Request, S3Result, dto::*};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    blobs::Blobs,
    index::{Attributes, Content, Index},
    store::Store,
};

const BUCKET: &str = "outputs";
const MIB: usize = 1 << 20;

fn store() -> (Store, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let blobs = Blobs::open(folder.path(), None).expect("a folder for bytes");
    let index = Index::open(None).expect("an index");
    (Store { buckets: BTreeMap::from([(BUCKET.to_owned(), true)]), unversioned: 0.into(), index, blobs }, folder)
}

fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Method::GET,
        uri: Uri::from_static("/"),
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

fn bytes(body: &[u8]) -> Option<StreamingBlob> {
    let chunk = bytes::Bytes::copy_from_slice(body);
    Some(StreamingBlob::wrap(futures_util::stream::iter([Ok::<_, std::io::Error>(chunk)])))
}

async fn put(store: &Store, key: &str, body: &[u8]) -> String {
    let input = PutObjectInput { bucket: BUCKET.into(), key: key.into(), body: bytes(body), ..Default::default() };
    store.put_object(request(input)).await.expect("a put").output.version_id.expect("a version")
}

async fn get(store: &Store, key: &str, version: Option<&str>, range: Option<Range>) -> S3Result<Vec<u8>> {
    use futures_util::TryStreamExt as _;
    let version_id = version.map(str::to_owned);
    let input = GetObjectInput { bucket: BUCKET.into(), key: key.into(), version_id, range, ..Default::default() };
    let body = store.get_object(request(input)).await?.output.body.expect("a body");
    Ok(body.try_collect::<Vec<_>>().await.expect("bytes").concat())
}

fn code<T>(result: S3Result<T>) -> String {
    result.map(drop).expect_err("refused").code().as_str().to_owned()
}

fn files(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).expect("a folder").count()
}

#[tokio::test]
async fn long_and_odd_keys_are_kept_as_they_are() {
    let (store, _folder) = store();
    let long = format!("jobs/{}/ü \"%\u{1f980}", "x".repeat(1000));
    for key in [&long, "a", "a/b", "a/b/", "../escape"] {
        put(&store, key, key.as_bytes()).await;
    }
    assert_eq!(get(&store, &long, None, None).await.expect("the object"), long.as_bytes());
    assert_eq!(get(&store, "a", None, None).await.expect("the object"), b"a");
    assert_eq!(get(&store, "a/b/", None, None).await.expect("the object"), b"a/b/");
}

#[tokio::test]
async fn what_comes_without_a_type_has_the_one_that_s3_gives() {
    let (store, _folder) = store();
    put(&store, "k", b"x").await;
    let head = HeadObjectInput { bucket: BUCKET.into(), key: "k".into(), ..Default::default() };
    let head = store.head_object(request(head)).await.expect("the object").output;
    assert_eq!(head.content_type.as_deref(), Some("binary/octet-stream"));
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing_behind() {
    let (store, folder) = store();
    let checksum = STANDARD.encode(Sha256::digest(b"right"));
    let upload = |body: &[u8]| PutObjectInput {
        bucket: BUCKET.into(),
        key: "k".into(),
        body: bytes(body),
        checksum_sha256: Some(checksum.clone()),
        ..Default::default()
    };
    assert_eq!(code(store.put_object(request(upload(b"wrong"))).await), "BadDigest");
    assert_eq!(code(get(&store, "k", None, None).await), "NoSuchKey");
    assert_eq!(files(&folder), 0);
    let stored = store.put_object(request(upload(b"right"))).await.expect("a put");
    assert_eq!(stored.output.checksum_sha256, Some(checksum));
}

#[tokio::test]
async fn an_overwritten_version_can_still_be_read() {
    let (store, folder) = store();
    let checked = put(&store, "k", b"checked").await;
    put(&store, "k", b"late").await;
    assert_eq!(get(&store, "k", Some(&checked), None).await.expect("the old version"), b"checked");
    assert_eq!(get(&store, "k", None, None).await.expect("the newest"), b"late");

    store.delete(BUCKET, "k", None).expect("a delete marker");
    assert_eq!(code(get(&store, "k", None, None).await), "NoSuchKey");
    assert_eq!(get(&store, "k", Some(&checked), None).await.expect("the old version"), b"checked");
    store.delete(BUCKET, "k", Some(&checked)).expect("gone for good");
    assert_eq!(code(get(&store, "k", Some(&checked), None).await), "NoSuchVersion");
    assert_eq!(files(&folder), 1);
}

#[tokio::test]
async fn in_a_new_bucket_versions_come_late() {
    let (mut store, folder) = store();
    store.unversioned = 2.into();
    let put = async |body: &[u8]| {
        let input = PutObjectInput { bucket: BUCKET.into(), key: "k".into(), body: bytes(body), ..Default::default() };
        store.put_object(request(input)).await.expect("a put").output.version_id
    };
    let head = async || {
        let input = HeadObjectInput { bucket: BUCKET.into(), key: "k".into(), ..Default::default() };
        store.head_object(request(input)).await.expect("a head").output.version_id
    };
    assert_eq!((put(b"first").await, put(b"second").await), (None, None));
    assert_eq!((head().await.as_deref(), files(&folder)), (Some("null"), 1));
    let own = put(b"third").await.expect("a version");
    assert_eq!(head().await.as_deref(), Some(own.as_str()));
    assert_eq!(get(&store, "k", Some("null"), None).await.expect("the old one"), b"second");

    store.delete(BUCKET, "k", None).expect("a delete marker");
    assert_eq!(get(&store, "k", Some("null"), None).await.expect("the old one"), b"second");
    assert_eq!(store.delete(BUCKET, "k", Some("null")).expect("gone for good"), (Some("null".to_owned()), false));
    assert_eq!(code(get(&store, "k", Some("null"), None).await), "NoSuchVersion");
    assert_eq!(get(&store, "k", Some(&own), None).await.expect("the new one"), b"third");
}

#[tokio::test]
async fn a_bucket_without_versions_tells_none() {
    let (mut store, folder) = store();
    store.buckets.insert(BUCKET.to_owned(), false);
    for body in [&b"first"[..], b"second"] {
        let input = PutObjectInput { bucket: BUCKET.into(), key: "k".into(), body: bytes(body), ..Default::default() };
        assert_eq!(store.put_object(request(input)).await.expect("a put").output.version_id, None);
    }
    let input = HeadObjectInput { bucket: BUCKET.into(), key: "k".into(), ..Default::default() };
    assert_eq!(store.head_object(request(input)).await.expect("a head").output.version_id, None);
    assert_eq!(
        (get(&store, "k", Some("null"), None).await.expect("the object"), files(&folder)),
        (b"second".into(), 1)
    );
}

#[tokio::test]
async fn a_range_is_what_was_asked_for() {
    let (store, _folder) = store();
    put(&store, "k", b"0123456789").await;
    let range = |text| Some(Range::parse(text).expect("a range"));
    assert_eq!(get(&store, "k", None, range("bytes=2-4")).await.expect("a range"), b"234");
    assert_eq!(get(&store, "k", None, range("bytes=-3")).await.expect("a range"), b"789");
    assert_eq!(code(get(&store, "k", None, range("bytes=10-")).await), "InvalidRange");
}

async fn begin(store: &Store) -> String {
    let input = CreateMultipartUploadInput { bucket: BUCKET.into(), key: "k".into(), ..Default::default() };
    store.create_multipart_upload(request(input)).await.expect("an upload").output.upload_id.expect("an id")
}

async fn part(store: &Store, upload_id: &str, part_number: i32, body: &[u8]) -> S3Result<CompletedPart> {
    let input = UploadPartInput {
        bucket: BUCKET.into(),
        key: "k".into(),
        upload_id: upload_id.into(),
        part_number,
        body: bytes(body),
        ..Default::default()
    };
    let e_tag = store.upload_part(request(input)).await?.output.e_tag;
    Ok(CompletedPart { e_tag, part_number: Some(part_number), ..Default::default() })
}

async fn complete(store: &Store, upload_id: &str, parts: Vec<CompletedPart>) -> S3Result<String> {
    let input = CompleteMultipartUploadInput {
        bucket: BUCKET.into(),
        key: "k".into(),
        upload_id: upload_id.into(),
        multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
        ..Default::default()
    };
    let etag = store.complete_multipart_upload(request(input)).await?.output.e_tag.expect("an ETag");
    Ok(etag.value().to_owned())
}

#[tokio::test]
async fn parts_become_one_object() {
    let (store, folder) = store();
    let upload = begin(&store).await;
    let third = part(&store, &upload, 3, b"end").await.expect("a part");
    let replaced = part(&store, &upload, 1, &[7; 5 * MIB]).await.expect("a part");
    let first = part(&store, &upload, 1, &[1; 5 * MIB]).await.expect("a part");
    assert_eq!(code(complete(&store, &upload, vec![third.clone(), first.clone()]).await), "InvalidPartOrder");
    assert_eq!(code(complete(&store, &upload, vec![replaced, third.clone()]).await), "InvalidPart");

    let etag = complete(&store, &upload, vec![first, third]).await.expect("an object");
    assert!(etag.ends_with("-2"), "{etag}");
    let object = get(&store, "k", None, None).await.expect("the object");
    assert_eq!((object.len(), &object[5 * MIB..]), (5 * MIB + 3, &b"end"[..]));
    assert_eq!(code(part(&store, &upload, 4, b"late").await), "NoSuchUpload");
    let content = Content { blob: "joined".into(), size: 1, etag: "1-2".into() };
    let again = store.publish(BUCKET, "k", &content, &Attributes::default(), Some(&upload), (None, None));
    assert_eq!(code(again), "NoSuchUpload");
    assert_eq!(files(&folder), 1);
}

#[tokio::test]
async fn only_the_last_part_may_be_small() {
    let (store, _folder) = store();
    let upload = begin(&store).await;
    let parts = vec![
        part(&store, &upload, 1, b"small").await.expect("a part"),
        part(&store, &upload, 2, b"small").await.expect("a part"),
    ];
    assert_eq!(code(complete(&store, &upload, parts).await), "EntityTooSmall");
    store.index.abort(&upload).expect("an abort");
    assert_eq!(code(complete(&store, &upload, Vec::new()).await), "NoSuchUpload");
}

#[tokio::test]
async fn an_object_is_cut_inside_the_store() {
    let (store, _folder) = store();
    let body: Vec<u8> = (0..6 * MIB).map(|n| (n % 251) as u8).collect();
    put(&store, "k", &body).await;
    let upload = begin(&store).await;
    let copy = |range: &str| UploadPartCopyInput {
        copy_source: CopySource::Bucket { bucket: BUCKET.into(), key: "k".into(), version_id: None },
        copy_source_range: Some(range.into()),
        bucket: BUCKET.into(),
        key: "k".into(),
        upload_id: upload.clone(),
        part_number: 1,
        copy_source_if_match: None,
        copy_source_if_modified_since: None,
        copy_source_if_none_match: None,
        copy_source_if_unmodified_since: None,
        copy_source_sse_customer_algorithm: None,
        copy_source_sse_customer_key: None,
        copy_source_sse_customer_key_md5: None,
        expected_bucket_owner: None,
        expected_source_bucket_owner: None,
        request_payer: None,
        sse_customer_algorithm: None,
        sse_customer_key: None,
        sse_customer_key_md5: None,
    };
    assert_eq!(code(store.upload_part_copy(request(copy("bytes=0-6291456"))).await), "InvalidRange");
    let copied = store.upload_part_copy(request(copy("bytes=100-5242979"))).await.expect("a part").output;
    let e_tag = copied.copy_part_result.expect("a result").e_tag;
    complete(&store, &upload, vec![CompletedPart { e_tag, part_number: Some(1), ..Default::default() }])
        .await
        .expect("an object");
    assert_eq!(get(&store, "k", None, None).await.expect("the object"), body[100..5_242_980]);
}

async fn list(store: &Store, prefix: &str, delimiter: Option<&str>, token: Option<String>) -> ListObjectsV2Output {
    let input = ListObjectsV2Input {
        bucket: BUCKET.into(),
        prefix: Some(prefix.into()),
        delimiter: delimiter.map(str::to_owned),
        continuation_token: token,
        max_keys: Some(2),
        ..Default::default()
    };
    store.list_objects_v2(request(input)).await.expect("a list").output
}

#[tokio::test]
async fn a_listing_goes_on_where_it_stopped() {
    let (store, _folder) = store();
    for key in ["p/a", "p/d/1", "p/d/2", "p/e", "q"] {
        put(&store, key, b"1").await;
        put(&store, key, b"2").await;
    }
    put(&store, "p/b", b"deleted").await;
    store.delete(BUCKET, "p/b", None).expect("a delete marker");

    let (mut keys, mut token) = (Vec::new(), None);
    loop {
        let page = list(&store, "p/", None, token).await;
        keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(keys, ["p/a", "p/d/1", "p/d/2", "p/e"]);

    let grouped = list(&store, "p/", Some("/"), None).await;
    assert_eq!(grouped.contents.expect("objects").len(), 1);
    assert_eq!(grouped.common_prefixes.expect("groups")[0].prefix.as_deref(), Some("p/d/"));
    let rest = list(&store, "p/", Some("/"), grouped.next_continuation_token).await;
    assert_eq!(rest.contents.expect("objects")[0].key.as_deref(), Some("p/e"));
    assert!(rest.common_prefixes.expect("groups").is_empty());
}

#[tokio::test]
async fn versions_are_listed_page_by_page() {
    let (store, _folder) = store();
    put(&store, "a", b"1").await;
    put(&store, "a", b"2").await;
    store.delete(BUCKET, "a", None).expect("a delete marker");
    put(&store, "b", b"3").await;
    let (mut seen, mut markers) = (Vec::new(), (None, None));
    loop {
        let input = ListObjectVersionsInput {
            bucket: BUCKET.into(),
            key_marker: markers.0,
            version_id_marker: markers.1,
            max_keys: Some(1),
            ..Default::default()
        };
        let page = store.list_object_versions(request(input)).await.expect("a list").output;
        seen.extend(page.versions.unwrap_or_default().into_iter().map(|v| (v.key, v.is_latest, false)));
        seen.extend(page.delete_markers.unwrap_or_default().into_iter().map(|v| (v.key, v.is_latest, true)));
        if page.is_truncated != Some(true) {
            break;
        }
        markers = (page.next_key_marker, page.next_version_id_marker);
    }
    let entry = |key: &str, latest, marker| (Some(key.to_owned()), Some(latest), marker);
    assert_eq!(
        seen,
        [entry("a", true, true), entry("a", false, false), entry("a", false, false), entry("b", true, false)]
    );
}
