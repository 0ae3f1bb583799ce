//! `POST /jobs/{chute_id}/{method}`: a user creates a job on a chute.

mod inputs;
mod options;

use std::collections::BTreeMap;

use lambda_http::{Body, Request, Response, http::HeaderValue};
use options::Options;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    App, Error, Result,
    http::{
        JobResponse, Object, decoded, object,
        request::{idempotency_key, now, path, path_uuid},
    },
    metrics::Metric,
    model::{Job, PayloadKind},
    tables::{
        Read,
        jobs::{DailyQuota, Inserted, Jobs},
    },
};
use utoipa::ToSchema;

/// Bytes of the largest request body: 4 MiB.
const BODY_LIMIT: usize = 4 << 20;
/// Gigabytes of disk that a job gets unless it asks.
const DEFAULT_DISK: &str = "10";

/// Any JSON object: the job's arguments.
#[derive(ToSchema)]
pub struct Arguments {
    /// Gigabytes of disk, stored as a whole number. 10 unless the job asks for more.
    #[schema(exclusive_minimum = 10, exclusive_maximum = 1000)]
    _disk_gb: Option<f64>,
    // Whatever the chute's method takes.
    #[serde(flatten)]
    _others: BTreeMap<String, Value>,
}

/// Creates the job if the day's quota has room for it. Two round trips: one to read all that decides, one transaction that
/// counts and inserts; one more for a process's first job on somebody else's chute, whose owner has to be read, and one more on a
/// crowded chute. Large arguments are
/// put in between, when nothing but that transaction can refuse the job. With an `Idempotency-Key`, a repeat gives the same job
/// back, and none when that was deleted meanwhile: a late copy of the request must not bring it back. The key is free again once
/// nothing is left of the job.
#[utoipa::path(
    post,
    path = "/jobs/{chute_id}/{method}",
    operation_id = "create-job",
    tag = "user",
    summary = "Create a job",
    description = "The body is the job's arguments: any JSON object of at most 4 MiB, nested at most 100 levels deep. A string that \
                   is exactly the `uri` of an input of the caller's, at any depth, names that input: it has to be there, and a miner sees \
                   its URL instead. At most 100 inputs, named 1,000 times in all. The job counts against the day's quota (UTC).",
    params(
        ("chute_id" = Uuid, Path, description = "A chute that is public, the caller's own or shared with the caller."),
        ("method" = String, Path, description = "One of the chute's jobs."),
        (
            "cancel_after" = Option<String>, Query, pattern = "^[0-9]+[smhd]?$",
            description = "How long the job may wait for a miner: seconds, or `90s`, `15m`, `2h`, `7d`; 10 seconds to 30 days. As long \
                           as the deployment says, 7 days, unless given. Then it ends as `timeout`."
        ),
        (
            "label" = Option<Vec<String>>, Query, max_items = 10, style = Form, explode,
            description = "What the job is filed under: the parameter may be repeated. 1 to 64 printable characters each."
        ),
        (
            "webhook" = Option<String>, Query, max_length = 2048, pattern = "^https://[!-~]+$",
            description = "Whom to tell when the job is over: an `https` URL of a public server, port 443 or from 1024 on, without user name \
                           and password, in ASCII. See `GET /webhooks/secret`."
        ),
        (
            "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$",
            description = "The same key with the same request gives the same job back, never a second one."
        ),
    ),
    request_body(content = Arguments, description = "The job's arguments. Empty for `{}`."),
    responses(
        (
        status = 200, description = "The job, pending.", body = JobResponse<'_>,
        headers(("Idempotent-Replayed" = String, description = "`true` when the job was made by an earlier request."))
    ),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let key = idempotency_key(&request);
    let chute_id = path_uuid(&request, "chute_id");
    let mut read = Read::default();
    if let Some(chute_id) = &chute_id {
        app.registry.ask_chute(&mut read, *chute_id);
        Jobs::ask_turns(&mut read, *chute_id);
    }
    let per_user = |read: &mut Read, user_id| {
        DailyQuota::ask(read, user_id, now);
        if let Ok(Some(key)) = key {
            read.job(Job::id_of_key(user_id, key));
        }
    };
    let (caller, mut found) = app.credentials(&request)?.caller_beside(&app.tables, read, per_user).await?;
    let options = Options::read(&request, &app.config.reach);
    let key = key?.map(|key| IdempotencyKey::new(&request, key, options.as_ref().ok()));
    if let (Some(key), Some(job)) = (&key, found.take_job()?) {
        app.jobs.guard_repeat(caller.guard.as_ref(), job.job_id).await?;
        return key.replay(app, &request, job).await;
    }

    let method = path(&request, "method");
    let chute = match &chute_id {
        Some(chute_id) => app.registry.chute_open_to(&caller.user, *chute_id, &found).await?,
        None => None,
    };
    let chute = chute.ok_or_else(|| Error::no_chute(path(&request, "chute_id")))?;
    let declared = chute.method(method).ok_or_else(|| Error::no_method(path(&request, "chute_id"), method))?;
    let days = app.config.retention_days.min(declared.retention_days.unwrap_or(u32::MAX));
    let mut quota = DailyQuota::of(&caller.user, chute.chute_id, &app.config.default_quotas, now);
    app.jobs.has_room(&quota, &found)?;

    let options = options?;
    let arguments = arguments(object(&request, BODY_LIMIT)?)?;
    let inputs = inputs::named(app, caller.user.user_id, &arguments, now).await?;
    let place = app.jobs.place(&chute, &mut quota, &found, now).await?;
    let mut job = Job::new(&caller.user, chute, method, arguments, now);
    job.wait_at(place);
    job.keep(days);
    options.apply(&mut job, app.config.pending);
    if let Some(key) = &key {
        job.job_id = Job::id_of_key(caller.user.user_id, key.key);
        job.request = Some(key.request.clone());
    }
    let payloads = app.payloads()?;
    payloads.store_given(&mut job, &inputs).await?;
    // Collected: what an iterator maps lazily, a future that is sent to another thread may not hold.
    let put: Vec<_> = job.stored().map(|(_, stored)| stored).collect();
    let inserted = app.jobs.insert(&job, &quota, caller.guard.as_ref()).await;
    payloads.settle_put(&job.file_keys(), put, inserted.as_ref().map(Inserted::refused)).await;
    match inserted? {
        Inserted::Created => {
            app.metrics.add(Metric::JobsCreated, 1);
            payloads.answer(&request, &job).await
        }
        Inserted::Exists(there) => match &key {
            Some(key) => {
                // The refused transaction has not remembered this signature.
                app.jobs.guard_repeat(caller.guard.as_ref(), there.job_id).await?;
                key.replay(app, &request, *there).await
            }
            // Nobody else draws the same random id: an earlier try of this very call stored it, and its answer was lost.
            None => payloads.answer(&request, &job).await,
        },
    }
}

