//! Upload targets: where a miner sends the files that it has announced.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    app::App,
    error::Result,
    job::{Job, OutputFile, UploadPart, UploadTarget, Uploads},
    job_token::JobClaims,
    jobs::Outcome,
    lifecycle,
    outputs::{Head, Outputs, Parts, Presigned, Upload},
    time::Timestamp,
};

/// Parts that one answer gives; asking again, for a file, gives the next that are missing.
const MOST_PARTS: usize = 1000;
/// Parts of one upload. ("Amazon S3 multipart upload limits".)
pub const PARTS_LIMIT: u64 = 10_000;
/// Bytes of every part but the last: 5 MiB.
pub const SMALLEST_PART: u64 = 5 << 20;
/// Bytes of a part, unless the miner asks for others or [`MOST_PARTS`] need to be larger: 16 MiB, minutes on a slow line.
const PART: u64 = 16 << 20;
/// Bytes of the largest part: 5 GiB. ("Amazon S3 multipart upload limits".)
pub const LARGEST_PART: u64 = 5 << 30;
/// Multipart uploads begun at the same time.
const AT_ONCE: usize = 16;

/// One part of a large file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: i32,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

/// The parts of a file of declared size.
pub fn parts(file: &OutputFile) -> impl Iterator<Item = Part> {
    let size = file.size.unwrap_or(0);
    let least = size.div_ceil(MOST_PARTS as u64).next_multiple_of(1 << 20).min(LARGEST_PART);
    let part = file.part_size.unwrap_or(PART.max(least)).max(1);
    (1..).zip((0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX))).map(move |(number, offset)| Part {
        number,
        offset,
        size: part.min(size - offset),
    })
}

/// The parts that have not arrived, or not whole.
pub fn missing_parts(file: &OutputFile, arrived: &Parts) -> Vec<Part> {
    parts(file).filter(|part| arrived.get(&part.number).is_none_or(|(size, _)| *size != part.size)).collect()
}

/// Whether a file of this declared size comes in parts.
pub fn is_in_parts(file: &OutputFile, threshold: u64) -> bool {
    file.size.is_some_and(|size| size > threshold)
}

/// The job, held by its miner for at least as long as the upload URLs work that it is about to be given.
pub async fn hold(app: &App, job: Job, claims: &JobClaims, now: Timestamp) -> Result<Job> {
    let window = app.config.upload_window;
    if job.terminal || job.lease_expires_at >= Some(now.plus_seconds(window)) {
        return Ok(job);
    }
    let transition = lifecycle::hold_while_uploading(job.job_id, claims.att, now, window);
    match app.jobs.change(job.job_id, &transition, "hold: UpdateItem").await? {
        Outcome::Changed(job) => Ok(*job),
        Outcome::Refused(job) => job.held_by(claims.att),
        Outcome::Gone => Err(Job::not_found(&job.job_id.to_string())),
    }
}

/// Targets for every file of the job. `repeated` says that uploads in parts may have begun before. Where the parts are more
/// than an answer can hold, the list `uploads` is left out: each target can then be had from route 5.
pub async fn targets(app: &App, job: &Job, claims: &JobClaims, api_base: &str, repeated: bool) -> Result<Uploads> {
    let threshold = app.config.multipart_threshold;
    let mut files: Vec<_> = job.files.iter().flat_map(|files| files.values()).collect();
    let in_parts: Vec<_> = files.iter().filter(|file| is_in_parts(file, threshold)).collect();
    let fit = in_parts.iter().map(|file| parts(file).take(MOST_PARTS).count()).sum::<usize>() <= MOST_PARTS;
    let mut begun = match repeated && fit && !in_parts.is_empty() {
        true => app.outputs()?.uploads(&job.files_prefix()).await?,
        false => BTreeMap::new(),
    };
    files.retain(|file| fit || !is_in_parts(file, threshold));
    let mut work = Vec::with_capacity(files.len());
    for file in files {
        let begun = repeated.then(|| begun.remove(&key(job, file)).unwrap_or_default());
        work.push(target(app, job, file, claims, api_base, begun));
    }
    let targets: Vec<_> = stream::iter(work).buffered(AT_ONCE).try_collect().await?;

    let urls = targets.iter().filter_map(|target| Some((target.filename.clone(), target.url.clone()?))).collect();
    Ok(Uploads { urls, targets: fit.then_some(targets) })
}

/// A fresh target for one file: of a file in parts, the parts that are missing.
pub async fn renewed(
    app: &App,
    job: &Job,
    file: &OutputFile,
    claims: &JobClaims,
    api_base: &str,
) -> Result<UploadTarget> {
    let key = key(job, file);
    let begun = match is_in_parts(file, app.config.multipart_threshold) {
        true => app.outputs()?.uploads(&key).await?.remove(&key).unwrap_or_default(),
        false => Vec::new(),
    };
    target(app, job, file, claims, api_base, Some(begun)).await
}

