//! Objects, versions and uploads under way: what may become of them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use s3s::{
    S3Result,
    dto::{Checksum, CopySource, ETagCondition, IfMatch, IfNoneMatch, StreamingBlob},
    s3_error,
};

use super::{
    blobs::Blobs,
    checksums::{self, Checksums, Declared},
    index::{Attributes, Content, Index, NewVersion, Upload, Version},
};

/// "Amazon S3 multipart upload limits".
pub(super) const SMALLEST_PART: u64 = 5 << 20;
pub(super) const LARGEST_PUT: u64 = 5 << 30;
/// Keys in one page of any listing, and in one batch of deletes.
pub(super) const PAGE: i32 = 1000;

/// What the buckets hold, and the rules by which it changes.
pub(super) struct Store {
    /// Whether each keeps versions.
    pub(super) buckets: BTreeMap<String, bool>,
    /// Objects still to come that get no version of their own, though their bucket keeps versions.
    pub(super) unversioned: AtomicU64,
    pub(super) index: Index,
    pub(super) blobs: Blobs,
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

pub(super) fn internal(error: rusqlite::Error) -> s3s::S3Error {
    Failure::from(error).0
}

impl Store {
    pub(super) fn versioned(&self, bucket: &str) -> S3Result<bool> {
        self.buckets.get(bucket).copied().ok_or_else(|| s3_error!(NoSuchBucket))
    }

    /// The version asked for, and its bytes.
    pub(super) fn object(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(Version, Content)> {
        self.versioned(bucket)?;
        let found = self.index.find(bucket, key, id).map_err(internal)?;
        match (found.map(|version| (version.content.clone(), version)), id) {
            (Some((Some(content), version)), _) => Ok((version, content)),
            (Some(_), Some(_)) => Err(s3_error!(MethodNotAllowed)),
            (None, Some(_)) => Err(s3_error!(NoSuchVersion)),
            (_, None) => Err(s3_error!(NoSuchKey)),
        }
    }

    pub(super) fn source(&self, source: &CopySource) -> S3Result<(Version, Content)> {
        let CopySource::Bucket { bucket, key, version_id } = source else { return Err(s3_error!(NotImplemented)) };
        self.object(bucket, key, version_id.as_deref())
    }

    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        self.versioned(bucket)?;
        self.index.upload(bucket, key, id).map_err(internal)?.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        declared: Declared,
    ) -> S3Result<(Content, Checksums)> {
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

    /// Whether an object that is stored now gets a version of its own.
    fn gets_a_version(&self, bucket: &str) -> S3Result<bool> {
        let late = self.unversioned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        Ok(self.versioned(bucket)? && late.is_err())
    }

    /// The version's id as answers tell it: a bucket that never kept versions has none.
    pub(super) fn told(&self, bucket: &str, version: &Version) -> Option<String> {
        self.buckets.get(bucket).copied().unwrap_or(false).then(|| version.id.clone())
    }

    /// Makes `content` the newest version; its file goes away again when it is refused.
    pub(super) fn publish(
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
        let versioned = self.gets_a_version(bucket)?;
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
    pub(super) fn delete(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(Option<String>, bool)> {
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

    pub(super) fn add_part(&self, upload: &str, number: i32, content: &Content) -> S3Result<()> {
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

pub(super) fn preconditions(
    etag: Option<&str>,
    if_match: Option<&IfMatch>,
    if_none_match: Option<&IfNoneMatch>,
) -> S3Result<()> {
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

/// The type of an object whose request says none. (The SDKs' pages on `ContentType`: "This property defaults to binary/octet-stream".)
pub(super) fn typed(content_type: Option<String>) -> Option<String> {
    content_type.or_else(|| Some("binary/octet-stream".to_owned()))
}