/// An `Idempotency-Key` and what it came with.
struct IdempotencyKey<'a> {
    key: &'a str,
    /// Digest of chute, method, options and body.
    request: String,
}

impl<'a> IdempotencyKey<'a> {
    fn new(request: &Request, key: &'a str, options: Option<&Options>) -> Self {
        // However the id is spelt.
        let chute_id = path_uuid(request, "chute_id").map(|id| id.to_string());
        let method = path(request, "method");
        let target = match options {
            // As an earlier release, which knew none, has it.
            Some(options) if *options == Options::default() => json!([chute_id, method]),
            options => json!([chute_id, method, options.map(Options::content)]),
        };
        // The same body, however it was compressed. One that cannot be read is refused later.
        let body = decoded(request, BODY_LIMIT).unwrap_or_else(|_| request.body().as_ref().into());
        let digest = Sha256::new().chain_update(target.to_string()).chain_update(body);
        Self { key, request: hex::encode(digest.finalize()) }
    }

    /// The job that the key made before, when it was asked for in the same words.
    async fn replay(&self, app: &App, request: &Request, job: Job) -> Result<Response<Body>> {
        if job.request.as_ref() != Some(&self.request) {
            return Err(Error::Unprocessable("Idempotency-Key was used with a different request".to_owned()));
        }
        let job_id = job.job_id;
        let deleted = || Error::Conflict(format!("Job {job_id} of this Idempotency-Key was deleted"));
        if job.deleted_at.is_some() {
            return Err(deleted());
        }
        let job = app.job_with(job, PayloadKind::ALL).await?.ok_or_else(deleted)?;
        let mut response = app.payloads()?.answer(request, &job).await?;
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// The arguments as stored: `_disk_gb` is there, and an integer.
fn arguments(mut body: Object) -> Result<String> {
    let asked = body.get("_disk_gb").map(|value| value.get()).filter(|text| *text != "null");
    let disk = match asked {
        None => DEFAULT_DISK.to_owned(),
        Some(text) => match serde_json::from_str::<f64>(text) {
            Ok(gigabytes) if gigabytes > 10.0 && gigabytes < 1000.0 => (gigabytes.trunc() as u32).to_string(),
            _ => return Err(Error::BadRequest(format!("Invalid disk size specified: {}", text.trim_matches('"')))),
        },
    };
    let disk = RawValue::from_string(disk).map_err(|error| Error::internal("create job: disk", error))?;
    body.insert("_disk_gb".to_owned(), disk);
    serde_json::to_string(&body).map_err(|error| Error::internal("create job: arguments", error))
}