/// Gives up the parts of a file that have arrived: they are of other bytes than it will have.
pub async fn give_up(app: &App, job: &Job, file: &OutputFile) -> Result<()> {
    let (outputs, key) = (app.outputs()?, key(job, file));
    for upload in outputs.uploads(&key).await?.remove(&key).unwrap_or_default() {
        outputs.abort(&upload).await?;
    }
    Ok(())
}

fn key(job: &Job, file: &OutputFile) -> String {
    format!("{}{}", job.files_prefix(), file.filename)
}

/// The target of one file. `begun` are uploads in parts that can be gone on with; None when there cannot be any.
async fn target(
    app: &App,
    job: &Job,
    file: &OutputFile,
    claims: &JobClaims,
    api_base: &str,
    begun: Option<Vec<Upload>>,
) -> Result<UploadTarget> {
    let (outputs, life, key) = (app.outputs()?, app.config.upload_window, key(job, file));
    let token = app.job_tokens()?.keys().await?.sign(&claims.for_file(&file.filename))?;
    let mut target = UploadTarget {
        filename: file.filename.clone(),
        file_id: Job::file_id(job.job_id, &file.filename),
        method: "PUT",
        url: None,
        headers: BTreeMap::new(),
        expires_at: Timestamp::system().plus_seconds(life),
        parts: None,
        renew_url: format!("{api_base}/jobs/{}/upload?token={token}", job.job_id),
    };
    if !is_in_parts(file, app.config.multipart_threshold) {
        let presigned = outputs.presign_put(&key, file, life).await?;
        target.url = Some(presigned.url);
        target.headers = presigned.headers;
        target.expires_at = presigned.expires_at;
        return Ok(target);
    }
    // On the heap: a thousand targets are under way at once, and few of them are in parts.
    target.parts = Some(Box::pin(in_parts(outputs, &key, file, begun, life)).await?);
    Ok(target)
}

/// Where the parts go that are missing.
async fn in_parts(
    outputs: &Outputs,
    key: &str,
    file: &OutputFile,
    begun: Option<Vec<Upload>>,
    life: i64,
) -> Result<Vec<UploadPart>> {
    let mut missing = Vec::new();
    if let Some((upload, arrived)) = upload(outputs, key, file, begun).await? {
        for part in missing_parts(file, &arrived).into_iter().take(MOST_PARTS) {
            let Presigned { url, .. } = outputs.presign_part(&upload, part.number, part.size, life).await?;
            missing.push(UploadPart { part_number: part.number, offset: part.offset, size: part.size, url });
        }
    }
    Ok(missing)
}

/// The upload to go on with, which is the one that has most, or a new one. None when the file is whole already.
async fn upload(
    outputs: &Outputs,
    key: &str,
    file: &OutputFile,
    begun: Option<Vec<Upload>>,
) -> Result<Option<(Upload, Parts)>> {
    let repeated = begun.is_some();
    let (mut best, mut most) = (None, 0);
    for upload in begun.unwrap_or_default() {
        let arrived = outputs.parts(&upload).await?;
        let bytes = arrived.values().map(|(size, _)| size).sum();
        if best.is_none() || bytes > most {
            (best, most) = (Some((upload, arrived)), bytes);
        }
    }
    let is_it = |head: Head| Some(head.object.size) == file.size && head.may_be(file, true);
    if repeated && most == 0 && outputs.head(key, None).await?.is_some_and(is_it) {
        return Ok(None);
    }
    match best {
        Some(best) => Ok(Some(best)),
        None => {
            let upload = outputs.begin(key, file.content_type.as_deref(), file.sha256.as_deref()).await?;
            Ok(Some((upload, Parts::new())))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_a_file_once_within_s3s_limits(size in 1_u64..=5 << 40) {
            let file = OutputFile { size: Some(size), ..OutputFile::default() };
            let parts: Vec<_> = parts(&file).collect();
            prop_assert!(parts.len() as u64 <= PARTS_LIMIT);
            let mut at = 0;
            for (number, part) in (1..).zip(&parts) {
                prop_assert_eq!((part.number, part.offset), (number, at));
                prop_assert!(part.size <= 5 << 30 && (part.size >= 5 << 20 || number as usize == parts.len()));
                at += part.size;
            }
            prop_assert_eq!(at, size);
        }
    }

    #[test]
    fn only_parts_that_are_not_whole_are_missing() {
        let file = OutputFile { size: Some(25), part_size: Some(10), ..OutputFile::default() };
        let arrived = [(1, (10, None)), (3, (4, None))].into();
        let missing: Vec<_> = missing_parts(&file, &arrived).iter().map(|part| part.number).collect();
        assert_eq!(missing, [2, 3]);
    }
}
