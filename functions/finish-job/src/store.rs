//! Storing a report: what of it is too large for the job's item, and then, in one write, the rest.

use shared::{
    App, Error, Result,
    auth::JobClaims,
    model::{FileKeys, Job, Payload, PayloadKind, Stored, lifecycle},
    outputs::allowance,
    payloads::{is_long_result, long_list},
    tables::jobs::Change,
    time::Timestamp,
};

use crate::report::Report;

/// What became of a report.
pub(crate) enum Outcome {
    /// It is stored; this is the job now.
    Stored(Job),
    /// It was stored before; this is the job as it is.
    Repeated(Job),
}

/// What of a report the item refers to, and where that was put.
#[derive(Default)]
struct Put {
    result: Option<Payload>,
    file_list: Option<Stored>,
    keys: Option<FileKeys>,
}

impl Put {
    fn all(&self) -> impl Iterator<Item = &Stored> {
        self.result.as_ref().and_then(Payload::stored).into_iter().chain(&self.file_list)
    }
}

/// Stores the report. A large one costs a read more: it tells where to put it, and spares to put what is there, or comes too late. So does
/// one that declares too much, which is 413 unless it is a repeat.
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
            let job = app.held_job(claims).await?;
            if job.report.as_ref() == Some(&report.digest) {
                return repeated(app, claims, job).await;
            } else if job.report.is_some() || job.terminal {
                return Err(Error::already_finished());
            }
            allowed?;
            let keys = job.file_keys();
            let result = match result {
                Some(result) => Some(payloads.store_result(&keys, result).await?),
                None => None,
            };
            let file_list = payloads.store_list(&keys, list, None).await?;
            Put { result, file_list, keys: Some(keys) }
        }
    };

    let change = finish(app, claims, &report, &put, now).await;
    if let Some(keys) = &put.keys {
        payloads.settle_put(keys, put.all(), change.as_ref().map(Change::refused)).await;
    }
    match change? {
        Change::Made(mut job) => {
            job.files = Some(report.files);
            job.count_end(&app.metrics);
            Ok(Outcome::Stored(job))
        }
        Change::Refused(job) if job.report.as_ref() == Some(&report.digest) => repeated(app, claims, job).await,
        Change::Refused(_) => Err(Error::already_finished()),
    }
}

async fn finish(app: &App, claims: &JobClaims, report: &Report, put: &Put, now: Timestamp) -> Result<Change> {
    let window = app.config.upload_window;
    let report = lifecycle::Report {
        status: report.status,
        result: put.result.as_ref(),
        detail: report.detail.as_deref(),
        files: &report.files,
        file_list: put.file_list.as_ref(),
        digest: &report.digest,
        now,
    };
    let transition = lifecycle::finish(claims.att, claims.deadline(window), window, report)?;
    app.jobs.change_attempt(claims.sub, claims.att, transition, "finish job: UpdateItem").await
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
