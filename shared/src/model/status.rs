//! Where a job is in its life.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use utoipa::ToSchema;

/// What a client sees as `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Waits for a miner.
    Pending,
    /// Claimed.
    Running,
    /// Reported as complete; its files are on their way.
    CompletePendingUploads,
    /// Done, with all its files.
    Complete,
    /// Done, without some of its files.
    PartialFailure,
    /// The job failed.
    Error,
    /// The miner gave it up.
    Cancelled,
    /// It ran out of time, and of attempts.
    Timeout,
}

impl Status {
    /// The name in the table and on the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
