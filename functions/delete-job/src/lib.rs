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

/// Makes the job gone for everyone, then removes its files. Repeating it is harmless; what stops half-way, and uploads that
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

    while job.deleted_at.is_none() {
        let transition = lifecycle::delete(&job, now, app.config.upload_window);
        match app.jobs.change_once(&job, transition, caller.guard.as_ref(), "delete job").await? {
            Outcome::Changed(_) => break,
            // The miner reported meanwhile, or an earlier try deleted it and its answer was lost.
            Outcome::Refused(changed) => job = *changed,
            Outcome::Gone => return Err(not_found()),
        }
    }
    // Of one that was deleted before, the queue tells whether something has to go.
    if job.has_objects() || (job.deleted_at.is_some() && job.queue.is_some()) {
        app.bucket()?.delete_all(job.file_keys().job()).await?;
    }
    Ok(reply::json(200, &Deleted { deleted: true, job_id: job.job_id }))
}
