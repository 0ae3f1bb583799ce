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

impl Page {
    /// Whether a lane's reading that ended at this time has read nothing but what is of the cursor's own time. A page that stopped
    /// there would lead to itself.
    pub fn begins_at(&self, end: Option<i64>) -> bool {
        end.is_some() && end == self.after.map(|(at, _)| at)
    }

    fn shows(&self, order: Order, place: &Cursor) -> bool {
        self.after.is_none_or(|after| order.compare(&after, place).is_lt())
    }
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

/// How many jobs the page lacks, and which lanes may have them: those that end before or with the last job that it could show.
pub fn lacking<T>(lanes: &[Lane<T>], order: Order, page: &Page) -> (u32, Vec<usize>) {
    let places = lanes.iter().flat_map(|lane| &lane.jobs).map(|(place, _)| *place);
    let mut places: Vec<_> = places.filter(|place| page.shows(order, place)).collect();
    places.sort_by(|a, b| order.compare(a, b));
    let last = places.get(page.limit as usize - 1);
    let hides = |end: i64| last.is_none_or(|(last, _)| order.compare(&end, last).is_le());
    let hiding = (0..lanes.len()).filter(|lane| lanes[*lane].end.is_some_and(hides)).collect();
    let seen = horizon(lanes, order);
    let shown = places.iter().filter(|(at, _)| seen.is_none_or(|seen| order.compare(at, &seen).is_lt())).count();
    (page.limit.saturating_sub(shown as u32), hiding)
}

/// A lane that has more hides what comes after its end; nothing from the nearest end on is shown, so that no lane's jobs are
/// passed over.
fn horizon<T>(lanes: &[Lane<T>], order: Order) -> Option<i64> {
    lanes.iter().filter_map(|lane| lane.end).min_by(|a, b| order.compare(a, b))
}

/// A page out of all lanes, and where the next one begins.
pub fn merge<T>(lanes: Vec<Lane<T>>, order: Order, page: &Page) -> (Vec<T>, Option<Cursor>) {
    let horizon = horizon(&lanes, order);
    let mut jobs: Vec<_> = lanes.into_iter().flat_map(|lane| lane.jobs).collect();
    jobs.retain(|(place, _)| {
        page.shows(order, place) && horizon.is_none_or(|horizon| order.compare(&place.0, &horizon).is_lt())
    });
    jobs.sort_by(|(a, _), (b, _)| order.compare(a, b));
    let mut next = horizon.map(|horizon| order.start_of(horizon));
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

    /// What a lane answers when asked from the cursor on for `read` jobs at a time, for those that pass a filter: it has its own
    /// order among those of one time.
    fn ask(
        lane: &[Cursor],
        order: Order,
        page: &Page,
        mut read: usize,
        passes: impl Fn(&Cursor) -> bool,
    ) -> Lane<Cursor> {
        let mut lane = lane.to_vec();
        lane.sort_by(|a, b| {
            order.compare(&a.0, &b.0).then(a.1.as_u128().reverse_bits().cmp(&b.1.as_u128().reverse_bits()))
        });
        lane.retain(|place| page.after.is_none_or(|after| order.compare(&place.0, &after.0).is_ge()));
        let end = |read: usize| (lane.len() > read).then(|| lane[read - 1].0);
        while page.begins_at(end(read)) {
            read += 4;
        }
        let end = end(read);
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
                // Lanes have more jobs of one time than are read at a time: still every page gets on.
                let mut asked: Vec<_> = lanes.iter().map(|lane| ask(lane, order, &page, 4, passes)).collect();
                let (lacks, hiding) = lacking(&asked, order, &page);
                for lane in hiding {
                    asked[lane] = ask(&lanes[lane], order, &page, 8 + lacks as usize, passes);
                }
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

    #[test]
    fn only_lanes_that_may_have_what_a_page_lacks_are_asked_again() {
        let lane = |times: &[i64], end| Lane { jobs: times.iter().map(|at| ((*at, Uuid::nil()), ())).collect(), end };
        let lanes = [lane(&[9, 8, 7], Some(7)), lane(&[6, 5, 4], Some(4)), lane(&[5], None)];
        let lacking = |limit| lacking(&lanes, Order::NewestFirst, &Page { limit, after: None });
        assert_eq!(lacking(2), (0, vec![]));
        assert_eq!(lacking(3), (1, vec![0]));
        assert_eq!(lacking(6), (4, vec![0]));
        assert_eq!(lacking(7), (5, vec![0, 1]));
        assert_eq!(lacking(20), (18, vec![0, 1]));
    }
}
