//! The row of heartbeats of an attempt that its owner has cancelled. The miner is told with its next heartbeat, which reads nothing of the job:
//! the row itself refuses that heartbeat, and says why. From then on the lease is a last one.

use super::{
    job::Job,
    lease::{Heartbeat, Lease, row_of},
    log::with_chunk,
};
use crate::{
    item::{Condition, Transition, number},
    time::Timestamp,
};

/// The job's present attempt is cancelled. Heartbeats may come meanwhile, but no other attempt's.
pub fn cancel(job: &Job, lease: Option<&Lease>, tokens_end: Timestamp, now: Timestamp) -> Transition {
    let change = row_of(tokens_end)
        .when(Condition::unchanged("attempt", lease.map(|lease| number(lease.attempt.into()))))
        .set("attempt", number(job.attempt.into()))
        .set("cancelled", number(job.attempt.into()))
        .remove("told_at");
    match lease.is_some_and(|lease| lease.is_of(job, now)) {
        true => change,
        // What another attempt has left says nothing of this one. What this one's first heartbeat has written meanwhile does.
        false => change
            .when(Condition::unchanged_time("lease_expires_at", lease.and_then(|lease| lease.lease_expires_at)))
            .remove("lease_expires_at")
            .remove("uploads_until")
            .remove("progress"),
    }
}

/// A heartbeat that the row has refused because the attempt was cancelled. The first one that is told so begins the last lease; those after
/// it extend nothing but the time for uploads. `row` is what refused it; None when that was for another reason.
pub fn heartbeat_of_cancelled(beat: &Heartbeat, row: &Lease) -> Option<Transition> {
    if row.cancelled != Some(beat.attempt) || row.attempt != beat.attempt {
        return None;
    }
    let change = row_of(beat.uploads_until.max(beat.tokens_end))
        .when(Condition::Is("attempt", number(beat.attempt.into())))
        .when(Condition::Is("cancelled", number(beat.attempt.into())))
        .when(Condition::unchanged_time("told_at", row.told_at))
        .set("uploads_until", number(beat.uploads_until.millis()));
    let change = match row.told_at {
        Some(_) => change,
        None => {
            change.set("told_at", number(beat.now.millis())).set("lease_expires_at", number(beat.last_lease().millis()))
        }
    };
    Some(with_chunk(change, beat.attempt, beat.log_bytes))
}
