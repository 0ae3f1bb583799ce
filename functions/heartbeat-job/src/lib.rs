//! `PUT /jobs/{job_id}/heartbeat?token=`: a miner says that it is alive, and how far it is.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    error::Invalid,
    job::Job,
    jobs::Outcome,
    lifecycle, reply,
    request::{job_token, now, object, path_uuid},
    time::{Timestamp, rfc3339_option},
};
use utoipa::ToSchema;

/// Bytes of the largest request body: 4 KiB.
const BODY_LIMIT: usize = 4 << 10;

/// Steps from 0 to 1 that a progress is told in.
const PRECISION: f64 = 10_000.0;

/// How long the miner holds the job.
#[derive(Serialize, ToSchema)]
#[schema(as = Lease)]
pub struct Output {
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
    /// The miner should stop: nothing that it reports will count.
    cancelled: bool,
}

/// Moves the job's lease. One round trip to the database; two while files are uploaded.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_tokens()?.verify(job_token(&request)?, path_uuid(&request, "job_id"), now).await?;
    let claims = claims.for_job()?;
    let alive = lifecycle::heartbeat(claims.sub, claims.att, progress(&request)?, now);
    let job = match app.jobs.change(claims.sub, alive, "heartbeat: UpdateItem").await? {
        Outcome::Changed(job) => return Ok(held(&job)),
        Outcome::Refused(job) => job.held_by(claims.att)?,
        Outcome::Gone => return Err(Job::not_found(&claims.sub.to_string())),
    };
    if job.terminal {
        return Err(Error::BadRequest("Job already finished".to_owned()));
    }
    if job.report.is_none() {
        // Past its deadline: the reaper is about to take the job back.
        return Ok(reply::json(200, &Output { lease_expires_at: job.lease_expires_at, cancelled: true }));
    }
    let uploading = lifecycle::hold_while_uploading(claims.sub, claims.att, now, app.config.upload_window);
    match app.jobs.change(claims.sub, uploading, "heartbeat: UpdateItem").await? {
        Outcome::Changed(job) => Ok(held(&job)),
        Outcome::Refused(job) => {
            job.held_by(claims.att)?;
            Err(Error::BadRequest("Job already finished".to_owned()))
        }
        Outcome::Gone => Err(Job::not_found(&claims.sub.to_string())),
    }
}

fn held(job: &Job) -> Response<Body> {
    reply::json(200, &Output { lease_expires_at: job.lease_expires_at, cancelled: false })
}

/// `progress`, 0 to 1, when the miner tells.
fn progress(request: &Request) -> Result<Option<f64>> {
    let body = object(request, BODY_LIMIT)?;
    let Some(raw) = body.get("progress").map(|raw| raw.get()).filter(|text| *text != "null") else { return Ok(None) };
    match serde_json::from_str::<f64>(raw) {
        // DynamoDB has no numbers as small as JSON may have.
        Ok(progress) if (0.0..=1.0).contains(&progress) => Ok(Some((progress * PRECISION).round() / PRECISION)),
        _ => {
            let loc = vec!["body".into(), "progress".into()];
            let input = serde_json::from_str(raw).unwrap_or_default();
            Err(Invalid::value(loc, "Input should be a number from 0 to 1", input).into())
        }
    }
}
