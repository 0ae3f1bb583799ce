//! What an administrator asked for: a part of the request's log line.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// One command.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub command: &'static str,
    /// The ids of what it is about.
    pub target: Value,
    /// Who asks, as the caller says. Lambda does not tell a function whose IAM identity invokes it; CloudTrail has that.
    pub by: Option<String>,
}

/// The command of the request under way.
#[derive(Debug, Clone, Default)]
pub struct Audit(Arc<Mutex<Option<Entry>>>);

impl Audit {
    /// Notes the command, in the place of what was noted for this request before.
    pub fn note(&self, entry: Entry) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }

    /// The request's command. The next request begins without one.
    pub(crate) fn take(&self) -> Option<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
