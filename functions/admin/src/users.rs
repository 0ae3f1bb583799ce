//! Accounts, and the hotkeys that speak for them.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    App, Error, Result,
    auth::hotkey,
    model::{HotkeyRow, Role, User},
    quotas::Quotas,
    time::Timestamp,
};
use uuid::Uuid;

use crate::output::{Output, Target};

/// The highest limit: the row has 45 bytes for each job, which each claim writes.
const MOST_RUNNING: u32 = 1000;

pub(crate) async fn create(app: &App, user_id: Uuid, roles: &BTreeSet<Role>) -> Result<Output> {
    app.registry.create_user(&User::new(user_id, roles.clone(), Timestamp::system())).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn set_roles(app: &App, user_id: Uuid, roles: &BTreeSet<Role>) -> Result<Output> {
    app.registry.set_roles(user_id, roles).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn set_quotas(app: &App, user_id: Uuid, quotas: &BTreeMap<String, u64>) -> Result<Output> {
    let unknown = |key| Error::Unprocessable(format!("quota {key:?} is no chute id, global or *"));
    let quotas = Quotas::new(quotas.clone()).map_err(unknown)?;
    app.registry.set_quotas(user_id, &quotas).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn set_running_limit(app: &App, user_id: Uuid, most: Option<u32>) -> Result<Output> {
    if most.is_some_and(|most| !(1..=MOST_RUNNING).contains(&most)) {
        return Err(Error::Unprocessable(format!("most is not 1 to {MOST_RUNNING}")));
    }
    app.registry.set_running_limit(user_id, most).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn enable(app: &App, user_id: Uuid) -> Result<Output> {
    app.registry.enable_user(user_id).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn shard(app: &App, user_id: Uuid) -> Result<Output> {
    app.registry.shard_user(user_id, Timestamp::system()).await?;
    Ok(Output::Done(Target::user(user_id)))
}

pub(crate) async fn register_hotkey(app: &App, user_id: Uuid, address: &str) -> Result<Output> {
    app.registry.user(user_id).await?;
    if hotkey::public_key(address).is_none() {
        return Err(Error::Unprocessable("hotkey is not an SS58 address of an sr25519 key".to_owned()));
    }
    let row = HotkeyRow { user_id, revoked: false, created_at: Timestamp::system() };
    app.registry.register_hotkey(address, &row).await?;
    Ok(Output::Done(Target { hotkey: Some(address.to_owned()), ..Target::user(user_id) }))
}

pub(crate) async fn revoke_hotkey(app: &App, address: &str) -> Result<Output> {
    app.registry.revoke_hotkey(address).await?;
    Ok(Output::Done(Target { hotkey: Some(address.to_owned()), ..Target::default() }))
}
