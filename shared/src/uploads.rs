//! Upload targets: where a miner sends the files that it has announced.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    app::App,
    error::{Error, Result},
    job::{Job, OutputFile, UploadPart, UploadTarget, Uploads},
    job_token::{JobClaims, JobTokenKeys},
    jobs::Outcome,
    lifecycle,
    outputs::{Head, Outputs, Parts, Presigner, Upload},
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
    match app.jobs.change(job.job_id, transition, "hold: UpdateItem").await? {
        Outcome::Changed(job) => Ok(*job),
        Outcome::Refused(job) => job.held_by(claims.att),
        Outcome::Gone => Err(Job::not_found(&job.job_id.to_string())),
    }
}

/// Targets for every file of the job; none when nothing that is uploaded now would count. `repeated` says that uploads in
/// parts may have begun before. Where the parts are more than an answer can hold, their files get no target: each can then be
/// had from route 5.
pub async fn targets(app: &App, job: &Job, claims: &JobClaims, api_base: &str, repeated: bool) -> Result<Uploads> {
    let mut files: Vec<_> = job.files.iter().flatten().collect();
    if job.terminal || files.is_empty() {
        return Ok(Uploads { targets: Vec::new(), whole: true });
    }
    let threshold = app.config.multipart_threshold;
    let in_parts: Vec<_> = files.iter().map(|(_, file)| file).filter(|file| is_in_parts(file, threshold)).collect();
    let whole = in_parts.iter().map(|file| parts(file).take(MOST_PARTS).count()).sum::<usize>() <= MOST_PARTS;
    let mut begun = match repeated && whole && !in_parts.is_empty() {
        true => app.outputs()?.uploads(&job.files_prefix()).await?,
        false => BTreeMap::new(),
    };
    files.retain(|(_, file)| whole || !is_in_parts(file, threshold));
    let maker = Maker::new(app, job, claims, api_base).await?;
    let mut targets: Vec<_> =
        files.iter().map(|(file_id, file)| maker.target(**file_id, file)).collect::<Result<_>>()?;
    let mut work = Vec::new();
    for ((_, file), target) in files.into_iter().zip(&mut targets).filter(|(_, target)| target.url.is_none()) {
        let begun = repeated.then(|| begun.remove(&maker.key(file)).unwrap_or_default());
        work.push(maker.add_parts(target, file, begun));
    }
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(Uploads { targets, whole })
}

/// A fresh target for one file: of a file in parts, the parts that are missing.
pub async fn renewed(
    app: &App,
    job: &Job,
    file: &OutputFile,
    claims: &JobClaims,
    api_base: &str,
) -> Result<UploadTarget> {
    let maker = Maker::new(app, job, claims, api_base).await?;
    let mut target = maker.target(Job::file_id(job.job_id, &file.filename), file)?;
    if target.url.is_none() {
        let key = maker.key(file);
        let begun = maker.outputs.uploads(&key).await?.remove(&key).unwrap_or_default();
        maker.add_parts(&mut target, file, Some(begun)).await?;
    }
    Ok(target)
}

/// Gives up the parts of a file that have arrived: they are of other bytes than it will have.
pub async fn give_up(app: &App, job: &Job, file: &OutputFile) -> Result<()> {
    let (outputs, key) = (app.outputs()?, job.file_key(file));
    for upload in outputs.uploads(&key).await?.remove(&key).unwrap_or_default() {
        outputs.abort(&upload).await?;
    }
    Ok(())
}

/// Makes upload targets for the files of one job.
struct Maker<'a> {
    outputs: &'a Outputs,
    presigner: Presigner<'a>,
    keys: Arc<JobTokenKeys>,
    claims: &'a JobClaims,
    /// The beginning of all keys, made once.
    prefix: String,
    /// Where a fresh target is to be had, but for the token.
    renew_url: String,
    threshold: u64,
}

impl<'a> Maker<'a> {
    async fn new(app: &'a App, job: &Job, claims: &'a JobClaims, api_base: &str) -> Result<Self> {
        let outputs = app.outputs()?;
        Ok(Self {
            outputs,
            presigner: outputs.presigner(app.config.upload_window).await?,
            keys: app.job_tokens()?.keys().await?,
            claims,
            prefix: job.files_prefix(),
            renew_url: format!("{api_base}/jobs/{}/upload?token=", job.job_id),
            threshold: app.config.multipart_threshold,
        })
    }

    fn key(&self, file: &OutputFile) -> String {
        format!("{}{}", self.prefix, file.filename)
    }

    /// The target of a file; when the file goes in parts, without them and without a URL.
    fn target(&self, file_id: Uuid, file: &OutputFile) -> Result<UploadTarget> {
        let (url, headers) = match is_in_parts(file, self.threshold) {
            true => (None, BTreeMap::new()),
            false => {
                let (url, headers) = self.presigner.put(&self.key(file), file)?;
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
            renew_url: format!("{}{}", self.renew_url, self.keys.sign(&self.claims.for_file(&file.filename))?),
        })
    }

    /// Adds the parts that are missing. `begun` are uploads that can be gone on with; None when there cannot be any.
    async fn add_parts(&self, target: &mut UploadTarget, file: &OutputFile, begun: Option<Vec<Upload>>) -> Result<()> {
        let parts = target.parts.insert(Vec::new());
        let key = self.key(file);
        // On the heap: a thousand of these futures are made at once, and few are under way.
        if let Some((upload, arrived)) = Box::pin(upload(self.outputs, &key, file, begun)).await? {
            for part in missing_parts(file, &arrived).into_iter().take(MOST_PARTS) {
                let url = self.presigner.part(&upload, part.number, part.size)?;
                parts.push(UploadPart { part_number: part.number, offset: part.offset, size: part.size, url });
            }
        }
        Ok(())
    }
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
