//! `PUT /jobs/{job_id}/heartbeat?token=`: a miner says that it is alive, and how far it is.

use std::collections::BTreeMap;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    auth::JobClaims,
    http::{Fields, object, reply, request::now},
    model::{Chunk, Job, lease, log::LARGEST_CHUNK, pace},
    outputs::LogTarget,
    time::{Timestamp, rfc3339, rfc3339_option},
};
use utoipa::ToSchema;

/// Bytes of the largest request body: 4 KiB.
const BODY_LIMIT: usize = 4 << 10;
/// Steps from 0 to 1 that a progress is told in.
const PRECISION: f64 = 10_000.0;

/// A sign of life. The first one opts in to a short lease.
#[derive(ToSchema)]
pub struct Heartbeat {
    /// How far the job is.
    #[schema(minimum = 0, maximum = 1)]
    progress: Option<f64>,
    /// Bytes of the next chunk of what the job prints. The answer's `log` says where to put it.
    #[schema(minimum = 1, maximum = 1048576)]
    log_bytes: Option<u64>,
}

/// How long the miner holds the job.
#[derive(Serialize, ToSchema)]
pub struct Lease {
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
    /// When the next heartbeat is due. Sooner ones are taken as well. Null: there need be none.
    #[serde(serialize_with = "rfc3339_option")]
    next_heartbeat_at: Option<Timestamp>,
    /// The miner should stop. What it reports before `lease_expires_at` is kept; where that is null, nothing that it reports will count.
    cancelled: bool,
    /// Where to put the log's chunk, when the heartbeat said `log_bytes`. Null when the attempt's log is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Option<LogUpload>>,
}

/// Where to put a chunk of a log, once.
#[derive(Serialize, ToSchema)]
pub struct LogUpload {
    #[schema(value_type = String)]
    method: &'static str,
    url: String,
    /// To be sent as they are.
    #[schema(value_type = BTreeMap<String, String>)]
    headers: BTreeMap<&'static str, String>,
    /// The PUT has to begin by then. Later, another heartbeat tells another place.
    #[serde(serialize_with = "rfc3339")]
    expires_at: Timestamp,
}

