//! `POST /jobs/{chute_id}/{method}`: a user creates a job on a chute.

use lambda_http::{Body, Request, Response, http::HeaderValue};
use serde_json::{json, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    App, Error, Result,
    auth::Caller,
    job::Job,
    jobs::{Inserted, Quota},
    lanes,
    lifecycle::Status,
    metrics::Metric,
    read::Read,
    registry::{Chute, Usage},
    reply,
    request::{Object, idempotency_key, now, object, path, path_uuid},
    time::Timestamp,
};
use uuid::Uuid;

/// Bytes of the largest request body: 128 KiB.
const BODY_LIMIT: usize = 128 << 10;
/// Gigabytes of disk that a job gets unless it asks.
const DEFAULT_DISK: &str = "10";

/// Creates the job if the day's quota has room for it. Two round trips: one to read all that decides, one transaction that
/// counts and inserts. With an `Idempotency-Key`, a repeat gives the same job back, and none when that was deleted meanwhile: a
/// late copy of the request must not bring it back. The key is free again once nothing is left of the job.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.credentials(&request)?;
    let key = idempotency_key(&request);
    let chute_id = path_uuid(&request, "chute_id");
    let mut read = Read::default();
    if let Some(chute_id) = chute_id {
        read.registry(Chute::pk(chute_id));
    }
    let per_user = |read: &mut Read, user_id| {
        read.registry(Usage::pk(user_id, now, 0));
        if let Ok(Some(key)) = key {
            read.job(Job::id_of_key(user_id, key));
        }
    };
    let (caller, mut found) = read.with_caller(app, credentials, per_user).await?;
    let key = key?.map(|key| Key::new(&request, key));
    if let (Some(key), Some(job)) = (&key, found.take_job()?) {
        app.jobs.spend_on_repeat(caller.signature.as_ref(), job.job_id).await?;
        return key.replay(&job);
    }

    let user_id = caller.user.user_id;
    let chute = match chute_id {
        Some(chute_id) => found.registry::<Chute>(&Chute::pk(chute_id))?,
        None => None,
    };
    let chute = chute
        .filter(|chute| chute.is_open_to(user_id) && chute.method(path(&request, "method")).is_some())
        .ok_or_else(|| Error::NotFound(format!("Chute {} not found", path(&request, "chute_id"))))?;
    let quotas = Quotas::of(&caller, &chute, app, now);
    quotas.check(app, &found.registry(&Usage::pk(user_id, now, 0))?.unwrap_or_default(), now)?;
    let mut job = job(&caller, chute, path(&request, "method"), args(object(&request, BODY_LIMIT)?)?, now);

    if let Some(key) = &key {
        job.job_id = Job::id_of_key(user_id, key.key);
        job.request = Some(key.request.clone());
    }
    match app.jobs.insert(&job, quotas.of_day, caller.signature.as_ref()).await? {
        Inserted::Created => {
            app.metrics.add(Metric::JobsCreated, 1);
            Ok(reply::job(&job.response(None)?))
        }
        Inserted::OverQuota(usage) => Err(quotas.exceeded(&usage, now)),
        Inserted::Exists(job) => match &key {
            Some(key) => {
                // The refused transaction has not remembered this signature.
                app.jobs.spend_on_repeat(caller.signature.as_ref(), job.job_id).await?;
                key.replay(&job)
            }
            // Nobody else draws the same random id: an earlier try of this very call stored it, and its answer was lost.
            None => Ok(reply::job(&job.response(None)?)),
        },
    }
}

/// An `Idempotency-Key` and what it came with.
struct Key<'a> {
    key: &'a str,
    /// Digest of chute, method and body.
    request: String,
}

impl<'a> Key<'a> {
    fn new(request: &Request, key: &'a str) -> Self {
        // However the id is spelt.
        let chute_id = path_uuid(request, "chute_id").map(|id| id.to_string());
        let target = json!([chute_id, path(request, "method")]);
        let digest = Sha256::new().chain_update(target.to_string()).chain_update(request.body());
        Self { key, request: hex::encode(digest.finalize()) }
    }

