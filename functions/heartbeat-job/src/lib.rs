//! `PUT /jobs/{job_id}/heartbeat?token=`: a miner says that it is alive, and how far it is.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    http::{Fields, object, reply, request::now},
    model::lifecycle,
    tables::jobs::Change,
    time::{Timestamp, rfc3339_option},
};
use utoipa::ToSchema;

/// Bytes of the largest request body: 4 KiB.
const BODY_LIMIT: usize = 4 << 10;
/// Steps from 0 to 1 that a progress is told in.
const PRECISION: f64 = 10_000.0;

/// A sign of life. The first one opts in to a short lease: 90 seconds after each.
#[derive(ToSchema)]
pub struct Heartbeat {
    /// How far the job is.
    #[schema(minimum = 0, maximum = 1)]
    progress: Option<f64>,
}

/// How long the miner holds the job.
#[derive(Serialize, ToSchema)]
pub struct Lease {
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
    /// The miner should stop: nothing that it reports will count.
    cancelled: bool,
}

/// Moves the job's lease. One round trip to the database; two while files are uploaded.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/heartbeat",
    operation_id = "heartbeat-job",
    tag = "miner",
    summary = "Hold the job, tell the progress",
    description = "A miner that sends heartbeats has to go on: the lease ends 90 seconds after each, and the job goes to another \
                   miner then. While files are uploaded it ends as late as an upload URL of that moment.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A claimed job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = Heartbeat, description = "At most 4 KiB. May be empty."),
    responses(
        (status = 200, description = "The lease. `cancelled`: stop, nothing will count.", body = Lease),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_claims(&request, now).await?;
    let Heartbeat { progress } = Heartbeat::read(&request)?;
    let (job_id, attempt) = (claims.sub, claims.att);
    let alive = lifecycle::heartbeat(job_id, attempt, progress, now);
    let job = match app.jobs.change_attempt(job_id, attempt, alive, "heartbeat: UpdateItem").await? {
        Change::Made(job) => return Ok(lease(job.lease_expires_at, false)),
        Change::Refused(job) => job,
    };
    if job.report.is_none() {
        // Past its deadline, when the reaper is about to take the job back; or somebody else has ended it.
        return Ok(lease(job.lease_expires_at, true));
    }
    if job.terminal {
        return Err(Error::already_finished());
    }
    let uploading = lifecycle::hold_while_uploading(job_id, attempt, now, app.config.upload_window);
    match app.jobs.change_attempt(job_id, attempt, uploading, "heartbeat: UpdateItem").await? {
        Change::Made(job) => Ok(lease(job.lease_expires_at, false)),
        Change::Refused(_) => Err(Error::already_finished()),
    }
}

fn lease(lease_expires_at: Option<Timestamp>, cancelled: bool) -> Response<Body> {
    reply::json(200, &Lease { lease_expires_at, cancelled })
}

impl Heartbeat {
    fn read(request: &Request) -> Result<Self> {
        let mut fields = Fields::new(object(request, BODY_LIMIT)?);
        let progress = fields.optional("progress", "a number from 0 to 1", |raw| {
            serde_json::from_str::<f64>(raw.get()).ok().filter(|progress| (0.0..=1.0).contains(progress))
        });
        fields.end()?;
        // DynamoDB has no numbers as small as JSON may have.
        Ok(Self { progress: progress.map(|progress| (progress * PRECISION).round() / PRECISION) })
    }
}
