//! Pages of lists whose jobs are in shards: what was read of each becomes one page.

use crate::item::{Cursor, Order, Page};

/// Whether a shard's reading that ended at this time has read nothing but what is of the cursor's own time. A page that stopped
/// there would lead to itself.
pub(super) fn begins_at(page: &Page, end: Option<i64>) -> bool {
    end.is_some() && end == page.after.map(|(at, _)| at)
}

fn shows(page: &Page, order: Order, place: &Cursor) -> bool {
    page.after.is_none_or(|after| order.compare(&after, place).is_lt())
}

/// What was read of one shard: jobs and their places, in any order among those of one time, and the time of the last one
/// when there is more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShardRead<T> {
    /// Jobs by place.
    pub(super) jobs: Vec<(Cursor, T)>,
    /// At which time the reading ended. More jobs of this very time may follow.
    pub(super) end: Option<i64>,
}

/// How many jobs the page lacks, and which shards may have them: those that end before or with the last job that it could show.
pub(super) fn lacking<T>(shards: &[ShardRead<T>], order: Order, page: &Page) -> (u32, Vec<usize>) {
    let places = shards.iter().flat_map(|shard| &shard.jobs).map(|(place, _)| *place);
    let mut places: Vec<_> = places.filter(|place| shows(page, order, place)).collect();
    places.sort_by(|a, b| order.compare(a, b));
    let last = places.get(page.limit as usize - 1);
    let hides = |end: i64| last.is_none_or(|(last, _)| order.compare(&end, last).is_le());
    let hiding = (0..shards.len()).filter(|shard| shards[*shard].end.is_some_and(hides)).collect();
    let seen = horizon(shards, order);
    let shown = places.iter().filter(|(at, _)| seen.is_none_or(|seen| order.compare(at, &seen).is_lt())).count();
    (page.limit.saturating_sub(shown as u32), hiding)
}

/// A shard that has more hides what comes after its end; nothing from the nearest end on is shown, so that no shard's jobs are
/// passed over.
fn horizon<T>(shards: &[ShardRead<T>], order: Order) -> Option<i64> {
    shards.iter().filter_map(|shard| shard.end).min_by(|a, b| order.compare(a, b))
}

/// A page out of all shards, and where the next one begins.
pub(super) fn merge<T>(shards: Vec<ShardRead<T>>, order: Order, page: &Page) -> (Vec<T>, Option<Cursor>) {
    let horizon = horizon(&shards, order);
    let mut jobs: Vec<_> = shards.into_iter().flat_map(|shard| shard.jobs).collect();
    jobs.retain(|(place, _)| {
        shows(page, order, place) && horizon.is_none_or(|horizon| order.compare(&place.0, &horizon).is_lt())
    });
    jobs.sort_by(|(a, _), (b, _)| order.compare(a, b));
    let mut next = horizon.map(|horizon| order.start_of(horizon));
    if jobs.len() > page.limit as usize {
        jobs.truncate(page.limit as usize);
        next = jobs.last().map(|(place, _)| *place);
    }
    (jobs.into_iter().map(|(_, job)| job).collect(), next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use uuid::Uuid;

    use super::*;

    /// What a shard answers when asked from the cursor on for `read` jobs at a time, for those that pass a filter: it has its own
    /// order among those of one time.
    fn ask(
        shard: &[Cursor],
        order: Order,
        page: &Page,
        mut read: usize,
        passes: impl Fn(&Cursor) -> bool,
    ) -> ShardRead<Cursor> {
        let mut shard = shard.to_vec();
        shard.sort_by(|a, b| {
            order.compare(&a.0, &b.0).then(a.1.as_u128().reverse_bits().cmp(&b.1.as_u128().reverse_bits()))
        });
        shard.retain(|place| page.after.is_none_or(|after| order.compare(&place.0, &after.0).is_ge()));
        let end = |read: usize| (shard.len() > read).then(|| shard[read - 1].0);
        while begins_at(page, end(read)) {
            read += 4;
        }
        let end = end(read);
        shard.truncate(read);
        ShardRead { jobs: shard.into_iter().filter(passes).map(|place| (place, place)).collect(), end }
    }

    proptest! {
        #[test]
        fn every_job_of_every_shard_is_shown_once_and_in_order(
            shards in prop::collection::vec(prop::collection::btree_set((0_i64..12, 1_u128..1000), 0..80), 1..5),
            limit in 1_u32..6,
            newest in any::<bool>(),
            sieve in 1_u128..20,
        ) {
            let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
            let ids = |(shard, jobs): (usize, std::collections::BTreeSet<(i64, u128)>)| -> Vec<Cursor> {
                jobs.into_iter().map(|(at, id)| (at, Uuid::from_u128(id * 8 + shard as u128))).collect()
            };
            let shards: Vec<_> = shards.into_iter().enumerate().map(ids).collect();
            let passes = |place: &Cursor| (place.1.as_u128() / 8).is_multiple_of(sieve);
            let mut expected = shards.concat();
            expected.retain(passes);
            expected.sort_by(|a, b| order.compare(a, b));
            let (mut shown, mut page) = (Vec::new(), Page { limit, after: None });
            loop {
                // Shards have more jobs of one time than one read takes, and still every page moves forward.
                let mut asked: Vec<_> = shards.iter().map(|shard| ask(shard, order, &page, 4, passes)).collect();
                let (lacks, hiding) = lacking(&asked, order, &page);
                for shard in hiding {
                    asked[shard] = ask(&shards[shard], order, &page, 8 + lacks as usize, passes);
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
    fn only_shards_that_may_have_what_a_page_lacks_are_asked_again() {
        let shard =
            |times: &[i64], end| ShardRead { jobs: times.iter().map(|at| ((*at, Uuid::nil()), ())).collect(), end };
        let shards = [shard(&[9, 8, 7], Some(7)), shard(&[6, 5, 4], Some(4)), shard(&[5], None)];
        let lacking = |limit| lacking(&shards, Order::NewestFirst, &Page { limit, after: None });
        assert_eq!(lacking(2), (0, vec![]));
        assert_eq!(lacking(3), (1, vec![0]));
        assert_eq!(lacking(6), (4, vec![0]));
        assert_eq!(lacking(7), (5, vec![0, 1]));
        assert_eq!(lacking(20), (18, vec![0, 1]));
    }
}
