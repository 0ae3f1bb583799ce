//! Heartbeats, which hold a job.

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use crate::{
    api::{Api, time},
    beneath::Root,
    refusal::refused_with,
    screen::tell,
    work::folder::{Assignment, Folder},
};

/// Time between two heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a heartbeat holds a job at least.
const LEASE: Duration = Duration::from_secs(90);
/// How long giving a job back may take.
const LAST: Duration = Duration::from_secs(5);
/// Bytes of the progress that are read.
const LONGEST_PROGRESS: u64 = 100;

#[derive(Deserialize)]
struct Answer {
    lease_expires_at: Option<String>,
    #[serde(default)]
    cancelled: bool,
}

/// Sends heartbeats until the job is no longer this miner's; tells why.
pub(crate) async fn hold(api: &Api, assignment: &Assignment, folder: &Folder) -> Error {
    let mut held_until = end(assignment.lease_expires_at.as_deref());
    loop {
        match beat(api, assignment, progress(folder)).await {
            Ok(answer) if answer.cancelled => return Error::msg("cancelled"),
            Ok(answer) => held_until = end(answer.lease_expires_at.as_deref()),
            Err(error) => match refused_with(&error) {
                Some(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => return error,
                _ if Instant::now() > held_until => return error.context("the lease has ended"),
                _ => tell(format_args!("{error:#}")),
            },
        }
        sleep(HEARTBEAT).await;
    }
}

/// Leaves a job that has no report to another miner. A heartbeat makes its lease a short one, which then ends.
pub(crate) async fn give_back(api: &Api, assignment: &Assignment) {
    // Without it the lease ends later, and the job is not lost either.
    let _ = timeout(LAST, beat(api, assignment, None)).await;
    tell(format_args!(
        "{}: stopped. Its lease ends in {} s, and another miner gets it if it has attempts left",
        assignment.job_id,
        LEASE.as_secs()
    ));
}

async fn beat(api: &Api, assignment: &Assignment, progress: Option<f64>) -> Result<Answer> {
    let url = assignment.job_status_url.replacen("?token=", "/heartbeat?token=", 1);
    api.with_token(Method::PUT, &url, Some(&json!({ "progress": progress }).to_string())).await
}

/// What the command says of its progress, if it is a number from 0 to 1.
fn progress(folder: &Folder) -> Option<f64> {
    let content = Root::open(&folder.job()).ok()?.content("progress", LONGEST_PROGRESS).ok()??;
    let progress = std::str::from_utf8(&content).ok()?.trim().parse().ok()?;
    (0.0..=1.0).contains(&progress).then_some(progress)
}

/// Until when an answer gives the job to this miner. Never less than a heartbeat gives: this clock may be wrong.
fn end(told: Option<&str>) -> Instant {
    let left = told.and_then(time).and_then(|until| Duration::try_from(until - OffsetDateTime::now_utc()).ok());
    Instant::now() + left.unwrap_or(LEASE).max(LEASE)
}

#[cfg(test)]
mod tests {
    use ::time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn a_lease_is_as_long_as_told_and_never_shorter_than_a_heartbeat_gives() {
        const HOUR: Duration = Duration::from_secs(3600);
        let left = |until: Option<&str>| end(until) - Instant::now();
        let in_an_hour = (OffsetDateTime::now_utc() + HOUR).format(&Rfc3339).unwrap_or_default();
        assert!(left(Some(&in_an_hour)) > HOUR - HEARTBEAT);
        for until in [None, Some("2020-01-01T00:00:00.000Z")] {
            assert!((LEASE - HEARTBEAT..=LEASE).contains(&left(until)));
        }
    }
}
