//! Whose turn it is, as far as a process knows. Nothing stores it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use crate::time::Timestamp;

/// A user's jobs of a day on a chute after each of which it is looked whether others wait: half of what a claim looks at.
const LOOK_EACH: u64 = 16;
/// Users that are remembered.
const REMEMBERED: usize = 10_000;

/// What a process remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    /// When it last gave a job of a user's to a miner.
    served: Arc<Mutex<HashMap<Uuid, Timestamp>>>,
    /// Users of whom it has looked whether they may hide others, the chutes, and after how many times sixteen jobs.
    looked: Arc<Mutex<HashSet<(Uuid, Uuid, u64)>>>,
}

impl Turns {
    /// Whether the user, who has created so many jobs on the chute today, may hide others who wait there, and it is time to look.
    pub(super) fn is_to_look(&self, user_id: Uuid, chute_id: Uuid, created: u64) -> bool {
        if created < LOOK_EACH - 1 {
            return false;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.len() >= REMEMBERED {
            looked.clear();
        }
        looked.insert((user_id, chute_id, (created + 1) / LOOK_EACH))
    }

    /// A job of this user's was given to a miner.
    pub(super) fn serve(&self, owner: Uuid, now: Timestamp) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() >= REMEMBERED {
            served.clear();
        }
        let at = served.entry(owner).or_insert(now);
        *at = (*at).max(now);
    }

    /// When that last was.
    pub(super) fn last_served(&self, owner: Uuid) -> Option<Timestamp> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).get(&owner).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_looks_at_a_users_first_job_that_may_hide_others_and_then_at_each_sixteenth() {
        let turns = Turns::default();
        let looks = |created| turns.is_to_look(Uuid::nil(), Uuid::nil(), created);
        assert_eq!([14, 20, 21, 30, 31, 32].map(looks), [false, true, false, false, true, false]);
        assert!(turns.is_to_look(Uuid::nil(), Uuid::max(), 16), "another chute's");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let turns = Turns::default();
        for number in 0..3 * REMEMBERED {
            let id = Uuid::from_u128(number as u128);
            turns.serve(id, Timestamp::from_millis(0));
            turns.is_to_look(id, id, 16);
        }
        let served = turns.served.lock().expect("nobody panicked").len();
        let looked = turns.looked.lock().expect("nobody panicked").len();
        assert!(served <= REMEMBERED && looked <= REMEMBERED);
    }
}
