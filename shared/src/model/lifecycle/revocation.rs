//! An attempt is taken from its miner, which does not know: by the reaper, an administrator, or because what it needs is gone.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::{
    attempt::is_withheld_since,
    check::complete,
    condition::{as_held, as_listed, attempt_of, attribute, live_job, tokens_end},
};
use crate::{
    error::Result,
    item::{Condition, Transition, keys, number, text},
    model::{
        job::Job,
        lease::{self, Lease},
        log::{logged, while_unlogged},
        payload::{Payload, PayloadKind, Stored},
        place::Place,
        status::Status,
    },
    time::Timestamp,
};

/// An attempt is taken from its miner, which does not know: the job changes, and its heartbeats are refused from then on. Both
/// happen, or neither does.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// What becomes of the job.
    pub job: Transition,
    /// What becomes of the row of its heartbeats. None when no attempt was ever begun.
    pub lease: Option<Transition>,
}

/// Reported → terminal, by the reaper: the miner's lease has run out, so what has arrived is all there will be.
pub fn complete_for_lost_miner(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Result<Revocation> {
    let change = complete(job, now)?;
    let change = match job.result.as_ref().and_then(Payload::stored).filter(|stored| stored.lost) {
        Some(stored) => change.set("result", attribute(stored)?),
        None => change,
    };
    Ok(lost(as_held(change, job), job, lease, now))
}

/// The job, whose files were checked, as it ends for that its result is gone from the bucket.
pub fn without_result(job: Job) -> Job {
    let (status, detail) = end_for(&job, PayloadKind::Result);
    let result = job.result.map(|result| match result {
        Payload::Stored(stored) => Payload::Stored(Stored { lost: true, ..stored }),
        inline @ Payload::Inline(_) => inline,
    });
    Job { status, error_detail: Some(detail), result, ..job }
}

/// `running` → `pending`: the lease ran out, and an attempt is left. The miner's account may not have it for a while.
pub fn requeue(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    lost(wait_again(job, job.own_place(), now), job, lease, now)
}

/// Back to the queue, at this place. Whoever had the job may not have it for a while.
pub(super) fn wait_again(job: &Job, place: Place, now: Timestamp) -> Transition {
    let still = job.lost.iter().filter(|(_, at)| is_withheld_since(**at, now));
    let mut losers: HashMap<_, _> = still.map(|(loser, at)| (loser.clone(), number(at.millis()))).collect();
    // A claim of an earlier release has not left the account.
    let loser = job.miner_account.map(|account| account.to_string()).or_else(|| job.miner.clone());
    losers.extend(loser.map(|loser| (loser, number(now.millis()))));
    lost_attempt(job)
        // That an attempt is left is as it was read: it may have become the last one.
        .when(Condition::Is("max_attempts", number(job.max_attempts.into())))
        .set("status", text(Status::Pending.as_str()))
        .set("lost", AttributeValue::M(losers))
        .set("updated_at", number(now.millis()))
        .set("queue", text(keys::claimable(job.chute_id, job.shard)))
        .set("due_at", number(place.stored()))
        .remove("lost_by")
        .remove("lease_expires_at")
        .remove("deadline_at")
        .remove("started_at")
        .remove("miner")
        .remove("miner_account")
        .remove("miner_hotkey")
        .remove("worker")
        .remove("instance")
        .remove("progress")
}

/// `running` → `timeout`: the lease ran out, and no attempt is left.
pub fn time_out(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let change = lost_attempt(job)
        .set("status", text(Status::Timeout.as_str()))
        .set("error_detail", text(format!("No result after {} of {} attempts", job.attempt, job.max_attempts)))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(job.job_id, now);
    lost(change, job, lease, now)
}

/// What the reaper may do with an attempt whose lease ran out, as it was read.
pub(super) fn lost_attempt(job: &Job) -> Transition {
    as_held(attempt_of(job.attempt).when(Condition::Is("status", text(Status::Running.as_str()))), job)
        // Its owner may have cancelled it since: then it ends otherwise.
        .when(Condition::unchanged_time("cancel_requested_at", job.cancel_requested_at))
}

/// What became of an attempt whose lease ran out, unless a heartbeat has come since.
pub(super) fn lost(change: Transition, job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let change = logged(change, lease.is_some_and(|lease| lease.log_bytes.is_some()));
    Revocation { job: change, lease: Some(lease::close_as_read(job, lease, tokens_end(job, now))) }
}

/// `pending` | `running` → `cancelled`, by an administrator. A miner that runs it is fenced off by the end: it can report nothing,
/// and its next heartbeat tells it to stop. What was reported is finished work, and ends as it would have.
pub fn cancel(job: &Job, detail: &str, now: Timestamp) -> Revocation {
    let change = cancelled(job.job_id, detail, now).when(Condition::Is("attempt", number(job.attempt.into())));
    let claimed = job.attempt > 0;
    let close = || while_unlogged(lease::close(job, tokens_end(job, now)), job);
    Revocation { job: logged(change, job.logged), lease: claimed.then(close) }
}

/// The same, only while no miner has it.
pub fn cancel_pending(job_id: Uuid, detail: &str, now: Timestamp) -> Transition {
    cancelled(job_id, detail, now).when(Condition::Is("status", text(Status::Pending.as_str())))
}

fn cancelled(job_id: Uuid, detail: &str, now: Timestamp) -> Transition {
    live_job()
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
        .when(Condition::Absent("report"))
        .set("status", text(Status::Cancelled.as_str()))
        .set("error_detail", text(detail))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(job_id, now)
}

/// Running or reported → `error`, or `cancelled`, where its owner has asked for that: what the job needs is gone from the bucket, where nobody
/// but the operator can have removed it. Without its arguments nobody can run it; without its result or list of files nobody can answer it.
pub fn end_without(job: &Job, gone: PayloadKind, now: Timestamp) -> Result<Revocation> {
    let job_ends = without(job, gone, now)?;
    Ok(Revocation { job: job_ends, lease: Some(lease::close(job, tokens_end(job, now))) })
}

/// The same, by the reaper: the miner's lease has run out.
pub fn end_lost_without(job: &Job, gone: PayloadKind, lease: Option<&Lease>, now: Timestamp) -> Result<Revocation> {
    Ok(lost(as_held(without(job, gone, now)?, job), job, lease, now))
}

/// The status and the detail of a job that ends for what is gone.
fn end_for(job: &Job, gone: PayloadKind) -> (Status, String) {
    let status = if job.cancel_requested_at.is_some() { Status::Cancelled } else { Status::Error };
    let before = job.error_detail.as_ref().map(|detail| format!("{detail}\n")).unwrap_or_default();
    (status, format!("{before}What the job needs is no longer in the bucket of outputs: its {gone}"))
}

fn without(job: &Job, gone: PayloadKind, now: Timestamp) -> Result<Transition> {
    let (status, detail) = end_for(job, gone);
    let marked =
        |stored: Option<&Stored>| stored.map(|stored| attribute(&Stored { lost: true, ..stored.clone() })).transpose();
    let change = attempt_of(job.attempt)
        .when(Condition::Is("status", text(job.status.as_str())))
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
        .when(Condition::unchanged_time("cancel_requested_at", job.cancel_requested_at))
        .set("status", text(status.as_str()))
        .set("error_detail", text(detail))
        .set("finished_at", number(job.finished_at.unwrap_or(now).millis()))
        .set("updated_at", number(now.millis()));
    let change = match gone {
        PayloadKind::Arguments => change.set_option("job_args", marked(job.job_args.stored())?),
        PayloadKind::Result => change.set_option("result", marked(job.result.as_ref().and_then(Payload::stored))?),
        PayloadKind::Inputs => change.set_option("inputs", marked(job.inputs.as_ref().and_then(Payload::stored))?),
        // Another may have taken its place since it was read.
        PayloadKind::Files => as_listed(change, job)?.remove("file_list"),
    };
    Ok(change.terminal(job.job_id, now))
}
