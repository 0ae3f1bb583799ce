//! The outputs bucket: objects, their versions, and URLs that work without credentials.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    error::SdkError,
    presigning::{PresignedRequest, PresigningConfig},
    primitives::{ByteStream, DateTime},
    types::ChecksumMode,
};
use aws_sigv4::http_request::SigningParams;
use aws_smithy_types::base64;
use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::{
    origin::{SHA256, itself, origin, plain, replaced},
    presign::{Signer, Target},
};
use crate::{
    aws::Lazy,
    error::{Context, Error, Result, engine_error},
    metrics::Metrics,
    model::{OutputFile, filename::content_disposition},
    time::Timestamp,
};

/// Seconds that a download URL works.
pub(super) const DOWNLOAD_LIFE: i64 = 15 * 60;
/// Bytes of payloads that are in memory at the same time, over all files of all jobs: 16 MiB.
const IN_MEMORY: usize = 16 << 20;
/// Parts copied at the same time, over all files of all jobs.
pub(super) const COPIES: usize = 32;
/// Header of an upload that says so.
const SHA256_HEADER: &str = "x-amz-meta-sha256";

/// The outputs bucket.
#[derive(Debug)]
pub struct Bucket {
    pub(super) client: Lazy<aws_sdk_s3::Client>,
    pub(super) bucket: String,
    signer: Signer,
    base: OnceLock<String>,
    /// Bytes of files that may still be read into memory.
    pub(super) memory: Arc<Semaphore>,
    /// Copies that may still begin.
    pub(super) copies: Arc<Semaphore>,
    pub(super) metrics: Metrics,
}

/// A URL that works without credentials, for a while.
#[derive(Debug)]
pub struct Presigned {
    /// The URL.
    pub url: String,
    /// Until when it is known to work.
    pub expires_at: Timestamp,
}

/// Signs upload URLs, all of the same life.
#[derive(Debug)]
pub struct Presigner<'a> {
    base: &'a str,
    signer: &'a Signer,
    params: SigningParams<'a>,
    /// Until when the URLs are known to work.
    pub expires_at: Timestamp,
}

