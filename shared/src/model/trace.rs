//! The trace that a claim leaves of who made it, so that a worker whose answer was lost is given the same job when it asks for the next one
//! again, though it does not know the job's id.
//!
//! A claim puts the job into the queue of the reaper anyway, at the time of the first look whether its miner sends heartbeats. That time
//! is free within a minute, and so is the shard: both are the worker's own. Whoever looks there finds what the worker was given in the
//! last minute, by two reads of the index and no write. The index may be a moment behind, of which more is in docs/architecture.md.

use sha2::{Digest, Sha256};

use super::pace;
use crate::{item::keys, time::Timestamp};

/// Seconds for which a worker that asks for the next job again gets the one that it was given.
pub const REPEATED: i64 = 60;

/// Milliseconds from one time of a worker's to the next: of the times that jobs of the last [`REPEATED`] seconds can have, two are its own.
const PERIOD: i64 = REPEATED * 1000;

/// A worker's shard and times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    shard: u8,
    /// Milliseconds after the beginning of each period.
    offset: i64,
}

impl Trace {
    /// Of one of a miner's processes. Others may have the same: whose a job is, the job tells.
    pub fn of(miner: &str, worker: &str) -> Self {
        let digest = Sha256::digest(format!("{miner}\n{worker}"));
        let offset = u32::from_be_bytes([digest[1], digest[2], digest[3], digest[4]]);
        Self { shard: digest[0] % keys::DUE_SHARDS, offset: i64::from(offset) % PERIOD }
    }

    /// Where in the reaper's queue what the worker claims is due.
    pub fn queue(&self) -> String {
        keys::due_shard(self.shard)
    }

    /// When it is, claimed now: at the worker's next time after the first lease.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        self.next(now.plus_seconds(pace::FIRST_LEASE))
    }

    /// When that is which was claimed in the last [`REPEATED`] seconds.
    pub fn times(&self, now: Timestamp) -> [Timestamp; 2] {
        let first = self.next(now.plus_seconds(pace::FIRST_LEASE - REPEATED));
        [first, first.plus_seconds(REPEATED)]
    }

    fn next(&self, from: Timestamp) -> Timestamp {
        Timestamp::from_millis(from.millis() + (self.offset - from.millis()).rem_euclid(PERIOD))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_worker_claimed_in_the_last_minute_is_due_at_one_of_two_times(
            worker: String, now in 0_i64..4_000_000_000_000, ago in 0..=REPEATED * 1000,
        ) {
            let trace = Trace::of("miner", &worker);
            let due_at = trace.due_at(Timestamp::from_millis(now - ago));
            prop_assert!(trace.times(Timestamp::from_millis(now)).contains(&due_at));
            let after_the_lease = due_at.millis() - (now - ago) - 1000 * pace::FIRST_LEASE;
            prop_assert!((0..REPEATED * 1000).contains(&after_the_lease), "{after_the_lease} ms");
        }
    }

    #[test]
    fn workers_differ() {
        let all: Vec<_> = (0..100).map(|number| Trace::of("miner", &number.to_string())).collect();
        assert!((0..keys::DUE_SHARDS).all(|shard| all.iter().any(|trace| trace.shard == shard)));
        assert_eq!(Trace::of("a", "b"), Trace::of("a", "b"));
        assert_ne!(Trace::of("a", "b"), Trace::of("b", "a"));
    }
}
