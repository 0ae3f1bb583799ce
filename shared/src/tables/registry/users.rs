//! Accounts, and the keys and hotkeys that speak for them.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use uuid::Uuid;

use super::store::{Changed, Registry};
use crate::{
    error::{Context, Error, Result},
    item::{Condition, Transition, keys, number, schema, text},
    model::{HotkeyRow, KeyRole, KeyRow, Role, User},
    quotas::Quotas,
    time::Timestamp,
};

const DISABLED: &str = "disabled";
const DISABLED_AT: &str = "disabled_at";
const BUSY_SINCE: &str = "busy_since";
const REVOKED: &str = "revoked";

/// What changes of an API key; None for what stays as it is.
#[derive(Debug, Default)]
pub struct KeyChange {
    /// What it is called.
    pub name: Option<Option<String>>,
    /// From when on it opens nothing.
    pub expires_at: Option<Option<Timestamp>>,
    /// What it may be used for.
    pub roles: Option<Option<BTreeSet<KeyRole>>>,
}

impl Registry {
    /// The account; 404 when there is none.
    pub async fn user(&self, user_id: Uuid) -> Result<User> {
        self.get(&user_id).await?.ok_or_else(|| Error::no_user(user_id))
    }

    /// A new account. 409 when there is one of its id, which keeps its quotas and its state.
    pub async fn create_user(&self, user: &User) -> Result<()> {
        if self.create(&user.user_id, user).await? {
            return Ok(());
        }
        // A write whose answer was lost is refused when the client makes it again: then the account is the one that was to be. So it is where
        // two ask for the same in one millisecond.
        let stored = self.user(user.user_id).await?;
        match stored.created_at == user.created_at && stored.roles == user.roles {
            true => Ok(()),
            false => Err(Error::Conflict(format!("User {} exists", user.user_id))),
        }
    }

    /// Replaces an account's roles.
    pub async fn set_roles(&self, user_id: Uuid, roles: &BTreeSet<Role>) -> Result<()> {
        self.change_user(user_id, Transition::default().set("roles", attribute(roles)?)).await.map(drop)
    }

    /// Replaces an account's quotas.
    pub async fn set_quotas(&self, user_id: Uuid, quotas: &Quotas) -> Result<()> {
        self.change_user(user_id, Transition::default().set("quotas", attribute(quotas)?)).await.map(drop)
    }

    /// So many of the account's jobs that are created from now on may run at once; any number, without.
    pub async fn set_running_limit(&self, user_id: Uuid, most: Option<u32>) -> Result<()> {
        const DOING: &str = "registry: UpdateItem";
        self.user(user_id).await?;
        // The row before the account: a job of an account that has a limit finds it.
        let limit = Transition::default()
            .set_if_absent("jobs", AttributeValue::M(HashMap::new()))
            .set(schema::ATTRIBUTE, number(schema::ROW_VERSION))
            .set_option("most", most.map(|most| number(most.into())));
        let request = self.tables.change_row(keys::running(user_id), limit.when(schema::readable()));
        request.send().await.context(DOING)?;
        let limit = most.map(|most| number(most.into()));
        let change = Transition::default().set(schema::ATTRIBUTE, number(schema::ROW_VERSION));
        self.change_user(user_id, change.set_option("running_limit", limit)).await.map(drop)
    }

    /// From now on, the account's jobs are listed in shards. Repeating it changes nothing.
    pub async fn shard_user(&self, user_id: Uuid, now: Timestamp) -> Result<()> {
        let change = Transition::default().when(Condition::Absent(BUSY_SINCE)).set(BUSY_SINCE, number(now.millis()));
        self.change_user(user_id, change).await.map(drop)
    }

    /// Its keys, hotkeys and JWTs open nothing from now on, and its chutes are closed. Since when, which a repeat does not
    /// change; None when an earlier release did it, and has not kept the time.
    pub async fn disable_user(&self, user_id: Uuid, now: Timestamp) -> Result<Option<Timestamp>> {
        let change = Transition::default()
            .when(Condition::Is(DISABLED, AttributeValue::Bool(false)))
            .set(DISABLED, AttributeValue::Bool(true))
            .set(DISABLED_AT, number(now.millis()));
        let before = self.change_user(user_id, change).await?;
        Ok(before.map_or(Some(now), |user| user.disabled_at))
    }

    /// Undoes [`Self::disable_user`].
    pub async fn enable_user(&self, user_id: Uuid) -> Result<()> {
        let change = Transition::default().set(DISABLED, AttributeValue::Bool(false)).remove(DISABLED_AT);
        self.change_user(user_id, change).await.map(drop)
    }

    /// The account as it is, when a condition of the change did not hold; 404 when there is none.
    async fn change_user(&self, user_id: Uuid, change: Transition) -> Result<Option<User>> {
        match self.change(&user_id, change).await? {
            Changed::Made => Ok(None),
            Changed::Refused(user) => Ok(Some(user)),
            Changed::Missing => Err(Error::no_user(user_id)),
        }
    }

    /// The key with this hash opens its account from now on.
    pub async fn add_key(&self, key_id: Uuid, key: &KeyRow) -> Result<()> {
        self.put(&key_id, key).await
    }

    /// The key is another from now on; 404 when there is none.
    pub async fn change_key(&self, key_id: Uuid, change: KeyChange) -> Result<()> {
        let internal = |error| Error::internal("write: key", error);
        let KeyChange { name, expires_at, roles } = change;
        let mut update = Transition::default().when(Condition::Exists("pk".to_owned()));
        if let Some(name) = name {
            update = update.set_option("name", name.map(text));
        }
        if let Some(end) = expires_at {
            update = update.set_option("ends_at", end.map(|end| number(end.millis())));
        }
        if let Some(roles) = roles {
            let roles = roles.map(serde_dynamo::to_attribute_value).transpose();
            update = update.set_option("roles", roles.map_err(internal)?);
        }
        // An update has to set something.
        let update = update.set(schema::ATTRIBUTE, number(schema::ROW_VERSION));
        match self.change::<KeyRow>(&key_id, update).await? {
            Changed::Missing => Err(Error::NotFound(format!("API key {key_id} not found"))),
            Changed::Made | Changed::Refused(_) => Ok(()),
        }
    }

    /// The key opens nothing from now on; 404 when there is none.
    pub async fn revoke_key(&self, key_id: Uuid) -> Result<()> {
        match self.change::<KeyRow>(&key_id, revoked()).await? {
            Changed::Missing => Err(Error::NotFound(format!("API key {key_id} not found"))),
            Changed::Made | Changed::Refused(_) => Ok(()),
        }
    }

    /// The hotkey of this SS58 address signs for this account from now on, and for no other.
    pub async fn register_hotkey(&self, address: &str, hotkey: &HotkeyRow) -> Result<()> {
        self.put(address, hotkey).await
    }

    /// The hotkey signs for nobody from now on; 404 when it is not known.
    pub async fn revoke_hotkey(&self, address: &str) -> Result<()> {
        match self.change::<HotkeyRow>(address, revoked()).await? {
            Changed::Missing => Err(Error::NotFound(format!("Hotkey {address} not found"))),
            Changed::Made | Changed::Refused(_) => Ok(()),
        }
    }
}

fn revoked() -> Transition {
    Transition::default().set(REVOKED, AttributeValue::Bool(true))
}

fn attribute(value: &impl Serialize) -> Result<AttributeValue> {
    serde_dynamo::to_attribute_value(value).map_err(|error| Error::internal("registry: attribute", error))
}
