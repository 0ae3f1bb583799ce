//! The check of what was brought, and the end that it makes.

use super::condition::{as_held, reported_by};
use crate::{
    error::Result,
    item::{Condition, Transition, number, text},
    model::job::Job,
    time::Timestamp,
};

/// Seconds for which whoever begins to check many files is left alone with it: a request's longest. Who died is waited for no longer.
/// Should two be at it for all that, nothing breaks: they do the same.
const CHECK_TIME: i64 = 30;

/// The check of a reported job's many files begins, and nobody else's for a while. One winner: the condition names the check before
/// it, which is over. `job` is the job as it was read.
pub fn begin_check(job: &Job, now: Timestamp) -> Transition {
    let before = Condition::unchanged_time("checking_until", job.checking_until);
    reported_by(job.attempt).when(before).set("checking_until", number(now.plus_seconds(CHECK_TIME).millis()))
}

/// The same, by the reaper: the miner's lease has run out.
pub fn begin_check_for_lost_miner(job: &Job, now: Timestamp) -> Transition {
    as_held(begin_check(job, now), job)
}

/// The check that has begun so, of the job as it is now, has failed: another may begin at once.
pub fn give_up_check(job: &Job, now: Timestamp) -> Transition {
    let begun = number(job.checking_until.map_or(0, Timestamp::millis));
    let over = number(now.millis());
    reported_by(job.attempt).when(Condition::Is("checking_until", begun)).set("checking_until", over)
}

/// Reported → terminal: the files were checked. `job` is the job as it was when they were, with what was found, and with where the new
/// list is.
pub fn complete(job: &Job, now: Timestamp) -> Result<Transition> {
    Ok(reported_by(job.attempt)
        .remove("room")
        .remove("checking_until")
        .set("status", text(job.status.as_str()))
        .set_option("error_detail", job.error_detail.as_deref().map(text))
        .set("updated_at", number(now.millis()))
        .listing(job)?
        .terminal(job.job_id, now))
}
