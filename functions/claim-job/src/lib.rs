//! `PUT /jobs/{job_id}/claim`: a miner takes a pending job.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    App, Error, Result,
    auth::Caller,
    error::Invalid,
    job::{Instance, Job, PortMapping},
    job_token::{JobClaims, JobTokenKeys},
    jobs::Outcome,
    lifecycle::{self, Claim, Status},
    metrics::Metric,
    read::Read,
    reply,
    request::{Object, api_base, now, object, path, path_uuid},
    time::{Timestamp, rfc3339_option},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of the largest request body: 16 KiB. The item has room for the instance beside a whole report.
const BODY_LIMIT: usize = 16 << 10;

/// What a miner's client needs to run the job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobAssignment)]
pub struct Output<'a> {
    job_id: Uuid,
    /// Which of the chute's jobs.
    job_method: &'a str,
    /// The job's arguments.
    #[schema(value_type = Object)]
    job_data: &'a RawValue,
    /// The job's own routes begin with this address, which holds the job token.
    job_status_url: String,
    attempt: u32,
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
}

/// Claims the job for the caller. One winner; who has won it may ask again.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.credentials(&request)?;
    let job_id = path_uuid(&request, "job_id");
    let mut read = Read::default();
    if let Some(job_id) = job_id {
        read.job(job_id);
    }
    let (read, keys) = tokio::join!(read.with_caller(app, credentials, |_, _| ()), app.job_tokens()?.keys_at(now));
    let (caller, found) = read?;
    caller.require_miner()?;
    let job = found.job()?.ok_or_else(|| not_found(&request))?;
    let instance = instance(object(&request, BODY_LIMIT)?, &job)?;
    // Without keys the miner would hold a job that it gets no token for.
    let keys = keys?;

    let once = caller.signature.as_ref();
    let job = match check(&job, &caller)? {
        Claimed::ByCaller => {
            app.jobs.spend_on_repeat(once, job.job_id).await?;
            job
        }
        Claimed::ByNobody => {
            let miner = caller.miner();
            let claim = Claim {
                miner: &miner,
                hotkey: caller.hotkey.as_deref(),
                instance: Some(instance.to_attribute()?),
                now,
                deadline: now.plus_seconds(job.longest_run() + app.config.upload_window),
            };
            match app.jobs.change_once(&job, lifecycle::claim(&job, &claim), once, "claim job").await? {
                Outcome::Changed(claimed) => {
                    app.metrics.add(Metric::JobsClaimed, 1);
                    app.metrics.longest(Metric::QueueAge, job.updated_at, now);
                    *claimed
                }
                // Lost to another miner, or won by an earlier try whose answer was lost.
                Outcome::Refused(job) if job.deleted_at.is_none() => match check(&job, &caller)? {
                    Claimed::ByCaller => {
                        // The refused transaction has not remembered this signature.
                        app.jobs.spend_on_repeat(once, job.job_id).await?;
                        *job
                    }
                    Claimed::ByNobody => return Err(Error::busy("claim job", "the job changed meanwhile")),
                },
                Outcome::Refused(_) | Outcome::Gone => return Err(not_found(&request)),
            }
        }
    };
    assignment(app, &request, &job, &keys)
}

enum Claimed {
    ByCaller,
    ByNobody,
}

/// Who has the job; an error when it is not, and will not be, the caller's.
fn check(job: &Job, caller: &Caller) -> Result<Claimed> {
    let miner = caller.miner();
    let held = matches!(job.status, Status::Running | Status::CompletePendingUploads) || job.report.is_some();
    if held && !job.terminal && job.miner.as_ref() == Some(&miner) {
        return Ok(Claimed::ByCaller);
    }
    if job.lost_by.contains(&miner) {
        let detail = format!("Your hotkey has already attempted to claim job_id='{}'", job.job_id);
        return Err(Error::Forbidden(detail));
    }
    if job.status != Status::Pending {
        return Err(Error::Conflict(format!("Job {} has already been claimed by another miner!", job.job_id)));
    }
    Ok(Claimed::ByNobody)
}

fn not_found(request: &Request) -> Error {
    Error::NotFound(format!("job_id='{}' not found!", path(request, "job_id")))
}

fn assignment(app: &App, request: &Request, job: &Job, keys: &JobTokenKeys) -> Result<Response<Body>> {
    let claims = JobClaims::of_attempt(job, app.config.upload_window)
        .ok_or_else(|| Error::internal("claim job", "a claimed job without a deadline"))?;
    let token = keys.sign(&claims)?;
    let data: &RawValue =
        serde_json::from_str(&job.job_args).map_err(|error| Error::internal("claim job: arguments", error))?;
    let output = Output {
        job_id: job.job_id,
        job_method: &job.method,
        job_data: data,
        job_status_url: format!("{}/jobs/{}?token={token}", api_base(request, &app.config), job.job_id),
        attempt: job.attempt,
        lease_expires_at: job.lease_expires_at.or(job.deadline_at),
    };
    Ok(reply::json(200, &output))
}

/// Where the miner says it runs the job. 422 names every field that is wrong, and every port that is not covered.
fn instance(body: Object, job: &Job) -> Result<Instance> {
    let mut errors = Vec::new();
    let input = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_default();
    let mut text = |field: &'static str| -> Option<String> {
        let raw = body.get(field)?;
        serde_json::from_str::<Option<String>>(raw.get()).unwrap_or_else(|_| {
            let loc = vec!["body".into(), field.into()];
            errors.push(Invalid::kind("string_type", loc, "Input should be a valid string", input(raw)));
            None
        })
    };
    let (instance_id, region, host) = (text("instance_id"), text("region"), text("host"));
    let mappings = match body.get("port_mappings") {
        None => None,
        Some(raw) => serde_json::from_str::<Option<Vec<PortMapping>>>(raw.get()).unwrap_or_else(|_| {
            let loc = vec!["body".into(), "port_mappings".into()];
            let message = "Input should be a list of objects with internal_port, external_port and proto";
            errors.push(Invalid::value(loc, message, input(raw)));
            None
        }),
    };
    if errors.is_empty() {
        for port in &job.ports {
            let covered = mappings.iter().flatten().any(|it| it.internal_port == port.port && it.proto == port.proto);
            if !covered {
                let loc = vec!["body".into(), "port_mappings".into()];
                let message = format!("Port {}/{} is not mapped", port.port, port.proto);
                errors.push(Invalid::value(loc, message, serde_json::Value::Null));
            }
        }
    }
    if errors.is_empty() {
        Ok(Instance { instance_id, region, host, port_mappings: mappings })
    } else {
        Err(Error::Invalid(errors))
    }
}
