//! Lanes: the keys of a busy user or chute, cut so that no one of them takes all writes. ("Using write sharding to distribute
//! workloads evenly in your DynamoDB table".) Lane 0 is the key as it is for everybody else, so that who becomes busy
//! takes along what is there.

use std::ops::Range;

/// Lanes of a busy user's list and of a busy chute's queue. A job writes five times to the list (create, claim, a heartbeat, report,
/// end), a lane takes 1,000 writes a second: 16 are three times what 1,000 jobs a second need. Each page of such a list
/// asks all of them. It may rise, and never fall: jobs are in the lanes.
pub const LANES: u8 = 16;
/// Lanes that a busy user's jobs are counted in. More than [`LANES`], because a transaction holds its row for as long as it takes:
/// of 2,000 creates a second, twice what is asked for, one in two thousand is then refused where 16 lanes refuse a third
/// (`cargo run --release -- bench --scale`). All of them are read by a create whose lane is full: of a large quota when little is
/// left, of one of few jobs a lane long before. Who changes it cuts the running day's quotas anew.
pub const COUNTERS: u8 = 64;

/// The lane's key.
pub fn key(first: String, lane: u8) -> String {
    match lane {
        0 => first,
        lane => format!("{first}#{lane}"),
    }
}

/// One lane at random, of [`LANES`] when busy.
pub fn pick(busy: bool) -> u8 {
    if busy { fastrand::u8(0..LANES) } else { 0 }
}

/// What one of `lanes` may take of a quota. All slices together are the quota.
pub fn slice(quota: u64, lanes: u8, lane: u8) -> u64 {
    let (lanes, lane) = (u64::from(lanes), u64::from(lane));
    quota / lanes + u64::from(lane < quota % lanes)
}

/// One at random of the lanes whose slices of all these quotas are more than nothing; None when one of the quotas is nothing.
pub fn with_a_slice(quotas: [u64; 2], lanes: u8) -> Option<u8> {
    let some: Range<u8> = 0..quotas.into_iter().map(|quota| quota.min(lanes.into()) as u8).min().unwrap_or(0);
    (!some.is_empty()).then(|| fastrand::u8(some))
}

/// Of two quotas and what each lane has counted of them: a lane at random that has room in its slices of both, else one for each.
/// None when a quota is used up. It may be so while lanes have room: it was lowered, and others have more than their slice.
pub fn with_room(quotas: [u64; 2], counts: &[[u64; 2]]) -> Option<[u8; 2]> {
    let lanes = counts.len() as u8;
    let open = |which: usize| {
        let open = (0..lanes).zip(counts).filter(|(lane, count)| count[which] < slice(quotas[which], lanes, *lane));
        let open: Vec<_> = open.map(|(lane, _)| lane).collect();
        let counted: u64 = counts.iter().map(|count| count[which]).sum();
        if counted < quotas[which] { open } else { Vec::new() }
    };
    let [one, other] = [open(0), open(1)];
    let both: Vec<_> = one.iter().copied().filter(|lane| other.contains(lane)).collect();
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
        fn slices_are_the_whole_quota_and_differ_by_one_at_most(quota: u64, lanes in 1..=COUNTERS) {
            let slices: Vec<_> = (0..lanes).map(|lane| slice(quota, lanes, lane)).collect();
            prop_assert_eq!(slices.iter().map(|slice| u128::from(*slice)).sum::<u128>(), u128::from(quota));
            prop_assert!(slices[0] - slices[slices.len() - 1] <= 1);
        }

        #[test]
        fn room_is_found_until_a_quota_is_used_up(total in 0_u64..200, chute in 0_u64..200, lanes in 1..=COUNTERS) {
            let mut counts = vec![[0; 2]; lanes.into()];
            for _ in 0..total.min(chute) {
                let [one, other] = with_room([total, chute], &counts).expect("room");
                counts[usize::from(one)][0] += 1;
                counts[usize::from(other)][1] += 1;
            }
            prop_assert_eq!(with_room([total, chute], &counts), None);
        }

        #[test]
        fn the_first_lane_tried_has_a_slice_of_both_quotas(total in 0_u64..200, chute in 0_u64..200) {
            match with_a_slice([total, chute], COUNTERS) {
                Some(lane) => prop_assert!(slice(total, COUNTERS, lane) > 0 && slice(chute, COUNTERS, lane) > 0),
                None => prop_assert!(total == 0 || chute == 0),
            }
        }
    }

    #[test]
    fn a_job_is_counted_in_one_lane_where_that_is_possible() {
        assert_eq!(with_room([3, 3], &[[1, 0], [0, 1], [0, 0]]), Some([2, 2]));
        assert_eq!(with_room([3, 3], &[[1, 0], [0, 1], [1, 1]]), Some([1, 0]));
    }

    #[test]
    fn a_quota_that_was_lowered_is_used_up_though_lanes_have_room() {
        assert_eq!(with_room([2, 2], &[[2, 0], [0, 0]]), None);
        assert_eq!(with_room([2, 2], &[[0, 0], [0, 2]]), None);
    }

    #[test]
    fn the_first_lane_is_the_key_that_is_not_cut() {
        assert_eq!((key("a".to_owned(), 0), key("a".to_owned(), 15)), ("a".to_owned(), "a#15".to_owned()));
        assert_eq!(pick(false), 0);
    }
}
