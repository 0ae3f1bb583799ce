//! The logs of a job: what its commands print, in chunks that are objects of their own. The row of heartbeats counts their bytes, in the
//! write that is made anyway.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{job::Job, output_file::FileKeys};
use crate::{
    item::{Condition, Transition},
    time::Timestamp,
};

/// Bytes of the largest chunk: 1 MiB.
pub const LARGEST_CHUNK: u64 = 1 << 20;
/// Bytes that an attempt may have in all: 100 MiB. What its predecessors have left of theirs it may have as well.
const MOST: u64 = 100 << 20;

/// Bytes that a chunk counts at least: as a file of its own it is looked at and removed as a large one is. A heartbeat each 5 minutes for a month
/// has room.
const LEAST: u64 = 8 << 10;

/// The attribute that counts.
const LOG_BYTES: &str = "log_bytes";
/// Of a job: it has logs, or may have.
const LOGGED: &str = "logged";

/// A chunk of a job's logs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chunk {
    /// Of which attempt.
    pub attempt: u32,
    /// Bytes that are counted of the job's logs up to its end. Clocks may differ; the row of heartbeats is one, and orders chunks as they came.
    pub end: u64,
    /// When it was asked for.
    pub at: Timestamp,
}

impl Chunk {
    /// Where it is among the job's logs: the rest of its key, which sorts as chunks came.
    pub fn place(&self) -> String {
        format!("{:06}/{:012}-{:015}", self.attempt, self.end, self.at.millis())
    }

    /// What [`Chunk::place`] has shown.
    pub fn at_place(place: &str) -> Option<Self> {
        let (attempt, rest) = place.split_once('/')?;
        let (end, at) = rest.split_once('-')?;
        let chunk = Self {
            attempt: attempt.parse().ok()?,
            end: end.parse().ok()?,
            at: Timestamp::from_millis(at.parse().ok()?),
        };
        (chunk.place() == place).then_some(chunk)
    }

    /// Its key.
    pub fn key(&self, keys: &FileKeys) -> String {
        keys.logs() + &self.place()
    }
}

/// Bytes that all attempts may have up to this one.
fn most(attempt: u32) -> u64 {
    MOST.saturating_mul(attempt.into())
}

/// Whether a chunk of so many bytes is too much for an attempt, where so many are counted.
pub(super) fn is_too_much(attempt: u32, counted: u64, bytes: u64) -> bool {
    counted + bytes.max(LEAST) > most(attempt)
}

/// Also counts the chunk that a heartbeat of this attempt has, if it has one, and is refused where it is too much.
pub(super) fn with_chunk(change: Transition, attempt: u32, bytes: Option<u64>) -> Transition {
    let Some(bytes) = bytes.and_then(|bytes| i64::try_from(bytes.max(LEAST)).ok()) else { return change };
    let room = i64::try_from(most(attempt)).unwrap_or(i64::MAX) - bytes;
    change
        .when(Condition::Any(vec![Condition::Absent(LOG_BYTES), Condition::AtMost(LOG_BYTES, room)]))
        .set_sum(LOG_BYTES, bytes, LOG_BYTES, 0)
}

/// Also notes that the job has logs, so that they go with it.
pub fn logged(change: Transition, is_logged: bool) -> Transition {
    if is_logged { change.set(LOGGED, AttributeValue::Bool(true)) } else { change }
}

/// Of the row of a job's heartbeats, unless the job is known to have logs: it has none either. Else the refusal brings the row along, which
/// tells.
pub(super) fn while_unlogged(row: Transition, job: &Job) -> Transition {
    if job.logged { row } else { row.when(Condition::Absent(LOG_BYTES)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_chunks_came_and_can_be_read_back() {
        let chunk = |attempt, end, at| Chunk { attempt, end, at: Timestamp::from_millis(at) };
        let chunks = [
            chunk(1, 9, 1_795_000_000_000),
            chunk(1, 10, 1_795_000_000_000),
            // By a clock that is behind.
            chunk(1, 1 << 30, 1_794_999_999_999),
            chunk(2, (1 << 30) + 1, 1_795_000_000_000),
            chunk(10, 1 << 31, 1_795_000_000_000),
        ];
        let places = chunks.map(|chunk| chunk.place());
        assert!(places.is_sorted());
        assert_eq!(places.each_ref().map(|place| Chunk::at_place(place)), chunks.map(Some));
        for bad in ["", "1/2-3", "000001/000000000009", "000001/000000000009-001795000000000/x", "../x-1"] {
            assert_eq!(Chunk::at_place(bad), None, "{bad}");
        }
    }
}
