//! An attempt begins, and goes on.

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::condition::{attempt_of, attribute, live_job};
use crate::{
    error::Result,
    item::{Condition, Transition, keys, number, text},
    model::{
        job::{Instance, Job},
        lease::Heartbeat,
        pace,
        payload::{PayloadKind, Stored},
        status::Status,
        trace::Trace,
    },
    time::Timestamp,
};

/// Seconds for which a job that was lost is withheld from whoever lost it. Others come first; a lone miner's job goes on.
pub const WITHHELD: i64 = 300;

/// A claim's details.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Who claims.
    pub miner: &'a str,
    /// Whose account that is.
    pub account: Uuid,
    /// Which of the miner's processes, when it said so.
    pub worker: Option<&'a str>,
    /// The hotkey, when the claim was signed.
    pub hotkey: Option<&'a str>,
    /// What the miner says about where it runs.
    pub instance: Option<Instance>,
    /// Where that is from now on which was put anew.
    pub renewed: &'a [(PayloadKind, Stored)],
    /// Leaves it in the reaper's queue, where the worker's last jobs are found.
    pub trace: Option<&'a Trace>,
    /// When.
    pub now: Timestamp,
    /// When the attempt is over.
    pub deadline: Timestamp,
}

/// `pending` → `running`: the attempt after the one that was read begins. One winner: the condition names that attempt.
pub fn claim(job: &Job, claim: &Claim<'_>) -> Result<Transition> {
    let first_look = claim.now.plus_seconds(pace::FIRST_LEASE).min(claim.deadline);
    let (queue, due_at) = match claim.trace {
        Some(trace) => (trace.queue(), trace.due_at(claim.now)),
        None => (keys::due(job.job_id), first_look),
    };
    let instance = claim.instance.as_ref().map(Instance::to_attribute).transpose()?;
    let mut change = live_job();
    for (kind, stored) in claim.renewed {
        change = change.set(kind.attribute(), attribute(stored)?);
    }
    Ok(change
        .when(Condition::Is("status", text(Status::Pending.as_str())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .set("status", text(Status::Running.as_str()))
        .set("attempt", number(i64::from(job.attempt) + 1))
        .set("miner", text(claim.miner))
        .set("miner_account", text(claim.account.to_string()))
        .set_option("worker", claim.worker.map(text))
        .set("started_at", number(claim.now.millis()))
        .set("updated_at", number(claim.now.millis()))
        .set("deadline_at", number(claim.deadline.millis()))
        .set_option("miner_hotkey", claim.hotkey.map(text))
        .set_option("instance", instance)
        .remove("failure")
        // Whoever sends no heartbeat holds it until the deadline. Whether this miner does, the reaper sees after the first lease.
        .set("queue", text(queue))
        .set("due_at", number(due_at.millis())))
}

/// The lease goes on longer than was known: the reaper looks again then.
pub fn rearm(job: &Job, due_at: Timestamp, then: Timestamp) -> Transition {
    attempt_of(job.attempt).when(Condition::Is("due_at", number(due_at.millis()))).set("due_at", number(then.millis()))
}

/// The attempt's first heartbeat came when the reaper may have looked: it looks again at the lease's end, and not much later. It is about to
/// do the latter, perhaps: its condition then refuses that. A cancelled job's lease is a last one, and shorter.
pub fn look_at_lease_end(beat: &Heartbeat, is_cancelled: bool) -> Transition {
    let change = attempt_of(beat.attempt).when(Condition::Is("status", text(Status::Running.as_str())));
    match is_cancelled {
        true => change.set("due_at", number(beat.last_lease().millis())),
        false => {
            change.when(Condition::Absent("cancel_requested_at")).set("due_at", number(beat.lease_expires_at.millis()))
        }
    }
}

/// Whether the account has lost the job so lately that it is withheld from it, whichever of its keys and hotkeys asks.
pub fn is_withheld(job: &Job, account: Uuid, miner: &str, now: Timestamp) -> bool {
    let lost = [account.to_string().as_str(), miner].into_iter().find_map(|loser| job.lost.get(loser)).copied();
    // An earlier release has left no times. What waits has not changed since it was requeued.
    let before = job.lost_by.iter().any(|loser| loser == miner || *loser == account.to_string());
    lost.or(before.then_some(job.updated_at)).is_some_and(|at| is_withheld_since(at, now))
}

pub(super) fn is_withheld_since(lost_at: Timestamp, now: Timestamp) -> bool {
    now < lost_at.plus_seconds(WITHHELD)
}

/// The attempt that runs is the job's last: when it is lost, or given back, the job times out.
pub fn last_attempt(attempt: u32, now: Timestamp) -> Transition {
    attempt_of(attempt)
        .when(Condition::Is("status", text(Status::Running.as_str())))
        .set("max_attempts", number(attempt.into()))
        .set("closed", AttributeValue::Bool(true))
        .set("updated_at", number(now.millis()))
}

/// The reaper could not look after a job: others that are due come first, and this one again after a while.
pub fn postpone(due_at: i64, now: Timestamp) -> Transition {
    Transition::default()
        .when(Condition::Is("due_at", number(due_at)))
        .set("due_at", number(now.plus_seconds(POSTPONED).millis()))
}

/// Seconds after which the reaper tries again what it could not do.
const POSTPONED: i64 = 60;
