//! Where the reaper's last run came no further: it had no more time, or could not read on. Nothing stores it: a process that has just
//! begun begins at the beginning.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    item::{Cursor, keys::DUE_SHARDS},
    time::Timestamp,
};

/// A place in the reaper's queue, which has several parts.
#[derive(Debug, Clone, Copy)]
pub struct DuePlace {
    pub(super) shard: u8,
    pub(super) after: Option<Cursor>,
}

/// One place of each part, at most.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOff(Arc<Mutex<BTreeMap<u8, DuePlace>>>);

impl LeftOff {
    /// Takes the places out, as far as a run at `now` may begin there: its queue ends at that time.
    pub(super) fn take(&self, now: Timestamp) -> Vec<DuePlace> {
        let places = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        places.into_values().filter(|place| place.after.is_none_or(|(due, _)| due <= now.millis())).collect()
    }

    /// Adds places. Of two in one part, the later one stays. What can wait is begun with anew each time: it may not come before a lease.
    pub(super) fn add(&self, places: Vec<DuePlace>) {
        let places = places.into_iter().filter(|place| place.shard < DUE_SHARDS).map(|place| (place.shard, place));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_part_has_one_place_and_a_run_begins_at_none_after_its_time() {
        let left_off = LeftOff::default();
        let place = |shard, due| DuePlace { shard, after: Some((due, Uuid::nil())) };
        left_off.add(vec![place(1, 5), place(2, 5)]);
        left_off.add(vec![place(1, 7), DuePlace { shard: 3, after: None }, place(DUE_SHARDS, 5)]);
        let taken: Vec<_> = left_off.take(Timestamp::from_millis(6)).into_iter().map(|place| place.shard).collect();
        assert_eq!(taken, [2, 3]);
        assert!(left_off.take(Timestamp::from_millis(9)).is_empty());
    }
}
