//! The owner has a job tried again that did not succeed.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    condition::{attribute, live_job, tokens_end},
    revocation::Revocation,
};
use crate::{
    error::Result,
    item::{Condition, keys, number, text},
    model::{
        job::Job,
        lease,
        payload::{PayloadKind, Stored},
        place::Place,
        status::Status,
    },
    time::Timestamp,
};

/// Terminal, but not `complete` → `pending`, as the job was when it was created, with so many attempts. It waits from now on, at
/// this place. What its miners
/// had reported is gone, and they are fenced off: by the status until the next claim, by the number of the attempt after it, and their
/// heartbeats by the row. Files of the new run have keys of their own, so that an upload URL that still works changes none of them.
/// `renewed` is where that is from now on which was put anew.
pub fn retry(
    job: &Job,
    attempts: u32,
    renewed: &[(PayloadKind, Stored)],
    place: Place,
    now: Timestamp,
) -> Result<Revocation> {
    let mut change = live_job();
    for (kind, stored) in renewed {
        change = change.set(kind.attribute(), attribute(stored)?);
    }
    let change = change
        .when(Condition::Is("terminal", AttributeValue::Bool(true)))
        // As it was read: it may have been retried and have come to another end since.
        .when(Condition::Is("status", text(job.status.as_str())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .when(Condition::Is("updated_at", number(job.updated_at.millis())))
        .set("status", text(Status::Pending.as_str()))
        .set("terminal", AttributeValue::Bool(false))
        .set("max_attempts", number(i64::from(job.attempt.saturating_add(attempts))))
        .set("run", number(i64::from(job.run) + 1))
        .set("updated_at", number(now.millis()))
        .set("queue", text(keys::claimable(job.chute_id, job.shard)))
        .set("place", number(place.stored()))
        .set("due_at", number(place.stored()));
    let change = FORMER.iter().fold(change, |change, attribute| change.remove(attribute));
    let claimed = job.attempt > 0;
    Ok(Revocation { job: change, lease: claimed.then(|| lease::close(job, tokens_end(job, now))) })
}

/// What tells of the former run, and when the job would have expired.
const FORMER: [&str; 22] = [
    "cancel_requested_at",
    "checking_until",
    "closed",
    "deadline_at",
    "error_detail",
    "errors",
    "expires_at",
    "failure",
    "file_changes",
    "file_list",
    "files",
    "finished_at",
    "instance",
    "miner",
    "miner_account",
    "miner_hotkey",
    "progress",
    "released",
    "report",
    "result",
    "started_at",
    "worker",
];

impl Job {
    /// Whether the owner may have it tried again: it is over, and did not succeed.
    pub fn is_retriable(&self) -> bool {
        self.terminal && self.deleted_at.is_none() && self.status != Status::Complete
    }
}
