//! An attempt ends because its miner gives the job back.

use aws_sdk_dynamodb::types::AttributeValue;

use super::revocation::{requeue, time_out};
use crate::{
    item::{Condition, Transition, number},
    model::job::Job,
    time::Timestamp,
};

/// `running` → `pending`, by its miner, before the report: as after a lost lease, but at once, and the attempt does not count. The job gets
/// one more, since attempts are numbered for fencing, and a number is given once. Of a job whose owner was disabled no other attempt
/// begins: it times out.
///
/// The row of heartbeats stays as it is. One that comes after this changes nothing of the job, and its miner knows: it has done this.
pub fn release(job: &Job, now: Timestamp) -> Transition {
    let change = match job.closed {
        true => time_out(job, None, now).job,
        false => requeue(job, None, now).job.set("max_attempts", number(job.max_attempts.saturating_add(1).into())),
    };
    change
        .when(Condition::unchanged("closed", job.closed.then_some(AttributeValue::Bool(true))))
        .set("released", number(job.attempt.into()))
}
