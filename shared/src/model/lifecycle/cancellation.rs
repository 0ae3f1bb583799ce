//! The owner wants the job no more. What waits ends at once ([`super::cancel_pending`]). What runs is the miner's to end: it is told so with
//! its next heartbeat, and what it then still reports is kept.

use super::{
    condition::{attempt_of, tokens_end},
    report::{Report, reported},
    revocation::{Revocation, lost, lost_attempt},
};
use crate::{
    error::Result,
    item::{Condition, Transition, number, text},
    model::{job::Job, lease::Lease, pace, status::Status, stopping},
    time::Timestamp,
};

/// What the owner reads in `error_detail`, unless the miner has reported something else.
pub const CANCELLED_BY_OWNER: &str = "Cancelled by its owner";

/// `running`, and its miner is told to stop. Before the report only: what was reported is finished work. The reaper looks soon, where there
/// are heartbeats that could tell.
pub fn request_cancel(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let change = attempt_of(job.attempt)
        .when(Condition::Is("status", text(Status::Running.as_str())))
        .when(Condition::Absent("report"))
        .when(Condition::Absent("cancel_requested_at"))
        .set("cancel_requested_at", number(now.millis()))
        .set("updated_at", number(now.millis()));
    let soon = now.plus_seconds(pace::LAST_WORDS);
    let beats = lease.is_some_and(|lease| lease.is_of(job, now));
    let change = match beats && job.due_at.is_none_or(|due| due > soon) {
        true => change.set("due_at", number(soon.millis())),
        false => change,
    };
    Revocation { job: change, lease: Some(stopping::cancel(job, lease, tokens_end(job, now), now)) }
}

/// `running` → what the miner reports of a job that it was to stop: `cancelled`, with its result and its files.
pub fn finish_cancelled(
    attempt: u32,
    deadline: Timestamp,
    upload_window: i64,
    report: Report<'_>,
) -> Result<Transition> {
    let detail = report.detail.or(Some(CANCELLED_BY_OWNER));
    let report = Report { status: Status::Cancelled, detail, ..report };
    let change = reported(attempt, deadline, upload_window, report)?;
    Ok(change.when(Condition::Exists("cancel_requested_at".to_owned())))
}

/// `running` → `cancelled`, by the reaper: the miner was to stop, and its lease ran out without a report.
pub fn end_cancelled(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let change = lost_attempt(job)
        .set("status", text(Status::Cancelled.as_str()))
        .set("error_detail", text(CANCELLED_BY_OWNER))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(job.job_id, now);
    lost(change, job, lease, now)
}
