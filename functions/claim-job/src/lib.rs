//! `PUT /jobs/{job_id}/claim`: a miner takes a pending job.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    claims::{ClaimBody, Claimant, JobAssignment, assignment},
    http::request::{now, path},
    model::{Job, Status},
    tables::jobs::Outcome,
};

/// Claims the job for the caller. One winner; who has won it may ask again.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/claim",
    operation_id = "claim-job",
    tag = "miner",
    summary = "Claim a job",
    description = "One miner wins; it may ask again, as the same `worker`. `job_status_url` carries the job token that opens the job's \
                   own routes. An account that lost the job may have it again 5 minutes after the requeue.",
    params(("job_id" = Uuid, Path, description = "A pending job.")),
    request_body(content = ClaimBody, description = "At most 16 KiB. May be empty."),
    responses(
        (status = 200, description = "The job is the caller's.", body = JobAssignment<'_>),
        (status = 401), (status = 403), (status = 404), (status = 409), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.miner_credentials(&request)?;
    let (read, keys) = tokio::join!(app.caller_and_job(credentials, &request), app.job_tokens()?.keys_at(now));
    let (caller, job) = read?;
    let not_found = || Error::no_job(path(&request, "job_id"));
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(not_found)?;
    let (worker, instance) = ClaimBody::read(&request, &job.ports)?;
    // Without keys the miner would hold a job that it gets no token for.
    let keys = keys?;

    let claimant = Claimant { caller: &caller, worker: worker.as_deref(), instance: &instance, trace: None, now };
    let (guard, job_id) = (caller.guard.as_ref(), job.job_id);
    let job = match check(&job, &claimant)? {
        Claimed::ByCaller => {
            app.jobs.guard_repeat(guard, job.job_id).await?;
            job
        }
        Claimed::ByNobody => match claimant.claim(app, job).await? {
            None => {
                return Err(Error::Conflict(format!("The owner of job {} has as many jobs running as may be", job_id)));
            }
            Some(Outcome::Changed(job)) => *job,
            // Lost to another miner, or won by an earlier try whose answer was lost.
            Some(Outcome::Refused(job)) if job.deleted_at.is_none() => match check(&job, &claimant)? {
                Claimed::ByCaller => {
                    // The refused transaction has not remembered this signature.
                    app.jobs.guard_repeat(guard, job.job_id).await?;
                    *job
                }
                Claimed::ByNobody => return Err(Error::unavailable("claim job", "the job changed meanwhile")),
            },
            Some(Outcome::Refused(_) | Outcome::Gone) => return Err(not_found()),
        },
    };
    assignment(app, &request, job, &keys).await
}

enum Claimed {
    ByCaller,
    ByNobody,
}

/// Who has the job; an error when it is not, and will not be, the caller's.
fn check(job: &Job, claimant: &Claimant<'_>) -> Result<Claimed> {
    let held = matches!(job.status, Status::Running | Status::CompletePendingUploads) || job.report.is_some();
    if held && !job.terminal && claimant.has_claimed(job) {
        return Ok(Claimed::ByCaller);
    }
    if claimant.is_refused(job) {
        let detail = format!("Your hotkey has already attempted to claim job_id='{}'", job.job_id);
        return Err(Error::Forbidden(detail));
    }
    if job.status != Status::Pending {
        return Err(Error::Conflict(format!("Job {} has already been claimed by another miner!", job.job_id)));
    }
    if job.is_delayed(claimant.now) {
        return Err(Error::Conflict(format!("Job {} is not tried again yet", job.job_id)));
    }
    Ok(Claimed::ByNobody)
}
