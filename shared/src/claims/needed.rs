//! What nobody can run a job without.

use crate::{
    app::App,
    error::{Error, Result},
    model::{Job, PayloadKind, lifecycle},
    tables::jobs::Outcome,
    time::Timestamp,
};

/// Loads what the miner of a job needs. Where it is gone, the job ends here: else miner after miner would spend an attempt on it.
pub async fn load_needed(
    app: &App,
    job: &mut Job,
    needed: PayloadKind,
    now: Timestamp,
    doing: &'static str,
) -> Result<()> {
    let Some(gone) = app.payloads()?.load(job, &[needed]).await? else { return Ok(()) };
    if job.report.is_none() {
        let end = lifecycle::end_without(job, gone.kind, now)?;
        match app.jobs.revoke(job, end, None, doing).await? {
            Outcome::Changed(job) => job.count_end(&app.metrics),
            Outcome::Refused(job) if job.deleted_at.is_none() => {}
            // With its job.
            Outcome::Refused(_) | Outcome::Gone => return Err(Error::no_job(job.job_id)),
        }
    }
    Err(gone.into())
}
