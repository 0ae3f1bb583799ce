//! Taking a file out of its envelope, in S3's own hands where it is large.

use std::ops::Range;

use aws_sdk_s3::{
    operation::get_object::{GetObjectError, GetObjectOutput},
    primitives::ByteStream,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use futures_util::{
    StreamExt, TryStreamExt,
    future::{Either, ready},
    stream,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    bucket::{Bucket, COPIES, Object, length, read, version},
    envelope::{Payload, WINDOW, boundary, payload},
    multipart::MultipartUpload,
    origin::{Origin, origin, taken_out_of},
    // S3 also copies ranges out of objects over the smallest part only. ("UploadPartCopy".)
    parts::{ArrivedParts, MOST_PARTS, SMALLEST_PART},
};
use crate::{
    error::{Context, Error, Result, engine_error},
    metrics::Metric,
};

/// Times that an object is looked at when something else has taken its place meanwhile.
const LOOKS: usize = 3;
/// Bytes of the smallest part that we let S3 copy, and of the one that is large enough: 64 and 512 MiB. A part that is copied
/// need not be copied again when the time runs out, and S3 copies some 85 MB/s in each request ("Performance design patterns for
/// Amazon S3"), so that the largest payload, of 5 GiB, is done within one request's time.
const COPIED_PARTS: (u64, u64) = (64 << 20, 512 << 20);
/// Payloads over this are worth going on with where an earlier try stopped: 1 GiB.
const RESUMED: u64 = 1 << 30;
/// The type that S3 gives to what comes without one. (The SDKs' pages on `ContentType`: "This property defaults to binary/octet-stream".)
const UNTYPED: &str = "binary/octet-stream";
/// What a copy source's key keeps as it is.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What an object turned out to be.
#[derive(Debug)]
pub enum Unwrapped {
    /// The file itself, now or all along.
    File {
        /// It.
        object: Object,
        /// Its media type.
        content_type: Option<String>,
        /// The version of the envelope that it was taken out of.
        envelope: Option<String>,
    },
    /// An envelope without its end: the file has not arrived.
    CutShort(Object),
}

impl Bucket {
    /// Looks at an object whose bytes nobody declared, and puts its payload in its place when it is an envelope. None when nothing
    /// is there. Repeating it is harmless: the payload is marked as what it is, and with the version that the envelope was, which
    /// stays. It takes the envelope's place only where that still is: a try whose answer was lost leaves no second copy, and what is
    /// uploaded meanwhile is not covered.
    pub async fn unwrap(&self, key: &str) -> Result<Option<Unwrapped>> {
        for _ in 0..LOOKS {
            let Some((object, start)) = self.open(key).await? else { return Ok(None) };
            let (origin, kind) = (origin(start.metadata()), start.content_type().and_then(boundary));
            let boundary = match (origin, kind) {
                (None, Some(boundary)) => boundary,
                (origin, _) => {
                    let envelope = origin.and_then(Origin::envelope);
                    let content_type = start.content_type.filter(|kind| kind != UNTYPED);
                    return Ok(Some(Unwrapped::File { object, content_type, envelope }));
                }
            };
            let head = read(start.body, WINDOW).await?;
            let tail_at = object.size.saturating_sub(WINDOW);
            let tail = match tail_at {
                0 => head.clone(),
                _ => read(self.get(key, &object, tail_at..object.size).await?, WINDOW).await?,
            };
            let Ok(payload) = payload(&boundary, &head, &tail, object.size) else {
                return Ok(Some(Unwrapped::CutShort(object)));
            };
            let Payload { range, content_type } = payload;
            let file = match range.end - range.start {
                _ if range.end <= head.len() as u64 => {
                    let bytes = head.slice(range.start as usize..range.end as usize);
                    self.replace(key, &object, bytes, content_type.as_deref()).await?
                }
                0..=SMALLEST_PART => self.carry_over(key, &object, range, content_type.as_deref()).await?,
                _ => self.copy_out(key, &object, range, content_type.as_deref()).await?,
            };
            if let Some(file) = file {
                self.metrics.add(Metric::Envelopes, 1);
                return Ok(Some(Unwrapped::File { object: file, content_type, envelope: object.version_id }));
            }
        }
        Err(Error::unavailable("unwrap", "the object changes all the time"))
    }

    /// The object as it is now, when there is one, with its first bytes.
    async fn open(&self, key: &str) -> Result<Option<(Object, GetObjectOutput)>> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let answer = match request.clone().range(format!("bytes=0-{}", WINDOW - 1)).send().await {
            // Of an empty object there is no range.
            Err(error) if error.code() == Some("InvalidRange") => request.send().await,
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                let whole = answer.content_range().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
                let object = Object {
                    size: whole.unwrap_or_else(|| length(answer.content_length)),
                    etag: answer.e_tag.clone(),
                    version_id: Some(version(answer.version_id.clone())),
                    modified: answer.last_modified,
                };
                match whole {
                    None if object.size > 0 => Err(Error::unavailable("check: GetObject", "it is no longer empty")),
                    _ => Ok(Some((object, answer))),
                }
            }
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
            Err(error) => Err(engine_error("check: GetObject", &error)),
        }
    }

    /// Some of the bytes of an object that was looked at.
    async fn get(&self, key: &str, object: &Object, range: Range<u64>) -> Result<ByteStream> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        let request = request.set_version_id(object.version_id.clone()).set_if_match(object.etag.clone());
        Ok(request.send().await.context("check: GetObject")?.body)
    }

    /// Puts the file that was in an envelope in the envelope's place. None when something else is there by now.
    async fn replace(
        &self,
        key: &str,
        envelope: &Object,
        bytes: Bytes,
        content_type: Option<&str>,
    ) -> Result<Option<Object>> {
        let size = bytes.len() as u64;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_if_match(envelope.etag.clone())
            .set_content_type(content_type.map(str::to_owned))
            .set_metadata(Some(taken_out_of(envelope.version_id.as_deref())))
            .body(ByteStream::from(bytes));
        match request.send().await {
            Ok(answer) => {
                let version_id = Some(version(answer.version_id));
                Ok(Some(Object { size, etag: answer.e_tag, version_id, modified: None }))
            }
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(None),
            Err(error) => Err(engine_error("unwrap: PutObject", &error)),
        }
    }

    /// Moves a small payload through memory, when there is room for it.
    async fn carry_over(
        &self,
        key: &str,
        object: &Object,
        range: Range<u64>,
        content_type: Option<&str>,
    ) -> Result<Option<Object>> {
        let size = range.end - range.start;
        let _room = self.memory.acquire_many(size as u32).await.map_err(closed)?;
        let bytes = read(self.get(key, object, range).await?, size).await?;
        self.replace(key, object, bytes, content_type).await
    }

    /// Cuts a range out of an object onto its own key, without its bytes leaving S3.
    async fn copy_out(
        &self,
        key: &str,
        object: &Object,
        range: Range<u64>,
        content_type: Option<&str>,
    ) -> Result<Option<Object>> {
        let (upload, arrived) = self.resume(key, object, &range, content_type).await?;
        let source = match &object.version_id {
            Some(version) => format!("{}/{}?versionId={version}", self.bucket, utf8_percent_encode(key, KEY)),
            None => format!("{}/{}", self.bucket, utf8_percent_encode(key, KEY)),
        };
        let copies = ranges(range).map(|(number, part)| match arrived.get(&number) {
            Some((size, etag)) if *size == part.end - part.start => {
                Either::Left(ready(Ok((number, (*size, etag.clone())))))
            }
            _ => Either::Right(self.copy_part(&upload, &source, object, number, part)),
        });
        let parts = stream::iter(copies).buffer_unordered(COPIES).try_collect().await?;
        let file = self.assemble_over(&upload, parts, object.etag.clone()).await?;
        if file.is_none() {
            self.abort(&upload).await?;
        }
        Ok(file)
    }

    async fn copy_part(
        &self,
        upload: &MultipartUpload,
        source: &str,
        object: &Object,
        number: i32,
        part: Range<u64>,
    ) -> Result<(i32, (u64, Option<String>))> {
        let _turn = self.copies.acquire().await.map_err(closed)?;
        let request = self
            .client
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .part_number(number)
            .copy_source(source)
            .set_copy_source_if_match(object.etag.clone())
            .copy_source_range(format!("bytes={}-{}", part.start, part.end - 1));
        let answer = request.send().await.context("unwrap: UploadPartCopy")?;
        Ok((number, (part.end - part.start, answer.copy_part_result.and_then(|result| result.e_tag))))
    }

    /// An upload to copy into, with the parts that are there already: an earlier try's, when it began after the object was
    /// stored, and a new one otherwise.
    async fn resume(
        &self,
        key: &str,
        object: &Object,
        range: &Range<u64>,
        content_type: Option<&str>,
    ) -> Result<(MultipartUpload, ArrivedParts)> {
        if range.end - range.start > RESUMED {
            let earlier = self.uploads(key).await?.remove(key).unwrap_or_default();
            let usable = |upload: &&MultipartUpload| upload.initiated > object.modified;
            if let Some(upload) = earlier.iter().find(usable) {
                return Ok((upload.clone(), self.parts(upload).await?));
            }
        }
        let metadata = taken_out_of(object.version_id.as_deref());
        Ok((self.begin_with(key, content_type, metadata).await?, ArrivedParts::new()))
    }
}

