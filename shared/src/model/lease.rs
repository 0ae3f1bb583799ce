//! What a miner's heartbeats write: a row of their own beside the job, which is in no index. So a heartbeat is one write unit, however
//! much the job carries. DynamoDB bills the whole item at each write, and each index entry that changes ("Read and write operations
//! in DynamoDB"). The job itself stays due for the reaper from the end of its first lease on: the reaper looks at the row.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{
    job::Job,
    log::{is_too_much, with_chunk},
    pace,
    status::Status,
};
use crate::{
    error::{Error, Result},
    item::{Condition, Item, Transition, number, schema},
    time::Timestamp,
};

/// The row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lease {
    /// The attempt that may send heartbeats: those before it are fenced off. When an attempt is over for a reason that its miner does
    /// not know, this is the next one.
    pub attempt: u32,
    /// Until when that attempt's last heartbeat holds the job while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
    /// Until when it does so while files are uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads_until: Option<Timestamp>,
    /// How far the job is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Which attempt has said so. None in rows of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_of: Option<u32>,
    /// The attempt that its owner has cancelled, and whose miner is told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<u32>,
    /// When its miner was first told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// Bytes of logs for which its attempts were told where to put them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Seconds since 1970. The row means nothing after that: DynamoDB removes it when it comes to it ("Using time to live"), and its
    /// key may be another job's by then.
    pub expires_at: i64,
}

/// A sign of life.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// Of which attempt.
    pub attempt: u32,
    /// When.
    pub now: Timestamp,
    /// Until when it holds a running job.
    pub lease_expires_at: Timestamp,
    /// Until when it holds a job whose files are uploaded.
    pub uploads_until: Timestamp,
    /// When no token of the attempt is valid any more.
    pub tokens_end: Timestamp,
    /// The reaper may have looked at the job before it, and does not look again for long, unless it is told to.
    pub is_late: bool,
    /// How far the job is, 0 to 1. None: as before.
    pub progress: Option<f64>,
    /// Bytes of the log's next chunk, if there is one.
    pub log_bytes: Option<u64>,
}

impl Heartbeat {
    /// Leaves the log's chunk out, if it is too much by the row. Whether it was.
    pub fn leave_out_log(&mut self, row: &Lease) -> bool {
        let (attempt, counted) = (self.attempt, row.log_bytes.unwrap_or(0));
        self.log_bytes.take_if(|bytes| is_too_much(attempt, counted, *bytes)).is_some()
    }

    /// Whether it is its attempt's first, by the row as it is.
    pub fn is_first(&self, row: Option<&Lease>) -> bool {
        row.is_none_or(|row| {
            let is_of_this = row.attempt == self.attempt && row.lease_expires_at.is_some();
            !is_of_this && row.attempt <= self.attempt || row.expires_at <= self.now.seconds()
        })
    }

    /// Whether its attempt was cancelled, by the row as it is.
    pub fn is_cancelled(&self, row: Option<&Lease>) -> bool {
        row.is_some_and(|row| row.attempt == self.attempt && row.cancelled == Some(self.attempt))
    }

    /// Until when the first one that is told of a cancel holds the job.
    pub(super) fn last_lease(&self) -> Timestamp {
        self.lease_expires_at.min(self.now.plus_seconds(pace::LAST_WORDS))
    }
}

impl Lease {
    /// From the table.
    pub fn from_item(item: Item) -> Result<Self> {
        schema::check(&item, "read: lease")?;
        serde_dynamo::from_item(item).map_err(|error| Error::internal("read: lease", error))
    }

    /// Whether the row alone tells that its job, which is in this attempt, is held. The last heartbeat holds a running job and one whose
    /// files are uploaded, and whatever takes the attempt from its miner takes that out of the row. (It ends by the deadline, which a
    /// heartbeat knows from its token: where `UploadWindowSeconds` was lowered since, it may pass the deadline by as much.)
    pub fn holds(&self, attempt: u32, now: Timestamp) -> bool {
        let until = self.lease_expires_at.min(self.uploads_until);
        self.attempt == attempt && until > Some(now) && now.seconds() < self.expires_at
    }

    /// Whether the job's present attempt has sent heartbeats. A row may name it without: by the end of the attempt before it, or by its own
    /// cancellation.
    pub(crate) fn is_of(&self, job: &Job, now: Timestamp) -> bool {
        self.attempt == job.attempt && self.lease_expires_at.is_some() && now.seconds() < self.expires_at
    }
}

