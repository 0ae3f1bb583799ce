//! Where a miner sends the files that it has announced, and the hold on the job meanwhile; and where a user sends inputs.

mod inputs;
mod targets;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

pub use inputs::InputUploads;
use targets::{Targets, bytes, furthest};

use crate::{
    auth::{JobClaims, JobTokenKeys, JobTokens},
    error::{Error, Result},
    http::{UploadTarget, UploadTargets},
    model::{FileKeys, Job, OutputFile, lifecycle},
    outputs::{ArrivedParts, Bucket, Head, MultipartUpload, PARTS_IN_AN_ANSWER, is_another, is_in_parts, parts},
    payloads::Payloads,
    tables::jobs::{Change, Jobs},
    time::Timestamp,
};

/// Multipart uploads begun at the same time.
const AT_ONCE: usize = 16;

/// The uploads of the attempt that a job token is for.
#[derive(Debug)]
pub struct Uploads<'a> {
    /// Where the files go.
    pub bucket: &'a Bucket,
    /// What the token was verified with: file tokens are signed with it.
    pub tokens: &'a JobTokens,
    /// The store of jobs.
    pub jobs: &'a Jobs,
    /// The miner's token.
    pub claims: &'a JobClaims,
    /// Where the API is reached.
    pub api_base: String,
    /// Seconds that an upload URL works.
    pub window: i64,
    /// Declared sizes above this many bytes are uploaded in parts.
    pub threshold: u64,
}

impl Uploads<'_> {
    /// The job, held by its miner for at least as long as the upload URLs work that it is about to be given.
    pub async fn hold(&self, job: Job, now: Timestamp) -> Result<Job> {
        if job.terminal || job.uploads_until >= Some(now.plus_seconds(self.window)) {
            return Ok(job);
        }
        let attempt = self.claims.att;
        let transition = lifecycle::hold_while_uploading(attempt, now, self.window);
        match self.jobs.change_attempt(job.job_id, attempt, transition, "hold: UpdateItem").await? {
            // Another list may have taken the place of the one that was read.
            Change::Made(held) | Change::Refused(held) => Payloads { bucket: self.bucket }.with_files(&job, held).await,
        }
    }

    /// Targets for every file of the job; none when nothing that is uploaded now would count. `repeated` says that uploads in
    /// parts may have begun before. Where the parts are more than an answer can hold, their files get no target: each can then be
    /// renewed by itself.
    pub async fn targets(&self, job: &Job, repeated: bool) -> Result<UploadTargets> {
        let mut files: Vec<_> = job.files.iter().flatten().collect();
        if job.terminal || files.is_empty() {
            return Ok(UploadTargets { targets: Vec::new(), whole: true });
        }
        let threshold = self.threshold;
        let in_parts: Vec<_> = files.iter().map(|(_, file)| file).filter(|file| is_in_parts(file, threshold)).collect();
        let whole = in_parts.iter().map(|file| parts(file).take(PARTS_IN_AN_ANSWER).count()).sum::<usize>()
            <= PARTS_IN_AN_ANSWER;
        let mut begun = match repeated && whole && !in_parts.is_empty() {
            true => self.bucket.uploads(job.file_keys().prefix()).await?,
            false => BTreeMap::new(),
        };
        files.retain(|(_, file)| whole || !is_in_parts(file, threshold));
        let maker = self.maker(job).await?;
        let mut targets: Vec<_> =
            files.iter().map(|(file_id, file)| maker.target(**file_id, file)).collect::<Result<_>>()?;
        let mut work = Vec::new();
        for ((_, file), target) in files.into_iter().zip(&mut targets).filter(|(_, target)| target.url.is_none()) {
            let begun = repeated.then(|| begun.remove(&maker.key(file)).unwrap_or_default());
            work.push(maker.add_parts(target, file, begun));
        }
        let has_parts = !work.is_empty();
        stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if repeated && has_parts {
            self.check_parts(job, job.files.iter().flatten().map(|(_, file)| file)).await?;
        }
        Ok(UploadTargets { targets, whole })
    }

    /// A fresh target for one file: of a file in parts, the parts that are missing. Where it is `another` one by what was just declared, what
    /// was begun for it before that is given up.
    pub async fn renewed(&self, job: &Job, file: &OutputFile, another: bool) -> Result<UploadTarget> {
        let maker = self.maker(job).await?;
        let mut target = maker.target(OutputFile::id(job.job_id, &file.filename), file)?;
        if target.url.is_none() {
            let key = maker.key(file);
            let mut begun = self.begun(&key).await?;
            if another {
                self.abort(begun.drain(..)).await?;
            }
            maker.add_parts(&mut target, file, Some(begun)).await?;
            self.check_parts(job, [file]).await?;
        }
        Ok(target)
    }

    /// 503 when one of these files was declared to be another one since the job was read: what was just begun, or is gone on with, may be for
    /// that one. Who declares it gives up afterwards what there is, and this looks after it has begun: one of both finds the other.
    async fn check_parts(&self, job: &Job, files: impl IntoIterator<Item = &OutputFile>) -> Result<()> {
        let Some(now) = self.jobs.get(job.job_id).await? else { return Ok(()) };
        let now = Payloads { bucket: self.bucket }.with_files(job, now).await?;
        let is_other = |file: &OutputFile| now.output_file(&file.filename).is_ok_and(|now| is_another(file, now));
        match !now.terminal && files.into_iter().any(is_other) {
            true => Err(Error::unavailable("parts", "others are declared at the same moment")),
            false => Ok(()),
        }
    }

    /// Gives up the parts of a file that have arrived: they are of other bytes than it will have, or begin elsewhere.
    pub async fn give_up(&self, job: &Job, file: &OutputFile) -> Result<()> {
        let begun = self.begun(&job.file_keys().key(&file.filename)).await?;
        self.abort(begun).await
    }

    async fn begun(&self, key: &str) -> Result<Vec<MultipartUpload>> {
        Ok(self.bucket.uploads(key).await?.remove(key).unwrap_or_default())
    }

    async fn abort(&self, uploads: impl IntoIterator<Item = MultipartUpload>) -> Result<()> {
        for upload in uploads {
            self.bucket.abort(&upload).await?;
        }
        Ok(())
    }

    async fn maker<'a>(&'a self, job: &Job) -> Result<Maker<'a>> {
        Ok(Maker {
            bucket: self.bucket,
            targets: Targets {
                presigner: self.bucket.presigner(self.window).await?,
                threshold: self.threshold,
                once: false,
            },
            token_keys: self.tokens.keys().await?,
            claims: self.claims,
            keys: job.file_keys(),
            renew_url: format!("{}/jobs/{}/upload?token=", self.api_base, job.job_id),
        })
    }
}

