//! S3: `s3s` speaks the protocol and verifies signatures, also presigned ones; versions, multipart uploads and listings
//! are here. Not `s3s-fs`: its file names can't hold a key over some 140 bytes, it keeps bytes whose checksum was wrong,
//! and has no versions.

mod blobs;
mod checksums;
mod index;
mod operations;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Request, Response};
use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    dto::{Checksum, CopySource, ETagCondition, IfMatch, IfNoneMatch, StreamingBlob},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use crate::{edge::SECRET_ACCESS_KEY, template};
use blobs::Blobs;
use checksums::{Checksums, Declared};
use index::{Attributes, Content, Index, NewVersion, Version};

/// "Amazon S3 multipart upload limits".
const SMALLEST_PART: u64 = 5 << 20;
const LARGEST_PUT: u64 = 5 << 30;
/// Keys in one page of any listing, and in one batch of deletes.
const PAGE: i32 = 1000;

/// The engine, ready to serve.
pub(crate) struct Engine(S3Service);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("s3::Engine")
    }
}

impl Engine {
    /// Opens the buckets, with their bytes in `folder`; what they hold is forgotten at the end unless `keep`.
    pub(crate) fn open(buckets: &[template::Bucket], folder: &Path, keep: bool) -> Result<Self> {
        let blobs = Blobs::open(&folder.join("objects"))?;
        let index = Index::open(keep.then(|| folder.join("s3.sqlite")).as_deref())?;
        let buckets = buckets.iter().map(|bucket| (bucket.name.clone(), bucket.versioned)).collect();
        let mut service = S3ServiceBuilder::new(Store { buckets, index, blobs });
        service.set_auth(AnyKey);
        Ok(Self(service.build()))
    }

    /// Serves one request.
    pub(crate) async fn call(&self, request: Request<s3s::Body>) -> Result<Response<s3s::Body>> {
        self.0.call(request).await.map_err(|error| anyhow!("{error:?}")).context("S3")
    }
}

/// Every access key has the one secret, so what an environment presigned outlives it.
struct AnyKey;

#[async_trait::async_trait]
impl S3Auth for AnyKey {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        Ok(SecretKey::from(SECRET_ACCESS_KEY))
    }
}

struct Store {
    /// Whether each keeps versions.
    buckets: BTreeMap<String, bool>,
    index: Index,
    blobs: Blobs,
}

/// An error of the index, as S3 tells it.
struct Failure(s3s::S3Error);

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(match error {
            // Completed or aborted by another request meanwhile.
            rusqlite::Error::QueryReturnedNoRows => s3_error!(NoSuchUpload),
            other => s3_error!(other, InternalError),
        })
    }
}

fn internal(error: rusqlite::Error) -> s3s::S3Error {
    Failure::from(error).0
}

impl Store {
    fn versioned(&self, bucket: &str) -> S3Result<bool> {
        self.buckets.get(bucket).copied().ok_or_else(|| s3_error!(NoSuchBucket))
    }

