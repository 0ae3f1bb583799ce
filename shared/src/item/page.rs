//! Which part of a list is asked for.

use std::cmp::Ordering;

use uuid::Uuid;

use super::attribute::Cursor;

/// A page of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// 1 to 100 jobs.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// Which way a list goes through time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Backwards.
    NewestFirst,
    /// Forwards.
    OldestFirst,
}

impl Order {
    /// Sorts what comes first in the list before what comes later.
    pub fn compare<T: Ord>(self, a: &T, b: &T) -> Ordering {
        match self {
            Self::NewestFirst => b.cmp(a),
            Self::OldestFirst => a.cmp(b),
        }
    }

    /// The place before all jobs of that time.
    pub fn start_of(self, at: i64) -> Cursor {
        match self {
            Self::NewestFirst => (at, Uuid::max()),
            Self::OldestFirst => (at, Uuid::nil()),
        }
    }
}
