//! `DELETE /jobs/{job_id}`: the owner removes a job and its files.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    jobs::Outcome,
    lifecycle,
    read::Read,
    reply,
    request::{now, path, path_uuid},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// That the job is gone.
#[derive(Serialize, ToSchema)]
#[schema(as = Deleted)]
pub struct Output {
    deleted: bool,
    job_id: Uuid,
}

/// Makes the job gone for everyone, then removes its files. Repeating it is harmless; what stops half-way, and uploads that
/// arrive late, are the reaper's.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.credentials(&request)?;
    let mut read = Read::default();
    if let Some(job_id) = path_uuid(&request, "job_id") {
        read.job(job_id);
    }
    let (caller, mut found) = read.with_caller(app, credentials, |_, _| ()).await?;
    let not_found = || Error::not_own_job(path(&request, "job_id"));
    let mut job = found.take_job()?.filter(|job| job.user_id == caller.user.user_id).ok_or_else(not_found)?;

    while job.deleted_at.is_none() {
        let transition = lifecycle::delete(&job, now, app.config.upload_window);
        match app.jobs.change_once(&job, transition, caller.signature.as_ref(), "delete job").await? {
            Outcome::Changed(_) => break,
            // The miner reported meanwhile, or an earlier try deleted it and its answer was lost.
            Outcome::Refused(changed) => job = *changed,
            Outcome::Gone => return Err(not_found()),
        }
    }
    if job.report.is_some() {
        app.outputs()?.delete_all(&job.files_prefix()).await?;
    }
    Ok(reply::json(200, &Output { deleted: true, job_id: job.job_id }))
}
