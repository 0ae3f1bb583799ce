//! `PUT /jobs/{job_id}/claim`: a miner takes a pending job.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    App, Error, Result,
    auth::{Caller, JobClaims, JobTokenKeys},
    error::Invalid,
    http::{
        Fields, object, reply,
        request::{api_base, header, now, path},
    },
    metrics::Metric,
    model::{
        Instance, Job, PayloadKind, Port, PortMapping, Status,
        lifecycle::{self, Claim},
    },
    tables::jobs::Outcome,
    time::{Timestamp, rfc3339_option},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of the largest request body: 16 KiB. The item has room for the instance beside a whole report.
const BODY_LIMIT: usize = 16 << 10;

/// Characters of the longest name of a worker.
const LONGEST_WORKER: usize = 64;

/// Who of the miner's runs the job, and where.
#[derive(ToSchema)]
#[schema(as = Claim)]
pub struct ClaimBody {
    /// Which of the miner's processes asks: the job is this one's alone, though others have the same key.
    #[schema(min_length = 1, max_length = 64)]
    worker: Option<String>,
    /// The miner's name for the instance.
    instance_id: Option<String>,
    /// Where on earth.
    region: Option<String>,
    /// How to reach it.
    host: Option<String>,
    /// Has to cover the ports that the job asks for.
    port_mappings: Option<Vec<PortMapping>>,
}

/// What a miner's client needs to run the job.
#[derive(Serialize, ToSchema)]
pub struct JobAssignment<'a> {
    job_id: Uuid,
    /// Which of the chute's jobs.
    job_method: &'a str,
    /// The job's arguments. Null where `job_data_url` says where they are.
    #[schema(value_type = Option<Object>)]
    job_data: Option<&'a RawValue>,
    /// Where the arguments are, for 15 minutes, when they would make the answer too long; never when the client takes gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_data_url: Option<String>,
    /// The job's own routes begin with this address, which holds the job token.
    job_status_url: String,
    attempt: u32,
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
}

