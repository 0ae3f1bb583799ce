//! In which order jobs are taken that wait: their users in turn.
//!
//! A chute's queue has its users in turn already, as far as it had to. This is for what a queue does not know: whom of those who are in sight
//! this process has served last, and which of several chutes is next, whose queues may stand at different times.

use std::collections::{HashMap, VecDeque};

use shared::{model::Place, tables::jobs::ClaimableJob, time::Timestamp};
use uuid::Uuid;

/// Of each chute one job of each user first, then the second ones; of the chutes, always the next job whose user was served longest ago, or who
/// was never and has waited longest.
pub(crate) fn in_turn(jobs: Vec<ClaimableJob>, last_served: impl Fn(Uuid) -> Option<Timestamp>) -> Vec<ClaimableJob> {
    let mut of_chutes: HashMap<Uuid, Vec<ClaimableJob>> = HashMap::new();
    for job in jobs {
        of_chutes.entry(job.chute_id()).or_default().push(job);
    }
    let mut chutes: Vec<VecDeque<_>> = of_chutes.into_values().map(|jobs| of_chute(jobs, &last_served)).collect();
    let mut ordered = Vec::new();
    let next = |chutes: &[VecDeque<(Timestamp, ClaimableJob)>]| {
        let heads = chutes.iter().enumerate().filter_map(|(at, jobs)| Some((at, jobs.front()?)));
        // Of one user's on two chutes, and of two that were served at the same moment, the longer-waiting one.
        let turn = |(_, (since, job)): &(usize, &(Timestamp, ClaimableJob))| {
            (last_served(job.owner()).max(Some(*since)), *since)
        };
        heads.min_by_key(turn).map(|(at, _)| at)
    };
    while let Some(at) = next(&chutes) {
        ordered.extend(chutes[at].pop_front().map(|(_, job)| job));
    }
    ordered
}

/// A chute's jobs in turn, and since when each waits, as far as that is known.
fn of_chute(
    mut jobs: Vec<ClaimableJob>,
    last_served: impl Fn(Uuid) -> Option<Timestamp>,
) -> VecDeque<(Timestamp, ClaimableJob)> {
    jobs.sort_by_key(ClaimableJob::place);
    let mut of_users: HashMap<Uuid, (usize, Option<Timestamp>, Timestamp)> = HashMap::new();
    let mut rounds: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let waits = job.created_at().max(job.place().time());
            let first = || (0, last_served(job.owner()).max(Some(job.place().time())), waits);
            let (round, turn, since) = of_users.entry(job.owner()).or_insert_with(first);
            *round += 1;
            // Not before its user's job that it stands behind.
            *since = waits.max(*since);
            ((*round, *turn, job.place()), (*since, job))
        })
        .collect();
    rounds.sort_by_key(|(turn, _): &((usize, Option<Timestamp>, Place), _)| *turn);
    rounds.into_iter().map(|(_, job)| job).collect()
}
