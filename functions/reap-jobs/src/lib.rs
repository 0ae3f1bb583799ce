//! The reaper: every minute it looks at the jobs that are due, and at no others. A lost lease goes back to the queue, times out,
//! or is completed when the miner had reported; a deleted job is swept until nothing of it can arrive any more.

use std::time::{Duration, Instant};

use aws_smithy_types::{DateTime, date_time::Format};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use shared::{
    App, Error, Result,
    check::check_files,
    job::Job,
    jobs::Outcome,
    lifecycle::{self, SHARDS},
    metrics::Metric,
    time::Timestamp,
};
use uuid::Uuid;

/// Jobs looked after at the same time.
const AT_ONCE: usize = 8;
/// Time after which a run begins no more; the next run goes on.
const RUN: Duration = Duration::from_secs(20);

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
    /// Jobs that somebody else was faster with.
    unchanged: u32,
    /// Jobs that could not be looked after; they are due again in the next run.
    failed: u32,
    /// Whether the run stopped for time, with jobs left.
    more: bool,
}

/// What became of one job.
enum Reaped {
    Requeued,
    TimedOut,
    Completed,
    Swept,
    Unchanged,
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
    for shard in 0..SHARDS {
        let mut after = None;
        loop {
            if started.elapsed() > RUN {
                output.more = true;
                return Ok(output);
            }
            let (due, next) = app.jobs.due(shard, now, after).await?;
            let work: Vec<_> = due.into_iter().map(|job_id| reap(app, job_id, now)).collect();
            let mut reaped = stream::iter(work).buffer_unordered(AT_ONCE);
            while let Some(reaped) = reaped.next().await {
                if reaped.is_err() {
                    app.metrics.add(Metric::ReapFailures, 1);
                }
                output.count(reaped);
            }
            match next {
                Some(cursor) => after = Some(cursor),
                None => break,
            }
        }
    }
    Ok(output)
}

impl Output {
    fn count(&mut self, reaped: Result<Reaped>) {
        let counter = match reaped {
            Ok(Reaped::Requeued) => &mut self.requeued,
            Ok(Reaped::TimedOut) => &mut self.timed_out,
            Ok(Reaped::Completed) => &mut self.completed,
            Ok(Reaped::Swept) => &mut self.swept,
            Ok(Reaped::Unchanged) => &mut self.unchanged,
            Err(error) => {
                tracing::error!(cause = ?error.cause(), "a job could not be looked after");
                &mut self.failed
            }
        };
        *counter += 1;
    }
}

async fn reap(app: &App, job_id: Uuid, now: Timestamp) -> Result<Reaped> {
    // The index may be behind: the job itself tells what it is due for.
    let Some(mut job) = app.jobs.get(job_id).await? else { return Ok(Reaped::Unchanged) };
    let Some(due) = job.due_at.filter(|due| *due <= now) else { return Ok(Reaped::Unchanged) };
    app.metrics.longest(Metric::ReapDelay, due, now);
    if let Some(gone) = job.deleted_at.and(job.gone_at) {
        return sweep(app, &job, gone, now).await;
    }
    if job.terminal || job.lease_expires_at.is_none() {
        return Ok(Reaped::Unchanged);
    }
    let (transition, reaped) = if job.report.is_some() {
        check_files(app.outputs()?, &mut job, app.config.multipart_threshold).await?;
        (lifecycle::complete_for_lost_miner(&job, now)?, Reaped::Completed)
    } else if job.attempt < job.max_attempts {
        (lifecycle::requeue(&job, now), Reaped::Requeued)
    } else {
        (lifecycle::time_out(&job, now), Reaped::TimedOut)
    };
    match app.jobs.change(job.job_id, &transition, "reap: UpdateItem").await? {
        Outcome::Changed(job) => {
            app.metrics.add(Metric::LeasesLost, 1);
            app.metrics.ended(&job);
            Ok(reaped)
        }
        Outcome::Refused(_) | Outcome::Gone => Ok(Reaped::Unchanged),
    }
}

async fn sweep(app: &App, job: &Job, gone: Timestamp, now: Timestamp) -> Result<Reaped> {
    app.outputs()?.delete_all(&job.files_prefix()).await?;
    if now >= gone {
        app.jobs.remove(job.job_id).await?;
    } else {
        app.jobs.change(job.job_id, &lifecycle::sweep_later(gone), "sweep: UpdateItem").await?;
    }
    Ok(Reaped::Swept)
}
