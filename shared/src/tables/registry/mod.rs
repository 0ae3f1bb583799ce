//! The store of the registry table: users, keys, hotkeys and chutes, as the administrator changes and lists them, and as endpoints
//! ask whether a chute is open; inputs that users upload, and the secrets that sign their webhooks.

mod chutes;
mod inputs;
mod lists;
mod store;
mod users;
mod webhook_secrets;

pub use lists::RowList;
pub use store::Registry;
pub use users::KeyChange;
