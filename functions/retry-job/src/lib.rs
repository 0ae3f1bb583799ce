//! `PUT /jobs/{job_id}/retry`: the owner has a job tried again that did not succeed.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    auth::Caller,
    http::{
        JobResponse, PayloadUrls, reply,
        request::{now, path, path_uuid},
    },
    metrics::Metric,
    model::{Chute, Job, lifecycle},
    tables::{
        Found, Read,
        jobs::{DailyQuota, Jobs, Outcome},
    },
};

/// Makes the job pending again, as it was created. Three round trips: the caller, the job and what the caller has used of the quota are
/// read together; then the chute, whose id the job has told; then one transaction counts the job and changes it; and one more on a crowded chute. What of the job is stored
/// apart is looked for before that, and put anew where it would not outlive another wait. What the former run had left in the bucket is
/// removed after it.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/retry",
    operation_id = "retry-job",
    tag = "user",
    summary = "Have a job tried again",
    description = "A job that is over and not `complete` is `pending` again, with its arguments and as many attempts as a new one. Its report, \
                   result and files are gone, and no token of a former attempt opens anything. It counts against the day's quota (UTC) like \
                   a new job. The answer is the state alone, as with `view=status`. A job whose arguments, or list of inputs, are \
                   gone is 409.",
    params(("job_id" = Uuid, Path, description = "A job that is over.")),
    responses(
        (status = 200, description = "The job, pending.", body = JobResponse<'_>),
        (status = 401), (status = 404), (status = 409),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let mut read = Read::default();
    if let Some(job_id) = path_uuid(&request, "job_id") {
        read.job(job_id);
    }
    let usage = |read: &mut Read, user_id| DailyQuota::ask(read, user_id, now);
    let (caller, mut found) = app.credentials(&request)?.caller_beside(&app.tables, read, usage).await?;
    let not_found = || Error::not_own_job(path(&request, "job_id"));
    let is_own = |job: &Job| job.user_id == caller.user.user_id && job.deleted_at.is_none();
    let mut job = found.take_job()?.filter(is_own).ok_or_else(not_found)?;
    check(&job)?;

    let (chute, attempts) = attempts(app, &caller, &job, &mut found).await?;
    let mut quota = DailyQuota::of(&caller.user, job.chute_id, &app.config.default_quotas, now);
    app.jobs.has_room(&quota, &found)?;
    let payloads = app.payloads()?;
    if let Some(kind) = payloads.gone_of_given(&job).await? {
        let detail = format!("Job {} cannot be retried: the bucket of outputs no longer has its {kind}", job.job_id);
        return Err(Error::Conflict(detail));
    }
    app.jobs.ring_for(&job, now).await?;
    let place = app.jobs.place(&chute, &mut quota, &found, now).await?;
    let put = payloads.renew(&mut job, now, now).await?;
    let retry = lifecycle::retry(&job, attempts, &put, place, now)?;
    let guard = caller.guard.as_ref().map(|guard| guard.of_run(job.run));
    let retried = app.jobs.retry(&job, &retry, &quota, guard.as_ref()).await;
    // Collected: what an iterator maps lazily, a future that is sent to another thread may not hold.
    let stored: Vec<_> = put.iter().map(|(_, stored)| stored).collect();
    payloads.settle_change(&job.file_keys(), stored, retried.as_ref()).await;
    match retried? {
        Outcome::Changed(after) => {
            app.metrics.add(Metric::JobsRetried, 1);
            clear(app, &job).await;
            reply::job(&after.without_payloads(), &PayloadUrls::default())
        }
        // Somebody has retried or deleted it meanwhile.
        Outcome::Refused(after) if is_own(&after) => {
            check(&after)?;
            Err(Error::unavailable("retry job", "the job changed meanwhile"))
        }
        Outcome::Refused(_) | Outcome::Gone => Err(not_found()),
    }
}

/// 409 unless it may be tried again.
fn check(job: &Job) -> Result<()> {
    match job.is_retriable() {
        true => Ok(()),
        false => Err(Error::Conflict(format!("Job {} is {}, and cannot be retried", job.job_id, job.status.as_str()))),
    }
}

/// The chute, and as many attempts as its method gives a new job. 404 when a new one could not be created.
async fn attempts(app: &App, caller: &Caller, job: &Job, read_before: &mut Found) -> Result<(Chute, u32)> {
    let mut read = Read::default();
    app.registry.ask_chute(&mut read, job.chute_id);
    Jobs::ask_turns(&mut read, job.chute_id);
    let found = read.run(&app.tables).await?;
    let chute = app.registry.chute_open_to(&caller.user, job.chute_id, &found).await?;
    let chute = chute.ok_or_else(|| Error::no_chute(job.chute_id))?;
    let method = chute.method(&job.method).ok_or_else(|| Error::no_method(job.chute_id, &job.method))?;
    let attempts = method.retry.saturating_add(1);
    read_before.add(found);
    Ok((chute, attempts))
}

/// Removes what the former run has left. That it could not is only logged: nothing refers to it, and it goes with the job.
async fn clear(app: &App, former: &Job) {
    if let Err(error) = try_clear(app, former).await {
        tracing::warn!(job.id = %former.job_id, cause = ?error.cause(), "files of a retried job could not be removed");
    }
}

async fn try_clear(app: &App, former: &Job) -> Result<()> {
    let (bucket, keys) = (app.bucket()?, former.file_keys());
    let reported = former.stored().filter(|(kind, _)| !kind.is_given());
    let reported = reported.map(|(_, stored)| (keys.payload(stored), stored.version_id.clone())).collect();
    bucket.delete(reported).await?;
    // Only a report has files; they are in a place of their own.
    if former.report.is_some() { bucket.delete_all(keys.prefix()).await } else { Ok(()) }
}
