//! Listings, page by page.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{S3Result, dto::*};

use super::{
    index::{Upload, Version, etag, size},
    store::{PAGE, Store, internal},
};

pub(super) fn objects(store: &Store, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    store.versioned(&input.bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
    let max_keys = page(input.max_keys);
    let encode = |key: &str| match &input.encoding_type {
        Some(_) => utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
        None => key.to_owned(),
    };

    let (mut objects, mut common, mut last, mut truncated) = (Vec::new(), Vec::new(), after.clone(), false);
    let mut visit = |version: Version| {
        let Some(content) = version.content.filter(|_| version.latest && version.key > after) else { return true };
        let group = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()).and_then(|delimiter| {
            let end = version.key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
            Some(version.key[..end].to_owned())
        });
        if group.as_ref().is_some_and(|group| last.starts_with(group.as_str())) {
            // The group was told already, on this page or the one before.
            last = version.key;
            return true;
        }
        if objects.len() + common.len() >= max_keys as usize {
            truncated = max_keys > 0;
            return false;
        }
        match group {
            Some(group) => common.push(CommonPrefix { prefix: Some(encode(&group)) }),
            None => objects.push(Object {
                key: Some(encode(&version.key)),
                e_tag: etag(&content),
                last_modified: Some(version.modified),
                size: size(content.size),
                ..Default::default()
            }),
        }
        last = version.key;
        true
    };
    store.index.walk(&input.bucket, &prefix, &after, &mut visit).map_err(internal)?;
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(objects.len() + common.len()).ok(),
        contents: Some(objects),
        common_prefixes: Some(common),
        is_truncated: Some(truncated),
        next_continuation_token: truncated.then_some(last),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        prefix: Some(encode(&prefix)),
        delimiter: input.delimiter,
        continuation_token: input.continuation_token,
        start_after: input.start_after,
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

pub(super) fn versions(store: &Store, input: ListObjectVersionsInput) -> S3Result<ListObjectVersionsOutput> {
    store.versioned(&input.bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let max_keys = page(input.max_keys);
    let after = input.key_marker.clone().unwrap_or_default();
    // Without a version marker, the whole key of the marker is behind us.
    let mut behind = input.version_id_marker.clone();

    let (mut versions, mut markers, mut last, mut truncated) = (Vec::new(), Vec::new(), None, false);
    let mut visit = |version: Version| {
        if version.key == after && input.key_marker.is_some() {
            match &behind {
                None if input.version_id_marker.is_none() => return true,
                Some(id) => {
                    if *id == version.id {
                        behind = None;
                    }
                    return true;
                }
                None => {}
            }
        }
        if versions.len() + markers.len() >= max_keys as usize {
            truncated = max_keys > 0;
            return false;
        }
        last = Some((version.key.clone(), version.id.clone()));
        match &version.content {
            Some(content) => versions.push(ObjectVersion {
                e_tag: etag(content),
                size: size(content.size),
                is_latest: Some(version.latest),
                key: Some(version.key),
                last_modified: Some(version.modified),
                version_id: Some(version.id),
                ..Default::default()
            }),
            None => markers.push(DeleteMarkerEntry {
                is_latest: Some(version.latest),
                key: Some(version.key),
                last_modified: Some(version.modified),
                version_id: Some(version.id),
                ..Default::default()
            }),
        }
        true
    };
    store.index.walk(&input.bucket, &prefix, &after, &mut visit).map_err(internal)?;
    let (next_key_marker, next_version_id_marker) = last.filter(|_| truncated).unzip();
    Ok(ListObjectVersionsOutput {
        versions: Some(versions),
        delete_markers: Some(markers),
        is_truncated: Some(truncated),
        next_key_marker,
        next_version_id_marker,
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        prefix: Some(prefix),
        key_marker: input.key_marker,
        version_id_marker: input.version_id_marker,
        ..Default::default()
    })
}

pub(super) fn parts(store: &Store, input: ListPartsInput) -> S3Result<ListPartsOutput> {
    store.upload(&input.bucket, &input.key, &input.upload_id)?;
    let max_parts = page(input.max_parts);
    let after = input.part_number_marker.unwrap_or(0);
    let mut parts = store.index.parts(&input.upload_id).map_err(internal)?;
    parts.retain(|part| part.number > after);
    let truncated = parts.len() > max_parts as usize;
    parts.truncate(max_parts as usize);
    let last = parts.last().map(|part| part.number);
    let parts = parts.into_iter().map(|part| Part {
        e_tag: etag(&part.content),
        last_modified: Some(part.modified),
        part_number: Some(part.number),
        size: size(part.content.size),
        ..Default::default()
    });
    Ok(ListPartsOutput {
        parts: Some(parts.collect()),
        is_truncated: Some(truncated),
        next_part_number_marker: last.filter(|_| truncated),
        part_number_marker: input.part_number_marker,
        max_parts: Some(max_parts),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        ..Default::default()
    })
}

pub(super) fn uploads(store: &Store, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
    store.versioned(&input.bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let max_uploads = page(input.max_uploads);
    let mut uploads = store.index.uploads(&input.bucket, &prefix).map_err(internal)?;
    if let Some(marker) = &input.key_marker {
        let behind = |upload: &Upload| match &input.upload_id_marker {
            Some(id) => upload.key < *marker || (upload.key == *marker && upload.id != *id),
            None => upload.key <= *marker,
        };
        let skipped = uploads.iter().take_while(|upload| behind(upload)).count();
        uploads.drain(..(skipped + usize::from(input.upload_id_marker.is_some())).min(uploads.len()));
    }
    let truncated = uploads.len() > max_uploads as usize;
    uploads.truncate(max_uploads as usize);
    let (next_key_marker, next_upload_id_marker) =
        uploads.last().filter(|_| truncated).map(|upload| (upload.key.clone(), upload.id.clone())).unzip();
    let uploads = uploads.into_iter().map(|upload| MultipartUpload {
        initiated: Some(upload.initiated),
        key: Some(upload.key),
        upload_id: Some(upload.id),
        ..Default::default()
    });
    Ok(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        is_truncated: Some(truncated),
        next_key_marker,
        next_upload_id_marker,
        max_uploads: Some(max_uploads),
        bucket: Some(input.bucket),
        prefix: Some(prefix),
        key_marker: input.key_marker,
        upload_id_marker: input.upload_id_marker,
        ..Default::default()
    })
}

fn page(asked: Option<i32>) -> i32 {
    asked.unwrap_or(PAGE).clamp(0, PAGE)
}
