//! A user with one job beside one with 10,000 on the same chute, simulated: how long each one's jobs wait, with users in turn and in the order
//! of creation. Places are those of the product; the times are stated.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use shared::{model::Place, time::Timestamp};

use super::samples::quantile;

/// Jobs that the one user creates at the beginning, one each 10 ms.
const MANY: usize = 10_000;
const MANY_EACH: i64 = 10;
/// Milliseconds between the other's jobs, on average.
const FEW_EACH: f64 = 300_000.0;
/// Milliseconds between two claims.
const CLAIM_EACH: i64 = 1000;

/// How long the jobs of a user waited.
#[derive(Debug, Serialize)]
pub(super) struct Waited {
    in_turn: bool,
    /// That many were claimed.
    user: &'static str,
    jobs: usize,
    p50_s: f64,
    p99_s: f64,
    longest_s: f64,
}

const USERS: [&str; 2] = ["many", "few"];

/// Until nothing of the first user's waits.
fn simulate(in_turn: bool) -> [Waited; 2] {
    let mut random = fastrand::Rng::with_seed(1);
    let mut creates: Vec<(i64, usize)> = (0..MANY).map(|number| (number as i64 * MANY_EACH, 0)).collect();
    let mut at = 0.0;
    while at < (MANY as i64 * CLAIM_EACH) as f64 {
        at -= (1.0 - random.f64()).ln() * FEW_EACH;
        creates.push((at as i64, 1));
    }
    creates.sort_unstable();

    // Milliseconds since 1970, as of some day.
    let begin = 1_795_000_000_000;
    let (mut queue, mut last, mut waited) = (BTreeMap::new(), HashMap::new(), [Vec::new(), Vec::new()]);
    let (mut created_by, mut crowded_since) = ([0, 0], None);
    let mut creates = creates.into_iter().enumerate().peekable();
    let mut now = 0;
    while creates.peek().is_some() || !queue.is_empty() {
        while let Some((number, (at, user))) = creates.next_if(|(_, (at, _))| *at <= now) {
            let created = Timestamp::from_millis(begin + at);
            let first: Option<Timestamp> =
                queue.first_key_value().map(|((place, _), _): (&(Place, usize), _)| place.time());
            // Each sixteenth of a user's looks; who looks and finds others waiting, or nobody, says so.
            created_by[user] += 1;
            if crowded_since.is_some() || created_by[user] % 16 == 0 {
                crowded_since = first.and(crowded_since.or(Some(created)));
            }
            let first = first.and(first.max(crowded_since)).filter(|first| *first < created);
            let place = match first.filter(|_| in_turn && crowded_since.is_some()) {
                Some(first) => Place::behind(first, last.get(&user).copied(), 1, created),
                None => Place::at(created),
            };
            last.insert(user, place.time());
            queue.insert((place, number), (at, user));
        }
        if let Some((_, (created, user))) = queue.pop_first() {
            waited[user].push((now - created) as f64 / 1000.0);
        }
        now += CLAIM_EACH;
    }
    let figures = |user: usize| {
        let of = |part| quantile(waited[user].clone(), part);
        Waited {
            in_turn,
            user: USERS[user],
            jobs: waited[user].len(),
            p50_s: of(0.5),
            p99_s: of(0.99),
            longest_s: of(1.0),
        }
    };
    [figures(0), figures(1)]
}

/// With and without turns.
pub(super) fn run() -> Vec<Waited> {
    let all: Vec<_> = [false, true].into_iter().flat_map(simulate).collect();
    println!(
        "\nTwo users on one chute, of which a miner takes a job each {} s. One has created {MANY} at the beginning; the other creates one each {} s.",
        CLAIM_EACH / 1000,
        FEW_EACH / 1000.0
    );
    println!("                    user   jobs   waits: p50 s    p99 s  longest s");
    for Waited { in_turn, user, jobs, p50_s, p99_s, longest_s } in &all {
        let order = if *in_turn { "in turn" } else { "as they were created" };
        println!("{order:>20} {user:>5} {jobs:>6} {p50_s:>14.0} {p99_s:>8.0} {longest_s:>10.0}");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_one_waits_for_one_and_not_for_ten_thousand() {
        let [_, without] = simulate(false);
        let [many, with] = simulate(true);
        assert!(without.p50_s > 1000.0, "{without:?}");
        assert!(with.longest_s < 4.0, "{with:?}");
        // Whoever has many has lost no more than the other has had.
        assert_eq!(many.jobs, MANY);
        assert!(many.longest_s <= (MANY + with.jobs + 1) as f64, "{many:?}");
    }
}
