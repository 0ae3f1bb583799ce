//! Quotas: how many jobs a user may create in a UTC day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Jobs a day, by chute id, by `global` (all chutes together) or by `*` (every key that is not named).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quotas(BTreeMap<String, u64>);

impl Quotas {
    /// Quotas as somebody wrote them. The error is the first key that is neither a chute id nor `global` nor `*`.
    pub fn new(quotas: BTreeMap<String, u64>) -> Result<Self, String> {
        let known = |key: String| match key.as_str() {
            "global" | "*" => Ok(key),
            _ => Uuid::try_parse(&key).map(|id| id.to_string()).map_err(|_| key),
        };
        quotas.into_iter().map(|(key, count)| Ok((known(key)?, count))).collect::<Result<_, _>>().map(Self)
    }

    /// Chutes that have a quota of their own.
    pub fn chutes(&self) -> impl Iterator<Item = Uuid> {
        self.0.keys().filter_map(|key| Uuid::try_parse(key).ok())
    }

    /// The quota of a key: its own, else that of `*`.
    pub fn of(&self, key: &str) -> Option<u64> {
        self.0.get(key).or_else(|| self.0.get("*")).copied()
    }
}
