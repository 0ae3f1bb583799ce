//! Heartbeats, which hold a job.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Error, Result};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout},
};

use crate::{
    api::{Answer, Api, time},
    beneath::Root,
    pace::{LONGEST, SHORTEST, here},
    refusal::{refused_with, wait},
    screen::tell,
    work::{
        aside::Aside,
        events::{self, Event},
        folder::{Assignment, Folder},
        log::{Log, Place},
    },
};

/// Time to the next heartbeat where the API does not say: a third of the lease.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// The shortest time to the next one after one that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a heartbeat holds a job at least.
const LEASE: Duration = Duration::from_secs(90);
/// Why a job comes back whose miner is stopped.
pub(crate) const STOPPED: &str = "the miner is stopped";
/// How long giving a job back may take.
const LAST: Duration = Duration::from_secs(5);
/// How long the rest of a log may take once its command has ended: its report waits for it.
pub(crate) const LAST_LOG: Duration = Duration::from_secs(30);
/// The same when the miner is stopped.
pub(crate) const STOPPED_LOG: Duration = Duration::from_secs(2);
/// Bytes of the progress that are read.
const LONGEST_PROGRESS: u64 = 100;
/// How long reading them may take: the command may have put a file system there that does not answer.
const READING: Duration = Duration::from_secs(1);

/// What the API says of a lease.
#[derive(Deserialize)]
struct Told {
    lease_expires_at: Option<String>,
    next_heartbeat_at: Option<String>,
    #[serde(default)]
    cancelled: bool,
    /// Where the log's chunk goes that the heartbeat had.
    log: Option<Place>,
}

/// The API says of a job that it has ended without a report.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(crate) struct Over;

/// How long a job is this miner's, if it says no more, and when it is to say so again.
pub(crate) struct Lease {
    held_until: Instant,
    next_beat: Instant,
    /// Time between two heartbeats while all is well.
    every: Duration,
}

impl Lease {
    /// As an answer tells that was given when the API's clock said `at`. A lease is never shorter than a heartbeat gives.
    pub(crate) fn of(expires_at: Option<&str>, next_beat_at: Option<&str>, at: Option<OffsetDateTime>) -> Self {
        let now = Instant::now();
        let after = |text: Option<&str>| Some((time(text?)? - at?).try_into().unwrap_or(Duration::ZERO));
        let every = here(after(next_beat_at).unwrap_or(HEARTBEAT).clamp(SHORTEST, LONGEST));
        Self { held_until: now + here(after(expires_at).unwrap_or(LEASE).max(LEASE)), next_beat: now + every, every }
    }

    /// Of a job that another process has left: it begins with a heartbeat.
    pub(crate) fn left(assignment: &Assignment) -> Self {
        let left = Self::of(assignment.lease_expires_at.as_deref(), None, Some(OffsetDateTime::now_utc()));
        Self { next_beat: Instant::now(), ..left }
    }

    fn answered(answer: &Answer<Told>) -> Self {
        let Told { lease_expires_at, next_heartbeat_at, .. } = &answer.body;
        Self::of(lease_expires_at.as_deref(), next_heartbeat_at.as_deref(), answer.at)
    }

    /// When to beat after a heartbeat that failed: when its answer says; otherwise the more seldom the longer the lease is, and after at least
    /// so long. Before the lease ends, if there is time for that.
    fn after_failure(self, said: Option<Duration>, least: Duration) -> Self {
        let (left, shortest) = (self.held_until.saturating_duration_since(Instant::now()), here(least));
        let wait = said.map_or((left / 4).min(self.every).max(shortest), |said| here(said.max(SHORTEST)));
        Self { next_beat: Instant::now() + wait.min((left / 2).max(shortest)), ..self }
    }
}

