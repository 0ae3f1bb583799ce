//! Upload targets: one URL for a file, or one for each of its parts that is missing.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    http::{UploadPart, UploadTarget},
    model::OutputFile,
    outputs::{ArrivedParts, Bucket, MultipartUpload, PARTS_IN_AN_ANSWER, Part, Presigner, is_in_parts, missing_parts},
};

/// Makes upload targets, all of the same life.
pub(super) struct Targets<'a> {
    pub(super) presigner: Presigner<'a>,
    /// Declared sizes above this many bytes are uploaded in parts.
    pub(super) threshold: u64,
    /// Whether a file that goes in one piece must not take another's place.
    pub(super) once: bool,
}

impl Targets<'_> {
    /// The target of a file; when the file goes in parts, without them and without a URL.
    pub(super) fn target(
        &self,
        key: &str,
        file_id: Uuid,
        file: &OutputFile,
        renew_url: String,
    ) -> Result<UploadTarget> {
        let (url, headers) = match is_in_parts(file, self.threshold) {
            true => (None, BTreeMap::new()),
            false => {
                let (url, headers) = self.presigner.put(key, file, self.once)?;
                // Percent-encoded: nothing in it has to be escaped.
                let url = RawValue::from_string(["\"", &url, "\""].concat());
                (Some(url.map_err(|error| Error::internal("presign", error))?), headers)
            }
        };
        Ok(UploadTarget {
            filename: file.filename.clone(),
            file_id,
            method: "PUT",
            url,
            headers,
            expires_at: self.presigner.expires_at,
            parts: None,
            renew_url,
        })
    }

    /// The parts that are missing of an upload.
    pub(super) fn parts(
        &self,
        file: &OutputFile,
        upload: &MultipartUpload,
        arrived: &ArrivedParts,
    ) -> Result<Vec<UploadPart>> {
        let missing = missing_parts(file, arrived).into_iter().take(PARTS_IN_AN_ANSWER);
        let part = |part: Part| {
            let url = self.presigner.part(upload, part.number, part.size)?;
            Ok(UploadPart { part_number: part.number, offset: part.offset, size: part.size, url })
        };
        missing.map(part).collect()
    }
}

/// Of uploads that were begun, the one that has most bytes, and what has arrived of it.
pub(super) async fn furthest(
    bucket: &Bucket,
    begun: Vec<MultipartUpload>,
) -> Result<Option<(MultipartUpload, ArrivedParts)>> {
    let (mut best, mut most) = (None, 0);
    for upload in begun {
        let arrived = bucket.parts(&upload).await?;
        let bytes = bytes(&arrived);
        if best.is_none() || bytes > most {
            (best, most) = (Some((upload, arrived)), bytes);
        }
    }
    Ok(best)
}

/// What has arrived, in bytes.
pub(super) fn bytes(arrived: &ArrivedParts) -> u64 {
    arrived.values().map(|(size, _)| size).sum()
}
