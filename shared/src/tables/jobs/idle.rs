//! Since when chutes' queues have been empty. Nothing stores it: each process remembers what its own requests have found, and one that
//! has not asked yet takes the queue to be empty since now. So a miner is told to come back too soon rather than too late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::time::Timestamp;

/// Chutes that are remembered at most.
const REMEMBERED: usize = 10_000;

/// Since when the queues that were found empty have been so.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle(Arc<Mutex<HashMap<Uuid, Timestamp>>>);

impl Idle {
    /// Seconds for which the queue has been empty, which is now found so, or not. None when it is not.
    pub(super) fn found(&self, chute_id: Uuid, is_empty: bool, now: Timestamp) -> Option<i64> {
        let mut empty_since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_empty {
            empty_since.remove(&chute_id);
            return None;
        }
        if empty_since.len() >= REMEMBERED {
            empty_since.clear();
        }
        let since = empty_since.entry(chute_id).or_insert(now);
        // Requests need not come in the order of their times.
        *since = (*since).min(now);
        Some(now.seconds() - since.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_empty_since_it_was_first_found_so() {
        let (idle, chute) = (Idle::default(), Uuid::nil());
        let found = |is_empty, second: i64| idle.found(chute, is_empty, Timestamp::from_millis(second * 1000));
        let empty = [100, 160, 90, 160].map(|second| found(true, second));
        assert_eq!(empty, [Some(0), Some(60), Some(0), Some(70)]);
        assert_eq!([found(false, 170), found(true, 180), found(true, 190)], [None, Some(0), Some(10)]);
        assert_eq!(idle.found(Uuid::max(), true, Timestamp::from_millis(190_000)), Some(0), "another chute's");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let idle = Idle::default();
        for number in 0..3 * REMEMBERED {
            idle.found(Uuid::from_u128(number as u128), true, Timestamp::from_millis(0));
        }
        assert!(idle.0.lock().expect("nobody panicked").len() <= REMEMBERED);
    }
}