impl Presigner<'_> {
    /// Where to PUT one file, and with which headers. What was declared is signed: S3 refuses any other bytes. With `once`, S3 refuses it
    /// where there is a file already ("Add preconditions to S3 operations with conditional requests").
    pub fn put(&self, key: &str, file: &OutputFile, once: bool) -> Result<(String, BTreeMap<&'static str, String>)> {
        let headers = [
            ("content-length", file.size.map(|size| size.to_string())),
            ("content-type", file.content_type.clone()),
            ("if-none-match", once.then(|| "*".to_owned())),
            ("x-amz-checksum-sha256", file.sha256.as_deref().and_then(checksum)),
            (SHA256_HEADER, file.sha256.clone()),
        ];
        let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let url = self.upload(key, "x-id=PutObject".to_owned(), &headers)?;
        Ok((url, headers.into_iter().collect()))
    }

    /// Where to PUT bytes, with these headers.
    pub(super) fn upload(&self, key: &str, query: String, headers: &[(&'static str, String)]) -> Result<String> {
        self.signer.put(&Target { base: self.base, key, query, headers }, &self.params)
    }
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: Option<String>,
    /// Its version: `null` when it was stored in a bucket that kept none, or not yet. (Versioning takes up to 15 minutes to reach all
    /// of a new bucket: "Using versioning in S3 buckets".)
    pub version_id: Option<String>,
    /// When it was stored.
    pub modified: Option<DateTime>,
}

/// What an object says of itself.
#[derive(Debug)]
pub struct Head {
    /// The object.
    pub object: Object,
    /// It is the file itself, known not to be an envelope.
    pub plain: bool,
    /// The SHA-256, in hex, that S3 checked as it arrived.
    pub sha256: Option<String>,
    /// The SHA-256 that was declared when its upload in parts began.
    told: Option<String>,
    /// Which of the files that were declared under its name it is.
    replaced: u32,
}

impl Head {
    /// Whether it may be what was declared last. The hash of a file in parts S3 cannot check: there it must not be another
    /// one's, nor begun for another one.
    pub fn may_be(&self, file: &OutputFile, in_parts: bool) -> bool {
        let has_its_hash = self.sha256.is_some() && self.sha256 == file.sha256;
        if file.cut.is_some() && !has_its_hash && self.replaced != file.replaced {
            return false;
        }
        if !file.redeclared || file.sha256.is_none() || has_its_hash {
            return true;
        }
        in_parts && self.plain && self.sha256.is_none() && (self.told.is_none() || self.told == file.sha256)
    }
}

impl Bucket {
    /// A store over this bucket, which counts in `metrics` what it does.
    pub fn new(client: Lazy<aws_sdk_s3::Client>, bucket: String, signer: Signer, metrics: Metrics) -> Self {
        let memory = Arc::new(Semaphore::new(IN_MEMORY));
        let copies = Arc::new(Semaphore::new(COPIES));
        Self { client, bucket, signer, base: OnceLock::new(), memory, copies, metrics }
    }

    /// Signs upload URLs that work for `life` seconds from now.
    pub async fn presigner(&self, life: i64) -> Result<Presigner<'_>> {
        Ok(Presigner {
            base: self.base().await?,
            signer: &self.signer,
            params: self.signer.params(SystemTime::now(), seconds(life))?,
            expires_at: self.signer.known_to_work(Timestamp::system(), life),
        })
    }

    /// What the URLs of this bucket's objects begin with. The SDK knows every region's and every endpoint's; asked once.
    async fn base(&self) -> Result<&str> {
        if self.base.get().is_none() {
            let known = self.client.get_object().bucket(&self.bucket).key("key").presigned(expiring(1)?).await;
            let known = presigned(known, "presign: endpoint")?;
            let base = known.split_once("/key?").map(|(base, _)| base.to_owned());
            let _ = self.base.set(base.ok_or_else(|| Error::internal("presign: endpoint", "no key in a URL"))?);
        }
        self.base.get().map(String::as_str).ok_or_else(|| Error::internal("presign: endpoint", "none"))
    }

    /// Where to GET a checked file. What its uploader said beside the bytes does not reach who fetches them: the URL says something
    /// else in its place, since S3 can replace what it stored with an object and cannot leave it out ("GetObject" of the S3 API
    /// reference, "Overriding response header values through the request", which speaks of answers with status 200). So no object
    /// has to be read or written again for it. `identity` is what clients take for no coding at all, and `und` is an undetermined
    /// language (RFC 5646, section 4.1).
    pub async fn presign_get(&self, key: &str, file: &OutputFile) -> Result<Presigned> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(file.version_id.clone())
            .set_response_content_type(file.content_type.clone())
            .response_content_disposition(content_disposition(&file.filename))
            .response_content_encoding("identity")
            .response_content_language("und")
            .response_cache_control("no-store")
            .response_expires(DateTime::from_secs(0));
        let expires_at = self.signer.known_to_work(Timestamp::system(), DOWNLOAD_LIFE);
        let url = presigned(request.presigned(expiring(DOWNLOAD_LIFE)?).await, "presign: GetObject")?;
        Ok(Presigned { url, expires_at })
    }

    /// Stores a small file, as what it is. S3 checks its SHA-256, when one was declared.
    pub async fn put_file(
        &self,
        key: &str,
        bytes: Bytes,
        content_type: Option<&str>,
        file: &OutputFile,
    ) -> Result<Object> {
        self.put_with(key, bytes, content_type, file.sha256.as_deref(), itself(file)).await
    }

    /// The same of what is no output file.
    pub(super) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        content_type: Option<&str>,
        sha256: Option<&str>,
    ) -> Result<Object> {
        self.put_with(key, bytes, content_type, sha256, plain(sha256)).await
    }

    async fn put_with(
        &self,
        key: &str,
        bytes: Bytes,
        content_type: Option<&str>,
        sha256: Option<&str>,
        metadata: HashMap<String, String>,
    ) -> Result<Object> {
        let size = bytes.len() as u64;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_content_type(content_type.map(str::to_owned))
            .set_checksum_sha256(sha256.and_then(checksum))
            .set_metadata(Some(metadata))
            .body(ByteStream::from(bytes));
        let answer = request.send().await.context("upload: PutObject")?;
        Ok(Object { size, etag: answer.e_tag, version_id: Some(version(answer.version_id)), modified: None })
    }

    /// The object as it is now, or a version of it, when there is one.
    pub async fn head(&self, key: &str, id: Option<&str>) -> Result<Option<Head>> {
        let request = self.client.head_object().bucket(&self.bucket).key(key).set_version_id(id.map(str::to_owned));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => Ok(Some(Head {
                plain: origin(answer.metadata()).is_some(),
                replaced: replaced(answer.metadata()),
                told: answer.metadata().and_then(|metadata| metadata.get(SHA256)).cloned(),
                sha256: answer.checksum_sha256().and_then(|sum| base64::decode(sum).ok()).map(hex::encode),
                object: Object {
                    size: length(answer.content_length),
                    etag: answer.e_tag,
                    version_id: Some(version(answer.version_id)),
                    modified: answer.last_modified,
                },
            })),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
            Err(error) => Err(engine_error("check: HeadObject", &error)),
        }
    }
}

/// A version's id. Where an answer names none, as in a bucket that never kept versions, a listing calls it `null`, and it can be read and
/// removed by that name: one version must not have two, or a file that was checked is taken for one that nobody needs.
pub(super) fn version(id: Option<String>) -> String {
    id.unwrap_or_else(|| "null".to_owned())
}

pub(super) fn length(bytes: Option<i64>) -> u64 {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// SHA-256 as S3 spells it.
fn checksum(hex: &str) -> Option<String> {
    hex::decode(hex).ok().map(base64::encode)
}

/// A body of known length, in one piece and nowhere else in memory.
pub(super) async fn read(mut body: ByteStream, length: u64) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| Error::unavailable("check: GetObject", error))?);
    }
    Ok(bytes.freeze())
}

fn seconds(life: i64) -> Duration {
    Duration::from_secs(life.max(1).unsigned_abs())
}

/// A presigning of `life` seconds from now, by the clock that S3 goes by: the world's.
pub(super) fn expiring(life: i64) -> Result<PresigningConfig> {
    PresigningConfig::expires_in(seconds(life)).map_err(|error| Error::internal("presign: configuration", error))
}

pub(super) fn presigned<E: std::error::Error + Send + Sync + 'static, R: std::fmt::Debug + Send + Sync + 'static>(
    request: std::result::Result<PresignedRequest, SdkError<E, R>>,
    doing: &'static str,
) -> Result<String> {
    request.map(|request| request.uri().to_owned()).map_err(|error| Error::internal(doing, error))
}
