//! How often a client should ask: nobody has to guess. What has gone on for long is asked for seldom.

use super::{job::Job, status::Status};
use crate::time::Timestamp;

/// Seconds that the miner of a job holds it for when it has sent no heartbeat: until then the reaper need not look whether it does.
pub const FIRST_LEASE: i64 = lease(0);

/// Seconds after the claim from which on the reaper may have looked before a heartbeat is written: a request takes 30 at most.
pub const LATE: i64 = FIRST_LEASE - 30;

/// Seconds that the longest lease has.
pub const LONGEST_LEASE: i64 = lease(i64::MAX);

/// Seconds that a miner has for its report from the heartbeat on that tells it to stop.
pub const LAST_WORDS: i64 = 90;

/// Seconds between two heartbeats of an attempt that is `age` seconds old: a twentieth of it.
pub const fn heartbeat(age: i64) -> i64 {
    match age / 20 {
        ..30 => 30,
        300.. => 300,
        seconds => seconds,
    }
}

/// Seconds that a heartbeat of such an attempt holds a job for: two of three may be lost.
pub const fn lease(age: i64) -> i64 {
    3 * heartbeat(age)
}

/// Seconds after which to read a job again: a tenth of the time since its state last changed, 1 to 300. None once it is terminal.
pub fn poll(job: &Job, now: Timestamp) -> Option<i64> {
    let changed = match job.status {
        _ if job.terminal => return None,
        _ if job.report.is_some() => job.finished_at,
        Status::Running => job.started_at,
        // What waits has not changed since it was created or requeued.
        _ => Some(job.updated_at),
    };
    let since = now.seconds() - changed.unwrap_or(job.updated_at).seconds();
    Some((since / 10).clamp(1, 300))
}

/// Seconds after which to ask for work again, of a queue that has been empty for so many: half of that, 2 to 15, and a little less
/// at random, so that miners that came together do not always do so.
pub fn look_for_work(empty_for: i64) -> i64 {
    let longest = (empty_for / 2).clamp(2, 15);
    fastrand::i64((longest - (longest + 10) / 16).max(2)..=longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_comes_at_a_twentieth_of_the_attempts_age_and_its_lease_is_three_times_that() {
        for (age, next) in
            [(-5, 30), (0, 30), (619, 30), (620, 31), (3600, 180), (5999, 299), (6000, 300), (86_400, 300)]
        {
            assert_eq!((heartbeat(age), lease(age)), (next, 3 * next), "{age}");
        }
    }

    #[test]
    fn work_is_looked_for_more_seldom_the_longer_there_was_none() {
        for (empty_for, least, most) in
            [(-5, 2, 2), (0, 2, 2), (5, 2, 2), (6, 3, 3), (12, 5, 6), (29, 13, 14), (30, 14, 15), (9999, 14, 15)]
        {
            let seen: std::collections::BTreeSet<_> = (0..1000).map(|_| look_for_work(empty_for)).collect();
            assert_eq!(seen, (least..=most).collect(), "{empty_for}");
        }
    }

    #[test]
    fn an_hours_job_beats_56_times() {
        let (mut age, mut beats) = (0, 0);
        while age + heartbeat(age) <= 3600 {
            age += heartbeat(age);
            beats += 1;
        }
        assert_eq!(beats, 56);
    }
}
