//! What has been counted of a user's quota. A job is counted in the same transaction that inserts it, under a condition: N creates at
//! once with one slot left give exactly one job.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Update};

use super::{
    quota::{Count, DailyQuota, QuotaKey},
    store::Jobs,
};
use crate::{
    error::{Error, Result},
    item::{keys, number, schema, text},
    model::Usage,
    tables::read::{Found, Read},
};

/// Quotas that are remembered as used up.
const REMEMBERED: usize = 1000;

impl Jobs {
    /// 429 when the quota is known to be used up, which spares a transaction that would be refused. For a busy user,
    /// one shard's count does not decide: this process refuses early only after it has itself found the quota used up. The first
    /// refusal comes with the transaction, after a bad body was answered.
    pub fn has_room(&self, quota: &DailyQuota, found: &Found) -> Result<()> {
        let usage: Usage = found.by_key(&keys::usage(quota.user_id, &quota.day, 0))?.unwrap_or_default();
        if quota.shards > 1 {
            let used_up = self.remembered().get(&quota.key()).cloned();
            return used_up.map_or(Ok(()), |usage| Err(quota.exceeded(&usage)));
        }
        let room = usage.of_chute(quota.chute_id) < quota.of_chute && usage.total() < quota.total;
        if room { Ok(()) } else { Err(quota.exceeded(&usage)) }
    }

    /// Remembers that a busy user's quota is used up. It stays so: counts only grow within a day.
    pub(super) fn remember(&self, used_up: &DailyQuota, usage: &Usage) {
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(used_up.key(), usage.clone());
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<QuotaKey, Usage>> {
        self.used_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a job in a shard's row, under each of these attributes, unless one is at its bound.
    pub(super) fn count(&self, quota: &DailyQuota, shard: u8, counted: &[Count]) -> Result<Update> {
        let add: Vec<_> = counted.iter().map(|count| format!("{} :one", count.name)).collect();
        let room = |count: &Count| format!("(attribute_not_exists({0}) OR {0} < {1})", count.name, count.most);
        let room: Vec<_> = counted.iter().map(room).collect();
        // The first shard's is read with the caller.
        let place = quota.place.filter(|_| shard == 0);
        let set_place = if place.is_some() { ", #place = :place" } else { "" };
        let mut update = Update::builder()
            .table_name(&self.tables.registry)
            .key("pk", text(keys::usage(quota.user_id, &quota.day, shard)))
            .update_expression(format!("ADD {} SET #expires = :expires, #v = :v{set_place}", add.join(", ")))
            .condition_expression(room.join(" AND "));
        for Count { name, most, attribute, bound } in counted {
            update = update.expression_attribute_names(*name, attribute);
            update = update.expression_attribute_values(*most, AttributeValue::N(bound.to_string()));
        }
        if let Some(place) = place {
            update = update.expression_attribute_names("#place", keys::place_in_usage(quota.chute_id));
            update = update.expression_attribute_values(":place", number(place.millis()));
        }
        update
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_names("#v", schema::ATTRIBUTE)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":v", number(schema::ROW_VERSION))
            .expression_attribute_values(":expires", number(quota.row_ends))
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
