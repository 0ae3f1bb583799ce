//! The job is gone, and what is left of it goes.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    condition::{last_token, live_job, tokens_end},
    report::UNSETTLED,
    revocation::Revocation,
};
use crate::{
    item::{Condition, Transition, keys, number, text},
    model::{job::Job, lease, log::while_unlogged},
    time::Timestamp,
};

/// Seconds after the last upload URL's end until which an upload that began in time may still arrive.
const LATE_ARRIVALS: i64 = 3600;

/// Seconds that a delete may take before the reaper goes on with it.
const DELETE_TIME: i64 = 60;

/// Gone for everyone, from this write on, and without what it held. When the job had reported, upload URLs were given out: the
/// reaper sweeps until the last of them has ended. When something of it is stored apart, the reaper makes sure that it goes. Else no
/// object can ever come, unless it has logs, which the row of its heartbeats tells when it refuses. What is left expires when no token can be valid any more: an `Idempotency-Key` may then give its id to another
/// job.
pub fn delete(job: &Job, now: Timestamp, upload_window: i64) -> Revocation {
    let gone = now.plus_seconds(upload_window + LATE_ARRIVALS);
    let tokens = tokens(job, now);
    let change = end(job, gone, tokens, now)
        .when(Condition::Is("user_id", text(job.user_id.to_string())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .when(Condition::unchanged("report", job.report.as_deref().map(text)))
        .when(Condition::unchanged(UNSETTLED, job.unsettled.map(|reports| number(reports.into()))));
    let claimed = job.attempt > 0;
    let close = || lease::close(job, tokens);
    let close = || if job.has_objects() { close() } else { while_unlogged(close(), job) };
    Revocation { job: change, lease: claimed.then(close) }
}

/// When no token of it is valid any more, nor is there a row of its heartbeats.
fn tokens(job: &Job, now: Timestamp) -> Timestamp {
    if job.terminal { last_token(job, now) } else { tokens_end(job, now) }
}

/// The same of a job that is over, when it has been kept for its time. Its upload URLs have ended long ago.
pub fn retire(job: &Job, now: Timestamp) -> Transition {
    end(job, now, last_token(job, now), now)
        .when(Condition::Is("terminal", AttributeValue::Bool(true)))
        // It may have been tried again.
        .when(Condition::unchanged_time("due_at", job.due_at))
        .when(Condition::Is("attempt", number(job.attempt.into())))
}

/// Without what it held, and gone when nothing of it can arrive any more, and no token of it is valid.
fn end(job: &Job, gone: Timestamp, tokens_end: Timestamp, now: Timestamp) -> Transition {
    let change = live_job()
        .set("deleted_at", number(now.millis()))
        .set("gone_at", number(gone.millis()))
        .set("job_args", text("{}"));
    let change = HELD.iter().fold(change, |change, attribute| change.remove(attribute));
    match job.has_objects() {
        true => change
            .set("queue", text(keys::due(job.job_id)))
            .set("due_at", number(now.plus_seconds(DELETE_TIME).millis()))
            .remove("expires_at"),
        false => change.set("expires_at", number(tokens_end.seconds())).remove("queue").remove("due_at"),
    }
}

/// What a job holds beside what tells that it was there.
const HELD: [&str; 15] = [
    "checking_until",
    "error_detail",
    "file_changes",
    "file_list",
    "files",
    "inputs",
    "instance",
    "labels",
    "lease_expires_at",
    "owner",
    "result",
    "room",
    UNSETTLED,
    "uploads_until",
    "webhook",
];

/// The files of a deleted job were removed once more. When nothing can arrive any more, that was the last time.
pub fn swept(job: &Job, gone: Timestamp, now: Timestamp) -> Transition {
    let change = Transition::default().when(Condition::Exists("deleted_at".to_owned()));
    match now >= gone {
        true => change.set("expires_at", number(tokens(job, now).seconds())).remove("queue").remove("due_at"),
        false => change.set("due_at", number(gone.millis())),
    }
}
