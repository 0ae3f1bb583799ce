//! What a job carries beside its state, in the item or apart from it: who stores it, loads it, answers it, and takes it back.
//!
//! A payload is put before the write that refers to it, so that nothing refers to what is not there. When that write is refused, whoever
//! put it removes it again: each put has a key of its own. A crash in between leaves an object that the job's deletion removes, or else the
//! bucket's lifecycle.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use lambda_http::{Body, Request, Response};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    http::{PayloadUrls, UploadTargets, reply, request::header},
    model::{
        FileKeys, Inputs, Job, OutputFile, Payload, PayloadKind, Stored,
        payload::{ARGUMENTS_INLINE, BEYOND, FILES_INLINE, INPUTS_INLINE, RESULT_INLINE},
    },
    outputs::Bucket,
    tables::jobs::{Change, Outcome},
    time::{DAY, Timestamp},
};

/// The payloads of jobs.
#[derive(Debug, Clone, Copy)]
pub struct Payloads<'a> {
    /// Where the large ones are.
    pub bucket: &'a Bucket,
}

/// A payload that somebody has removed from the bucket, or replaced.
#[derive(Debug)]
pub struct Gone {
    /// What it was.
    pub kind: PayloadKind,
    /// Its key.
    pub key: String,
}

impl From<Gone> for Error {
    /// 500, and a line in the log that names the object.
    fn from(gone: Gone) -> Self {
        Self::internal("payload", format!("{} is gone from the bucket, or is not what was stored", gone.key))
    }
}

/// A list of files that takes the place of another.
#[derive(Debug, Default)]
pub struct Recorded {
    /// What was put for the new one.
    put: Option<Stored>,
    /// What nobody needs once the new one is there.
    former: Option<Stored>,
}

impl Recorded {
    /// What was put for the new list.
    pub fn put(&self) -> Option<&Stored> {
        self.put.as_ref()
    }
}

/// A list of files as JSON, when it is too long for an item.
pub fn long_list(files: &BTreeMap<Uuid, OutputFile>) -> Result<Option<String>> {
    let list = serde_json::to_string(files).map_err(|error| Error::internal("payload: list of files", error))?;
    Ok(Some(list).filter(|list| list.len() > FILES_INLINE))
}

/// Whether a result is too large for an item.
pub fn is_long_result(result: &str) -> bool {
    result.len() > RESULT_INLINE
}

