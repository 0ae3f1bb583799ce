//! Taking a file out of its envelope, in S3's own hands where it is large.

use std::{collections::BTreeMap, ops::Range};

use futures_util::{StreamExt, TryStreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Object, Outputs, Upload};
use crate::{
    envelope::{Payload, WINDOW, boundary, payload},
    error::{Context, Result},
    metrics::Metric,
    // S3 also copies ranges out of objects over this only. ("UploadPartCopy".)
    uploads::SMALLEST_PART,
};

/// Bytes of the smallest and the largest part that we let S3 copy: 32 MiB, 1 GiB.
const COPIED_PARTS: (u64, u64) = (32 << 20, 1 << 30);
/// Parts copied at the same time.
const COPIES: usize = 16;
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
    /// Nothing any more.
    Gone,
}

impl Outputs {
    /// Looks at an object whose bytes nobody declared, and replaces it by its payload when it is an envelope. Repeating it
    /// is harmless: the payload is marked as what it is. Holds at most 5 MiB of the object in memory.
    pub async fn unwrap(&self, key: &str, object: Object) -> Result<Unwrapped> {
        if object.size == 0 {
            return Ok(Unwrapped::File(object, None));
        }
        let Some(head) = self.first_bytes(key, &object, WINDOW).await? else { return Ok(Unwrapped::Gone) };
        let boundary = match head.content_type.as_deref().and_then(boundary) {
            Some(boundary) if !head.plain => boundary,
            _ => return Ok(Unwrapped::File(object, head.content_type)),
        };
        let tail_at = object.size.saturating_sub(WINDOW);
        let tail = match tail_at {
            0 => head.bytes.clone(),
            _ => self.bytes(key, &object, tail_at..object.size).await?,
        };
        let Ok(payload) = payload(&boundary, &head.bytes, &tail, object.size) else {
            return Ok(Unwrapped::CutShort);
        };
        let Payload { range, content_type } = payload;
        let size = range.end - range.start;
        let file = if size > SMALLEST_PART {
            self.copy_out(key, &object, range, content_type.as_deref()).await?
        } else {
            let bytes = self.bytes(key, &object, range).await?;
            self.put(key, bytes, content_type.clone()).await?
        };
        self.forget(key, &object).await?;
        self.metrics.add(Metric::Envelopes, 1);
        Ok(Unwrapped::File(file, content_type))
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
        let mut copies = Vec::new();
        for (number, part) in ranges(range) {
            let size = part.end - part.start;
            if arrived.get(&number).is_some_and(|(copied, _)| *copied == size) {
                continue;
            }
            let request = self
                .client
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(&upload.upload_id)
                .part_number(number)
                .copy_source(&source)
                .set_copy_source_if_match(object.etag.clone())
                .copy_source_range(format!("bytes={}-{}", part.start, part.end - 1));
            copies.push(async move {
                let answer = request.send().await.context("unwrap: UploadPartCopy")?;
                let etag = answer.copy_part_result.and_then(|result| result.e_tag);
                Ok::<_, crate::Error>((number, (size, etag)))
            });
        }
        let copied: Vec<_> = stream::iter(copies).buffer_unordered(COPIES).try_collect().await?;
        self.assemble(&upload, arrived.into_iter().chain(copied).collect()).await
    }

    /// An upload to copy into, with the parts that are there already: an earlier try's, when it began after the object was
    /// stored, and a new one otherwise.
    async fn resume(
        &self,
        key: &str,
        object: &Object,
        range: &Range<u64>,
        content_type: Option<&str>,
    ) -> Result<(Upload, BTreeMap<i32, (u64, Option<String>)>)> {
        if range.end - range.start > RESUMED {
            let earlier = self.uploads(key).await?.remove(key).unwrap_or_default();
            let usable = |upload: &&Upload| upload.initiated > object.modified;
            if let Some(upload) = earlier.iter().find(usable) {
                return Ok((upload.clone(), self.parts(upload).await?));
            }
        }
        Ok((self.begin(key, content_type, true).await?, BTreeMap::new()))
    }

    /// Removes the version that the envelope was, where the bucket keeps versions.
    async fn forget(&self, key: &str, object: &Object) -> Result<()> {
        if let Some(version) = &object.version_id {
            let request = self.client.delete_object().bucket(&self.bucket).key(key).version_id(version);
            request.send().await.context("unwrap: DeleteObject")?;
        }
        Ok(())
    }
}

/// The parts that a range is copied in: about 64, so that they run side by side, within S3's limits for any object. The
/// last takes what is left over, and is never under the least.
fn ranges(range: Range<u64>) -> impl Iterator<Item = (i32, Range<u64>)> {
    let size = range.end - range.start;
    let part = (size / 64).clamp(COPIED_PARTS.0, COPIED_PARTS.1);
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
