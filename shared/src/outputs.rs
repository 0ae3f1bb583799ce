//! The store of output files: S3's outputs bucket.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use aws_sdk_s3::{
    error::SdkError,
    operation::list_object_versions::ListObjectVersionsOutput,
    presigning::{PresignedRequest, PresigningConfig},
    primitives::{ByteStream, DateTime},
    types::{Delete, ObjectIdentifier},
};
use aws_smithy_types::{base64, error::metadata::ProvideErrorMetadata};
use bytes::Bytes;

use crate::{
    error::{Context, Error, Result, engine_error},
    filename::content_disposition,
    job::OutputFile,
    metrics::Metrics,
    time::Timestamp,
};

mod multipart;
mod unwrap;

pub use multipart::Upload;
pub use unwrap::Unwrapped;

/// Seconds that a download URL works.
pub const DOWNLOAD_LIFE: i64 = 15 * 60;
/// DeleteObjects takes this many keys.
const DELETE_BATCH: usize = 1000;
/// Object metadata that says: this is the file itself, whatever its media type looks like.
const PLAIN: &str = "jobchute-plain";

/// The outputs bucket.
#[derive(Debug, Clone)]
pub struct Outputs {
    client: aws_sdk_s3::Client,
    bucket: String,
    metrics: Metrics,
}

/// A URL that works without credentials, for a while.
#[derive(Debug)]
pub struct Presigned {
    /// The URL.
    pub url: String,
    /// Headers that are part of the signature.
    pub headers: BTreeMap<String, String>,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: Option<String>,
    /// Its version, when the bucket keeps them.
    pub version_id: Option<String>,
    /// When it was stored.
    pub modified: Option<DateTime>,
}

/// An object's first bytes, and what stands beside them.
#[derive(Debug)]
pub struct Head {
    /// The bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: Option<String>,
    /// It is the file itself, known not to be an envelope.
    pub plain: bool,
}

impl Outputs {
    /// A store over this bucket, which counts in `metrics` what it does.
    pub fn new(client: aws_sdk_s3::Client, bucket: String, metrics: Metrics) -> Self {
        Self { client, bucket, metrics }
    }

    /// Where to PUT one file, for `life` seconds. What was declared is signed: S3 refuses any other bytes.
    pub async fn presign_put(&self, key: &str, file: &OutputFile, life: i64) -> Result<Presigned> {
        let sha256 = file.sha256.as_ref().and_then(|text| hex::decode(text).ok()).map(base64::encode);
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_content_type(file.content_type.clone())
            .set_content_length(file.size.and_then(|size| i64::try_from(size).ok()))
            .set_checksum_sha256(sha256);
        let (config, expires_at) = expiring(life)?;
        presigned(request.presigned(config).await, expires_at, "presign: PutObject")
    }

