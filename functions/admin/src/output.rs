//! What commands answer.

use std::collections::BTreeSet;

use serde::Serialize;
use shared::{
    model::{Chute, KeyRole, Role, Status},
    quotas::Quotas,
    tables::jobs::{ListedJob, OwnedJob},
    time::{Timestamp, rfc3339, rfc3339_option},
};
use uuid::Uuid;

/// What a command is about.
#[derive(Default, Serialize)]
pub struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hotkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chute_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_id: Option<Uuid>,
}

impl Target {
    pub(crate) fn user(user_id: Uuid) -> Self {
        Self { user_id: Some(user_id), ..Self::default() }
    }

    pub(crate) fn job(job_id: Uuid) -> Self {
        Self { job_id: Some(job_id), ..Self::default() }
    }
}

/// What a command answers.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Output {
    /// It is done.
    Done(Target),
    /// A key was made.
    Key {
        /// Whose it is, and its id.
        #[serde(flatten)]
        target: Target,
        /// The key itself.
        key: String,
    },
    /// An account was disabled.
    Disabled(Closed),
    /// A job has ended; it had before, if its status is another than `cancelled`.
    Ended {
        /// The job.
        job_id: Uuid,
        /// How it has ended.
        status: Status,
    },
    /// A job is gone.
    Deleted {
        /// The job.
        job_id: Uuid,
        /// It is.
        deleted: bool,
    },
    /// A page of accounts.
    Users {
        /// The accounts.
        users: Vec<ListedUser>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
    /// A page of API keys.
    Keys {
        /// The keys.
        keys: Vec<ListedKey>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
    /// A page of hotkeys.
    Hotkeys {
        /// The hotkeys.
        hotkeys: Vec<ListedHotkey>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
    /// A page of chutes.
    Chutes {
        /// The chutes.
        chutes: Vec<Chute>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
    /// A page of a user's jobs.
    Jobs {
        /// The jobs.
        jobs: Vec<ListedJob>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
    /// A page of everybody's jobs.
    OwnedJobs {
        /// The jobs.
        jobs: Vec<OwnedJob>,
        /// Where the next page begins. Null on the last one.
        next_cursor: Option<String>,
    },
}

impl Output {
    /// What was made and had no id before.
    pub(crate) fn made(&self) -> Option<&Target> {
        match self {
            Self::Key { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// What became of the jobs of an account that is disabled now. Counts are of this call.
#[derive(Serialize)]
pub struct Closed {
    pub(crate) user_id: Uuid,
    /// Jobs that waited for a miner.
    pub(crate) cancelled: u32,
    /// Jobs that run, and would have been tried again.
    pub(crate) last_attempts: u32,
    /// Jobs that could not be closed. The log tells why.
    pub(crate) failed: u32,
    /// Where the jobs are that this call had no time for. Null when it has seen all.
    pub(crate) next_cursor: Option<String>,
    /// When to repeat the command without a cursor, for jobs whose creation was under way. Null when there can be none.
    #[serde(serialize_with = "rfc3339_option")]
    pub(crate) repeat_after: Option<Timestamp>,
}

/// An account in a list.
#[derive(Serialize)]
pub struct ListedUser {
    pub(crate) user_id: Uuid,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) quotas: Quotas,
    pub(crate) running_limit: Option<u32>,
    pub(crate) disabled: bool,
    #[serde(serialize_with = "rfc3339_option")]
    pub(crate) disabled_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339_option")]
    pub(crate) busy_since: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) created_at: Timestamp,
}

/// An API key in a list: enough to know it, and to change or revoke it.
#[derive(Serialize)]
pub struct ListedKey {
    pub(crate) key_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) name: Option<String>,
    pub(crate) roles: BTreeSet<KeyRole>,
    pub(crate) revoked: bool,
    #[serde(serialize_with = "rfc3339_option")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) created_at: Timestamp,
}

/// A hotkey in a list.
#[derive(Serialize)]
pub struct ListedHotkey {
    pub(crate) hotkey: String,
    pub(crate) user_id: Uuid,
    pub(crate) revoked: bool,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) created_at: Timestamp,
}
