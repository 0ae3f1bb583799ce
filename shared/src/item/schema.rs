//! The version of the tables' items. Each carries, as `v`, the version of the release that made it. A release reads what it and
//! all releases before it have made; what a newer one has made, before a rollback, it neither reads nor changes. (The reaper puts
//! such a job off, so that it is in nobody's way.)

use super::{
    attribute::{Item, number},
    transition::{Condition, Transition},
};
use crate::error::{Error, Result};

/// The attribute.
pub const ATTRIBUTE: &str = "v";
/// This release's version. It rises when an item's meaning changes, so that an older release would be wrong about it. 2: what a job
/// carries may be stored apart from it.
pub const VERSION: i64 = 2;
/// The version in which rows of the registry got their meaning: a release that knows it reads those of this one, too.
pub const ROW_VERSION: i64 = 1;

/// Marks a job as this release's.
pub fn stamp(item: &mut Item) {
    item.insert(ATTRIBUTE.to_owned(), number(VERSION));
}

/// Marks a row of the registry.
pub fn stamp_row(item: &mut Item) {
    item.insert(ATTRIBUTE.to_owned(), number(ROW_VERSION));
}

/// A row that this release understands, or none yet.
pub fn readable() -> Condition {
    Condition::Any(vec![Condition::Absent(ATTRIBUTE), Condition::AtMost(ATTRIBUTE, VERSION)])
}

/// Begins a change of a row of the jobs table that need not be there yet, such as an alarm.
pub fn row() -> Transition {
    Transition::default().when(readable()).set(ATTRIBUTE, number(VERSION))
}

/// The items of a list that this release understands. The log says that others were left out.
pub fn known(mut items: Vec<Item>) -> Vec<Item> {
    let all = items.len();
    items.retain(|item| version(item).is_some_and(|version| version <= VERSION));
    if items.len() < all {
        tracing::error!(left_out = all - items.len(), "items of a newer release are not listed: deploy it again");
    }
    items
}

/// 500 for an item of a newer release: nothing is done with what is not understood.
pub fn check(item: &Item, doing: &'static str) -> Result<()> {
    match version(item) {
        Some(version) if version <= VERSION => Ok(()),
        Some(version) => Err(Error::internal(
            doing,
            format!(
                "the item has schema version {version}, and this release knows {VERSION}: deploy the newer one again"
            ),
        )),
        None => Err(Error::internal(doing, "the item has no schema version")),
    }
}

/// Whether this release, or a newer one, has written the item last.
pub fn is_current(item: &Item) -> bool {
    version(item).is_some_and(|version| version >= VERSION)
}

fn version(item: &Item) -> Option<i64> {
    item.get(ATTRIBUTE)?.as_n().ok()?.parse().ok()
}
