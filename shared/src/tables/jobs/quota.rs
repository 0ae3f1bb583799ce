//! A user's quota for a UTC day. A busy user's is cut in slices, one for each shard that counts.

use uuid::Uuid;

use crate::{
    error::Error,
    item::{keys, shards},
    model::{Usage, User},
    quotas::Quotas,
    tables::read::Read,
    time::{DAY, Timestamp},
};

/// What a user may create on a day: on one chute, and on all of them.
#[derive(Debug, Clone)]
pub struct DailyQuota {
    pub(super) user_id: Uuid,
    pub(super) chute_id: Uuid,
    /// `YYYY-MM-DD`.
    pub(super) day: String,
    seconds_left: i64,
    /// When the day's counts may go, in seconds since 1970.
    pub(super) row_ends: i64,
    /// Jobs on the chute.
    pub(super) of_chute: u64,
    /// Jobs in all.
    pub(super) total: u64,
    /// Shards that count them.
    pub(super) shards: u8,
    /// Where the job that is counted stands in its chute's queue, once that is known: the next one stands behind it.
    pub(super) place: Option<Timestamp>,
}

/// Whose quota, for which chute, on which day, and how much in how many shards: what tells one quota from another.
pub(super) type QuotaKey = (Uuid, Uuid, String, [u64; 2], u8);

/// The shards that count one job: of all the user's, and of those on the chute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shards {
    pub(super) total: u8,
    pub(super) chute: u8,
}

/// A count in a usage row, with the placeholders of its attribute and of its bound.
pub(super) struct Count {
    pub(super) name: &'static str,
    pub(super) most: &'static str,
    pub(super) attribute: String,
    pub(super) bound: u64,
}

impl DailyQuota {
    /// The user's quota for jobs on this chute.
    pub fn of(user: &User, chute_id: Uuid, defaults: &Quotas, now: Timestamp) -> Self {
        Self {
            user_id: user.user_id,
            chute_id,
            day: now.date(),
            seconds_left: now.seconds_to_next_day(),
            row_ends: now.plus_seconds(2 * DAY).seconds(),
            of_chute: user.quota(&chute_id.to_string(), defaults),
            total: user.quota("global", defaults),
            shards: user.usage_shards(now),
            place: None,
        }
    }

    /// Asks for what the user has used, for [`Jobs::has_room`].
    pub fn ask(read: &mut Read, user_id: Uuid, now: Timestamp) {
        read.key(keys::usage(user_id, &now.date(), 0));
    }

    pub(super) fn key(&self) -> QuotaKey {
        (self.user_id, self.chute_id, self.day.clone(), [self.of_chute, self.total], self.shards)
    }

    /// 429 with these counts.
    pub(super) fn exceeded(&self, usage: &Usage) -> Error {
        let (of_chute, total) = (usage.of_chute(self.chute_id), usage.total());
        Error::QuotaExceeded {
            detail: format!(
                "Daily job quota exceeded: chute_job_count={of_chute} total_job_count={total} of job_quota={} and \
                 total_quota={}",
                self.of_chute, self.total
            ),
            retry_after: self.seconds_left,
        }
    }

    /// The shards to try first: one at random that has a slice of both quotas. None when one of the quotas is nothing.
    pub(super) fn first(&self) -> Option<Shards> {
        let shard = match self.shards {
            1 => Some(0),
            shards => shards::with_a_slice([self.total, self.of_chute], shards),
        };
        shard.map(|shard| Shards { total: shard, chute: shard })
    }

    /// The shards to try next, by what each has counted. None when the quota is used up.
    pub(super) fn next(&self, rows: &[Usage]) -> Option<Shards> {
        let counts: Vec<_> = rows.iter().map(|row| [row.total(), row.of_chute(self.chute_id)]).collect();
        let [total, chute] = shards::with_room([self.total, self.of_chute], &counts)?;
        Some(Shards { total, chute })
    }

    /// The count of all the user's jobs in a shard's row.
    pub(super) fn count_total(&self, shard: u8) -> Count {
        let bound = shards::slice(self.total, self.shards, shard);
        Count { name: "#total", most: ":total", attribute: "total".to_owned(), bound }
    }

    /// The count of the user's jobs on the chute in a shard's row.
    pub(super) fn count_chute(&self, shard: u8) -> Count {
        let bound = shards::slice(self.of_chute, self.shards, shard);
        Count { name: "#chute", most: ":chute", attribute: keys::usage_of_chute(self.chute_id), bound }
    }
}
