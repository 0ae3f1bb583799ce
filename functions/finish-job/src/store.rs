//! Storing a report: what of it is too large for the job's item, and then, in one write, the rest.

use shared::{
    App, Error, Result,
    auth::JobClaims,
    model::{FileKeys, Job, Payload, PayloadKind, Status, Stored, lifecycle},
    outputs::allowance,
    payloads::{Payloads, is_long_result, long_list},
    tables::jobs,
    time::Timestamp,
};

use crate::report::Report;

/// Writes that are tried: each refusal tells which is right, and nobody changes the job again and again.
const TRIES: usize = 4;

/// What became of a report.
pub(crate) enum Outcome {
    /// It is stored; this is the job now.
    Stored(Job),
    /// It was stored before; this is the job as it is.
    Repeated(Job),
    /// It is an error after which the job is tried again: what it brings is not kept.
    ToBeTriedAgain(Job),
}

/// What of a report the item refers to, and where that was put.
#[derive(Default)]
struct Put {
    result: Option<Payload>,
    file_list: Option<Stored>,
    keys: Option<FileKeys>,
    /// Some is left out: the job is to be tried again, which keeps nothing of it.
    lacks: bool,
}

impl Put {
    fn all(&self) -> impl Iterator<Item = &Stored> {
        self.result.as_ref().and_then(Payload::stored).into_iter().chain(&self.file_list)
    }
}

/// Stores the report. A large one costs a write more. That tells where to put it, and spares to put what is there, or comes too late; and it
/// counts the report, so that what this puts goes with the job though it never comes to the write that refers to it. One that declares too
/// much costs a read more: it is 413 unless it is a repeat.
pub(crate) async fn store(app: &App, claims: &JobClaims, mut report: Report, now: Timestamp) -> Result<Outcome> {
    let payloads = app.payloads()?;
    let result = report.result.take();
    let list = long_list(&report.files)?;
    let is_large = result.as_deref().is_some_and(is_long_result) || list.is_some();
    // Of a repeat it is no matter: what was taken stays, though a job may have less by now.
    let allowed = allowance::check_declared(report.files.values(), app.config.max_job_bytes);
    let put = match is_large || allowed.is_err() {
        false => Put { result: result.map(Payload::Inline), ..Put::default() },
        true => {
            let (job, is_begun) = match allowed.is_ok() {
                true => begin(app, claims, report.status, false).await?,
                false => (app.jobs.get(claims.sub).await?.ok_or_else(|| Error::no_job(claims.sub))?, false),
            };
            if is_failure(&job, claims, &report) {
                return Ok(Outcome::ToBeTriedAgain(job));
            }
            let job = job.held_by(claims.att)?;
            if job.report.as_ref() == Some(&report.digest) {
                return repeated(app, claims, job).await;
            } else if job.report.is_some() || job.terminal {
                return Err(Error::already_finished());
            }
            if is_tried_again(&job, &report) {
                Put { lacks: true, ..Put::default() }
            } else {
                allowed?;
                // An error that is not tried again is kept.
                if !is_begun && !begin(app, claims, report.status, true).await?.1 {
                    return Err(Error::unavailable("finish job", "it changed meanwhile").unwritten());
                }
                put_apart(payloads, job.file_keys(), result, list).await?
            }
        }
    };

    let finished = finish(app, claims, &report, &put, now).await;
    if let Some(keys) = &put.keys {
        payloads.settle_put(keys, put.all(), finished.as_ref().map(Finished::without_it)).await;
    }
    match finished? {
        Finished::Stored(mut job) => {
            job.files = Some(report.files);
            job.count_end(&app.metrics);
            Ok(Outcome::Stored(job))
        }
        Finished::ToBeTriedAgain(job) => Ok(Outcome::ToBeTriedAgain(job)),
        Finished::Before(job) if job.report.as_ref() == Some(&report.digest) => repeated(app, claims, job).await,
        Finished::Before(_) => Err(Error::already_finished()),
    }
}

/// Whether this report has the job tried again.
fn is_tried_again(job: &Job, report: &Report) -> bool {
    let is_tried = report.status == Status::Error && job.retry_errors && job.attempt < job.max_attempts;
    is_tried && job.status == Status::Running && job.cancel_requested_at.is_none()
}