    /// Where to GET a checked file.
    pub async fn presign_get(&self, key: &str, file: &OutputFile) -> Result<Presigned> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(file.version_id.clone())
            .set_response_content_type(file.content_type.clone())
            .response_content_disposition(content_disposition(&file.filename));
        let (config, expires_at) = expiring(DOWNLOAD_LIFE)?;
        presigned(request.presigned(config).await, expires_at, "presign: GetObject")
    }

    /// Stores a small file.
    pub async fn put(&self, key: &str, bytes: Bytes, content_type: Option<String>) -> Result<Object> {
        let size = bytes.len() as u64;
        let request = self.client.put_object().bucket(&self.bucket).key(key).set_content_type(content_type);
        let request = request.metadata(PLAIN, "1").body(ByteStream::from(bytes));
        let answer = request.send().await.context("upload: PutObject")?;
        Ok(Object { size, etag: answer.e_tag, version_id: version(answer.version_id), modified: None })
    }

    /// The object as it is now, when there is one.
    pub async fn head(&self, key: &str) -> Result<Option<Object>> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => Ok(Some(Object {
                size: size(answer.content_length),
                etag: answer.e_tag,
                version_id: version(answer.version_id),
                modified: answer.last_modified,
            })),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
            Err(error) => Err(engine_error("check: HeadObject", &error)),
        }
    }

    /// An object's first `window` bytes. None when the object that was listed is no longer there.
    pub async fn first_bytes(&self, key: &str, object: &Object, window: u64) -> Result<Option<Head>> {
        let request = self.client.get_object().bucket(&self.bucket).key(key).range(format!("bytes=0-{}", window - 1));
        let request = request.set_version_id(object.version_id.clone()).set_if_match(object.etag.clone());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(engine_error("check: GetObject", &error)),
        };
        let plain = answer.metadata.as_ref().is_some_and(|metadata| metadata.contains_key(PLAIN));
        let bytes = answer.body.collect().await.map_err(|error| Error::busy("check: GetObject", error))?;
        Ok(Some(Head { bytes: bytes.into_bytes(), content_type: answer.content_type, plain }))
    }

    /// Some of an object's bytes, of the version that was listed.
    pub async fn bytes(&self, key: &str, object: &Object, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        let request = request.set_version_id(object.version_id.clone()).set_if_match(object.etag.clone());
        let answer = request.send().await.map_err(|error| match is_gone(&error) {
            true => Error::busy("check: GetObject", "the object changed meanwhile"),
            false => engine_error("check: GetObject", &error),
        })?;
        let bytes = answer.body.collect().await.map_err(|error| Error::busy("check: GetObject", error))?;
        Ok(bytes.into_bytes())
    }

    /// The newest version of every object under `prefix`, by key.
    pub async fn list(&self, prefix: &str) -> Result<BTreeMap<String, Object>> {
        let mut objects = BTreeMap::new();
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = self.versions(prefix, marker).await?;
            next = Marker::after(&page);
            for found in page.versions.unwrap_or_default() {
                if found.is_latest == Some(true)
                    && let Some(key) = found.key
                {
                    let object = Object {
                        size: size(found.size),
                        etag: found.e_tag,
                        version_id: version(found.version_id),
                        modified: found.last_modified,
                    };
                    objects.insert(key, object);
                }
            }
        }
        Ok(objects)
    }

    /// Removes every version of every object under `prefix`, and every unfinished upload. Repeating it is harmless.
    pub async fn delete_all(&self, prefix: &str) -> Result<()> {
        for upload in self.uploads(prefix).await?.into_values().flatten() {
            self.abort(&upload).await?;
        }
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = self.versions(prefix, marker).await?;
            next = Marker::after(&page);
            let versions = page.versions.unwrap_or_default().into_iter().map(|it| (it.key, it.version_id));
            let markers = page.delete_markers.unwrap_or_default().into_iter().map(|it| (it.key, it.version_id));
            let all: Vec<_> = versions
                .chain(markers)
                .filter_map(|(key, id)| ObjectIdentifier::builder().key(key?).set_version_id(version(id)).build().ok())
                .collect();
            for batch in all.chunks(DELETE_BATCH) {
                let delete = Delete::builder().set_objects(Some(batch.to_vec())).quiet(true).build();
                let delete = delete.map_err(|error| Error::internal("delete: keys", error))?;
                let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
                let answer = request.send().await.context("delete: DeleteObjects")?;
                if let [error, ..] = answer.errors() {
                    return Err(Error::busy("delete: DeleteObjects", error.code().unwrap_or("unknown")));
                }
            }
        }
        Ok(())
    }

    /// One page, of at most 1,000 versions.
    async fn versions(&self, prefix: &str, marker: Marker) -> Result<ListObjectVersionsOutput> {
        let Marker(key, version) = marker;
        let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
        let request = request.set_key_marker(key).set_version_id_marker(version);
        request.send().await.context("list: ListObjectVersions")
    }
}

/// Where a page of versions ended: a key, and a version of it.
#[derive(Default)]
struct Marker(Option<String>, Option<String>);

impl Marker {
    fn after(page: &ListObjectVersionsOutput) -> Option<Self> {
        let more = page.is_truncated == Some(true);
        more.then(|| Self(page.next_key_marker.clone(), page.next_version_id_marker.clone()))
    }
}

/// A version's id; in a bucket that keeps none, every object's is `null`.
fn version(id: Option<String>) -> Option<String> {
    id.filter(|id| id != "null")
}

fn size(bytes: Option<i64>) -> u64 {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// Whether S3 no longer has the version that was asked for.
fn is_gone<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(code, Some("NoSuchKey" | "NoSuchVersion" | "PreconditionFailed"))
}

/// A presigning of `life` seconds from now, by the clock that S3 goes by: the world's.
fn expiring(life: i64) -> Result<(PresigningConfig, Timestamp)> {
    let config = PresigningConfig::expires_in(Duration::from_secs(life.max(1).unsigned_abs()))
        .map_err(|error| Error::internal("presign: configuration", error))?;
    Ok((config, Timestamp::system().plus_seconds(life)))
}

fn presigned<E: std::error::Error + Send + Sync + 'static, R: std::fmt::Debug + Send + Sync + 'static>(
    request: std::result::Result<PresignedRequest, SdkError<E, R>>,
    expires_at: Timestamp,
    doing: &'static str,
) -> Result<Presigned> {
    let request = request.map_err(|error| Error::internal(doing, error))?;
    let url = request.uri().to_owned();
    // Others that the SDK adds, such as Lambda's trace id, are nobody's business.
    let signed = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("X-Amz-SignedHeaders=")).unwrap_or_default();
    let signed = |name: &str| signed.split("%3B").any(|it| it == name);
    let headers = request.headers().filter(|(name, _)| signed(name));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Presigned { url, headers, expires_at })
}
