//! Payloads of jobs as objects: each is written once, under a key of its own, and read as the version that was written.

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bucket::{Bucket, DOWNLOAD_LIFE, expiring, length, presigned, read, version};
use crate::{
    error::{Error, Result, engine_error},
    model::{FileKeys, Stored},
};

/// S3's codes for an object, or a version of it, that is not there.
const GONE: [&str; 3] = ["NoSuchKey", "NoSuchVersion", "NotFound"];

impl Bucket {
    /// Stores a payload. S3 checks the digest as it arrives.
    pub async fn put_payload(&self, keys: &FileKeys, text: String) -> Result<Stored> {
        let sha256 = hex::encode(Sha256::digest(&text));
        let (id, size, version_id) = (Uuid::new_v4(), text.len() as u64, String::new());
        let mut stored = Stored { id, sha256, size, version_id, put_at: None, lost: false, text: None };
        let (key, bytes) = (keys.payload(&stored), Bytes::from(text));
        let object = self.put(&key, bytes.clone(), Some("application/json"), Some(&stored.sha256)).await?;
        let text = String::from_utf8(bytes.into()).map_err(|error| Error::internal("payload: PutObject", error))?;
        (stored.version_id, stored.text) = (version(object.version_id), Some(text));
        Ok(stored)
    }

    /// Reads a payload; None when it is gone, or is not what was put.
    pub async fn payload(&self, keys: &FileKeys, stored: &Stored) -> Result<Option<String>> {
        let key = keys.payload(stored);
        let request = self.client.get_object().bucket(&self.bucket).key(&key).version_id(&stored.version_id);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.code().is_some_and(|code| GONE.contains(&code)) => return Ok(None),
            Err(error) => return Err(engine_error("payload: GetObject", &error)),
        };
        // What is called `null` may have been replaced by anything: that is not read into memory.
        if length(answer.content_length) != stored.size {
            return Ok(None);
        }
        let bytes = read(answer.body, stored.size).await?;
        Ok(String::from_utf8(bytes.into()).ok().filter(|text| stored.is_of(text)))
    }

    /// Whether a payload is there, by its size.
    pub async fn has_payload(&self, keys: &FileKeys, stored: &Stored) -> Result<bool> {
        let head = self.head(&keys.payload(stored), Some(&stored.version_id)).await?;
        Ok(head.is_some_and(|head| head.object.size == stored.size))
    }

    /// Where to GET a payload, for 15 minutes.
    pub async fn presign_payload(&self, keys: &FileKeys, stored: &Stored) -> Result<String> {
        let key = keys.payload(stored);
        let request = self.client.get_object().bucket(&self.bucket).key(key).version_id(&stored.version_id);
        presigned(request.presigned(expiring(DOWNLOAD_LIFE)?).await, "presign: payload")
    }

    /// Removes a payload that nothing refers to.
    pub async fn remove_payload(&self, keys: &FileKeys, stored: &Stored) -> Result<()> {
        self.delete(vec![(keys.payload(stored), stored.version_id.clone())]).await
    }
}