impl Payloads<'_> {
    /// Puts apart what a new job is given, where it is too large for its item: all of it, or nothing.
    pub async fn store_given(&self, job: &mut Job, inputs: &Inputs) -> Result<()> {
        self.store_arguments(job).await?;
        if inputs.is_empty() {
            return Ok(());
        }
        let stored = self.store_inputs(job, inputs).await;
        if stored.is_err() {
            self.give_up(&job.file_keys(), job.job_args.stored()).await;
        }
        stored
    }

    /// Puts a new job's arguments apart, if they are too large for its item.
    async fn store_arguments(&self, job: &mut Job) -> Result<()> {
        let keys = job.file_keys();
        if let Payload::Inline(text) = &mut job.job_args
            && text.len() > ARGUMENTS_INLINE
        {
            job.job_args = Payload::Stored(self.bucket.put_payload(&keys, std::mem::take(text)).await?);
        }
        Ok(())
    }

    /// Puts the list of a new job's inputs apart, if it is too long for its item.
    async fn store_inputs(&self, job: &mut Job, inputs: &Inputs) -> Result<()> {
        let list = serde_json::to_string(inputs).map_err(|error| Error::internal("payload: list of inputs", error))?;
        job.inputs = Some(match list.len() > INPUTS_INLINE {
            true => Payload::Stored(self.bucket.put_payload(&job.file_keys(), list).await?),
            false => Payload::Inline(list),
        });
        Ok(())
    }

    /// Puts anew what a job was created with that is about to be claimed until this deadline, or to wait from it on, where it would not outlive
    /// that. A job of which some is gone is as it was.
    pub async fn renew(
        &self,
        job: &mut Job,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<Vec<(PayloadKind, Stored)>> {
        /// Seconds for what is not known to the second: when S3 removes what has expired, how long uploads are held, and when a job ends that
        /// was kept for its time.
        const MARGIN: i64 = 3 * DAY;
        // Then it may wait, because the attempt is lost, and end without another. That it is then kept is in both.
        let needed = deadline.plus_seconds(MARGIN + job.waits_for());
        let ends = |stored: &Stored| stored.put_at.unwrap_or(job.created_at).plus_seconds(BEYOND);
        let old = job.stored().filter(|(kind, stored)| kind.is_given() && needed > ends(stored));
        let old: Vec<_> = old.map(|(kind, _)| kind).collect();
        if old.is_empty() || self.load(job, &old).await?.is_some() {
            return Ok(Vec::new());
        }
        let texts: Vec<_> = job.stored().filter_map(|(kind, stored)| Some((kind, stored.text.clone()?))).collect();
        let mut put = Vec::new();
        for (kind, text) in texts.into_iter().filter(|(kind, _)| old.contains(kind)) {
            match self.bucket.put_payload(&job.file_keys(), text).await {
                Ok(stored) => put.push((kind, Stored { put_at: Some(now), ..stored })),
                Err(error) => {
                    // Collected, for the reason in `settle_list`.
                    let put: Vec<_> = put.iter().map(|(_, stored)| stored).collect();
                    self.give_up(&job.file_keys(), put).await;
                    return Err(error);
                }
            }
        }
        Ok(put)
    }

    /// Puts a result apart, if it is too large for an item.
    pub async fn store_result(&self, keys: &FileKeys, result: String) -> Result<Payload> {
        match is_long_result(&result) {
            true => self.bucket.put_payload(keys, result).await.map(Payload::Stored),
            false => Ok(Payload::Inline(result)),
        }
    }

    /// Puts a list of files apart that is too long for an item. One that did not change stays where it is.
    pub async fn store_list(
        &self,
        keys: &FileKeys,
        list: Option<String>,
        before: Option<&Stored>,
    ) -> Result<Option<Stored>> {
        match list {
            Some(list) if before.is_some_and(|before| before.is_of(&list)) => Ok(before.cloned()),
            Some(list) => self.bucket.put_payload(keys, list).await.map(Some),
            None => Ok(None),
        }
    }

    /// Loads these of the job's payloads, side by side; or tells which of them is gone.
    pub async fn load(&self, job: &mut Job, wanted: &[PayloadKind]) -> Result<Option<Gone>> {
        let keys = job.file_keys();
        let lacking = job.stored().filter(|(kind, stored)| {
            let is_loaded = stored.text.is_some() || (*kind == PayloadKind::Files && job.files.is_some());
            wanted.contains(kind) && !stored.lost && !is_loaded
        });
        let lacking: Vec<_> = lacking.map(|(kind, stored)| (kind, stored.clone())).collect();
        let texts = try_join_all(lacking.iter().map(|(_, stored)| self.bucket.payload(&keys, stored))).await?;
        for ((kind, stored), text) in lacking.into_iter().zip(texts) {
            match text {
                Some(text) => job.set_loaded(kind, text)?,
                None => return Ok(Some(Gone { kind, key: keys.payload(&stored) })),
            }
        }
        Ok(None)
    }

    /// Whether one of the job's payloads is gone from the bucket.
    pub async fn gone(&self, job: &Job, kind: PayloadKind) -> Result<Option<Gone>> {
        let keys = job.file_keys();
        match job.stored_apart(kind) {
            Some(stored) if !self.bucket.has_payload(&keys, stored).await? => {
                Ok(Some(Gone { kind, key: keys.payload(stored) }))
            }
            _ => Ok(None),
        }
    }

    /// Which of what the job was created with is gone, as was found out before or is seen now.
    pub async fn gone_of_given(&self, job: &Job) -> Result<Option<PayloadKind>> {
        for (kind, stored) in job.stored().filter(|(kind, _)| kind.is_given()) {
            if stored.lost || self.gone(job, kind).await?.is_some() {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// Takes back what was put for a write, if that was refused. `refused` is the job as it then is, when a refusal brought it along. After
    /// any other error the write may have been made.
    pub async fn settle_put(
        &self,
        keys: &FileKeys,
        put: impl IntoIterator<Item = &Stored>,
        refused: Result<Option<&Job>, &Error>,
    ) {
        match refused {
            Ok(Some(job)) => self.take_back(keys, put, Some(job)).await,
            Err(error) if error.is_refusal() => self.give_up(keys, put).await,
            Ok(None) | Err(_) => {}
        }
    }

    /// The same of a change of a job.
    pub async fn settle_change(
        &self,
        keys: &FileKeys,
        put: impl IntoIterator<Item = &Stored>,
        change: Result<&Outcome, &Error>,
    ) {
        match change {
            Ok(Outcome::Gone) => self.give_up(keys, put).await,
            change => self.settle_put(keys, put, change.map(Outcome::refused)).await,
        }
    }

    /// Takes back what was put for a write that is not made.
    pub async fn give_up(&self, keys: &FileKeys, put: impl IntoIterator<Item = &Stored>) {
        self.take_back(keys, put, None).await;
    }

    /// Takes back what was put, but for what the job refers to as it is: the write may have been made by an earlier try whose answer was
    /// lost. That it could not is only logged.
    async fn take_back(&self, keys: &FileKeys, put: impl IntoIterator<Item = &Stored>, job: Option<&Job>) {
        let is_referred = |put: &Stored| job.is_some_and(|job| job.stored().any(|(_, stored)| stored.is_same(put)));
        for put in put {
            if !is_referred(put) {
                self.remove(keys, put).await;
            }
        }
    }

    /// Removes what nothing refers to. That it could not is only logged: it goes with the job.
    async fn remove(&self, keys: &FileKeys, stored: &Stored) {
        if let Err(error) = self.bucket.remove_payload(keys, stored).await {
            tracing::warn!(key = keys.payload(stored), cause = ?error.cause(), "a payload could not be removed");
        }
    }

    /// Puts the list of a job's files as they now are, if it is too long for the item: the job that refers to it. `job` still refers to
    /// the list that was read, as the table does until the write that goes by it.
    pub async fn record_files(&self, job: &Job) -> Result<(Job, Recorded)> {
        let files = job.files.as_ref().ok_or_else(|| Error::internal("payload", "the list of files was not loaded"))?;
        let read = job.file_list.as_ref();
        let file_list = self.store_list(&job.file_keys(), long_list(files)?, read).await?;
        let is_new = match (&file_list, read) {
            (Some(now), Some(read)) => !now.is_same(read),
            _ => true,
        };
        let recorded = match is_new {
            true => Recorded { put: file_list.clone(), former: read.cloned() },
            false => Recorded::default(),
        };
        Ok((Job { file_list, ..job.clone() }, recorded))
    }

    /// Tidies up after a write that refers to a new list: this is the job since then. Of the two lists, the one that it does not refer to
    /// goes. Who has read the job before that, and finds the former one gone, reads the job again.
    pub async fn settle_list(&self, recorded: &Recorded, job: &Job) {
        let keys = job.file_keys();
        // Collected: what an iterator maps lazily, a future that is sent to another thread may not hold.
        let lists: Vec<_> = recorded.put.iter().chain(&recorded.former).collect();
        self.take_back(&keys, lists, Some(job)).await;
    }

    /// What became of a write that refers to a new list, as `listed` does. The job then has its list of files.
    pub async fn settle(&self, listed: &Job, recorded: &Recorded, change: Result<Change>) -> Result<Change> {
        match change {
            // It has the list that was written: what is done needs no other read, which could fail.
            Ok(Change::Made(job)) => {
                self.settle_list(recorded, &job).await;
                Ok(Change::Made(job.with_files_of(listed)))
            }
            Ok(Change::Refused(job)) => {
                self.settle_list(recorded, &job).await;
                self.with_files(listed, job).await.map(Change::Refused)
            }
            Err(error) => {
                self.settle_put(&listed.file_keys(), &recorded.put, Err(&error)).await;
                Err(error)
            }
        }
    }

    /// The job as it is now, with its list of files: the one that is known, unless another has taken its place.
    pub async fn with_files(&self, before: &Job, now: Job) -> Result<Job> {
        let mut job = now.with_files_of(before);
        match self.load(&mut job, &[PayloadKind::Files]).await? {
            // Of a job that has not ended, it may have been replaced by now. Whoever repeats the request finds out.
            Some(gone) if !job.terminal => Err(Error::unavailable("payload", format!("{} is gone", gone.key))),
            Some(gone) => Err(gone.into()),
            None => Ok(job),
        }
    }

    /// The job with its payloads, as its owner sees it. What makes the answer longer than Lambda allows is answered by its URL: the
    /// arguments first, then the result.
    pub async fn answer(&self, request: &Request, job: &Job) -> Result<Response<Body>> {
        let accepted = header(request, "accept-encoding");
        let mut urls = PayloadUrls::default();
        for kind in [PayloadKind::Arguments, PayloadKind::Result] {
            if job.stored_apart(kind).is_some() {
                if let Some(answer) = reply::fitted(reply::job(job, &urls)?, accepted) {
                    return Ok(answer);
                }
                self.add_url(&mut urls, job, kind).await?;
            }
        }
        Ok(reply::at_last(reply::job(job, &urls)?))
    }

    /// The job as its miner sees it after a report. The miner has had the arguments, and has made the result: what is stored apart is
    /// answered by its URL, and not loaded for that.
    pub async fn answer_to_miner(
        &self,
        request: &Request,
        job: &Job,
        uploads: Option<&UploadTargets>,
    ) -> Result<Response<Body>> {
        let mut urls = PayloadUrls::default();
        self.add_url(&mut urls, job, PayloadKind::Arguments).await?;
        self.add_url(&mut urls, job, PayloadKind::Result).await?;
        reply::job_with_uploads(job, &urls, uploads, header(request, "accept-encoding"))
    }

    /// Puts a text that only an answer refers to, and answers its URL. It goes with the job, or by the bucket's lifecycle.
    pub async fn url_of(&self, job: &Job, text: String) -> Result<String> {
        let keys = job.file_keys();
        let stored = self.bucket.put_payload(&keys, text).await?;
        self.bucket.presign_payload(&keys, &stored).await
    }

    /// Where one of the job's payloads is, if it is stored apart.
    pub async fn url(&self, job: &Job, kind: PayloadKind) -> Result<Option<String>> {
        match job.stored_apart(kind) {
            Some(stored) => self.bucket.presign_payload(&job.file_keys(), stored).await.map(Some),
            None => Ok(None),
        }
    }

    async fn add_url(&self, urls: &mut PayloadUrls, job: &Job, kind: PayloadKind) -> Result<()> {
        let url = self.url(job, kind).await?;
        match kind {
            PayloadKind::Arguments => urls.job_args = url,
            PayloadKind::Result => urls.result = url,
            PayloadKind::Files | PayloadKind::Inputs => {}
        }
        Ok(())
    }
}
