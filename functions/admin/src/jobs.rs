//! Jobs of anybody, which an administrator may end and remove.

use shared::{App, Error, Result, model::lifecycle, tables::jobs::Outcome, time::Timestamp};
use uuid::Uuid;

use crate::output::Output;

/// Characters of the longest reason.
const LONGEST_REASON: usize = 1000;

/// Ends a job that has not reported. One that has ended stays as it is.
pub(crate) async fn cancel(app: &App, job_id: Uuid, reason: Option<&str>) -> Result<Output> {
    let reason = reason.unwrap_or("Cancelled by an administrator");
    if !(1..=LONGEST_REASON).contains(&reason.chars().count()) {
        return Err(Error::Unprocessable(format!("reason is not a text of 1 to {LONGEST_REASON} characters")));
    }
    let mut job = app.jobs.get(job_id).await?.ok_or_else(|| no_job(job_id))?;
    loop {
        if job.deleted_at.is_some() {
            return Err(no_job(job_id));
        } else if job.terminal {
            return Ok(Output::Ended { job_id, status: job.status });
        } else if job.report.is_some() {
            return Err(Error::Conflict(format!(
                "Job {job_id} has reported its result, and ends when its files are there. To be rid of it, delete it"
            )));
        }
        let revocation = lifecycle::cancel(&job, reason, Timestamp::system());
        job = match app.jobs.revoke(&job, revocation, None, "cancel job").await? {
            Outcome::Changed(job) => {
                job.count_end(&app.metrics);
                *job
            }
            // It was claimed or requeued meanwhile, or has ended.
            Outcome::Refused(job) => *job,
            Outcome::Gone => return Err(no_job(job_id)),
        };
    }
}

/// Makes a job gone for everyone. Its files are left to the reaper, who sweeps after every delete: so this function needs no rights
/// on the bucket.
pub(crate) async fn delete(app: &App, job_id: Uuid) -> Result<Output> {
    let mut job = app.jobs.get(job_id).await?.ok_or_else(|| no_job(job_id))?;
    while job.deleted_at.is_none() {
        let revocation = lifecycle::delete(&job, Timestamp::system(), app.config.upload_window);
        match app.jobs.revoke(&job, revocation, None, "delete job").await? {
            Outcome::Changed(_) => break,
            // It was claimed or reported meanwhile, or somebody else has deleted it.
            Outcome::Refused(changed) => job = *changed,
            Outcome::Gone => return Err(no_job(job_id)),
        }
    }
    Ok(Output::Deleted { job_id, deleted: true })
}

fn no_job(job_id: Uuid) -> Error {
    Error::NotFound(format!("Job {job_id} not found"))
}
