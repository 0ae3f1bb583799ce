//! An attempt ends because its miner gives the job back.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    cancellation::end_cancelled,
    revocation::{requeue, time_out},
};
use crate::{
    item::{Condition, Transition, number},
    model::job::Job,
    time::Timestamp,
};

/// `running` → `pending`, by its miner, before the report: as after a lost lease, but at once, and the attempt does not count. The job gets
/// one more, since attempts are numbered for fencing, and a number is given once. Of a job that its owner has cancelled no other
/// attempt begins: it ends as that; nor of one whose owner was disabled: it times out.
///
/// The row of heartbeats stays as it is. One that comes after this changes nothing of the job, and its miner knows: it has done this.
pub fn release(job: &Job, now: Timestamp) -> Transition {
    let change = match (job.cancel_requested_at, job.closed) {
        (Some(_), _) => end_cancelled(job, None, now).job,
        (None, true) => time_out(job, None, now).job,
        (None, false) => {
            requeue(job, None, now).job.set("max_attempts", number(job.max_attempts.saturating_add(1).into()))
        }
    };
    change
        .when(Condition::unchanged("closed", job.closed.then_some(AttributeValue::Bool(true))))
        .set("released", number(job.attempt.into()))
}