    /// The version asked for, and its bytes.
    fn object(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(Version, Content)> {
        self.versioned(bucket)?;
        let found = self.index.find(bucket, key, id).map_err(internal)?;
        match (found.map(|version| (version.content.clone(), version)), id) {
            (Some((Some(content), version)), _) => Ok((version, content)),
            (Some(_), Some(_)) => Err(s3_error!(MethodNotAllowed)),
            (None, Some(_)) => Err(s3_error!(NoSuchVersion)),
            (_, None) => Err(s3_error!(NoSuchKey)),
        }
    }

    fn source(&self, source: &CopySource) -> S3Result<(Version, Content)> {
        let CopySource::Bucket { bucket, key, version_id } = source else { return Err(s3_error!(NotImplemented)) };
        self.object(bucket, key, version_id.as_deref())
    }

    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<index::Upload> {
        self.versioned(bucket)?;
        self.index.upload(bucket, key, id).map_err(internal)?.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    async fn receive(&self, body: Option<StreamingBlob>, declared: Declared) -> S3Result<(Content, Checksums)> {
        if declared.length.is_some_and(|length| u64::try_from(length).is_ok_and(|length| length > LARGEST_PUT)) {
            return Err(s3_error!(EntityTooLarge));
        }
        let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let sums = checksums::hasher(&declared)?;
        let Declared { checksums: mut wanted, md5: wanted_md5, trailers, .. } = declared;
        let accept = |md5: &[u8], sums: &Checksum| {
            if wanted_md5.is_some_and(|wanted| wanted != STANDARD.encode(md5)) {
                return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
            }
            checksums::read_trailers(&mut wanted, trailers)?;
            checksums::agree(&wanted, &sums.clone().into())
        };
        let (content, sums) = self.blobs.write(body, sums, accept).await?;
        Ok((content, sums.into()))
    }

    /// Makes `content` the newest version; its file goes away again when it is refused.
    fn publish(
        &self,
        bucket: &str,
        key: &str,
        content: &Content,
        attributes: &Attributes,
        upload: Option<&str>,
        conditions: (Option<IfMatch>, Option<IfNoneMatch>),
    ) -> S3Result<Version> {
        let accept = |newest: Option<&Version>| {
            let etag = newest.and_then(|version| version.content.as_ref()).map(|content| content.etag.as_str());
            preconditions(etag, conditions.0.as_ref(), conditions.1.as_ref()).map_err(Failure)
        };
        let versioned = self.versioned(bucket)?;
        let new = NewVersion { bucket, key, versioned, content: Some(content), attributes, upload };
        match self.index.add(&new, accept) {
            Ok((version, freed)) => {
                self.blobs.remove(freed);
                Ok(version)
            }
            Err(Failure(error)) => {
                self.blobs.remove([content.blob.clone()]);
                Err(error)
            }
        }
    }

    /// Deletes a key or one version; tells the id and whether it is a delete marker's.
    fn delete(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(Option<String>, bool)> {
        let versioned = self.versioned(bucket)?;
        if let Some(id) = id {
            let marker = self.index.find(bucket, key, Some(id)).map_err(internal)?.is_some_and(|v| v.content.is_none());
            self.blobs.remove(self.index.remove(bucket, key, id).map_err(internal)?);
            return Ok((Some(id.to_owned()), marker));
        }
        if !versioned {
            self.blobs.remove(self.index.remove_all(bucket, key).map_err(internal)?);
            return Ok((None, false));
        }
        let attributes = &Attributes::default();
        let new = NewVersion { bucket, key, versioned, content: None, attributes, upload: None };
        let (marker, _) = self.index.add(&new, |_| Ok::<_, Failure>(())).map_err(|failure| failure.0)?;
        Ok((Some(marker.id), true))
    }

    fn add_part(&self, upload: &str, number: i32, content: &Content) -> S3Result<()> {
        match self.index.add_part(upload, number, content).map_err(internal)? {
            Some(replaced) => {
                self.blobs.remove(replaced);
                Ok(())
            }
            None => {
                self.blobs.remove([content.blob.clone()]);
                Err(s3_error!(NoSuchUpload))
            }
        }
    }
}

fn preconditions(etag: Option<&str>, if_match: Option<&IfMatch>, if_none_match: Option<&IfNoneMatch>) -> S3Result<()> {
    let matches = |condition: &ETagCondition| match condition {
        ETagCondition::Any => etag.is_some(),
        ETagCondition::ETag(wanted) => etag == Some(wanted.value()),
    };
    match (if_match, if_none_match) {
        (Some(_), _) if etag.is_none() => Err(s3_error!(NoSuchKey)),
        (Some(wanted), _) if !matches(wanted) => Err(s3_error!(PreconditionFailed)),
        (_, Some(unwanted)) if matches(unwanted) => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
