//! In which order jobs are taken that wait: their users in turn.
//!
//! A chute's queue has its users in turn already, and what of it was looked at are jobs of those whose turn is next. This is for what a queue does
//! not know: which of the users of several chutes is next, and which of a user's jobs that wait at those has waited longest.

use std::collections::HashMap;

use shared::{model::Place, tables::jobs::ClaimableJob, time::Timestamp};
use uuid::Uuid;

/// First one job of each user, the user first who has waited longest since one of his was given to a miner; then the second ones.
pub(crate) fn in_turn(jobs: Vec<ClaimableJob>, last_served: impl Fn(Uuid) -> Option<Timestamp>) -> Vec<ClaimableJob> {
    let mut of_users: HashMap<Uuid, Vec<ClaimableJob>> = HashMap::new();
    for job in jobs {
        of_users.entry(job.owner()).or_default().push(job);
    }
    let mut rounds: Vec<_> = of_users
        .into_iter()
        .flat_map(|(user_id, mut jobs)| {
            let first = jobs.iter().map(ClaimableJob::place).min().map(Place::time);
            let turn = last_served(user_id).max(first);
            jobs.sort_by_key(ClaimableJob::place);
            let mut of_chutes: HashMap<Uuid, Timestamp> = HashMap::new();
            let since = |job: ClaimableJob| {
                // Not before the one that it stands behind.
                let since = of_chutes.entry(job.chute_id()).or_insert(job.created_at());
                *since = (*since).max(job.created_at()).max(job.place().time());
                (*since, job)
            };
            let mut jobs: Vec<_> = jobs.into_iter().map(since).collect();
            jobs.sort_by_key(|(since, job)| (*since, job.place()));
            jobs.into_iter().enumerate().map(move |(round, (since, job))| ((round, turn, since), job))
        })
        .collect();
    rounds.sort_by_key(|(turn, _)| *turn);
    rounds.into_iter().map(|(_, job)| job).collect()
}
