//! The vocabulary of DynamoDB items: values, keys, schema version, conditional changes, shards of hot keys, and places in an
//! index. Nothing here knows what a job is.

mod attribute;
pub mod keys;
mod page;
pub mod schema;
pub mod shards;
mod transition;

pub use attribute::{Cursor, Item, cursor, number, text};
pub use page::{Order, Page};
pub use transition::{Condition, Expression, Transition};
