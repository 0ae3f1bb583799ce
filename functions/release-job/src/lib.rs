//! `PUT /jobs/{job_id}/release?token=`: a miner gives a running job back.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    http::{Fields, object, reply, request::now},
    metrics::Metric,
    model::{Job, lifecycle, log::logged},
    tables::jobs::Outcome,
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of the largest request body: 4 KiB.
const BODY_LIMIT: usize = 4 << 10;
/// Writes that are tried. A job that has changed since it was read may still be released; nobody changes it again and again.
const TRIES: usize = 3;

/// Why the job comes back.
#[derive(ToSchema)]
pub struct Release {
    /// For the operator's log. Without control characters.
    reason: Option<String>,
    /// The attempt has sent a log, as in a report.
    logs: Option<bool>,
}

/// The job is no longer the miner's.
#[derive(Serialize, ToSchema)]
pub struct Released {
    released: bool,
    job_id: Uuid,
}

/// Gives the job back: a read, which tells where it waits, and one conditional write.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/release",
    operation_id = "release-job",
    tag = "miner",
    summary = "Give a running job back",
    description = "The job is pending at once, and the attempt does not count: the miner is shut down, or has not the hardware. The \
                   account is answered 403 when it claims the job again in the next 5 minutes. After the report it is too late.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A running job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = Release, description = "At most 4 KiB. May be empty."),
    responses(
        (status = 200, description = "The job waits for another miner, or it was given back before.", body = Released),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_claims(&request, now).await?;
    let Release { reason, logs } = Release::read(&request)?;
    let not_found = || Error::no_job(claims.sub);
    let mut job = app.jobs.get(claims.sub).await?.ok_or_else(not_found)?;
    for _ in 0..TRIES {
        if was_released(&job, claims.att)? {
            return Ok(reply::json(200, &Released { released: true, job_id: job.job_id }));
        }
        app.jobs.ring_for(&job, now).await?;
        let change = logged(lifecycle::release(&job, now), logs == Some(true));
        match app.jobs.change(job.job_id, change, "release job: UpdateItem").await? {
            Outcome::Changed(after) => {
                tracing::info!(job.id = %after.job_id, attempt = claims.att, reason, "a miner gave the job back");
                app.metrics.add(Metric::JobsReleased, 1);
                after.count_end(&app.metrics);
                job = *after;
            }
            Outcome::Refused(changed) => job = *changed,
            Outcome::Gone => return Err(not_found()),
        }
    }
    Err(Error::unavailable("release job", "it changed each time"))
}

/// Whether the attempt was given back before. An error when it cannot be any more.
fn was_released(job: &Job, attempt: u32) -> Result<bool> {
    if job.deleted_at.is_none() && job.released == Some(attempt) {
        return Ok(true);
    }
    let job = job.clone().held_by(attempt)?;
    if job.terminal || job.report.is_some() { Err(Error::already_finished()) } else { Ok(false) }
}

impl Release {
    fn read(request: &Request) -> Result<Self> {
        let mut fields = Fields::new(object(request, BODY_LIMIT)?);
        let reason = fields.optional("reason", "a string without control characters", |raw| {
            let reason: Option<String> = serde_json::from_str(raw.get()).ok();
            reason.filter(|reason| !reason.chars().any(char::is_control))
        });
        let logs = fields.optional("logs", "true or false", |raw| serde_json::from_str(raw.get()).ok());
        fields.end()?;
        Ok(Self { reason, logs })
    }
}
