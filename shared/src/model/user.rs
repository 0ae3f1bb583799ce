//! Users: accounts, their keys and hotkeys, and what they have used of their quotas.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    item::{keys, shards::USAGE_SHARDS},
    quotas::Quotas,
    time::Timestamp,
};

/// What an account may do beyond owning jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See and claim everybody's pending jobs.
    Miner,
}

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The account's id.
    pub user_id: Uuid,
    /// A disabled user is nobody.
    #[serde(default)]
    pub disabled: bool,
    /// Since when it is disabled. None as well for one that an earlier release has disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Roles.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Jobs a day, by chute id, `global` or `*`.
    #[serde(default)]
    pub quotas: Quotas,
    /// How many of the user's jobs may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_limit: Option<u32>,
    /// Since when the user's jobs are listed and counted in shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_since: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// What an API key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// To create jobs, and for all that their owner may do.
    User,
    /// To look for jobs and claim them, where its account is a miner's.
    Miner,
}

impl KeyRole {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Miner => "miner",
        }
    }
}

/// An API key's hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose it is.
    pub user_id: Uuid,
    /// SHA-256 of the whole key.
    pub hash: serde_bytes::ByteBuf,
    /// A revoked key opens nothing.
    #[serde(default)]
    pub revoked: bool,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From when on it opens nothing. The row stays, for lists: `expires_at` is when DynamoDB removes one.
    #[serde(rename = "ends_at", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it may be used for; everything, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeSet<KeyRole>>,
    /// When it was minted.
    pub created_at: Timestamp,
}

impl KeyRow {
    /// What it may be used for.
    pub fn roles(&self) -> BTreeSet<KeyRole> {
        self.roles.clone().unwrap_or_else(|| [KeyRole::User, KeyRole::Miner].into())
    }
}

/// Whose a hotkey is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HotkeyRow {
    /// The account that it signs for.
    pub user_id: Uuid,
    /// A revoked hotkey is nobody's.
    #[serde(default)]
    pub revoked: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// How many jobs a user has created on a day, in all and per chute. For a user whose jobs are counted in shards, what one shard has
/// counted.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Usage {
    #[serde(default)]
    total: u64,
    /// Every other attribute that is a count, `chute#<chute id>`, or a time in a queue, `place#<chute id>`.
    #[serde(flatten)]
    chutes: BTreeMap<String, Value>,
}

impl User {
    /// An account as it is when it is made.
    pub fn new(user_id: Uuid, roles: BTreeSet<Role>, now: Timestamp) -> Self {
        Self {
            user_id,
            disabled: false,
            disabled_at: None,
            roles,
            quotas: Quotas::default(),
            running_limit: None,
            busy_since: None,
            created_at: now,
        }
    }

    /// Whether the user's jobs are listed in shards.
    pub fn is_busy(&self) -> bool {
        self.busy_since.is_some()
    }

    /// Shards that the user's jobs are counted in at `now`. Sharded counting begins with a day, since a quota holds for a day, and
    /// in the middle of one the first shard has counted jobs already. Clocks differ, and the row is written a moment after the
    /// time that it tells: the hour covers both.
    pub fn usage_shards(&self, now: Timestamp) -> u8 {
        let sliced = self.busy_since.is_some_and(|since| since.plus_seconds(3600).date() < now.date());
        if sliced { USAGE_SHARDS } else { 1 }
    }

    /// Jobs a day under `key` (a chute id or `global`): the user's own quota, else the deployment's.
    pub fn quota(&self, key: &str, defaults: &Quotas) -> u64 {
        self.quotas.of(key).or_else(|| defaults.of(key)).unwrap_or(0)
    }
}

impl Usage {
    /// What all rows say together.
    pub fn sum(rows: &[Self], chute_id: Uuid) -> Self {
        let of_chute: u64 = rows.iter().map(|row| row.of_chute(chute_id)).sum();
        Self {
            total: rows.iter().map(Self::total).sum(),
            chutes: BTreeMap::from([(keys::usage_of_chute(chute_id), of_chute.into())]),
        }
    }

    /// Jobs created that day.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Chutes on which jobs were created that day.
    pub fn chutes(&self) -> impl Iterator<Item = Uuid> {
        self.chutes.keys().filter_map(|attribute| keys::chute_of_usage(attribute))
    }

    /// Jobs created that day on one chute.
    pub fn of_chute(&self, chute_id: Uuid) -> u64 {
        self.chutes.get(&keys::usage_of_chute(chute_id)).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Where the last job of that day stood in the chute's queue.
    pub fn last_place(&self, chute_id: Uuid) -> Option<Timestamp> {
        self.chutes.get(&keys::place_in_usage(chute_id)).and_then(Value::as_i64).map(Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    #[test]
    fn a_quota_is_looked_up_from_the_nearest_to_the_widest() {
        let map = |pairs: &[(&str, u64)]| -> Quotas {
            serde_json::from_value(pairs.iter().copied().collect()).expect("a map of counts")
        };
        let quota = |own: &[(&str, u64)], defaults: &[(&str, u64)]| {
            let mut user = User::new(Uuid::nil(), BTreeSet::new(), Timestamp::from_millis(0));
            user.quotas = map(own);
            user.quota("c", &map(defaults))
        };
        assert_eq!(quota(&[("c", 1), ("*", 2)], &[("c", 3), ("*", 4)]), 1);
        assert_eq!(quota(&[("d", 1), ("*", 2)], &[("c", 3), ("*", 4)]), 2);
        assert_eq!(quota(&[("d", 1)], &[("c", 3), ("*", 4)]), 3);
        assert_eq!(quota(&[], &[("d", 3), ("*", 4)]), 4);
        assert_eq!(quota(&[], &[]), 0);
        assert_eq!(quota(&[("c", 0), ("*", 2)], &[("c", 3)]), 0, "a quota of nothing is a quota");
    }

    #[test]
    fn shards_that_count_begin_with_a_day_and_an_hour_late_at_least() {
        let noon = Timestamp::from_millis(12 * 3_600_000);
        let midnight = noon.plus_seconds(DAY / 2);
        let shards = |since: Option<Timestamp>, now| {
            let mut user = User::new(Uuid::nil(), BTreeSet::new(), noon);
            user.busy_since = since;
            user.usage_shards(now)
        };
        assert_eq!(shards(None, midnight), 1);
        for since in [noon, midnight.plus_seconds(-3601)] {
            assert_eq!(shards(Some(since), midnight.plus_seconds(-1)), 1);
            assert_eq!(shards(Some(since), midnight), USAGE_SHARDS);
        }
        let just_before = Some(midnight.plus_seconds(-1));
        assert_eq!(shards(just_before, midnight), 1);
        assert_eq!(shards(just_before, midnight.plus_seconds(DAY - 1)), 1);
        assert_eq!(shards(just_before, midnight.plus_seconds(DAY)), USAGE_SHARDS);
    }
}
