//! The reaper: every minute it looks at the jobs that are due, and at no others. A lost lease goes back to the queue, times out,
//! or is completed when the miner had reported; a deleted job is swept until nothing of it can arrive any more.

use std::time::{Duration, Instant};

use aws_smithy_types::{DateTime, date_time::Format};
use futures_util::{StreamExt, future::join_all, stream};
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result,
    metrics::Metric,
    model::{Job, PayloadKind, lifecycle},
    outputs::{Seen, check_files, tidy},
    payloads::Gone,
    tables::jobs::Outcome,
    time::Timestamp,
};
use uuid::Uuid;

/// Jobs looked after at the same time.
const AT_ONCE: usize = 8;
/// Time after which a run begins with no further job; the next run goes on.
const RUN: Duration = Duration::from_secs(15);
/// Time after which a run gives up the jobs that it is at, so that it can put them off before Lambda ends it.
const GIVE_UP: Duration = Duration::from_secs(25);

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
    /// Jobs that ended without a result.
    timed_out: u32,
    /// Jobs that a miner had reported, and nobody had completed.
    completed: u32,
    /// Deleted jobs whose files were removed once more.
    swept: u32,
    /// Jobs that ended because what they need is gone from the bucket.
    lost: u32,
    /// Jobs that somebody else was faster with.
    unchanged: u32,
    /// Jobs that could not be looked after; they are put off, so that they are in nobody's way.
    failed: u32,
    /// Whether jobs are left: the run stopped for time, or could not read all of the index.
    more: bool,
}

/// What became of one job.
enum Reaped {
    Requeued,
    TimedOut,
    Completed,
    Swept,
    Lost,
    Unchanged,
    Failed,
    /// For the next run.
    Left,
}

/// Looks after all that is due. Running twice at once does no harm: each change names the lease that ran out.
pub async fn handle(app: &App, input: Input) -> Result<Output> {
    let started = Instant::now();
    let now = match input.time {
        None => Timestamp::system(),
        Some(text) => {
            let time = DateTime::from_str(&text, Format::DateTime).ok().and_then(|time| time.to_millis().ok());
            Timestamp::from_millis(time.ok_or_else(|| Error::Unprocessable("time is not RFC 3339".to_owned()))?)
        }
    };
    let mut output = Output::default();
    let mut places: Vec<_> = app.jobs.due_shards().map(|shard| (shard, None)).collect();
    while !places.is_empty() && !output.more {
        // A page of every shard at a time, and their jobs in turn: a long queue in one does not keep the others waiting.
        let pages =
            places.drain(..).map(|(shard, after)| async move { (shard, app.jobs.due(shard, now, after).await) });
        let mut due = Vec::new();
        for (shard, page) in join_all(pages).await {
            match page {
                Ok((jobs, next)) => {
                    due.extend(jobs.into_iter().enumerate());
                    places.extend(next.map(|next| (shard, Some(next))));
                }
                Err(error) => {
                    tracing::error!(cause = ?error.cause(), shard, "a part of the queue could not be read");
                    app.metrics.add(Metric::ReapFailures, 1);
                    output.more = true;
                }
            }
        }
        due.sort_by_key(|(place, _)| *place);
        let mut work = Vec::with_capacity(due.len());
        for (_, (due_at, job_id)) in due {
            work.push(look_after(app, job_id, due_at, now, started));
        }
        let mut reaped = stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some(reaped) = reaped.next().await {
            output.count(reaped);
        }
    }
    Ok(output)
}

impl Output {
    fn count(&mut self, reaped: Reaped) {
        let counter = match reaped {
            Reaped::Requeued => &mut self.requeued,
            Reaped::TimedOut => &mut self.timed_out,
            Reaped::Completed => &mut self.completed,
            Reaped::Swept => &mut self.swept,
            Reaped::Lost => &mut self.lost,
            Reaped::Unchanged => &mut self.unchanged,
            Reaped::Failed => &mut self.failed,
            Reaped::Left => return self.more = true,
        };
        *counter += 1;
    }
}