    /// The job that the key made before, when it was asked for in the same words.
    fn replay(&self, job: &Job) -> Result<Response<Body>> {
        if job.request.as_ref() != Some(&self.request) {
            return Err(Error::Unprocessable("Idempotency-Key was used with a different request".to_owned()));
        }
        if job.deleted_at.is_some() {
            return Err(Error::Conflict(format!("Job {} of this Idempotency-Key was deleted", job.job_id)));
        }
        let mut response = reply::job(&job.response(None)?);
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// Jobs a day: on this chute, and on all of them.
struct Quotas {
    user_id: Uuid,
    chute_id: Uuid,
    of_day: Quota,
}

impl Quotas {
    fn of(caller: &Caller, chute: &Chute, app: &App, now: Timestamp) -> Self {
        let quota = |key: &str| caller.user.quota(key, &app.config.default_quotas);
        let (of_chute, total) = (quota(&chute.chute_id.to_string()), quota("global"));
        let of_day = Quota { chute: of_chute, total, counters: caller.user.counters(now) };
        Self { user_id: caller.user.user_id, chute_id: chute.chute_id, of_day }
    }

    /// Spares a transaction that would be refused. What one of several lanes has counted tells nothing: there it is known once this
    /// process has refused. Its first refusal comes with the transaction, so that a bad body is answered before it.
    fn check(&self, app: &App, usage: &Usage, now: Timestamp) -> Result<()> {
        let Quota { chute, total, counters } = self.of_day;
        if counters > 1 {
            let used_up = app.jobs.used_up(self.user_id, self.chute_id, self.of_day, now);
            return used_up.map_or(Ok(()), |usage| Err(self.exceeded(&usage, now)));
        }
        let room = usage.of_chute(self.chute_id) < chute && usage.total() < total;
        if room { Ok(()) } else { Err(self.exceeded(usage, now)) }
    }

    fn exceeded(&self, usage: &Usage, now: Timestamp) -> Error {
        let (of_chute, total) = (usage.of_chute(self.chute_id), usage.total());
        Error::QuotaExceeded {
            detail: format!(
                "Daily job quota exceeded: chute_job_count={of_chute} total_job_count={total} of job_quota={} and \
                 total_quota={}",
                self.of_day.chute, self.of_day.total
            ),
            retry_after: now.seconds_to_next_day(),
        }
    }
}

/// The arguments as stored: `_disk_gb` is there, and an integer.
fn args(mut body: Object) -> Result<String> {
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

fn job(caller: &Caller, chute: Chute, method: &str, job_args: String, now: Timestamp) -> Job {
    let (user_id, declared) = (caller.user.user_id, chute.method(method));
    let lane = lanes::pick(chute.busy);
    Job {
        job_id: Uuid::new_v4(),
        user_id,
        chute_id: chute.chute_id,
        method: method.to_owned(),
        status: Status::Pending,
        terminal: false,
        attempt: 0,
        max_attempts: declared.map_or(1, |method| method.retry.saturating_add(1)),
        created_at: now,
        updated_at: now,
        started_at: None,
        finished_at: None,
        deadline_at: None,
        lease_expires_at: None,
        job_args,
        result: None,
        error_detail: None,
        progress: None,
        timeout: declared.and_then(|method| method.timeout),
        ports: declared.map(|method| method.ports.clone()).unwrap_or_default(),
        node_selector: chute.node_selector.clone(),
        miner: None,
        miner_hotkey: None,
        instance: None,
        files: None,
        report: None,
        lost_by: Default::default(),
        deleted_at: None,
        gone_at: None,
        request: None,
        owner: Some(Job::owner(user_id, lanes::pick(caller.user.busy_since.is_some()))),
        lane,
        queue: Some(Job::claimable(chute.chute_id, lane)),
        due_at: Some(now),
        chute: chute.into(),
    }
}
