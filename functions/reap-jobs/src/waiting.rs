//! Alarms: what has waited too long for a miner ends.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::{
    App, Error, Result,
    item::shards::SHARDS,
    model::{Alarm, Job, Place, Waiting, lifecycle},
    tables::jobs::Outcome,
    time::{DAY, Timestamp},
};
use uuid::Uuid;

use crate::run::{AT_ONCE, RUN};

/// Seconds from when a request came until its last write, at most: a function has 29, and may have to start before that.
const REQUEST: i64 = 60;
/// Seconds after which a chute's queue is looked at again, at the latest.
const LOOK_AGAIN: i64 = DAY;

/// Ends those whose time is over, how many, and sets the alarm anew for the next one.
pub(crate) async fn ring(app: &App, alarm: &Alarm, now: Timestamp, started: Instant) -> Result<u32> {
    let (expired, next) = match alarm.waiting {
        Waiting::Job(job_id) => {
            let job = app.jobs.get_with_lease(job_id).await?.map(|(job, _)| job);
            // Whoever makes it wait anew has set the alarm before, and writes that in a moment, perhaps: it is heard again in the next run.
            let set_at = |job: &Job| alarm.due_at.map(|due| due.plus_seconds(-job.waits_for()));
            if job.as_ref().is_some_and(|job| !waits(job) && set_at(job) > Some(now.plus_seconds(-REQUEST))) {
                return Ok(0);
            }
            expire(app, job.into_iter().collect(), now).await?
        }
        Waiting::Chute(chute_id) => {
            let (expired, next) = expire_of_chute(app, chute_id, now, started).await?;
            // What is created from now on waits at least as long, unless the deployment lets it wait for less: that is seen by then.
            let any = now.plus_seconds(app.config.pending.min(LOOK_AGAIN));
            (expired, Some(next.map_or(any, |next| next.min(any))))
        }
    };
    let change = match next {
        Some(next) => alarm.waiting.ring_again(alarm, next),
        None => Waiting::silence(alarm, now),
    };
    app.jobs.change_alarm(alarm.waiting, change).await?;
    Ok(expired)
}

/// What waits in the chute's queue, the longest-waiting first, as far as it may have expired. How many have, and when the next one does.
async fn expire_of_chute(
    app: &App,
    chute_id: Uuid,
    now: Timestamp,
    started: Instant,
) -> Result<(u32, Option<Timestamp>)> {
    let (mut expired, mut next) = (0, None);
    for shard in 0..SHARDS {
        let mut after = None;
        loop {
            let ((places, more), jobs) = app.jobs.waiting(chute_id, shard, after).await?;
            // No job waits since before its place. As long as jobs behind these wait at least: those may have been created when the deployment let them wait for less.
            let waits = jobs.iter().filter(|job| !job.own_wait).map(Job::waits_for);
            let waits = waits.chain([app.config.pending]).min().unwrap_or_default();
            let (ended, first) = expire(app, jobs, now).await?;
            expired += ended;
            let behind = places.last().filter(|_| more.is_some());
            let behind = behind.map(|(since, _)| Place::from_stored(*since).time().plus_seconds(waits));
            next = [next, first].into_iter().flatten().min();
            let is_out_of_time = started.elapsed() > RUN;
            if is_out_of_time || behind.is_none_or(|behind| behind > now && ended == 0) {
                next = [next, behind].into_iter().flatten().min();
                break;
            }
            after = more;
        }
    }
    Ok((expired, next))
}

/// Ends those of these jobs whose time is over. How many, and when the time of the next one is.
async fn expire(app: &App, jobs: Vec<Job>, now: Timestamp) -> Result<(u32, Option<Timestamp>)> {
    let (over, waiting): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .filter(waits)
        .filter_map(|job| job.waits_until().map(|until| (until, job)))
        .partition(|(until, _)| *until <= now);
    let ended = stream::iter(over).map(|(_, job)| async move {
        match app.jobs.change(job.job_id, lifecycle::expire(&job, now), "expire: UpdateItem").await? {
            Outcome::Changed(job) => {
                job.count_end(&app.metrics);
                Ok::<_, Error>(1)
            }
            // Claimed a moment ago, perhaps.
            Outcome::Refused(_) | Outcome::Gone => Ok(0),
        }
    });
    let ended: Vec<u32> = ended.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok((ended.iter().sum(), waiting.into_iter().map(|(until, _)| until).min()))
}

fn waits(job: &Job) -> bool {
    job.deleted_at.is_none() && job.waits_until().is_some()
}