/// The attempt's miner is alive. Refused when the attempt was taken from it, or cancelled; what its own report or end does, it knows.
pub fn heartbeat(beat: &Heartbeat) -> Transition {
    let change = row_of(beat.uploads_until.max(beat.tokens_end))
        .when(Condition::Any(vec![
            Condition::Absent("attempt"),
            Condition::AtMost("attempt", beat.attempt.into()),
            Condition::AtMost("expires_at", beat.now.seconds()),
        ]))
        .when(Condition::Any(vec![
            Condition::Absent("cancelled"),
            Condition::AtMost("cancelled", i64::from(beat.attempt) - 1),
            Condition::AtMost("expires_at", beat.now.seconds()),
        ]))
        .remove("cancelled")
        .remove("told_at")
        .set("attempt", number(beat.attempt.into()))
        .set("lease_expires_at", number(beat.lease_expires_at.millis()))
        .set("uploads_until", number(beat.uploads_until.millis()));
    // Unless it is the attempt's first: the reaper goes by those that it has seen.
    let change = match beat.is_late {
        true => change
            .when(Condition::Is("attempt", number(beat.attempt.into())))
            .when(Condition::Exists("lease_expires_at".to_owned())),
        false => change,
    };
    let change = match beat.progress {
        Some(progress) => change
            .set("progress", AttributeValue::N(progress.to_string()))
            .set("progress_of", number(beat.attempt.into())),
        None => change,
    };
    with_chunk(change, beat.attempt, beat.log_bytes)
}

/// The job's present attempt is over, and its miner does not know. Its heartbeats are refused until `tokens_end`.
pub fn close(job: &Job, tokens_end: Timestamp) -> Transition {
    row_of(tokens_end)
        .set("attempt", number(i64::from(job.attempt) + 1))
        .remove("lease_expires_at")
        .remove("uploads_until")
        .remove("progress")
}

/// The same, if no heartbeat has come since the row was read.
pub fn close_as_read(job: &Job, lease: Option<&Lease>, tokens_end: Timestamp) -> Transition {
    let change = close(job, tokens_end);
    let Some(lease) = lease else { return change.when(Condition::Absent("attempt")) };
    change
        .when(Condition::Is("attempt", number(lease.attempt.into())))
        .when(Condition::unchanged_time("lease_expires_at", lease.lease_expires_at))
        .when(Condition::unchanged_time("uploads_until", lease.uploads_until))
}

/// A row that this release understands, kept until then.
pub(super) fn row_of(expires_at: Timestamp) -> Transition {
    Transition::default()
        .when(schema::readable())
        .set("expires_at", number(expires_at.seconds()))
        .set(schema::ATTRIBUTE, number(schema::VERSION))
}

/// Until when its miner holds the job; None when nobody does. A miner that has sent no heartbeat holds it until the deadline.
pub fn held_until(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Option<Timestamp> {
    if job.terminal || job.status == Status::Pending {
        return None;
    }
    let beats = lease.filter(|lease| lease.is_of(job, now));
    if job.report.is_some() {
        // Who has sent heartbeats falls silent when it is gone; who sends none may come until the end.
        let held = beats.map_or(job.lease_expires_at, |lease| lease.uploads_until);
        return held.max(job.uploads_until);
    }
    // An earlier release has left heartbeats in the job itself, and the deadline where there were none.
    let before = job.lease_expires_at.filter(|lease| Some(*lease) < job.deadline_at);
    let lease = beats.and_then(|lease| lease.lease_expires_at).max(before);
    lease.into_iter().chain(job.deadline_at).min()
}

/// When the reaper is to look again at a job that is held until then: at the end, but soon at one whose miner has sent no heartbeat. It
/// may still begin to, and a heartbeat does not touch the job.
pub fn look_again(job: &Job, lease: Option<&Lease>, held_until: Timestamp, now: Timestamp) -> Timestamp {
    let silent = !lease.is_some_and(|lease| lease.is_of(job, now));
    // Of a cancelled one that runs, the next heartbeat brings the end nearer.
    let cancelled = job.cancel_requested_at.is_some() && job.report.is_none();
    let soon = [cancelled.then_some(pace::LAST_WORDS), silent.then_some(pace::LONGEST_LEASE)];
    soon.into_iter().flatten().map(|seconds| now.plus_seconds(seconds)).fold(held_until, Timestamp::min)
}

impl Job {
    /// With what heartbeats have told: the present attempt's its progress, and all attempts' their logs. A terminal job has no progress any
    /// more.
    pub fn with_progress(mut self, lease: Option<Lease>, now: Timestamp) -> Self {
        let Some(lease) = lease.filter(|lease| now.seconds() < lease.expires_at) else { return self };
        self.log_bytes = lease.log_bytes;
        if !self.terminal && lease.is_of(&self, now) {
            let own = lease.progress_of.is_none_or(|attempt| attempt == self.attempt);
            self.progress = lease.progress.filter(|_| own).or(self.progress);
        }
        self
    }
}
