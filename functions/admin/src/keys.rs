//! API keys.

use std::collections::BTreeSet;

use serde_bytes::ByteBuf;
use shared::{
    App, Error, Result,
    auth::api_key::ApiKey,
    model::{KeyRole, KeyRow},
    tables::KeyChange,
    time::Timestamp,
};
use uuid::Uuid;

use crate::output::{Output, Target};

/// Characters of the longest name.
const LONGEST_NAME: usize = 64;

pub(crate) async fn create(
    app: &App,
    user_id: Uuid,
    name: Option<&str>,
    expires_at: Option<&str>,
    roles: Option<&BTreeSet<KeyRole>>,
) -> Result<Output> {
    let (name, expires_at, roles) = (checked_name(name)?, checked_end(expires_at)?, checked_roles(roles)?);
    app.registry.user(user_id).await?;
    let key = ApiKey::generate(user_id);
    let hash = ByteBuf::from(key.hash());
    let row = KeyRow { user_id, hash, revoked: false, name, expires_at, roles, created_at: Timestamp::system() };
    app.registry.add_key(key.key_id, &row).await?;
    let target = Target { key_id: Some(key.key_id), ..Target::user(user_id) };
    Ok(Output::Key { target, key: key.reveal().to_owned() })
}

pub(crate) async fn update(
    app: &App,
    key_id: Uuid,
    name: Option<Option<&str>>,
    expires_at: Option<Option<&str>>,
    roles: Option<Option<&BTreeSet<KeyRole>>>,
) -> Result<Output> {
    let change = KeyChange {
        name: name.map(checked_name).transpose()?,
        expires_at: expires_at.map(checked_end).transpose()?,
        roles: roles.map(checked_roles).transpose()?,
    };
    app.registry.change_key(key_id, change).await?;
    Ok(Output::Done(Target { key_id: Some(key_id), ..Target::default() }))
}

pub(crate) async fn revoke(app: &App, key_id: Uuid) -> Result<Output> {
    app.registry.revoke_key(key_id).await?;
    Ok(Output::Done(Target { key_id: Some(key_id), ..Target::default() }))
}

fn checked_name(name: Option<&str>) -> Result<Option<String>> {
    let is_one = |name: &str| (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    match name {
        Some(name) if !is_one(name) => {
            Err(Error::Unprocessable(format!("name is not a text of 1 to {LONGEST_NAME} printable characters")))
        }
        name => Ok(name.map(str::to_owned)),
    }
}

fn checked_end(end: Option<&str>) -> Result<Option<Timestamp>> {
    let parse = |text| {
        Timestamp::from_rfc3339(text).ok_or_else(|| Error::Unprocessable("expires_at is not RFC 3339".to_owned()))
    };
    end.map(parse).transpose()
}

fn checked_roles(roles: Option<&BTreeSet<KeyRole>>) -> Result<Option<BTreeSet<KeyRole>>> {
    match roles {
        Some(roles) if roles.is_empty() => {
            Err(Error::Unprocessable("roles is empty: the key would open nothing".to_owned()))
        }
        roles => Ok(roles.cloned()),
    }
}
