//! Large files in parts. S3 itself is the record of what has arrived: nothing about parts is stored elsewhere.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::{
    primitives::DateTime,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    bucket::{Bucket, Head, Object, Presigner, length, version},
    origin::itself,
    parts::ArrivedParts,
    presign,
};
use crate::{
    error::{Context, Error, Result, engine_error},
    model::OutputFile,
};

/// An unfinished multipart upload.
#[derive(Debug, Clone)]
pub struct MultipartUpload {
    /// The object that it will be.
    pub key: String,
    /// S3's name for it.
    pub upload_id: String,
    /// When it began.
    pub initiated: Option<DateTime>,
}

impl Presigner<'_> {
    /// Where to PUT one part of `size` bytes.
    pub fn part(&self, upload: &MultipartUpload, number: i32, size: u64) -> Result<String> {
        let query = format!("x-id=UploadPart&partNumber={number}&uploadId={}", presign::query(&upload.upload_id));
        self.upload(&upload.key, query, &[("content-length", size.to_string())])
    }
}

impl Bucket {
    /// Begins an upload of what will be the file itself.
    pub async fn begin(&self, key: &str, file: &OutputFile) -> Result<MultipartUpload> {
        self.begin_with(key, file.content_type.as_deref(), itself(file)).await
    }

    /// The same, of an object with this metadata.
    pub(super) async fn begin_with(
        &self,
        key: &str,
        content_type: Option<&str>,
        metadata: HashMap<String, String>,
    ) -> Result<MultipartUpload> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        let request = request.set_content_type(content_type.map(str::to_owned)).set_metadata(Some(metadata));
        let answer = request.send().await.context("multipart: CreateMultipartUpload")?;
        let upload_id = answer.upload_id.ok_or_else(|| Error::internal("multipart: CreateMultipartUpload", "no id"))?;
        Ok(MultipartUpload { key: key.to_owned(), upload_id, initiated: None })
    }

    /// All unfinished uploads under `prefix`, oldest first, by key.
    pub async fn uploads(&self, prefix: &str) -> Result<BTreeMap<String, Vec<MultipartUpload>>> {
        let mut uploads = BTreeMap::<String, Vec<MultipartUpload>>::new();
        let mut marker = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let request = request.set_key_marker(marker.0).set_upload_id_marker(marker.1);
            let page = request.send().await.context("multipart: ListMultipartUploads")?;
            for found in page.uploads.unwrap_or_default() {
                if let (Some(key), Some(upload_id)) = (found.key, found.upload_id) {
                    let upload = MultipartUpload { key: key.clone(), upload_id, initiated: found.initiated };
                    uploads.entry(key).or_default().push(upload);
                }
            }
            if page.is_truncated != Some(true) {
                break;
            }
            marker = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(uploads)
    }

    /// The parts that have arrived.
    pub async fn parts(&self, upload: &MultipartUpload) -> Result<ArrivedParts> {
        let mut parts = BTreeMap::new();
        let request = self.client.list_parts().bucket(&self.bucket).key(&upload.key).upload_id(&upload.upload_id);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| match error.code() {
                // Assembled or aborted meanwhile: the next look at the bucket tells.
                Some("NoSuchUpload") => Error::unavailable("multipart: ListParts", "the upload is gone"),
                _ => engine_error("multipart: ListParts", &error),
            })?;
            for part in page.parts.unwrap_or_default() {
                if let Some(number) = part.part_number {
                    parts.insert(number, (length(part.size), part.e_tag));
                }
            }
        }
        Ok(parts)
    }

    /// Makes the object out of its parts, unless there is one by now: then false.
    pub async fn assemble_first(&self, upload: &MultipartUpload, parts: ArrivedParts) -> Result<bool> {
        self.assemble_if(upload, parts, (None, Some("*".to_owned())), None).await.map(|object| object.is_some())
    }

    /// Makes the file's object out of its parts.
    pub async fn assemble(&self, upload: &MultipartUpload, parts: ArrivedParts, file: &OutputFile) -> Result<Object> {
        let object = self.assemble_if(upload, parts, (None, None), Some(file)).await?;
        object.ok_or_else(|| Error::internal("multipart: CompleteMultipartUpload", "refused for what is there"))
    }

    /// Makes an object out of its parts, in the place of the object with this ETag. None when something else is there by now.
    pub(super) async fn assemble_over(
        &self,
        upload: &MultipartUpload,
        parts: ArrivedParts,
        over: Option<String>,
    ) -> Result<Option<Object>> {
        self.assemble_if(upload, parts, (over, None), None).await
    }

    async fn assemble_if(
        &self,
        upload: &MultipartUpload,
        parts: ArrivedParts,
        (matches, none_matches): (Option<String>, Option<String>),
        file: Option<&OutputFile>,
    ) -> Result<Option<Object>> {
        let size = parts.values().map(|(size, _)| size).sum();
        let is_it =
            |head: &Head| head.plain && head.object.size == size && file.is_none_or(|file| head.may_be(file, true));
        let parts = parts
            .into_iter()
            .map(|(number, (_, etag))| CompletedPart::builder().part_number(number).set_e_tag(etag).build())
            .collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(&upload.key);
        let request = request.upload_id(&upload.upload_id).multipart_upload(parts);
        let request = request.set_if_match(matches).set_if_none_match(none_matches);
        match request.send().await {
            Ok(answer) => {
                let version_id = Some(version(answer.version_id));
                Ok(Some(Object { size, etag: answer.e_tag, version_id, modified: None }))
            }
            Err(error) => match error.code() {
                Some("PreconditionFailed") => Ok(None),
                // Assembled by a try whose answer was lost, perhaps.
                Some("NoSuchUpload") => match self.head(&upload.key, None).await? {
                    Some(head) if is_it(&head) => Ok(Some(head.object)),
                    _ => Err(Error::unavailable("multipart: CompleteMultipartUpload", "the upload is gone")),
                },
                _ => Err(engine_error("multipart: CompleteMultipartUpload", &error)),
            },
        }
    }

    /// Gives an upload up, with its parts. One that is gone already is as good.
    pub async fn abort(&self, upload: &MultipartUpload) -> Result<()> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(&upload.key);
        match request.upload_id(&upload.upload_id).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(engine_error("multipart: AbortMultipartUpload", &error)),
        }
    }
}
