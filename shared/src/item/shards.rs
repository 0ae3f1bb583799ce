//! Shards: how the keys of a busy user or chute are cut, so that no one partition key takes all writes. ("Using write sharding to
//! distribute workloads evenly in your DynamoDB table".) Shard 0 is the key as it is for everybody else: whoever becomes busy keeps
//! what is already there.

use std::ops::Range;

/// Shards of a busy user's list and of a busy chute's queue. A job writes four times to the list (create, claim, report,
/// end), and a partition key takes 1,000 writes a second: 16 take three times what 1,000 jobs a second need. Each page of such a
/// list asks all of them. It may rise, and never fall: jobs are listed in the shards.
pub const SHARDS: u8 = 16;
/// Shards that a busy user's jobs are counted in. More than [`SHARDS`], because a transaction holds its row for as long as it takes:
/// of 2,000 creates a second, twice what is asked for, one in two thousand is then refused where 16 shards refuse a third
/// (`cargo run --release -- bench --scale`). A create whose shard is full reads all of them: for a large quota when little of it is
/// left, for a quota of few jobs a shard long before. Changing the number divides the running day's quotas anew.
pub const USAGE_SHARDS: u8 = 64;

/// The shard's key.
pub fn key(first: String, shard: u8) -> String {
    match shard {
        0 => first,
        shard => format!("{first}#{shard}"),
    }
}

/// One shard at random, of [`SHARDS`] when busy.
pub fn pick(busy: bool) -> u8 {
    if busy { fastrand::u8(0..SHARDS) } else { 0 }
}

/// What one of `shards` may take of a quota. All slices together are the quota.
pub fn slice(quota: u64, shards: u8, shard: u8) -> u64 {
    let (shards, shard) = (u64::from(shards), u64::from(shard));
    quota / shards + u64::from(shard < quota % shards)
}

/// One at random of the shards whose slices of all these quotas are more than nothing; None when one of the quotas is nothing.
pub fn with_a_slice(quotas: [u64; 2], shards: u8) -> Option<u8> {
    let some: Range<u8> = 0..quotas.into_iter().map(|quota| quota.min(shards.into()) as u8).min().unwrap_or(0);
    (!some.is_empty()).then(|| fastrand::u8(some))
}

/// Of two quotas and what each shard has counted of them: a shard at random that has room in its slices of both, else one for each.
/// None when a quota is used up. It may be used up while shards have room: it was lowered, and others have more than their slice.
pub fn with_room(quotas: [u64; 2], counts: &[[u64; 2]]) -> Option<[u8; 2]> {
    let shards = counts.len() as u8;
    let open = |which: usize| {
        let open = (0..shards).zip(counts).filter(|(shard, count)| count[which] < slice(quotas[which], shards, *shard));
        let open: Vec<_> = open.map(|(shard, _)| shard).collect();
        let counted: u64 = counts.iter().map(|count| count[which]).sum();
        if counted < quotas[which] { open } else { Vec::new() }
    };
    let [one, other] = [open(0), open(1)];
    let both: Vec<_> = one.iter().copied().filter(|shard| other.contains(shard)).collect();
    match fastrand::choice(both) {
        Some(both) => Some([both; 2]),
        None => Some([fastrand::choice(one)?, fastrand::choice(other)?]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_are_the_whole_quota_and_differ_by_one_at_most(quota: u64, shards in 1..=USAGE_SHARDS) {
            let slices: Vec<_> = (0..shards).map(|shard| slice(quota, shards, shard)).collect();
            prop_assert_eq!(slices.iter().map(|slice| u128::from(*slice)).sum::<u128>(), u128::from(quota));
            prop_assert!(slices[0] - slices[slices.len() - 1] <= 1);
        }

        #[test]
        fn room_is_found_until_a_quota_is_used_up(total in 0_u64..200, chute in 0_u64..200, shards in 1..=USAGE_SHARDS) {
            let mut counts = vec![[0; 2]; shards.into()];
            for _ in 0..total.min(chute) {
                let [one, other] = with_room([total, chute], &counts).expect("room");
                counts[usize::from(one)][0] += 1;
                counts[usize::from(other)][1] += 1;
            }
            prop_assert_eq!(with_room([total, chute], &counts), None);
        }

        #[test]
        fn the_first_shard_tried_has_a_slice_of_both_quotas(total in 0_u64..200, chute in 0_u64..200) {
            match with_a_slice([total, chute], USAGE_SHARDS) {
                Some(shard) => prop_assert!(slice(total, USAGE_SHARDS, shard) > 0 && slice(chute, USAGE_SHARDS, shard) > 0),
                None => prop_assert!(total == 0 || chute == 0),
            }
        }
    }

    #[test]
    fn a_job_is_counted_in_one_shard_where_that_is_possible() {
        assert_eq!(with_room([3, 3], &[[1, 0], [0, 1], [0, 0]]), Some([2, 2]));
        assert_eq!(with_room([3, 3], &[[1, 0], [0, 1], [1, 1]]), Some([1, 0]));
    }

    #[test]
    fn a_quota_that_was_lowered_is_used_up_though_shards_have_room() {
        assert_eq!(with_room([2, 2], &[[2, 0], [0, 0]]), None);
        assert_eq!(with_room([2, 2], &[[0, 0], [0, 2]]), None);
    }

    #[test]
    fn the_first_shard_is_the_key_that_is_not_cut() {
        assert_eq!((key("a".to_owned(), 0), key("a".to_owned(), 15)), ("a".to_owned(), "a#15".to_owned()));
        assert_eq!(pick(false), 0);
    }
}
