//! `PUT /jobs/{job_id}/cancel`: the owner wants a job no more, and keeps what there is of it.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    http::{
        JobResponse, PayloadUrls, reply,
        request::{now, path},
    },
    model::{Status, lifecycle},
    tables::jobs::Outcome,
};

/// Ends a job that waits, and has the miner told that runs one. Two round trips: the caller, the job and the row of its heartbeats are read
/// together, then one write changes what there is to change. Repeating it is harmless.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/cancel",
    operation_id = "cancel-job",
    tag = "user",
    summary = "Cancel a job",
    description = "A job that waits is `cancelled` at once. Of one that runs, `cancel_requested_at` is set and its miner is told with its next \
                   heartbeat; what it reports within 90 seconds of that is kept with its files, and the job ends `cancelled`, whatever the \
                   report says. A miner that says nothing more loses the job at the end of its lease, and one that sends no heartbeats at \
                   `deadline_at`. A job that was reported before ends as it would have. Everything stays readable. The answer is the \
                   state alone, as with `view=status`.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses(
        (status = 200, description = "The job as it is now.", body = JobResponse<'_>),
        (status = 401), (status = 404),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    const DOING: &str = "cancel job";
    let now = now(&request);
    let (caller, mut job, mut lease) = app.owner_and_job(&request).await?;
    let not_found = || Error::not_own_job(path(&request, "job_id"));
    loop {
        if job.deleted_at.is_some() {
            return Err(not_found());
        }
        let guard = caller.guard.as_ref().map(|guard| guard.of_run(job.run));
        let guard = guard.as_ref();
        let changed = match job.status {
            // There is nothing to cancel any more, or it was cancelled before.
            _ if job.terminal || job.report.is_some() || job.cancel_requested_at.is_some() => {
                app.jobs.guard_repeat(guard, job.job_id).await?;
                break;
            }
            Status::Pending => {
                let end = lifecycle::cancel_pending(job.job_id, lifecycle::CANCELLED_BY_OWNER, now);
                app.jobs.change_once(&job, end, guard, DOING).await?
            }
            _ => {
                let told = lifecycle::request_cancel(&job, lease.as_ref(), now);
                app.jobs.revoke(&job, told, guard, DOING).await?
            }
        };
        match changed {
            Outcome::Changed(after) => {
                after.count_end(&app.metrics);
                job = *after;
                break;
            }
            // It was claimed, reported, lost or deleted meanwhile, or its first heartbeat has come.
            Outcome::Refused(_) => {
                (job, lease) = app.jobs.get_with_lease(job.job_id).await?.ok_or_else(not_found)?;
            }
            Outcome::Gone => return Err(not_found()),
        }
    }
    reply::job(&job.with_progress(lease, now).without_payloads(), &PayloadUrls::default())
}
