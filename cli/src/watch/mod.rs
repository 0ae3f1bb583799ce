//! `jobchute watch`: jobs until they are over.

mod many;
mod one;

pub(crate) use many::{Jobs, until_all_are_over};
pub(crate) use one::{Job, follow, logs, result, until_over};
