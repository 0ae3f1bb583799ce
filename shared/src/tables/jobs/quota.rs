//! Quotas: what a user may create in a UTC day, and what has been counted.
//!
//! A job is counted in the same transaction that inserts it, under a condition: N creates at once with one slot left give exactly one
//! job. A busy user's quota is cut in slices, one for each shard that counts.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Update};
use uuid::Uuid;

use super::store::Jobs;
use crate::{
    error::{Error, Result},
    item::{keys, number, schema, shards, text},
    model::{Job, Usage, User},
    quotas::Quotas,
    tables::read::{Found, Read},
    time::{DAY, Timestamp},
};

/// Quotas that are remembered as used up.
const REMEMBERED: usize = 1000;

/// What a user may create on a day: on one chute, and on all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DailyQuota {
    user_id: Uuid,
    pub(super) chute_id: Uuid,
    /// `YYYY-MM-DD`.
    day: String,
    seconds_left: i64,
    /// Jobs on the chute.
    of_chute: u64,
    /// Jobs in all.
    total: u64,
    /// Shards that count them.
    pub(super) shards: u8,
}

/// The shards that count one job: of all the user's, and of those on the chute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shards {
    pub(super) total: u8,
    pub(super) chute: u8,
}

/// A count in a usage row, with the placeholders of its attribute and of its bound.
pub(super) struct Counted {
    name: &'static str,
    most: &'static str,
    attribute: String,
    bound: u64,
}

impl DailyQuota {
    /// The user's quota for jobs on this chute.
    pub fn of(user: &User, chute_id: Uuid, defaults: &Quotas, now: Timestamp) -> Self {
        Self {
            user_id: user.user_id,
            chute_id,
            day: now.date(),
            seconds_left: now.seconds_to_next_day(),
            of_chute: user.quota(&chute_id.to_string(), defaults),
            total: user.quota("global", defaults),
            shards: user.usage_shards(now),
        }
    }

    /// Asks for what the user has used, for [`Jobs::has_room`].
    pub fn ask(read: &mut Read, user_id: Uuid, now: Timestamp) {
        read.key(keys::usage(user_id, &now.date(), 0));
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
    pub(super) fn count_total(&self, shard: u8) -> Counted {
        let bound = shards::slice(self.total, self.shards, shard);
        Counted { name: "#total", most: ":total", attribute: "total".to_owned(), bound }
    }

    /// The count of the user's jobs on the chute in a shard's row.
    pub(super) fn count_chute(&self, shard: u8) -> Counted {
        let bound = shards::slice(self.of_chute, self.shards, shard);
        Counted { name: "#chute", most: ":chute", attribute: keys::usage_of_chute(self.chute_id), bound }
    }
}

impl Jobs {
    /// 429 when the quota is known to be used up, which spares a transaction that would be refused. What one of several shards has
    /// counted tells nothing: there it is known once this process has refused. The first refusal comes with the transaction, so
    /// that a bad body is answered before it.
    pub fn has_room(&self, quota: &DailyQuota, found: &Found) -> Result<()> {
        if quota.shards > 1 {
            let used_up = self.remembered().get(quota).cloned();
            return used_up.map_or(Ok(()), |usage| Err(quota.exceeded(&usage)));
        }
        let usage: Usage = found.by_key(&keys::usage(quota.user_id, &quota.day, 0))?.unwrap_or_default();
        let room = usage.of_chute(quota.chute_id) < quota.of_chute && usage.total() < quota.total;
        if room { Ok(()) } else { Err(quota.exceeded(&usage)) }
    }

    /// Remembers that a busy user's quota is used up. It stays so: counts only grow within a day.
    pub(super) fn remember(&self, used_up: &DailyQuota, usage: &Usage) {
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(used_up.clone(), usage.clone());
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<DailyQuota, Usage>> {
        self.used_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the job in a shard's row, under each of these attributes, unless one is at its bound.
    pub(super) fn count(&self, job: &Job, shard: u8, counted: &[Counted]) -> Result<Update> {
        let add: Vec<_> = counted.iter().map(|count| format!("{} :one", count.name)).collect();
        let room = |count: &Counted| format!("(attribute_not_exists({0}) OR {0} < {1})", count.name, count.most);
        let room: Vec<_> = counted.iter().map(room).collect();
        let mut update = Update::builder()
            .table_name(&self.tables.registry)
            .key("pk", text(keys::usage(job.user_id, &job.created_at.date(), shard)))
            .update_expression(format!("ADD {} SET #expires = :expires, #v = :v", add.join(", ")))
            .condition_expression(room.join(" AND "));
        for Counted { name, most, attribute, bound } in counted {
            update = update.expression_attribute_names(*name, attribute);
            update = update.expression_attribute_values(*most, AttributeValue::N(bound.to_string()));
        }
        update
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_names("#v", schema::ATTRIBUTE)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":v", number(schema::VERSION))
            .expression_attribute_values(":expires", number(job.created_at.plus_seconds(2 * DAY).seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal("create job: usage", error))
    }

    /// What each shard has counted on the quota's day.
    pub(super) async fn usage(&self, quota: &DailyQuota) -> Result<Vec<Usage>> {
        let row = |shard| keys::usage(quota.user_id, &quota.day, shard);
        let pks: Vec<_> = (0..quota.shards).map(row).collect();
        let mut read = Read::default();
        pks.iter().for_each(|pk| read.key(pk.clone()));
        let found = read.run(&self.tables).await?;
        pks.iter().map(|pk| Ok(found.by_key(pk)?.unwrap_or_default())).collect()
    }
}
