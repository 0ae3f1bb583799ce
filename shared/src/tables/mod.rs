//! The stores: everything that reads or writes the two DynamoDB tables.

mod client;
pub mod jobs;
mod read;
mod registry;
mod row;

pub use client::Tables;
pub use read::{Found, Read};
pub use registry::{KeyChange, Registry, RowList};
pub use row::Row;
