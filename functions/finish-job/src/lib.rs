//! `POST /jobs/{job_id}?token=`: a miner reports its result and gets upload targets.

mod input;

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    job::Job,
    jobs::Outcome,
    lifecycle::{self, Report},
    reply,
    request::{api_base, job_token, now, path, path_uuid},
    uploads,
};

use crate::input::Input;

/// Stores the report and answers with a presigned URL per file. One round trip to the database; presigning is offline.
/// Repeating the same report gives fresh URLs and forgets nothing.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_tokens()?.verify(job_token(&request)?, path_uuid(&request, "job_id"), now).await?;
    let claims = claims.for_job()?;
    let input = Input::parse(&request, claims.sub)?;
    let digest = input.digest()?;
    let report = Report {
        status: input.status,
        result: input.result.as_deref(),
        detail: input.detail.as_deref(),
        files: input.files,
        digest: &digest,
        now,
    };
    let window = app.config.upload_window;
    let upload_until = claims.deadline(window).max(now.plus_seconds(window));
    let transition = lifecycle::finish(claims.sub, claims.att, upload_until, report)?;
    let (job, repeated) = match app.jobs.change(claims.sub, transition, "finish job: UpdateItem").await? {
        Outcome::Changed(job) => {
            app.metrics.ended(&job);
            (*job, false)
        }
        Outcome::Refused(job) => {
            let job = job.held_by(claims.att)?;
            if job.report.as_ref() != Some(&digest) {
                return Err(Error::BadRequest("Job already finished".to_owned()));
            }
            (uploads::hold(app, job, &claims, now).await?, true)
        }
        Outcome::Gone => return Err(Job::not_found(path(&request, "job_id"))),
    };
    let uploads = uploads::targets(app, &job, &claims, &api_base(&request, &app.config), repeated).await?;
    let mut answer = job.response(Some(&uploads))?;
    let response = reply::job(&answer);
    if reply::fits(&response) {
        return Ok(response);
    }
    // Long names. Route 5 gives the targets one by one.
    answer.uploads = None;
    Ok(reply::job(&answer))
}
