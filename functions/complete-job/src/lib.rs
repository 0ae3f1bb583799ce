//! `PUT /jobs/{job_id}?token=`: a miner says that its uploads are done.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    check::{check_files, tidy},
    job::Job,
    jobs::Outcome,
    lifecycle, reply,
    request::{job_token, now, path_uuid},
};

/// Checks every expected file in S3 and makes the job terminal. Two round trips to the database, a listing, and a look at each
/// file that nobody declared. Repeating it goes on, and in the end gives the same job.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_tokens()?.verify(job_token(&request)?, path_uuid(&request, "job_id"), now).await?;
    let claims = claims.for_job()?;
    let job = app.jobs.get(claims.sub).await?.ok_or_else(|| Job::not_found(&claims.sub.to_string()))?;
    let mut job = job.held_by(claims.att)?;
    if job.report.is_none() {
        return Err(Error::BadRequest("Job has not reported a result yet".to_owned()));
    }
    if !job.terminal {
        let seen = check_files(app.outputs()?, &mut job, app.config.multipart_threshold).await?;
        let transition = lifecycle::complete(&job, now)?;
        job = match app.jobs.change(claims.sub, transition, "complete job: UpdateItem").await? {
            Outcome::Changed(job) => {
                app.metrics.ended(&job);
                *job
            }
            // Completed by an earlier try whose answer was lost.
            Outcome::Refused(job) => job.held_by(claims.att)?,
            Outcome::Gone => return Err(Job::not_found(&claims.sub.to_string())),
        };
        tidy(app.outputs()?, seen, &job).await;
    }
    Ok(reply::job(&job.response(None)?))
}