/// One job, unless the run is over. Whatever goes wrong with it concerns no other job.
async fn look_after(app: &App, job_id: Uuid, due_at: i64, now: Timestamp, started: Instant) -> Reaped {
    if started.elapsed() > RUN {
        return Reaped::Left;
    }
    let left = GIVE_UP.saturating_sub(started.elapsed());
    let reaped = tokio::time::timeout(left, reap(app, job_id, now)).await;
    let error = match reaped.unwrap_or_else(|_| Err(Error::unavailable("reap", "no time left"))) {
        Ok(reaped) => return reaped,
        Err(error) => error,
    };
    app.metrics.add(Metric::ReapFailures, 1);
    tracing::error!(job.id = %job_id, cause = ?error.cause(), "a job could not be looked after");
    if let Err(error) = app.jobs.change(job_id, lifecycle::postpone(due_at, now), "postpone: UpdateItem").await {
        tracing::error!(job.id = %job_id, cause = ?error.cause(), "a job could not be put off");
    }
    Reaped::Failed
}

async fn reap(app: &App, job_id: Uuid, now: Timestamp) -> Result<Reaped> {
    // The index may be behind: the job itself tells what it is due for.
    let Some(mut job) = app.jobs.get(job_id).await? else { return Ok(Reaped::Unchanged) };
    let Some(due) = job.due_at.filter(|due| *due <= now) else { return Ok(Reaped::Unchanged) };
    // A job that was put off is as late as before.
    app.metrics.longest(Metric::ReapDelay, job.lease_expires_at.unwrap_or(due), now);
    if let Some(gone) = job.deleted_at.and(job.gone_at) {
        return sweep(app, &job, gone, now).await;
    }
    if job.terminal || job.lease_expires_at.is_none() {
        return Ok(Reaped::Unchanged);
    }
    let payloads = app.payloads()?;
    let (mut seen, mut put) = (Seen::default(), None);
    let (transition, reaped) = if let Some(gone) = gone(app, &mut job).await? {
        tracing::error!(job.id = %job_id, key = gone.key, "a job ends because its payload is gone from the bucket");
        (lifecycle::end_without(&job, gone.kind, now)?, Reaped::Lost)
    } else if job.report.is_some() {
        seen = check_files(app.bucket()?, &mut job, app.config.multipart_threshold).await?;
        put = payloads.record_files(&mut job).await?;
        (lifecycle::complete_for_lost_miner(&job, now)?, Reaped::Completed)
    } else if job.attempt < job.max_attempts {
        (lifecycle::requeue(&job, now), Reaped::Requeued)
    } else {
        (lifecycle::time_out(&job, now), Reaped::TimedOut)
    };
    match app.jobs.change(job.job_id, transition, "reap: UpdateItem").await? {
        Outcome::Changed(after) => {
            // Of a job that has lost its files' list there is nothing to tidy, and perhaps more of it is gone.
            let after = if matches!(reaped, Reaped::Lost) { *after } else { payloads.with_files(&job, *after).await? };
            app.metrics.add(Metric::LeasesLost, 1);
            after.count_end(&app.metrics);
            tidy(app.bucket()?, seen, &after).await;
            Ok(reaped)
        }
        Outcome::Refused(after) => {
            // Ended by somebody else, perhaps: what this check has made is then left over.
            payloads.take_back(&job.file_keys(), put.as_ref(), Some(&after)).await;
            tidy(app.bucket()?, seen, &payloads.with_files(&job, *after).await?).await;
            Ok(Reaped::Unchanged)
        }
        Outcome::Gone => Ok(Reaped::Unchanged),
    }
}

/// Sees whether that is there without which the job is of no use to anybody: its arguments, or what was reported. The list of files is
/// loaded.
async fn gone(app: &App, job: &mut Job) -> Result<Option<Gone>> {
    let payloads = app.payloads()?;
    if job.report.is_none() {
        return payloads.gone(job, PayloadKind::Arguments).await;
    }
    match payloads.gone(job, PayloadKind::Result).await? {
        None => payloads.load(job, &[PayloadKind::Files]).await,
        gone => Ok(gone),
    }
}

async fn sweep(app: &App, job: &Job, gone: Timestamp, now: Timestamp) -> Result<Reaped> {
    app.bucket()?.delete_all(job.file_keys().job()).await?;
    app.jobs.change(job.job_id, lifecycle::swept(job, gone, now), "sweep: UpdateItem").await?;
    Ok(Reaped::Swept)
}
