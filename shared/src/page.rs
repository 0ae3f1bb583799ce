//! Pages of lists: `?limit=` and `?cursor=`.

use std::cmp::Ordering;

use lambda_http::Request;
use uuid::Uuid;

use crate::{
    error::{Error, Invalid, Result},
    jobs::Cursor,
    request::query,
};

/// Jobs on a page, unless the caller asks for fewer or more.
const DEFAULT_LIMIT: u32 = 20;
/// Jobs on the longest page.
const LONGEST_PAGE: u32 = 100;

/// A list's query, read one parameter after the other: the 422 names all that are wrong.
#[derive(Debug)]
pub struct ListQuery<'a> {
    request: &'a Request,
    errors: Vec<Invalid>,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// 1 to 100 jobs.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl<'a> ListQuery<'a> {
    /// Of this request.
    pub fn new(request: &'a Request) -> Self {
        Self { request, errors: Vec::new() }
    }

    /// A parameter that may be left out.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = query(self.request, field)?;
        let value = parse(text);
        if value.is_none() {
            let msg = format!("Input should be {expected}");
            self.errors.push(Invalid::value(vec!["query".into(), field.into()], msg, text.into()));
        }
        value
    }

    /// A chute's id.
    pub fn chute_id(&mut self) -> Option<Uuid> {
        self.optional("chute_id", "a valid UUID", |text| Uuid::try_parse(text).ok())
    }

    /// Notes that a parameter which is not there has to be.
    pub fn require(&mut self, field: &'static str) {
        if query(self.request, field).is_none() {
            self.errors.push(Invalid::missing("query", field));
        }
    }

    /// `limit` and `cursor`.
    pub fn page(&mut self) -> Page {
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
        Page {
            limit: self.optional("limit", "an integer from 1 to 100", limit).unwrap_or(DEFAULT_LIMIT),
            after: self.optional("cursor", "a cursor of this list", parse_cursor),
        }
    }

    /// 422 when anything was wrong.
    pub fn end(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
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
    fn start_of(self, at: i64) -> Cursor {
        match self {
            Self::NewestFirst => (at, Uuid::max()),
            Self::OldestFirst => (at, Uuid::nil()),
        }
    }
}

/// What was read of one lane: jobs and their places, in any order among those of one time, and the time of the last one
/// when there is more.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane<T> {
    /// Jobs by place.
    pub jobs: Vec<(Cursor, T)>,
    /// At which time the reading ended. More jobs of this very time may follow.
    pub end: Option<i64>,
}

/// The part of all lanes that a page shows. A lane that has more hides what comes after its end; nothing from the nearest end
/// on is shown, so that no lane's jobs are passed over.
struct Shown {
    order: Order,
    after: Option<Cursor>,
    horizon: Option<i64>,
}

impl Shown {
    fn of<T>(lanes: &[Lane<T>], order: Order, page: &Page) -> Self {
        let horizon = lanes.iter().filter_map(|lane| lane.end).min_by(|a, b| order.compare(a, b));
        Self { order, after: page.after, horizon }
    }

    fn has(&self, place: &Cursor) -> bool {
        self.after.is_none_or(|after| self.order.compare(&after, place).is_lt())
            && self.horizon.is_none_or(|horizon| self.order.compare(&place.0, &horizon).is_lt())
    }
}

/// Whether lanes that have more may fill what is left of the page.
pub fn is_short<T>(lanes: &[Lane<T>], order: Order, page: &Page) -> bool {
    let shown = Shown::of(lanes, order, page);
    let jobs = lanes.iter().flat_map(|lane| &lane.jobs).filter(|(place, _)| shown.has(place)).count();
    shown.horizon.is_some() && jobs < page.limit as usize
}

/// A page out of all lanes, and where the next one begins.
pub fn merge<T>(lanes: Vec<Lane<T>>, order: Order, page: &Page) -> (Vec<T>, Option<Cursor>) {
    let shown = Shown::of(&lanes, order, page);
    let mut jobs: Vec<_> = lanes.into_iter().flat_map(|lane| lane.jobs).filter(|(place, _)| shown.has(place)).collect();
    jobs.sort_by(|(a, _), (b, _)| order.compare(a, b));
    let mut next = shown.horizon.map(|horizon| order.start_of(horizon));
    if jobs.len() > page.limit as usize {
        jobs.truncate(page.limit as usize);
        next = jobs.last().map(|(place, _)| *place);
    }
    (jobs.into_iter().map(|(_, job)| job).collect(), next)
}

/// The cursor as clients hand it back.
pub fn show_cursor((at, job_id): Cursor) -> String {
    format!("{at}.{}", job_id.simple())
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (at, job_id) = text.split_once('.')?;
    Some((at.parse().ok()?, Uuid::try_parse(job_id).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a lane answers when asked from `after` on for those of `read` jobs that pass a filter: it has its own order among those
    /// of one time.
    fn ask(
        lane: &[Cursor],
        order: Order,
        after: Option<Cursor>,
        read: usize,
        passes: impl Fn(&Cursor) -> bool,
    ) -> Lane<Cursor> {
        let mut lane = lane.to_vec();
        lane.sort_by(|a, b| {
            order.compare(&a.0, &b.0).then(a.1.as_u128().reverse_bits().cmp(&b.1.as_u128().reverse_bits()))
        });
        lane.retain(|place| after.is_none_or(|after| order.compare(&place.0, &after.0).is_ge()));
        let end = (lane.len() > read).then(|| lane[read - 1].0);
        lane.truncate(read);
        Lane { jobs: lane.into_iter().filter(passes).map(|place| (place, place)).collect(), end }
    }

    proptest! {
        #[test]
        fn every_job_of_every_lane_is_shown_once_and_in_order(
            lanes in prop::collection::vec(prop::collection::btree_set((0_i64..12, 1_u128..1000), 0..80), 1..5),
            limit in 1_u32..6,
            newest in any::<bool>(),
            sieve in 1_u128..20,
        ) {
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let ids = |(lane, jobs): (usize, std::collections::BTreeSet<(i64, u128)>)| -> Vec<Cursor> {
                jobs.into_iter().map(|(at, id)| (at, Uuid::from_u128(id * 8 + lane as u128))).collect()
            };
            let lanes: Vec<_> = lanes.into_iter().enumerate().map(ids).collect();
            let passes = |place: &Cursor| (place.1.as_u128() / 8).is_multiple_of(sieve);
            let mut expected = lanes.concat();
            expected.retain(passes);
            expected.sort_by(|a, b| order.compare(a, b));
            let (mut shown, mut page) = (Vec::new(), Page { limit, after: None });
            loop {
                // No lane has more than 20 jobs of one time: every page gets on.
                let asked = lanes.iter().map(|lane| ask(lane, order, page.after, 21, passes)).collect();
                let (jobs, next) = merge(asked, order, &page);
                prop_assert!(jobs.len() <= limit as usize);
                shown.extend(jobs);
                let Some(next) = next else { break };
                prop_assert!(page.after.is_none_or(|after| order.compare(&after, &next).is_lt()), "{:?}", next);
                page.after = Some(next);
            }
            prop_assert_eq!(shown, expected);
        }
    }
}
