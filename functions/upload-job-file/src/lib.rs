//! `PUT /jobs/{job_id}/upload?token=`: one file of a job. A form brings a small file, as the reference takes it; JSON asks for a
//! fresh upload target.

mod form;
mod renew;

pub use form::Output;

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    job::{Job, OutputFile},
    job_token::JobClaims,
    jobs::Outcome,
    request::{header, job_token, now, path_uuid},
};

/// Takes the file or answers where it goes. Both need a token of the job or of this file.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let job_id = path_uuid(&request, "job_id");
    let claims = app.job_tokens()?.verify(job_token(&request)?, job_id, now(&request)).await?;
    match header(&request, "content-type") {
        Some(kind) if is_json(kind) => renew::handle(app, &request, claims).await,
        _ => form::handle(app, request, claims).await,
    }
}

/// Whether a media type, whose case does not matter, is JSON's.
fn is_json(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The job and its file `path`, while the miner may still send it. A file token opens its own file only.
async fn expected_file(app: &App, claims: &JobClaims, path: &str) -> Result<(Job, OutputFile)> {
    if claims.filename.as_ref().is_some_and(|only| only != path) {
        return Err(Error::unauthorized("Missing or invalid JWT"));
    }
    let job = app.jobs.get(claims.sub).await?.ok_or_else(|| Job::not_found(&claims.sub.to_string()))?;
    let job = job.held_by(claims.att)?;
    let file = job.output_file(path)?.clone();
    if job.terminal { Err(already_finished()) } else { Ok((job, file)) }
}

/// The job after a change that only a running upload may make.
fn changed(outcome: Outcome, claims: &JobClaims) -> Result<Job> {
    match outcome {
        Outcome::Changed(job) => Ok(*job),
        Outcome::Refused(job) => Err(job.held_by(claims.att).err().unwrap_or_else(already_finished)),
        Outcome::Gone => Err(Job::not_found(&claims.sub.to_string())),
    }
}

fn already_finished() -> Error {
    Error::BadRequest("Job already finished".to_owned())
}