/// Claims the job for the caller. One winner; who has won it may ask again.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/claim",
    operation_id = "claim-job",
    tag = "miner",
    summary = "Claim a job",
    description = "One miner wins; it may ask again, as the same `worker`. `job_status_url` carries the job token that opens the job's \
                   own routes. An account that lost the job may have it again 5 minutes after the requeue.",
    params(("job_id" = Uuid, Path, description = "A pending job.")),
    request_body(content = ClaimBody, description = "At most 16 KiB. May be empty."),
    responses(
        (status = 200, description = "The job is the caller's.", body = JobAssignment<'_>),
        (status = 401), (status = 403), (status = 404), (status = 409), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.credentials(&request)?;
    let (read, keys) = tokio::join!(app.caller_and_job(credentials, &request), app.job_tokens()?.keys_at(now));
    let (caller, job) = read?;
    caller.require_miner()?;
    let not_found = || Error::no_job(path(&request, "job_id"));
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(not_found)?;
    let (worker, instance) = ClaimBody::read(&request, &job)?;
    let worker = worker.as_deref();
    // Without keys the miner would hold a job that it gets no token for.
    let keys = keys?;

    let guard = caller.guard.as_ref();
    let job = match check(&job, &caller, worker, now)? {
        Claimed::ByCaller => {
            app.jobs.guard_repeat(guard, job.job_id).await?;
            job
        }
        Claimed::ByNobody => {
            let (miner, payloads) = (caller.miner(), app.payloads()?);
            let deadline = now.plus_seconds(job.longest_run() + app.config.upload_window);
            let mut job = job;
            let put = payloads.renew_arguments(&mut job, now, deadline).await?;
            let claim = Claim {
                miner: &miner,
                account: caller.user.user_id,
                worker,
                hotkey: caller.hotkey.as_deref(),
                instance: Some(instance),
                arguments: put.as_ref(),
                now,
                deadline,
            };
            let claimed = app.jobs.change_once(&job, lifecycle::claim(&job, &claim)?, guard, "claim job").await;
            payloads.settle_put(&job.file_keys(), put.as_ref(), claimed.as_ref().map(Outcome::refused)).await;
            match claimed? {
                Outcome::Changed(mut claimed) => {
                    if let Some(text) = put.and_then(|put| put.text) {
                        claimed.set_loaded(PayloadKind::Arguments, text)?;
                    }
                    app.metrics.add(Metric::JobsClaimed, 1);
                    app.metrics.longest(Metric::QueueAge, job.updated_at, now);
                    *claimed
                }
                // Lost to another miner, or won by an earlier try whose answer was lost.
                Outcome::Refused(job) if job.deleted_at.is_none() => match check(&job, &caller, worker, now)? {
                    Claimed::ByCaller => {
                        // The refused transaction has not remembered this signature.
                        app.jobs.guard_repeat(guard, job.job_id).await?;
                        *job
                    }
                    Claimed::ByNobody => return Err(Error::unavailable("claim job", "the job changed meanwhile")),
                },
                Outcome::Refused(_) | Outcome::Gone => return Err(not_found()),
            }
        }
    };
    assignment(app, &request, job, &keys).await
}

enum Claimed {
    ByCaller,
    ByNobody,
}

/// Who has the job; an error when it is not, and will not be, the caller's. Workers that share a key are as different as miners.
fn check(job: &Job, caller: &Caller, worker: Option<&str>, now: Timestamp) -> Result<Claimed> {
    let miner = caller.miner();
    let held = matches!(job.status, Status::Running | Status::CompletePendingUploads) || job.report.is_some();
    let by_caller = job.miner.as_ref() == Some(&miner) && job.worker.as_deref() == worker;
    if held && !job.terminal && by_caller {
        return Ok(Claimed::ByCaller);
    }
    if lifecycle::is_withheld(job, caller.user.user_id, &miner, now) {
        let detail = format!("Your hotkey has already attempted to claim job_id='{}'", job.job_id);
        return Err(Error::Forbidden(detail));
    }
    if job.status != Status::Pending {
        return Err(Error::Conflict(format!("Job {} has already been claimed by another miner!", job.job_id)));
    }
    Ok(Claimed::ByNobody)
}

/// What the winner gets. Only the winner has the arguments read for it.
async fn assignment(app: &App, request: &Request, mut job: Job, keys: &JobTokenKeys) -> Result<Response<Body>> {
    let payloads = app.payloads()?;
    load_arguments(app, &mut job, now(request)).await?;
    let claims = JobClaims::of_attempt(&job, app.config.upload_window)
        .ok_or_else(|| Error::internal("claim job", "a claimed job without a deadline"))?;
    let token = keys.sign(&claims)?;
    let data = job.job_args.text().map(serde_json::from_str).transpose();
    let mut assignment = JobAssignment {
        job_id: job.job_id,
        job_method: &job.method,
        job_data: data.map_err(|error| Error::internal("claim job: arguments", error))?,
        job_data_url: None,
        job_status_url: format!("{}/jobs/{}?token={token}", api_base(request, &app.config), job.job_id),
        attempt: job.attempt,
        lease_expires_at: job.lease_expires_at.or(job.deadline_at),
    };
    if let Some(answer) = reply::fitted(reply::json(200, &assignment), header(request, "accept-encoding")) {
        return Ok(answer);
    }
    assignment.job_data_url = payloads.url(&job, PayloadKind::Arguments).await?;
    if assignment.job_data_url.is_some() {
        assignment.job_data = None;
    }
    Ok(reply::at_last(reply::json(200, &assignment)))
}

/// Without its arguments nobody can run the job. It ends here: else miner after miner would spend an attempt on it.
async fn load_arguments(app: &App, job: &mut Job, now: Timestamp) -> Result<()> {
    let Some(gone) = app.payloads()?.load(job, &[PayloadKind::Arguments]).await? else { return Ok(()) };
    if job.report.is_none() {
        let end = lifecycle::end_without(job, gone.kind, now)?;
        match app.jobs.revoke(job, end, None, "claim job: TransactWriteItems").await? {
            Outcome::Changed(job) => job.count_end(&app.metrics),
            Outcome::Refused(job) if job.deleted_at.is_none() => {}
            // With its job.
            Outcome::Refused(_) | Outcome::Gone => return Err(Error::no_job(job.job_id)),
        }
    }
    Err(gone.into())
}

impl ClaimBody {
    /// Reads the body. 422 names every field that is wrong, and every port that is not covered.
    fn read(request: &Request, job: &Job) -> Result<(Option<String>, Instance)> {
        const MAPPINGS: &str = "a list of objects with internal_port, external_port and proto";
        let mut fields = Fields::new(object(request, BODY_LIMIT)?);
        let input = Self {
            worker: fields.optional("worker", "a string of 1 to 64 characters", |raw| {
                let worker: Option<String> = serde_json::from_str(raw.get()).ok();
                worker.filter(|worker| (1..=LONGEST_WORKER).contains(&worker.chars().count()))
            }),
            instance_id: fields.string("instance_id"),
            region: fields.string("region"),
            host: fields.string("host"),
            port_mappings: fields.optional("port_mappings", MAPPINGS, |raw| serde_json::from_str(raw.get()).ok()),
        };
        let covers = |port: &Port| {
            let mut mappings = input.port_mappings.iter().flatten();
            mappings.any(|it| it.internal_port == port.port && it.proto == port.proto)
        };
        if fields.are_good() {
            for port in job.ports.iter().filter(|port| !covers(port)) {
                let message = format!("Port {}/{} is not mapped", port.port, port.proto);
                let loc = vec!["body".into(), "port_mappings".into()];
                fields.refuse(Invalid::value(loc, message, serde_json::Value::Null));
            }
        }
        fields.end()?;
        let Self { worker, instance_id, region, host, port_mappings } = input;
        Ok((worker, Instance { instance_id, region, host, port_mappings }))
    }
}