/// Begins a large report: the job, and whether it has begun.
async fn begin(app: &App, claims: &JobClaims, status: Status, is_kept: bool) -> Result<(Job, bool)> {
    let begin = lifecycle::begin_report(claims.att, status, is_kept);
    match app.jobs.change(claims.sub, begin, "begin report: UpdateItem").await? {
        jobs::Outcome::Changed(job) => Ok((*job, true)),
        jobs::Outcome::Refused(job) => Ok((*job, false)),
        jobs::Outcome::Gone => Err(Error::no_job(claims.sub)),
    }
}

/// Puts what is too large for the item: all of it, or nothing.
async fn put_apart(
    payloads: Payloads<'_>,
    keys: FileKeys,
    result: Option<String>,
    list: Option<String>,
) -> Result<Put> {
    let result = match result {
        Some(result) => Some(payloads.store_result(&keys, result).await?),
        None => None,
    };
    match payloads.store_list(&keys, list, None).await {
        Ok(file_list) => Ok(Put { result, file_list, keys: Some(keys), lacks: false }),
        Err(error) => {
            payloads.give_up(&keys, result.as_ref().and_then(Payload::stored)).await;
            Err(error)
        }
    }
}

/// What became of the write.
enum Finished {
    Stored(Job),
    ToBeTriedAgain(Job),
    /// The job was reported before.
    Before(Job),
}

impl Finished {
    /// The job as it is, where it does not refer to what was put for this report.
    fn without_it(&self) -> Option<&Job> {
        match self {
            Self::Stored(_) => None,
            Self::ToBeTriedAgain(job) | Self::Before(job) => Some(job),
        }
    }
}

/// Whether this very report has had the job tried again, and its answer was lost.
fn is_failure(job: &Job, claims: &JobClaims, report: &Report) -> bool {
    job.has_failed(claims.att) && job.failure.as_ref() == Some(&report.digest)
}

/// One conditional write; another where its refusal tells that the job ends otherwise: its owner has cancelled it, or errors have it tried
/// again.
async fn finish(app: &App, claims: &JobClaims, report: &Report, put: &Put, now: Timestamp) -> Result<Finished> {
    const DOING: &str = "finish job: UpdateItem";
    let window = app.config.upload_window;
    let (job_id, attempt, deadline) = (claims.sub, claims.att, claims.deadline(window));
    let stored = || lifecycle::Report {
        job_id,
        status: report.status,
        result: put.result.as_ref(),
        detail: report.detail.as_deref(),
        files: &report.files,
        file_list: put.file_list.as_ref(),
        logs: report.logs,
        is_begun: put.keys.is_some(),
        digest: &report.digest,
        now,
    };
    let mut change = lifecycle::finish(attempt, deadline, window, stored())?;
    let mut again = false;
    for _ in 0..TRIES {
        let job = match app.jobs.change(job_id, change, DOING).await? {
            jobs::Outcome::Changed(job) if again => return Ok(Finished::ToBeTriedAgain(*job)),
            jobs::Outcome::Changed(job) => return Ok(Finished::Stored(*job)),
            jobs::Outcome::Refused(job) => *job,
            jobs::Outcome::Gone => return Err(Error::no_job(job_id)),
        };
        if is_failure(&job, claims, report) {
            return Ok(Finished::ToBeTriedAgain(job));
        }
        let job = job.held_by(attempt)?;
        if job.report.is_some() || job.terminal {
            return Ok(Finished::Before(job));
        }
        again = is_tried_again(&job, report);
        if put.lacks && !again {
            return Err(Error::unavailable("finish job", "its last attempt has begun meanwhile").unwritten());
        }
        change = if job.cancel_requested_at.is_some() {
            lifecycle::finish_cancelled(attempt, deadline, window, stored())?
        } else if again {
            app.jobs.ring_for(&job, now).await?;
            lifecycle::try_again(&job, &stored())
        } else {
            lifecycle::finish_last(attempt, deadline, window, stored())?
        };
    }
    Err(Error::unavailable("finish job", "it changed each time").unwritten())
}

/// The files as they have been declared since.
async fn repeated(app: &App, claims: &JobClaims, mut job: Job) -> Result<Outcome> {
    const WANTED: &[PayloadKind] = &[PayloadKind::Files];
    match app.payloads()?.load(&mut job, WANTED).await? {
        None => Ok(Outcome::Repeated(job)),
        // A declaration has replaced the list, perhaps.
        Some(_) => app.held_job_with(claims, WANTED).await.map(Outcome::Repeated),
    }
}
