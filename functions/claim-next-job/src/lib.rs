//! `PUT /jobs/claim?chute_id=…`: a miner takes the next job.

mod queue;
mod turns;

use lambda_http::{Body, Request, Response};
use queue::{Next, Queue};
use shared::{
    App, Error, Result,
    auth::JobTokenKeys,
    claims::{ClaimBody, Claimant, JobAssignment, assignment},
    http::{Parameters, reply, request::now},
    model::{Job, pace, trace::Trace},
    tables::Read,
};
use uuid::Uuid;

/// Takes the next job that the miner may have, of the users of these chutes in turn: a read of the caller and the chutes, a query of each chute's queue, a read of the job
/// and one conditional write. A worker that names itself costs two queries more, which tell what it was given in the last minute.
#[utoipa::path(
    put,
    path = "/jobs/claim",
    operation_id = "claim-next-job",
    tag = "miner",
    summary = "Claim the next job",
    description = "The next job of these chutes that the miner may have and whose ports it maps: their users in turn, and each one's \
                   longest-waiting first. Nobody else gets it. Where there \
                   is none, 204, and `Retry-After` tells when to ask again: after 2 to 15 seconds, longer the longer there was none. A \
                   `worker` that repeats it within 60 seconds gets the job that it was given, unless it has made another request for it \
                   since. Without `worker`, each request is for another job.",
    params((
        "chute_id" = Vec<Uuid>, Query, min_items = 1, max_items = 16, style = Form, explode,
        description = "The chutes, 1 to 16: the parameter may be repeated."
    )),
    request_body(content = ClaimBody, description = "At most 16 KiB. May be empty."),
    responses(
        (status = 200, description = "The job is the caller's.", body = JobAssignment<'_>),
        (
            status = 204, description = "There is no job for the miner.",
            headers(("Retry-After" = u16, description = "Seconds after which to ask again."))
        ),
        (status = 401), (status = 403), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.miner_credentials(&request)?;
    let asked = chute_ids(&request);
    let mut read = Read::default();
    for chute_id in asked.iter().flatten() {
        app.registry.ask_queue(&mut read, *chute_id, now);
    }
    let read = credentials.caller_beside(&app.tables, read, |_, _| ());
    let (read, keys) = tokio::join!(read, app.job_tokens()?.keys_at(now));
    let (caller, found) = read?;
    let chutes = asked?.into_iter().map(|chute_id| {
        let chute = app.registry.queue(&found, chute_id, now)?;
        chute.ok_or_else(|| Error::no_chute(chute_id))
    });
    let chutes = chutes.collect::<Result<Vec<_>>>()?;
    let (worker, instance) = ClaimBody::read(&request, &[])?;
    // Without keys the miner would hold a job that it gets no token for.
    let keys = keys?;

    let trace = worker.as_ref().map(|worker| Trace::of(&caller.miner(), worker));
    let claimant = Claimant { caller: &caller, worker: worker.as_deref(), instance: &instance, trace, now };
    let mut queue = Queue::new(app, &claimant, &chutes);
    let (given, looked) = tokio::join!(given_before(app, &claimant), queue.look());
    if let Some(job) = given? {
        app.jobs.guard_repeat(caller.guard.as_ref(), job.job_id).await?;
        return answer(app, &request, job, &keys).await;
    }
    looked?;
    match queue.next().await? {
        Next::Job(job) => answer(app, &request, *job, &keys).await,
        Next::Nothing { again } => Ok(reply::again_after(reply::nothing(), Some(again))),
    }
}

/// The job, or nothing where its owner has deleted it a moment after it was claimed. Not another one: a signature is good for one claim.
async fn answer(app: &App, request: &Request, job: Job, keys: &JobTokenKeys) -> Result<Response<Body>> {
    match assignment(app, request, job, keys).await {
        Err(Error::NotFound(_)) => Ok(reply::again_after(reply::nothing(), Some(pace::look_for_work(0)))),
        answer => answer,
    }
}

/// Those that are asked for, each once.
fn chute_ids(request: &Request) -> Result<Vec<Uuid>> {
    let mut query = Parameters::new(request);
    let chute_ids = query.chute_ids();
    query.end()?;
    Ok(chute_ids)
}

/// What the worker was given when it asked before, and knows nothing of.
async fn given_before(app: &App, claimant: &Claimant<'_>) -> Result<Option<Job>> {
    let Some(trace) = claimant.trace else { return Ok(None) };
    for job_id in app.jobs.traced(trace, claimant.now).await? {
        let Some((job, lease)) = app.jobs.get_with_lease(job_id).await? else { continue };
        if claimant.asks_again(&job, lease.as_ref()) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}
