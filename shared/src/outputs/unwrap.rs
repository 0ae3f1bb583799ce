//! Taking a file out of its envelope, in S3's own hands where it is large.

use std::ops::Range;

use futures_util::{
    StreamExt, TryStreamExt,
    future::{Either, ready},
    stream,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    bucket::{Bucket, COPIES, Object, PLAIN, read},
    envelope::{Payload, WINDOW, boundary, payload},
    multipart::MultipartUpload,
    // S3 also copies ranges out of objects over the smallest part only. ("UploadPartCopy".)
    parts::{ArrivedParts, MOST_PARTS, SMALLEST_PART},
};
use crate::{
    error::{Context, Error, Result},
    metrics::Metric,
};

/// Bytes of the smallest part that we let S3 copy, and of the one that is large enough: 32 and 128 MiB. A part that is copied
/// need not be copied again when the time runs out.
const COPIED_PARTS: (u64, u64) = (32 << 20, 128 << 20);
/// Payloads over this are worth going on with where an earlier try stopped: 1 GiB.
const RESUMED: u64 = 1 << 30;
/// What a copy source's key keeps as it is.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What an object turned out to be.
#[derive(Debug)]
pub enum Unwrapped {
    /// The file itself, now or all along, and its media type.
    File(Object, Option<String>),
    /// An envelope without its end: the file has not arrived.
    CutShort,
}

impl Bucket {
    /// Looks at an object whose bytes nobody declared, and puts its payload in its place when it is an envelope. Repeating it
    /// is harmless: the payload is marked as what it is. The version that the envelope was stays, where there are versions.
    pub async fn unwrap(&self, key: &str, object: Object) -> Result<Unwrapped> {
        let start = self.get(key, &object, 0..WINDOW.min(object.size)).await?;
        let plain = start.metadata().is_some_and(|metadata| metadata.contains_key(PLAIN));
        let boundary = match start.content_type().and_then(boundary) {
            Some(boundary) if !plain => boundary,
            _ => return Ok(Unwrapped::File(object, start.content_type)),
        };
        let head = read(start.body, WINDOW).await?;
        let tail_at = object.size.saturating_sub(WINDOW);
        let tail = match tail_at {
            0 => head.clone(),
            _ => read(self.get(key, &object, tail_at..object.size).await?.body, WINDOW).await?,
        };
        let Ok(payload) = payload(&boundary, &head, &tail, object.size) else {
            return Ok(Unwrapped::CutShort);
        };
        let Payload { range, content_type } = payload;
        let file = match range.end - range.start {
            _ if range.end <= head.len() as u64 => {
                let bytes = head.slice(range.start as usize..range.end as usize);
                self.put(key, bytes, content_type.as_deref(), None).await?
            }
            0..=SMALLEST_PART => self.carry_over(key, &object, range, content_type.as_deref()).await?,
            _ => self.copy_out(key, &object, range, content_type.as_deref()).await?,
        };
        self.metrics.add(Metric::Envelopes, 1);
        Ok(Unwrapped::File(file, content_type))
    }

    /// Moves a small payload through memory, when there is room for it.
    async fn carry_over(
        &self,
        key: &str,
        object: &Object,
        range: Range<u64>,
        content_type: Option<&str>,
    ) -> Result<Object> {
        let size = range.end - range.start;
        let _room = self.memory.acquire_many(size as u32).await.map_err(closed)?;
        let bytes = read(self.get(key, object, range).await?.body, size).await?;
        self.put(key, bytes, content_type, None).await
    }

    /// Cuts a range out of an object onto its own key, without its bytes leaving S3.
    async fn copy_out(
        &self,
        key: &str,
        object: &Object,
        range: Range<u64>,
        content_type: Option<&str>,
    ) -> Result<Object> {
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
        self.assemble(&upload, parts).await
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
        Ok((self.begin(key, content_type, None).await?, ArrivedParts::new()))
    }
}

fn closed(error: tokio::sync::AcquireError) -> Error {
    Error::internal("unwrap: semaphore", error)
}

/// The parts that a range is copied in: some 64, so that they run side by side, and more of a large object, within S3's limits
/// for any. The last takes what is left over, and is never under the least.
fn ranges(range: Range<u64>) -> impl Iterator<Item = (i32, Range<u64>)> {
    let size = range.end - range.start;
    let part = (size / 64).clamp(COPIED_PARTS.0, COPIED_PARTS.1).max(size.div_ceil(MOST_PARTS));
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
