//! What a user has used of the day's quotas.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::Jobs;
use crate::{
    error::Result,
    item::keys,
    model::{Usage, User},
    quotas::Quotas,
    tables::read::{Found, Read},
    time::Timestamp,
};

/// Of one quota.
#[derive(Debug, Serialize, ToSchema)]
pub struct Used {
    /// Jobs that were created or tried again.
    used: u64,
    /// As many as may be.
    quota: u64,
}

/// Of all of a user's quotas.
#[derive(Debug)]
pub struct UsedToday {
    /// Of the quota of all chutes together.
    pub global: Used,
    /// Of each chute that was used on the day, or that has a quota of the user's own.
    pub chutes: BTreeMap<Uuid, Used>,
}

impl Jobs {
    /// What the user has used on the day of `now`. The first shard was [asked for](super::DailyQuota::ask) with the user; the others of a busy
    /// one are a read more.
    pub async fn used_today(&self, user: &User, defaults: &Quotas, found: &Found, now: Timestamp) -> Result<UsedToday> {
        let pks: Vec<_> =
            (0..user.usage_shards(now)).map(|shard| keys::usage(user.user_id, &now.date(), shard)).collect();
        let mut rows: Vec<Usage> = found.by_key(&pks[0])?.into_iter().collect();
        if pks.len() > 1 {
            let mut read = Read::default();
            pks.iter().skip(1).for_each(|pk| read.key(pk.clone()));
            let more = read.run(&self.tables).await?;
            for pk in &pks[1..] {
                rows.extend(more.by_key(pk)?);
            }
        }
        let chutes: BTreeSet<_> = rows.iter().flat_map(Usage::chutes).chain(user.quotas.chutes()).collect();
        let of_chute = |chute_id: Uuid| Used {
            used: rows.iter().map(|row| row.of_chute(chute_id)).sum(),
            quota: user.quota(&chute_id.to_string(), defaults),
        };
        Ok(UsedToday {
            global: Used { used: rows.iter().map(Usage::total).sum(), quota: user.quota("global", defaults) },
            chutes: chutes.into_iter().map(|chute_id| (chute_id, of_chute(chute_id))).collect(),
        })
    }
}
