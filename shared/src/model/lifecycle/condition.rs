//! What must hold of a job, and what its end changes, in more than one of its transitions.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    item::{Condition, Transition, keys, number, schema, text},
    model::job::Job,
    time::{DAY, Timestamp},
};

/// A job that this release understands, and that is not being deleted. What this release changes is its own from then on: an earlier one
/// would be wrong about it.
pub(super) fn live_job() -> Transition {
    Transition::default()
        .when(Condition::AtMost(schema::ATTRIBUTE, schema::VERSION))
        .when(Condition::Absent("deleted_at"))
        .set(schema::ATTRIBUTE, number(schema::VERSION))
}

/// What only the miner that holds the job may do: an earlier attempt is fenced off.
pub(super) fn attempt_of(attempt: u32) -> Transition {
    live_job().when(Condition::Is("attempt", number(attempt.into())))
}

/// What that miner may do between its report and the job's end.
pub(super) fn reported_by(attempt: u32) -> Transition {
    attempt_of(attempt)
        .when(Condition::Exists("report".to_owned()))
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
}

/// If it is held as it was read, as far as the job itself tells: fresh upload URLs extend that, and heartbeats of an earlier release.
pub(super) fn as_held(change: Transition, job: &Job) -> Transition {
    change
        .when(Condition::unchanged_time("lease_expires_at", job.lease_expires_at))
        .when(Condition::unchanged_time("uploads_until", job.uploads_until))
}

/// Only if the job's files are still as they were read: neither a declaration in between is lost, nor a form. Each of them counts; what an
/// earlier release does changes the time.
pub fn as_listed(change: Transition, job: &Job) -> Result<Transition> {
    let change = change
        .when(Condition::unchanged(FILE_CHANGES, job.file_changes.map(|count| number(count.into()))))
        .when(Condition::Is("updated_at", number(job.updated_at.millis())));
    Ok(match &job.file_list {
        Some(stored) => change.when(Condition::Is("file_list", attribute(stored)?)),
        None => change,
    })
}

/// When the last token that a miner may have for the job has ended, whatever the upload window (12 hours at most, twice).
pub(super) fn tokens_end(job: &Job, now: Timestamp) -> Timestamp {
    now.plus_seconds(job.longest_run() + DAY)
}

/// The same of a job that is over: nobody gets another token, so it goes by its last attempt, where that has left its deadline. Not before the
/// row of its heartbeats, which whatever took an attempt from its miner has closed for as long as a token may live then: its last change at the
/// latest. Another job of this id would find it.
pub(super) fn last_token(job: &Job, now: Timestamp) -> Timestamp {
    match (job.deadline_at, job.attempt) {
        (Some(deadline), _) => deadline.plus_seconds(DAY).max(tokens_end(job, job.updated_at)).max(now),
        (None, 0) => now,
        (None, _) => tokens_end(job, now),
    }
}

/// How often the files have changed since the report.
const FILE_CHANGES: &str = "file_changes";

pub(super) fn attribute(value: &impl Serialize) -> Result<AttributeValue> {
    serde_dynamo::to_attribute_value(value).map_err(|error| Error::internal("write: attribute", error))
}

impl Transition {
    /// A file has come, or was declared anew.
    pub(super) fn changing_files(self, now: Timestamp) -> Self {
        self.set("updated_at", number(now.millis())).set_sum(FILE_CHANGES, 1, FILE_CHANGES, 0)
    }

    /// With the job's list of files, in the item or apart from it.
    pub(super) fn listing(self, job: &Job) -> Result<Self> {
        Ok(match (&job.file_list, &job.files) {
            (Some(stored), _) => self.set("file_list", attribute(stored)?).remove("files"),
            (None, Some(files)) => self.set("files", attribute(files)?).remove("file_list"),
            (None, None) => return Err(Error::internal("write: list of files", "it was not loaded")),
        })
    }

    /// It will never change again, and is kept for a while: until `due_at`, when the reaper ends it with its files. Should the reaper not come to
    /// it, the row goes a day later ("Using time to live"), and its files when the bucket's lifecycle says.
    pub(super) fn terminal(self, job_id: Uuid, now: Timestamp) -> Self {
        self.set("terminal", AttributeValue::Bool(true))
            .set("queue", text(keys::later(job_id)))
            .set_sum("due_at", now.millis(), "keep_ms", Job::KEPT * 1000)
            .set_sum("expires_at", now.seconds(), "keep_s", Job::KEPT + DAY)
            .remove("lease_expires_at")
            .remove("uploads_until")
    }
}
