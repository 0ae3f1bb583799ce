//! `DELETE /jobs/{job_id}`: the owner removes a job and its files.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    http::{
        reply,
        request::{now, path},
    },
    model::lifecycle,
    tables::jobs::Outcome,
};
use utoipa::ToSchema;
use uuid::Uuid;

/// That the job is gone.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    deleted: bool,
    job_id: Uuid,
}

/// Makes the job gone for everyone, then removes what it has: of a job that has ended, the versions that were checked, and of one without
/// a report, which has no files, its payloads; both without a listing. Repeating it is harmless. What stops half-way, and uploads that
/// arrive late, are the reaper's.
#[utoipa::path(
    delete,
    path = "/jobs/{job_id}",
    operation_id = "delete-job",
    tag = "user",
    summary = "Delete a job and its files",
    description = "From this moment on the job is gone for everyone; its miner is told to stop. Repeating it is harmless.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses(
        (status = 200, description = "It is gone.", body = Deleted),
        (status = 401), (status = 404),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let (caller, job) = app.caller_and_job(app.credentials(&request)?, &request).await?;
    let not_found = || Error::not_own_job(path(&request, "job_id"));
    let mut job = job.filter(|job| job.user_id == caller.user.user_id).ok_or_else(not_found)?;

    let mut known = None;
    while job.deleted_at.is_none() {
        let revocation = lifecycle::delete(&job, now, app.config.upload_window);
        match app.jobs.revoke(&job, revocation, caller.guard.as_ref(), "delete job").await? {
            Outcome::Changed(deleted) => {
                known = job.known_versions();
                if job.webhook.is_some() {
                    app.jobs.forget_delivery(job.job_id, now).await?;
                }
                job = *deleted;
            }
            // It was claimed or reported meanwhile, or an earlier try deleted it and its answer was lost.
            Outcome::Refused(changed) => job = *changed,
            Outcome::Gone => return Err(not_found()),
        }
    }
    // The reaper looks at it soon, unless this comes to its end: then not before nothing can arrive any more.
    if let (Some(due), Some(gone)) = (job.due_at, job.gone_at)
        && due < gone
    {
        match known {
            Some(versions) => app.bucket()?.delete(versions).await?,
            None => app.bucket()?.delete_all(job.file_keys().job()).await?,
        }
        app.jobs.change(job.job_id, lifecycle::swept(&job, gone, now), "delete job: UpdateItem").await?;
    }
    Ok(reply::json(200, &Deleted { deleted: true, job_id: job.job_id }))
}
