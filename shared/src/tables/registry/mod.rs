//! The store of the registry table: users, keys, hotkeys and chutes, as the administrator changes and lists them, and as endpoints
//! ask whether a chute is open; and the inputs that users upload.

mod chutes;
mod inputs;
mod lists;
mod store;
mod users;

pub use lists::RowList;
pub use store::Registry;