/// Sends heartbeats, when the API wants them, until the job is no longer this miner's; tells why.
/// Where the owner has cancelled it, `cancelled` is told, and the job is this miner's for as long as it takes to deliver what there is.
pub(crate) async fn hold(
    api: &Api,
    assignment: &Assignment,
    folder: &Folder,
    mut lease: Lease,
    log: &Log,
    cancelled: &Notify,
) -> Error {
    let mut reading = Aside::default();
    loop {
        sleep_until(lease.next_beat.into()).await;
        let job = folder.job();
        let progress = reading.get(READING, move || progress(&job)).await.flatten();
        let beaten = async |bytes| {
            let (answer, place) = beat(api, assignment, progress, bytes, false).await?;
            // Before what is printed is sent, which takes its time: the lease begins with the answer.
            let lease = Lease::answered(&answer);
            if answer.body.cancelled {
                // Who waits for it, or comes to wait.
                cancelled.notify_one();
            }
            Ok(((answer, lease), place))
        };
        match log.with_beat(api, false, beaten).await.map(|(answered, _)| answered) {
            Ok((answer, _)) if answer.body.cancelled && answer.body.lease_expires_at.is_none() => {
                return Over.into();
            }
            Ok((_, answered)) => lease = answered,
            Err(error) => match refused_with(&error) {
                Some(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => return error,
                // One that is reported is held for its files, whether heartbeats come or not, until the API says that it is over.
                _ if Instant::now() > lease.held_until && !folder.is_reported() => {
                    return error.context("the lease has ended");
                }
                _ => {
                    lease = lease.after_failure(wait(&error), if folder.is_reported() { HEARTBEAT } else { AGAIN });
                    tell(format_args!("{error:#}"));
                }
            },
        }
    }
}

/// Gives a job back that has no report: another miner may have it at once.
pub(crate) async fn give_back(api: &Api, assignment: &Assignment, reason: &str, logs: bool) {
    let job_id = &assignment.job_id;
    let url = assignment.job_status_url.replacen("?token=", "/release?token=", 1);
    let mut body = json!({ "reason": reason.replace(char::is_control, " ") });
    if logs {
        body["logs"] = true.into();
    }
    let body = body.to_string();
    let failed = match timeout(LAST, api.at::<IgnoredAny>(Method::PUT, &url, Some(&body))).await {
        Ok(Ok(_)) => {
            let words = format_args!("{job_id}: given back, so that another miner gets it: {reason}");
            return events::tell(&Event::GivenBack { job_id, reason }, words);
        }
        Ok(Err(error)) => error,
        Err(_) => Error::msg("no answer"),
    };
    tell(format_args!(
        "{job_id}: can't be given back, so that it waits for the end of its lease: {reason}; {failed:#}"
    ));
}

/// Sends what is left of the log of a command that has ended. What fails now is given up, and so is what takes longer than `most`.
pub(crate) async fn send_log(api: &Api, assignment: &Assignment, log: &Log, most: Duration) {
    let send = async {
        while log.has_more() {
            let sent = log.with_beat(api, true, async |bytes| beat(api, assignment, None, bytes, true).await).await;
            if !sent.is_ok_and(|(_, sent)| sent) {
                break;
            }
        }
    };
    let _ = timeout(most, send).await;
    if log.has_more() {
        tell(format_args!("{}: the end of what the command printed is not sent", assignment.job_id));
    }
}

async fn beat(
    api: &Api,
    assignment: &Assignment,
    progress: Option<f64>,
    log_bytes: Option<usize>,
    is_last: bool,
) -> Result<(Answer<Told>, Option<Place>)> {
    let url = assignment.job_status_url.replacen("?token=", "/heartbeat?token=", 1);
    let mut body = json!({ "progress": progress });
    if let Some(bytes) = log_bytes {
        body["log_bytes"] = bytes.into();
    }
    let body = Some(body.to_string());
    let mut answer: Answer<Told> = match is_last {
        true => api.at(Method::PUT, &url, body.as_deref()).await?,
        false => api.briefly_at(Method::PUT, &url, body.as_deref()).await?,
    };
    let place = answer.body.log.take();
    Ok((answer, place))
}

/// What the command says of its progress, if it is a number from 0 to 1.
fn progress(job: &Path) -> Option<f64> {
    let content = Root::open(job).ok()?.content("progress", LONGEST_PROGRESS).ok()??;
    let progress = std::str::from_utf8(&content).ok()?.trim().parse().ok()?;
    (0.0..=1.0).contains(&progress).then_some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of the lease and to the next heartbeat, when the API's clock says `at`.
    fn seconds(lease: Option<&str>, next: Option<&str>, at: Option<&str>) -> (u64, u64) {
        let lease = Lease::of(lease, next, at.and_then(time));
        let from_now = |instant: Instant| (instant - Instant::now()).as_secs_f64().ceil() as u64;
        (from_now(lease.held_until), from_now(lease.next_beat))
    }

    #[test]
    fn the_apis_clock_counts_and_not_this_ones() {
        let at = Some("2020-01-01T00:00:00Z");
        assert_eq!(seconds(Some("2020-01-01T01:00:00Z"), Some("2020-01-01T00:02:00.500Z"), at), (3600, 121));
        // What nobody dated says nothing.
        assert_eq!(seconds(Some("2020-01-01T01:00:00Z"), Some("2020-01-01T00:02:00Z"), None), (90, 30));
    }

    #[test]
    fn a_heartbeat_that_failed_is_followed_by_another_one_in_time() {
        let after = |lease: u64, every: u64, said: Option<u64>| {
            let (held_until, every) = (Instant::now() + Duration::from_secs(lease), Duration::from_secs(every));
            let lease = Lease { held_until, next_beat: Instant::now(), every };
            let next = lease.after_failure(said.map(Duration::from_secs), AGAIN).next_beat;
            (next - Instant::now()).as_secs_f64().round() as u64
        };
        // The first of a lease that lasts for the whole job, one of an old job, and the last ones before a lease ends.
        assert_eq!(after(3600, 30, None), 30);
        assert_eq!(after(600, 300, None), 150);
        assert_eq!((after(60, 30, None), after(12, 30, None), after(0, 30, None)), (15, 5, 5));
        assert_eq!((after(60, 30, Some(1)), after(60, 30, Some(20)), after(60, 30, Some(300))), (1, 20, 30));
    }

    #[test]
    fn a_lease_is_never_shorter_than_a_heartbeat_gives_and_heartbeats_have_bounds() {
        let at = Some("2020-01-01T00:00:00Z");
        let (past, future) = (Some("2019-01-01T00:00:00Z"), Some("2021-01-01T00:00:00Z"));
        assert_eq!(seconds(None, None, at), (90, 30));
        assert_eq!(seconds(past, past, at), (90, 1));
        assert_eq!(seconds(Some("now"), future, at), (90, 300));
    }
}