/// Makes upload targets for the files of one job.
struct Maker<'a> {
    bucket: &'a Bucket,
    targets: Targets<'a>,
    token_keys: Arc<JobTokenKeys>,
    claims: &'a JobClaims,
    keys: FileKeys,
    /// Where a fresh target is to be had, but for the token.
    renew_url: String,
}

impl Maker<'_> {
    fn key(&self, file: &OutputFile) -> String {
        self.keys.key(&file.filename)
    }

    /// The target of a file; when the file goes in parts, without them and without a URL.
    fn target(&self, file_id: Uuid, file: &OutputFile) -> Result<UploadTarget> {
        let renew_url = format!("{}{}", self.renew_url, self.token_keys.sign(&self.claims.for_file(&file.filename))?);
        self.targets.target(&self.key(file), file_id, file, renew_url)
    }

    /// Adds the parts that are missing. `begun` are uploads that can be gone on with; None when there cannot be any.
    async fn add_parts(
        &self,
        target: &mut UploadTarget,
        file: &OutputFile,
        begun: Option<Vec<MultipartUpload>>,
    ) -> Result<()> {
        let parts = target.parts.insert(Vec::new());
        // On the heap: a thousand of these futures are made at once, and few are under way.
        if let Some((upload, arrived)) = Box::pin(upload(self.bucket, &self.key(file), file, begun)).await? {
            *parts = self.targets.parts(file, &upload, &arrived)?;
        }
        Ok(())
    }
}

/// The upload to go on with, which is the one that has most, or a new one. None when the file is whole already.
async fn upload(
    bucket: &Bucket,
    key: &str,
    file: &OutputFile,
    begun: Option<Vec<MultipartUpload>>,
) -> Result<Option<(MultipartUpload, ArrivedParts)>> {
    let repeated = begun.is_some();
    let best = furthest(bucket, begun.unwrap_or_default()).await?;
    let has_some = best.as_ref().is_some_and(|(_, arrived)| bytes(arrived) > 0);
    let is_it = |head: Head| Some(head.object.size) == file.size && head.may_be(file, true);
    if repeated && !has_some && bucket.head(key, None).await?.is_some_and(is_it) {
        return Ok(None);
    }
    match best {
        Some(best) => Ok(Some(best)),
        None => {
            let upload = bucket.begin(key, file).await?;
            Ok(Some((upload, ArrivedParts::new())))
        }
    }
}
