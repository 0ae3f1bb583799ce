//! Where a pending job stands in its chute's queue.
//!
//! The queue is in the order of time, and a place in it is one: milliseconds, and millionths of them for those that share one. While
//! nothing waits, a job's place is its creation. On a crowded chute the queue's time stands still at its first job, and there a user's
//! next job stands, at least a millisecond behind the user's last one. So each user's jobs keep their order, the first ones of all
//! users come before anybody's second, and of those that are alike the longer-waiting comes first: start-time fair queueing (Goyal, Vin
//! and Cheng, 1996), in which a job is worth a millisecond. A place is never later than the job's creation.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Millionths of a millisecond, since 1970. As the table has it, in `due_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(i64);

/// In a millisecond.
const MILLIONTHS: i64 = 1_000_000;
/// What an earlier release has written are milliseconds, of the years 2017 to 2049.
const EARLIER: Range<i64> = 1_500_000_000_000..2_500_000_000_000;

impl Place {
    /// Of what begins to wait then, behind all that did before.
    pub const fn at(time: Timestamp) -> Self {
        Self(time.millis().saturating_mul(MILLIONTHS))
    }

    /// As the table has it.
    pub const fn from_stored(stored: i64) -> Self {
        Self(stored)
    }

    /// For the table.
    pub const fn stored(self) -> i64 {
        self.0
    }

    /// The time in the queue.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(if EARLIER.contains(&self.0) { self.0 } else { self.0.div_euclid(MILLIONTHS) })
    }

    /// Of a job that begins to wait now, behind its user's last one, in a queue whose first job is there. The last one may be of any
    /// time, and need not wait any more.
    pub fn behind(first: Timestamp, last: Option<Timestamp>, step: i64, now: Timestamp) -> Self {
        let next = last.map(|last| Timestamp::from_millis(last.millis().saturating_add(step)));
        let time = next.max(Some(first)).unwrap_or(first).min(now);
        Self(Self::at(time).0.saturating_add(millionths(now.millis() - time.millis())))
    }
}

/// So many milliseconds in as many millionths up to a minute, and with 15 bits' precision above that, 49 days at most.
fn millionths(millis: i64) -> i64 {
    let millis = u32::try_from(millis.max(0)).unwrap_or(u32::MAX);
    let dropped = (32 - millis.leading_zeros()).saturating_sub(16);
    i64::from((dropped << 15) + (millis >> dropped))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn of_those_that_share_a_millisecond_the_longer_waiting_comes_first() {
        assert_eq!(
            [0, 1, 65_535, 65_536, 131_072, i64::from(u32::MAX)].map(millionths),
            [0, 1, 65_535, 65_536, 98_304, 589_823]
        );
        assert_eq!([-1, i64::MAX].map(millionths), [0, 589_823]);
    }

    #[test]
    fn what_an_earlier_release_has_written_comes_first() {
        let (before, now) = (Place::from_stored(1_795_000_000_000), Place::at(ms(1_600_000_000_000)));
        assert!(before < now);
        assert_eq!([before.time(), now.time()], [ms(1_795_000_000_000), ms(1_600_000_000_000)]);
    }

    #[test]
    fn users_stand_in_turn() {
        let [begin, later] = [1_795_000_000_000, 1_795_000_090_000];
        let place = |last, now| Place::behind(ms(begin), last, 1, ms(now));
        // A's second, third and 10,000th; then B's first and second, and C's.
        let [a2, a3] = [place(Some(ms(begin)), begin + 5), place(Some(ms(begin + 1)), begin + 10)];
        let many = place(Some(ms(begin + 9998)), later - 1);
        let [b1, c1] = [place(None, later), place(Some(ms(5)), later + 10)];
        let b2 = place(Some(b1.time()), later + 20);
        let first = Place::at(ms(begin));
        assert!(first < b1 && b1 < c1 && c1 < a2 && a2 < b2 && b2 < a3 && a3 < many, "{b1:?} {c1:?} {a2:?} {b2:?}");
    }

    proptest! {
        #[test]
        fn a_place_is_never_later_than_its_creation_and_keeps_its_time(
            first in 1_600_000_000_000..1_900_000_000_000_i64,
            last in proptest::option::of(1_600_000_000_000..1_900_000_000_000_i64),
            now in 1_600_000_000_000..1_900_000_000_000_i64,
        ) {
            let place = Place::behind(ms(first), last.map(ms), 1, ms(now));
            prop_assert!(place.time() <= ms(now));
            prop_assert!(place.time() >= ms(first.min(now)));
            prop_assert_eq!(place.time().millis(), place.stored() / MILLIONTHS);
        }
    }
}
