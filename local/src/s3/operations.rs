//! The operations that this product and its tests use; any other is `NotImplemented`.

use std::collections::BTreeMap;

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    checksums::{Checksums, Declared},
    index::{Attributes, Content, etag, size},
    listings,
    store::{LARGEST_PUT, PAGE, SMALLEST_PART, Store, internal, preconditions, typed},
};

/// Fills the five checksum fields that S3's answers share.
macro_rules! with_checksums {
    ($output:ident { $($field:ident: $value:expr),* $(,)? }, $sums:expr) => {{
        let sums: Checksums = $sums;
        $output {
            $($field: $value,)*
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..Default::default()
        }
    }};
}

/// The checksums that a request declares in its headers.
macro_rules! declared {
    ($input:expr) => {
        Checksums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
        }
    };
}

/// The objects of a DeleteObjects that its caller may not delete, by their place in the request, and why. Of all others, S3 deletes
/// those, and tells of these.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forbidden(pub(crate) BTreeMap<usize, String>);

#[async_trait::async_trait]
impl S3 for Store {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.versioned(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        self.versioned(&input.bucket)?;
        let declared = Declared {
            checksums: declared!(input),
            algorithm: input.checksum_algorithm,
            md5: input.content_md5,
            length: input.content_length,
            trailers: request.trailing_headers,
        };
        let (content, checksums) = self.receive(input.body, declared).await?;
        let attributes = Attributes {
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: typed(input.content_type),
            metadata: input.metadata,
            checksums: checksums.clone(),
        };
        let conditions = (input.if_match, input.if_none_match);
        let version = self.publish(&input.bucket, &input.key, &content, &attributes, None, conditions)?;
        Ok(S3Response::new(with_checksums!(
            PutObjectOutput { e_tag: etag(&content), version_id: stored(version.id) },
            checksums
        )))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let (version, content) = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        preconditions(Some(&content.etag), input.if_match.as_ref(), None)?;
        let range = match input.range {
            Some(range) => range.check(content.size)?,
            None => 0..content.size,
        };
        let content_range =
            input.range.map(|_| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), content.size));
        let whole = input.checksum_mode.is_some() && range.end - range.start == content.size;
        let told = self.told(&input.bucket, &version);
        let attributes = version.attributes;
        Ok(S3Response::new(with_checksums!(
            GetObjectOutput {
                accept_ranges: Some("bytes".to_owned()),
                content_length: size(range.end - range.start),
                content_range: content_range,
                cache_control: input.response_cache_control.or(attributes.cache_control),
                content_disposition: input.response_content_disposition.or(attributes.content_disposition),
                content_encoding: input.response_content_encoding.or(attributes.content_encoding),
                content_language: input.response_content_language.or(attributes.content_language),
                content_type: input.response_content_type.or(attributes.content_type),
                e_tag: etag(&content),
                last_modified: Some(version.modified),
                metadata: attributes.metadata,
                version_id: told,
                body: Some(self.blobs.read(&content.blob, range).await?),
            },
            if whole { attributes.checksums } else { Default::default() }
        )))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let (version, content) = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        preconditions(Some(&content.etag), input.if_match.as_ref(), None)?;
        let told = self.told(&input.bucket, &version);
        let attributes = version.attributes;
        Ok(S3Response::new(with_checksums!(
            HeadObjectOutput {
                accept_ranges: Some("bytes".to_owned()),
                content_length: size(content.size),
                cache_control: attributes.cache_control,
                content_disposition: attributes.content_disposition,
                content_encoding: attributes.content_encoding,
                content_language: attributes.content_language,
                content_type: attributes.content_type,
                e_tag: etag(&content),
                last_modified: Some(version.modified),
                metadata: attributes.metadata,
                version_id: told,
            },
            if input.checksum_mode.is_some() { attributes.checksums } else { Default::default() }
        )))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        self.versioned(&input.bucket)?;
        let (source, content) = self.source(&input.copy_source)?;
        preconditions(
            Some(&content.etag),
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
        )?;
        if content.size > LARGEST_PUT {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size"
            ));
        }
        let replace = input.metadata_directive.is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let attributes = if replace {
            Attributes {
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                content_type: typed(input.content_type),
                metadata: input.metadata,
                checksums: source.attributes.checksums,
            }
        } else {
            source.attributes
        };
        let content = Content { blob: self.blobs.link(&content.blob).await?, ..content };
        let version = self.publish(&input.bucket, &input.key, &content, &attributes, None, (None, None))?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: etag(&content),
                last_modified: Some(version.modified),
                ..Default::default()
            }),
            version_id: stored(version.id),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let (version_id, marker) = self.delete(&input.bucket, &input.key, input.version_id.as_deref())?;
        let delete_marker = marker.then_some(true);
        Ok(S3Response::new(DeleteObjectOutput { version_id, delete_marker, ..Default::default() }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        let forbidden = request.extensions.get::<Forbidden>();
        if delete.objects.is_empty() || delete.objects.len() > PAGE as usize {
            return Err(s3_error!(MalformedXML));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (index, object) in delete.objects.into_iter().enumerate() {
            if let Some(message) = forbidden.and_then(|forbidden| forbidden.0.get(&index)) {
                errors.push(Error {
                    code: Some("AccessDenied".to_owned()),
                    key: Some(object.key),
                    message: Some(message.clone()),
                    version_id: object.version_id,
                });
                continue;
            }
            let (id, marker) = self.delete(&bucket, &object.key, object.version_id.as_deref())?;
            deleted.push(DeletedObject {
                key: Some(object.key),
                delete_marker: marker.then_some(true),
                delete_marker_version_id: id.filter(|_| marker),
                version_id: object.version_id,
            });
        }
        let deleted = (!delete.quiet.unwrap_or(false)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, errors: Some(errors), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        listings::objects(self, request.input).map(S3Response::new)
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        listings::versions(self, request.input).map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.versioned(&input.bucket)?;
        let attributes = Attributes {
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: typed(input.content_type),
            metadata: input.metadata,
            checksums: Default::default(),
        };
        let id = self.index.begin_upload(&input.bucket, &input.key, &attributes).map_err(internal)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = request.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        check_part_number(input.part_number)?;
        let declared = Declared {
            checksums: declared!(input),
            algorithm: input.checksum_algorithm,
            md5: input.content_md5,
            length: input.content_length,
            trailers: request.trailing_headers,
        };
        let (content, checksums) = self.receive(input.body, declared).await?;
        self.add_part(&input.upload_id, input.part_number, &content)?;
        Ok(S3Response::new(with_checksums!(UploadPartOutput { e_tag: etag(&content) }, checksums)))
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        check_part_number(input.part_number)?;
        let (_, source) = self.source(&input.copy_source)?;
        preconditions(
            Some(&source.etag),
            input.copy_source_if_match.as_ref(),
            input.copy_source_if_none_match.as_ref(),
        )?;
        let range = match &input.copy_source_range {
            Some(range) => copy_range(range, source.size)?,
            None => 0..source.size,
        };
        if range.end - range.start > LARGEST_PUT {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size"
            ));
        }
        let content = self.blobs.copy(&source.blob, range).await?;
        self.add_part(&input.upload_id, input.part_number, &content)?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult { e_tag: etag(&content), ..Default::default() }),
            ..Default::default()
        }))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        listings::parts(self, request.input).map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        listings::uploads(self, request.input).map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        if !listed.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut arrived: BTreeMap<i32, Content> = self
            .index
            .parts(&upload.id)
            .map_err(internal)?
            .into_iter()
            .map(|part| (part.number, part.content))
            .collect();
        let mut parts = Vec::new();
        for part in &listed {
            let content =
                part.part_number.and_then(|number| arrived.remove(&number)).ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().is_none_or(|etag| etag.value() != content.etag) {
                return Err(s3_error!(InvalidPart));
            }
            parts.push(content);
        }
        if parts.iter().rev().skip(1).any(|part| part.size < SMALLEST_PART) {
            return Err(s3_error!(EntityTooSmall));
        }
        let content = self.blobs.join(parts).await?;
        let conditions = (input.if_match, input.if_none_match);
        let version =
            self.publish(&input.bucket, &input.key, &content, &upload.attributes, Some(&upload.id), conditions)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: etag(&content),
            version_id: stored(version.id),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        self.blobs.remove(self.index.abort(&input.upload_id).map_err(internal)?);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The id of a version that was just stored, if it is one of its own.
fn stored(id: String) -> Option<String> {
    Some(id).filter(|id| id != "null")
}

/// `bytes=first-last`, as UploadPartCopy wants it.
fn copy_range(range: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let parse = || {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    };
    let (first, last) =
        parse().ok_or_else(|| s3_error!(InvalidArgument, "The x-amz-copy-source-range value is invalid"))?;
    if size <= SMALLEST_PART {
        return Err(s3_error!(InvalidRequest, "The specified copy source is not large enough for a range"));
    }
    if first > last || last >= size {
        return Err(s3_error!(InvalidRange));
    }
    Ok(first..last + 1)
}

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=10_000).contains(&number) {
        return Ok(());
    }
    Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}