fn closed(error: tokio::sync::AcquireError) -> Error {
    Error::internal("unwrap: semaphore", error)
}

/// The parts that a range is copied in: some 16, so that they run side by side, and more of a large object, within S3's limits
/// for any. The last takes what is left over, and is never under the least. No part of an earlier release, which had smaller ones, has
/// the number and the size of another one's here: an upload that it began is gone on with.
fn ranges(range: Range<u64>) -> impl Iterator<Item = (i32, Range<u64>)> {
    let size = range.end - range.start;
    let part = (size / 16).clamp(COPIED_PARTS.0, COPIED_PARTS.1).max(size.div_ceil(MOST_PARTS));
    let count = (size / part).max(1);
    (1..).zip(0..count).map(move |(number, at)| {
        let start = range.start + at * part;
        let end = if at + 1 == count { range.end } else { start + part };
        (number, start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_parts_cover_the_payload_once_and_keep_to_s3s_limits() {
        for size in [SMALLEST_PART + 1, 32 << 20, (32 << 20) + 1, (64 << 20) - 1, 10 << 30, 5 << 40] {
            let parts: Vec<_> = ranges(100..100 + size).collect();
            assert!(parts.len() <= 10_000);
            assert_eq!((parts[0].0, parts[0].1.start), (1, 100));
            assert_eq!(parts[parts.len() - 1].1.end, 100 + size);
            for pair in parts.windows(2) {
                assert_eq!((pair[0].0 + 1, pair[0].1.end), (pair[1].0, pair[1].1.start));
            }
            for (_, part) in parts {
                assert!((SMALLEST_PART..=5 << 30).contains(&(part.end - part.start)));
            }
        }
    }
}