/// Extends the lease, in a row beside the job: one round trip to the database and one write unit, however much the job carries. Where
/// the row refuses, and past the deadline, the job tells why; and of one that has a log it is read, beside the write, for where that goes.
/// An attempt's first one, where it is late, also has the reaper look at the job in time.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/heartbeat",
    operation_id = "heartbeat-job",
    tag = "miner",
    summary = "Hold the job, tell the progress",
    description = "A miner that sends heartbeats has to go on: at `lease_expires_at` the job goes to another miner. \
                   `next_heartbeat_at` is after a twentieth of the time since the claim, 30 seconds to 5 minutes, and the lease is \
                   three times as long. While files are uploaded the job is held for as long as an upload URL of that moment \
                   works. With `log_bytes` the answer has `log`: where to PUT the next chunk of what the job prints, of exactly so \
                   many bytes. An attempt may have 100 MiB of them. A heartbeat after the miner's own report or end of the job may be answered 200, and changes nothing of it.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A claimed job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = Heartbeat, description = "At most 4 KiB. May be empty."),
    responses(
        (status = 200, description = "The lease. `cancelled`: stop, and report before the lease ends what there is.", body = Lease),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_claims(&request, now).await?;
    let Heartbeat { progress, log_bytes } = Heartbeat::read(&request)?;
    let window = app.config.upload_window;
    let mut deadline = Some(claims.deadline(window));
    if deadline <= Some(now) {
        // Uploads may go on, and the deployment's upload window may have changed since the token was made.
        let job = held(app, &claims).await?;
        if job.report.is_none() && (job.terminal || job.deadline_at.is_none_or(|deadline| deadline <= now)) {
            // The reaper is about to take the job back, or it was ended.
            return Ok(stop(&job));
        }
        deadline = job.deadline_at.filter(|_| job.report.is_none());
    }
    let age = now.seconds() - claims.claimed_at().seconds();
    let held_for = pace::lease(age);
    let until = now.plus_seconds(held_for);
    let mut beat = lease::Heartbeat {
        attempt: claims.att,
        now,
        lease_expires_at: deadline.map_or(until, |deadline| deadline.min(until)),
        uploads_until: now.plus_seconds(window.max(held_for)),
        tokens_end: claims.ends_at(),
        is_late: age >= pace::LATE,
        progress,
        log_bytes,
    };
    // Only a log needs to know where the job's objects are.
    let job = async {
        match log_bytes {
            Some(_) => app.jobs.get(claims.sub).await,
            None => Ok(None),
        }
    };
    let (beaten, job) = tokio::join!(app.jobs.heartbeat(claims.sub, &mut beat), job);
    match beaten? {
        Some(row) => {
            let keys = job?.map(|job| job.file_keys());
            let cancelled = row.cancelled == Some(claims.att);
            let next = pace::heartbeat(if cancelled { 0 } else { age });
            let next_heartbeat_at = Some(now.plus_seconds(next));
            let log = match (keys, beat.log_bytes) {
                (Some(keys), Some(bytes)) => {
                    let chunk = Chunk { attempt: claims.att, end: row.log_bytes.unwrap_or(bytes), at: now };
                    Some(app.log_places()?.put(&keys, &chunk, bytes)?)
                }
                _ => None,
            };
            let log = log_bytes.map(|_| log.map(LogUpload::from));
            let lease = Lease { lease_expires_at: row.lease_expires_at, next_heartbeat_at, cancelled, log };
            Ok(reply::json(200, &lease))
        }
        None => {
            let job = held(app, &claims).await?;
            if job.terminal {
                return Ok(stop(&job));
            }
            Err(Error::unavailable(
                "heartbeat",
                format!("the row of attempt {} refuses, and the job does not", job.attempt),
            ))
        }
    }
}

impl From<LogTarget> for LogUpload {
    fn from(LogTarget { url, headers, expires_at }: LogTarget) -> Self {
        Self { method: "PUT", url, headers, expires_at }
    }
}

fn stop(job: &Job) -> Response<Body> {
    let lease_expires_at = job.deadline_at.filter(|_| !job.terminal);
    reply::json(200, &Lease { lease_expires_at, next_heartbeat_at: None, cancelled: true, log: None })
}

/// The job, which the token's attempt held last. 404 when it is gone, 401 when the attempt was taken from the miner, 400 when it ended
/// after its report.
async fn held(app: &App, claims: &JobClaims) -> Result<Job> {
    let job = app.jobs.get(claims.sub).await?.ok_or_else(|| Error::no_job(claims.sub))?;
    let job = job.held_by(claims.att)?;
    if job.terminal && job.report.is_some() { Err(Error::already_finished()) } else { Ok(job) }
}

impl Heartbeat {
    fn read(request: &Request) -> Result<Self> {
        let mut fields = Fields::new(object(request, BODY_LIMIT)?);
        let progress = fields.optional("progress", "a number from 0 to 1", |raw| {
            serde_json::from_str::<f64>(raw.get()).ok().filter(|progress| (0.0..=1.0).contains(progress))
        });
        let log_bytes = fields.optional("log_bytes", "an integer from 1 to 1048576", |raw| {
            // JSON has one kind of number: 5.0 is 5.
            let bytes = serde_json::from_str::<f64>(raw.get()).ok().filter(|bytes| bytes.fract() == 0.0)?;
            Some(bytes as u64).filter(|bytes| (1..=LARGEST_CHUNK).contains(bytes))
        });
        fields.end()?;
        // DynamoDB has no numbers as small as JSON may have.
        Ok(Self { progress: progress.map(|progress| (progress * PRECISION).round() / PRECISION), log_bytes })
    }
}
