//! `PUT /jobs/{job_id}?token=`: a miner says that its uploads are done.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Check, Error, Result,
    auth::JobClaims,
    http::{JobResponse, request::now},
    model::{Job, PayloadKind, lifecycle},
    outputs::tidy,
    tables::jobs::Change,
    time::Timestamp,
};

/// Seconds after which whoever is not alone with a job is to ask again: most checks have ended by then.
const LOOK_AGAIN: i64 = 5;

/// Checks every expected file in S3 and makes the job terminal. Two round trips to the database, or three where the check is so much work
/// that one at a time does it. Repeating it goes on, and in the end gives the same job.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}",
    operation_id = "complete-job",
    tag = "miner",
    summary = "Have the uploads checked",
    description = "Every file that was reported is looked for; then the job is terminal: `complete`, or `partial_failure` when \
                   files are missing. The body is ignored. 503 means that checking goes on where it stopped when repeated, or \
                   that another request is at it: `Retry-After` tells when to look again.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A job that was reported."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    responses(
        (status = 200, description = "The job.", body = JobResponse<'_>),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_claims(&request, now).await?;
    let payloads = app.payloads()?;
    let job = app.jobs.get(claims.sub).await?.ok_or_else(|| Error::no_job(claims.sub))?;
    if job.has_failed(claims.att) {
        // It is tried again; whoever reports an error need not know.
        return payloads.answer_to_miner(&request, &job, None).await;
    }
    let mut job = app.with_held_payloads(job.held_by(claims.att)?, &claims, &[PayloadKind::Files]).await?;
    if job.report.is_none() {
        return Err(Error::BadRequest("Job has not reported a result yet".to_owned()));
    }
    if !job.terminal {
        let begin = lifecycle::begin_check(&job, now);
        let (checked, seen) = match app.check(job, begin, now, None).await? {
            Check::Done(checked, seen) => (checked, seen),
            Check::Refused(job) => {
                has_ended(job.held_by(claims.att)?, now)?;
                let job = app.held_job_with(&claims, &[PayloadKind::Files]).await?;
                return payloads.answer_to_miner(&request, &job, None).await;
            }
        };
        let ended = end(app, &claims, &checked, now).await;
        if !matches!(&ended, Ok(job) if job.terminal) && checked.checked_for(now).is_some() {
            let give_up = lifecycle::give_up_check(&checked, now);
            // That it could not is as good: the repeat waits until the time of this check is over.
            let _ = app.jobs.change(claims.sub, give_up, "give up check: UpdateItem").await;
        }
        job = ended?;
        tidy(app.bucket()?, seen, &job).await;
    }
    payloads.answer_to_miner(&request, &job, None).await
}

/// Ends the job as it was checked.
async fn end(app: &App, claims: &JobClaims, checked: &Job, now: Timestamp) -> Result<Job> {
    let payloads = app.payloads()?;
    let (listed, recorded) = payloads.record_files(checked).await?;
    let transition = lifecycle::as_listed(lifecycle::complete(&listed, now)?, checked)?;
    let change = app.jobs.change_attempt(claims.sub, claims.att, transition, "complete job: UpdateItem").await;
    match payloads.settle(&listed, &recorded, change).await? {
        Change::Made(job) => {
            job.count_end(&app.metrics);
            Ok(job)
        }
        // Completed by an earlier try whose answer was lost.
        Change::Refused(job) if job.terminal => Ok(job),
        // A file was declared, or came as a form, since the job was read: the repeat goes by that.
        Change::Refused(_) => Err(Error::Busy { retry_after: 1 }),
    }
}

/// 503 while somebody else checks the same files.
fn has_ended(job: Job, now: Timestamp) -> Result<()> {
    let left = job.checked_for(now).unwrap_or(1);
    if job.terminal { Ok(()) } else { Err(Error::Busy { retry_after: left.min(LOOK_AGAIN) }) }
}
