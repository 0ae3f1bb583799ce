//! `GET /jobs/{job_id}`: the owner reads a job.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Result,
    read::Read,
    reply,
    request::{path, path_uuid},
};

/// Answers the job as it is now. One round trip: the caller and the job are read together.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let credentials = app.credentials(&request)?;
    let mut read = Read::default();
    if let Some(job_id) = path_uuid(&request, "job_id") {
        read.job(job_id);
    }
    let (caller, found) = read.with_caller(app, credentials, |_, _| ()).await?;
    let job = found.own_job(path(&request, "job_id"), &caller)?;
    Ok(reply::job(&job.response(None)?))
}
