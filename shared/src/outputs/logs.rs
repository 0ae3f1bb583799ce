//! Logs in the bucket: where a miner puts a chunk, and which chunks there are.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{
    bucket::{Bucket, length},
    presign::{Signer, Target},
};
use crate::{
    error::{Context, Result},
    model::{Chunk, FileKeys, OutputFile},
    time::Timestamp,
};

/// Seconds for which a miner may begin to put a chunk. Whoever is later asks again.
const PLACE_LIFE: i64 = 300;
/// Chunks on a page: 100 URLs of 2 KB each are far from Lambda's 6 MB.
const LOGS_PAGE: i32 = 100;

/// Where chunks are put. It knows the bucket's address and needs no S3 client: presigning is offline.
#[derive(Debug)]
pub struct LogPlaces {
    base: String,
    signer: Signer,
}

/// Where one chunk is put, once, and for how long.
#[derive(Debug)]
pub struct LogTarget {
    /// The URL.
    pub url: String,
    /// Headers that have to be sent as they are here.
    pub headers: BTreeMap<&'static str, String>,
    /// Until when it is known to work.
    pub expires_at: Timestamp,
}

/// A chunk that is there.
#[derive(Debug)]
pub struct LogChunk {
    /// Which one.
    pub chunk: Chunk,
    /// Bytes.
    pub size: u64,
    /// Where it is, for 15 minutes.
    pub url: String,
}

impl LogPlaces {
    /// `base` is what the URLs of the bucket's objects begin with.
    pub fn new(base: String, signer: Signer) -> Self {
        Self { base, signer }
    }

    /// Where to PUT a chunk of so many bytes. S3 takes no other number of them, and no second chunk in its place: so what an attempt may
    /// have is bounded by what it was told.
    pub fn put(&self, keys: &FileKeys, chunk: &Chunk, bytes: u64) -> Result<LogTarget> {
        let headers = [("content-length", bytes.to_string()), ("if-none-match", "*".to_owned())];
        let params = self.signer.params(SystemTime::now(), Duration::from_secs(PLACE_LIFE.unsigned_abs()))?;
        let key = chunk.key(keys);
        let target = Target { base: &self.base, key: &key, query: "x-id=PutObject".to_owned(), headers: &headers };
        let url = self.signer.put(&target, &params)?;
        let expires_at = self.signer.known_to_work(Timestamp::system(), PLACE_LIFE);
        Ok(LogTarget { url, headers: headers.into(), expires_at })
    }
}

impl Bucket {
    /// The chunks of a job's logs after that one, at most 100, oldest first: one listing.
    pub async fn logs(&self, keys: &FileKeys, after: Option<Chunk>) -> Result<Vec<LogChunk>> {
        let prefix = keys.logs();
        // Versions: the lifecycle puts a marker on what has been there for long, and the versions stay as long as those of files.
        let request = self.client.list_object_versions().bucket(&self.bucket).prefix(&prefix).max_keys(LOGS_PAGE);
        let request = request.set_key_marker(after.map(|after| after.key(keys)));
        let found = request.send().await.context("list logs: ListObjectVersions")?.versions.unwrap_or_default();
        // What its miner said of it beside the bytes does not reach who reads it.
        let file =
            OutputFile { content_type: Some("text/plain; charset=utf-8".to_owned()), ..OutputFile::named("log.txt") };
        let mut chunks = Vec::with_capacity(found.len());
        for object in found {
            let Some(key) = object.key else { continue };
            let Some(chunk) = key.strip_prefix(&prefix).and_then(Chunk::at_place) else { continue };
            let file = OutputFile { version_id: object.version_id, ..file.clone() };
            let url = self.presign_get(&key, &file).await?.url;
            chunks.push(LogChunk { chunk, size: length(object.size), url });
        }
        Ok(chunks)
    }
}
