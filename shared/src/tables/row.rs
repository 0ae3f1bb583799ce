//! Rows of the registry table. The prefix of the key tells the kind of row.

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    item::{Item, keys, schema, text},
    model::{Chute, HotkeyRow, Input, KeyRow, User, WebhookSecret},
};

/// A kind of row.
pub trait Row: Serialize + DeserializeOwned {
    /// What a row is known by.
    type Id: ?Sized;

    /// What the key of every such row begins with; the rest is the id.
    const KIND: &'static str;

    /// The row's key in the table.
    fn pk(id: &Self::Id) -> String;
}

impl Row for User {
    type Id = Uuid;
    const KIND: &'static str = keys::USERS;

    fn pk(user_id: &Uuid) -> String {
        keys::user(*user_id)
    }
}

impl Row for KeyRow {
    type Id = Uuid;
    const KIND: &'static str = keys::API_KEYS;

    fn pk(key_id: &Uuid) -> String {
        keys::api_key(*key_id)
    }
}

impl Row for HotkeyRow {
    type Id = str;
    const KIND: &'static str = keys::HOTKEYS;

    fn pk(address: &str) -> String {
        keys::hotkey(address)
    }
}

impl Row for Chute {
    type Id = Uuid;
    const KIND: &'static str = keys::CHUTES;

    fn pk(chute_id: &Uuid) -> String {
        keys::chute(*chute_id)
    }
}

impl Row for Input {
    /// The user's, and its own.
    type Id = (Uuid, Uuid);
    const KIND: &'static str = keys::INPUTS;

    fn pk((user_id, input_id): &(Uuid, Uuid)) -> String {
        keys::input(*user_id, *input_id)
    }
}

impl Row for WebhookSecret {
    /// The user's.
    type Id = Uuid;
    const KIND: &'static str = keys::WEBHOOK_SECRETS;

    fn pk(user_id: &Uuid) -> String {
        keys::webhook_secret(*user_id)
    }
}

/// A row as an item.
pub(super) fn to_item<T: Row>(id: &T::Id, row: &T) -> Result<Item> {
    let mut item: Item = serde_dynamo::to_item(row).map_err(|error| Error::internal("registry: row", error))?;
    item.insert("pk".to_owned(), text(T::pk(id)));
    schema::stamp_row(&mut item);
    Ok(item)
}

/// What an item of the registry says.
pub(super) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T> {
    schema::check(&item, "registry: row")?;
    serde_dynamo::from_item(item).map_err(|error| Error::internal("registry: row", error))
}
