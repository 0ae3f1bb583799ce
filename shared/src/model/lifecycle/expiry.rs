//! Nobody has claimed the job in its time.

use super::condition::live_job;
use crate::{
    item::{Condition, Transition, number, text},
    model::{job::Job, status::Status},
    time::Timestamp,
};

/// `pending` → `timeout`, by the reaper, of the job as it was read: a claim, or whatever else has happened to it since, is first.
pub fn expire(job: &Job, now: Timestamp) -> Transition {
    live_job()
        .when(Condition::Is("status", text(Status::Pending.as_str())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .when(Condition::Is("updated_at", number(job.updated_at.millis())))
        .set("status", text(Status::Timeout.as_str()))
        .set("error_detail", text(format!("No miner claimed the job within {} seconds", job.waits_for())))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(job.job_id, now)
}
