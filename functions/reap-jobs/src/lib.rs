//! The reaper: every minute it looks at the jobs that are due, and at no others. A job that heartbeats hold stays due. A lost lease goes
//! back to the queue, times out, or is completed when the miner had reported; a deleted job is swept until nothing of it can arrive any
//! more.

mod run;
mod waiting;

use std::time::Instant;

use futures_util::{StreamExt, future::join_all, stream};
use serde::{Deserialize, Serialize};
use shared::{
    App, Check, Error, Result,
    metrics::Metric,
    model::{Job, Lease, PayloadKind, lease, lifecycle},
    outputs::{Seen, tidy},
    payloads::Gone,
    tables::jobs::{Due, DuePlace, Outcome},
    time::Timestamp,
};
use uuid::Uuid;

use crate::run::{AT_ONCE, GIVE_UP, LATER_AT_ONCE, RECORDING, RUN};

/// What the reaper does when it takes a job from its miner.
const REAP: &str = "reap: TransactWriteItems";

/// The schedule's event.
#[derive(Deserialize)]
pub struct Input {
    /// RFC 3339; the system's clock when it is missing.
    time: Option<String>,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Output {
    /// Jobs that wait for another miner.
    requeued: u32,
    /// Jobs that ended without a result: their attempts are used up, or nobody has claimed them in their time.
    timed_out: u32,
    /// Jobs that their owner had cancelled, and whose miner has not reported.
    cancelled: u32,
    /// Jobs that a miner had reported, and nobody had completed.
    completed: u32,
    /// Jobs that were kept for their time, and are gone with their files.
    retired: u32,
    /// Deleted jobs whose files were removed once more.
    swept: u32,
    /// Jobs whose end is told once more.
    told: u32,
    /// Jobs whose lease goes on.
    held: u32,
    /// Jobs that ended because what they need is gone from the bucket.
    lost: u32,
    /// Jobs that somebody else was faster with.
    unchanged: u32,
    /// Jobs that could not be looked after; they are put off, so that they are in nobody's way.
    failed: u32,
    /// Whether jobs are left: the run stopped for time, or could not read all of the index.
    more: bool,
    /// Jobs of a page for which there was no time.
    #[serde(skip)]
    left: u32,
}

/// What became of one job.
enum Reaped {
    Requeued,
    TimedOut(u32),
    Cancelled,
    Completed,
    Retired,
    Swept,
    /// Its webhook is to be delivered.
    Told(Uuid),
    Held,
    Lost,
    Unchanged,
    Failed,
    /// For the next run.
    Left,
}

/// Looks after all that is due. Running twice at once does no harm: each change names the lease as it was read.
pub async fn handle(app: &App, input: Input) -> Result<Output> {
    let started = Instant::now();
    let now = match input.time {
        None => Timestamp::system(),
        Some(text) => {
            Timestamp::from_rfc3339(&text).ok_or_else(|| Error::Unprocessable("time is not RFC 3339".to_owned()))?
        }
    };
    let mut output = Output::default();
    // What the last run has left, and then all from the beginning.
    let mut rounds = vec![app.jobs.due_parts(), app.jobs.take_left_off(now)];
    while let Some(places) = rounds.pop() {
        let next = look_at(app, &places, AT_ONCE, now, started, &mut output).await;
        rounds.extend(Some(if output.left > 0 { places } else { next }).filter(|places| !places.is_empty()));
        if started.elapsed() > RUN {
            output.more |= !rounds.is_empty();
            if let Some(places) = rounds.pop() {
                app.jobs.leave_off(places);
            }
            return Ok(output);
        }
    }
    // Then what was kept for its time, which no lease has to wait for. What is done leaves the queue.
    let mut places = app.jobs.later_parts();
    while !places.is_empty() && started.elapsed() <= RUN {
        places = look_at(app, &places, LATER_AT_ONCE, now, started, &mut output).await;
    }
    output.more |= !places.is_empty() || output.left > 0;
    Ok(output)
}

/// A page of every part at a time, and their jobs in turn: a long queue in one does not keep the others waiting. Where the next pages
/// begin.
async fn look_at(
    app: &App,
    places: &[DuePlace],
    at_once: usize,
    now: Timestamp,
    started: Instant,
    output: &mut Output,
) -> Vec<DuePlace> {
    let pages = places.iter().map(|place| async move { (place, app.jobs.due(*place, now).await) });
    let (mut due, mut next) = (Vec::new(), Vec::new());
    for (place, page) in join_all(pages).await {
        match page {
            Ok(page) => {
                due.extend(page.jobs.into_iter().enumerate());
                next.extend(page.next);
                output.held += page.held;
            }
            Err(error) => {
                tracing::error!(cause = ?error.cause(), ?place, "a part of the queue could not be read");
                app.metrics.add(Metric::ReapFailures, 1);
                app.jobs.leave_off(vec![*place]);
                output.more = true;
            }
        }
    }
    due.sort_by_key(|(place, _)| *place);
    let mut work = Vec::with_capacity(due.len());
    for (_, (due_at, job_id)) in due {
        work.push(look_after(app, job_id, due_at, now, started));
    }
    let mut reaped = stream::iter(work).buffer_unordered(at_once);
    let mut told = Vec::new();
    while let Some(reaped) = reaped.next().await {
        if let Reaped::Told(job_id) = reaped {
            told.push(job_id);
        }
        output.count(reaped);
    }
    let called = async { app.deliverer()?.deliver(&told, now).await };
    let left = GIVE_UP.saturating_sub(started.elapsed());
    let called = tokio::time::timeout(left, called).await;
    if let Err(error) = called.unwrap_or_else(|_| Err(Error::unavailable("deliver: Invoke", "no time left"))) {
        // They are due again in a minute.
        tracing::error!(cause = ?error.cause(), deliveries = told.len(), "deliveries could not be called for");
        app.metrics.add(Metric::ReapFailures, 1);
    }
    next
}

impl Output {
    fn count(&mut self, reaped: Reaped) {
        let jobs = if let Reaped::TimedOut(jobs) = reaped { jobs } else { 1 };
        let counter = match reaped {
            Reaped::Requeued => &mut self.requeued,
            Reaped::TimedOut(_) => &mut self.timed_out,
            Reaped::Cancelled => &mut self.cancelled,
            Reaped::Completed => &mut self.completed,
            Reaped::Retired => &mut self.retired,
            Reaped::Swept => &mut self.swept,
            Reaped::Told(_) => &mut self.told,
            Reaped::Held => &mut self.held,
            Reaped::Lost => &mut self.lost,
            Reaped::Unchanged => &mut self.unchanged,
            Reaped::Failed => &mut self.failed,
            Reaped::Left => &mut self.left,
        };
        *counter += jobs;
    }
}

/// One job, unless the run is over. Whatever goes wrong with it concerns no other job.
async fn look_after(app: &App, job_id: Uuid, due_at: i64, now: Timestamp, started: Instant) -> Reaped {
    if started.elapsed() > RUN {
        return Reaped::Left;
    }
    let left = GIVE_UP.saturating_sub(started.elapsed());
    let reaped = tokio::time::timeout(left, reap(app, job_id, now, started)).await;
    let error = match reaped.unwrap_or_else(|_| Err(Error::unavailable("reap", "no time left"))) {
        Ok(reaped) => return reaped,
        Err(error) => error,
    };
    app.metrics.add(Metric::ReapFailures, 1);
    tracing::error!(job.id = %job_id, cause = ?error.cause(), "a job could not be looked after");
    if let Err(error) = app.jobs.postpone(job_id, due_at, now).await {
        tracing::error!(job.id = %job_id, cause = ?error.cause(), "a job could not be put off");
    }
    Reaped::Failed
}

async fn reap(app: &App, job_id: Uuid, now: Timestamp, started: Instant) -> Result<Reaped> {
    // The index may be behind: the job itself tells what it is due for.
    let (mut job, lease) = match app.jobs.due_row(job_id).await? {
        None => return Ok(Reaped::Unchanged),
        Some(Due::Alarm(alarm)) if alarm.due_at.is_none_or(|due| due > now) => return Ok(Reaped::Unchanged),
        Some(Due::Alarm(alarm)) => {
            if let Some(due) = alarm.due_at.filter(|due| due.millis() > 0) {
                app.metrics.longest(Metric::ReapDelay, due, now);
            }
            return waiting::ring(app, &alarm, now, started).await.map(Reaped::TimedOut);
        }
        Some(Due::Delivery(delivery)) => {
            if delivery.due_at.is_none_or(|due| due > now) {
                return Ok(Reaped::Unchanged);
            }
            let taken = app.jobs.change_delivery(&delivery, delivery.take_up(now)).await?;
            return Ok(taken.map_or(Reaped::Unchanged, |delivery| Reaped::Told(delivery.delivery_of)));
        }
        Some(Due::Job(job, lease)) => (*job, lease),
    };
    let Some(due) = job.due_at.filter(|due| *due <= now) else { return Ok(Reaped::Unchanged) };
    if let Some(gone) = job.deleted_at.and(job.gone_at) {
        app.metrics.longest(Metric::ReapDelay, due, now);
        return sweep(app, &job, gone, now).await;
    }
    if job.terminal {
        return retire(app, &job, now).await;
    }
    let lease = lease.as_ref();
    let Some(held_until) = lease::held_until(&job, lease, now) else { return Ok(Reaped::Unchanged) };
    if held_until > now {
        let rearm = lifecycle::rearm(&job, due, lease::look_again(&job, lease, held_until, now));
        return Ok(match app.jobs.change(job.job_id, rearm, "rearm: UpdateItem").await? {
            Outcome::Changed(_) => Reaped::Held,
            Outcome::Refused(_) | Outcome::Gone => Reaped::Unchanged,
        });
    }
    // A job that was put off is as late as before.
    app.metrics.longest(Metric::ReapDelay, held_until, now);
    let gone = gone(app, &mut job).await?;
    if let Some(gone) = &gone {
        tracing::error!(job.id = %job_id, key = gone.key, "a job ends because its payload is gone from the bucket");
    }
    let (revocation, reaped) = if job.report.is_some() && job.files.is_some() {
        return complete(app, job, gone.is_some(), lease, now, started).await;
    } else if let Some(gone) = gone {
        (lifecycle::end_lost_without(&job, gone.kind, lease, now)?, Reaped::Lost)
    } else if job.cancel_requested_at.is_some() {
        (lifecycle::end_cancelled(&job, lease, now), Reaped::Cancelled)
    } else if job.attempt < job.max_attempts {
        app.jobs.ring_for(&job, now).await?;
        (lifecycle::requeue(&job, lease, now), Reaped::Requeued)
    } else {
        (lifecycle::time_out(&job, lease, now), Reaped::TimedOut(1))
    };
    match app.jobs.revoke(&job, revocation, None, REAP).await? {
        Outcome::Changed(after) => {
            app.metrics.add(Metric::LeasesLost, 1);
            after.count_end(&app.metrics);
            Ok(reaped)
        }
        Outcome::Refused(_) | Outcome::Gone => Ok(Reaped::Unchanged),
    }
}

/// Ends a job that its miner had reported with what has arrived, also where its result is gone.
async fn complete(
    app: &App,
    job: Job,
    result_is_gone: bool,
    lease: Option<&Lease>,
    now: Timestamp,
    started: Instant,
) -> Result<Reaped> {
    // Others are kept from the job for a while from this moment on, not from the event's, which may have come late.
    let moment = now.plus(started.elapsed()).max(Timestamp::system());
    let begin = lifecycle::begin_check_for_lost_miner(&job, moment);
    let limit = GIVE_UP.saturating_sub(RECORDING).saturating_sub(started.elapsed());
    let Check::Done(checked, seen) = app.check(job, begin, moment, Some(limit)).await? else {
        return Ok(Reaped::Unchanged);
    };
    let checked = if result_is_gone { lifecycle::without_result(*checked) } else { *checked };
    let ended = end(app, &checked, seen, lease, now).await;
    if !matches!(ended, Ok(Reaped::Completed)) && checked.checked_for(moment).is_some() {
        // The miner may be back, and need not wait for a check that is over: for its clock, too.
        let give_up = lifecycle::give_up_check(&checked, now);
        let _ = app.jobs.change(checked.job_id, give_up, "give up check: UpdateItem").await;
    }
    Ok(match ended? {
        Reaped::Completed if result_is_gone => Reaped::Lost,
        reaped => reaped,
    })
}

/// Ends it as it was checked.
async fn end(app: &App, checked: &Job, seen: Seen, lease: Option<&Lease>, now: Timestamp) -> Result<Reaped> {
    let payloads = app.payloads()?;
    let (listed, recorded) = payloads.record_files(checked).await?;
    let mut end = lifecycle::complete_for_lost_miner(&listed, lease, now)?;
    end.job = lifecycle::as_listed(end.job, checked)?;
    match app.jobs.revoke(checked, end, None, REAP).await {
        Ok(Outcome::Changed(after)) => {
            payloads.settle_list(&recorded, &after).await;
            let after = after.with_files_of(&listed);
            app.metrics.add(Metric::LeasesLost, 1);
            after.count_end(&app.metrics);
            tidy(app.bucket()?, seen, &after).await;
            Ok(Reaped::Completed)
        }
        Ok(Outcome::Refused(after)) => {
            // Ended by somebody else, perhaps: what this check has made is then left over.
            payloads.settle_list(&recorded, &after).await;
            tidy(app.bucket()?, seen, &payloads.with_files(&listed, *after).await?).await;
            Ok(Reaped::Unchanged)
        }
        Ok(Outcome::Gone) => {
            payloads.give_up(&checked.file_keys(), recorded.put()).await;
            Ok(Reaped::Unchanged)
        }
        Err(error) => {
            payloads.settle_put(&checked.file_keys(), recorded.put(), Err(&error)).await;
            Err(error)
        }
    }
}

/// Sees whether that is there without which the job is of no use to anybody: its arguments, unless it is not to be run any more, or what was
/// reported. The list of files is loaded, if it is there.
async fn gone(app: &App, job: &mut Job) -> Result<Option<Gone>> {
    let payloads = app.payloads()?;
    if job.report.is_none() {
        return match job.cancel_requested_at {
            Some(_) => Ok(None),
            None => payloads.gone(job, PayloadKind::Arguments).await,
        };
    }
    let result = payloads.gone(job, PayloadKind::Result).await?;
    let files = payloads.load(job, &[PayloadKind::Files]).await?;
    Ok(result.or(files))
}

/// Ends a job that was kept for its time. What stops half-way is gone on with as if its owner had deleted it.
async fn retire(app: &App, job: &Job, now: Timestamp) -> Result<Reaped> {
    match app.jobs.change(job.job_id, lifecycle::retire(job, now), "retire: UpdateItem").await? {
        Outcome::Changed(after) => {
            if let Some(gone) = after.gone_at.filter(|_| after.due_at.is_some()) {
                match job.known_versions() {
                    Some(versions) => app.bucket()?.delete(versions).await?,
                    None => app.bucket()?.delete_all(job.file_keys().job()).await?,
                }
                app.jobs.change(job.job_id, lifecycle::swept(&after, gone, now), "retire: UpdateItem").await?;
            }
            Ok(Reaped::Retired)
        }
        Outcome::Refused(_) | Outcome::Gone => Ok(Reaped::Unchanged),
    }
}

async fn sweep(app: &App, job: &Job, gone: Timestamp, now: Timestamp) -> Result<Reaped> {
    app.bucket()?.delete_all(job.file_keys().job()).await?;
    app.jobs.change(job.job_id, lifecycle::swept(job, gone, now), "sweep: UpdateItem").await?;
    Ok(Reaped::Swept)
}
