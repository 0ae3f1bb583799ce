//! What the administrator may ask for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use shared::model::{KeyRole, Role, Status};
use strum::{IntoStaticStr, VariantNames};
use uuid::Uuid;

use crate::output::Target;

/// A command: `{"command": "create_user", …}`. Beside it, `by` may say who asks.
#[derive(Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// A new account, with an id of its own unless one is given.
    CreateUser {
        /// The id, for accounts that exist elsewhere.
        #[serde(default = "Uuid::new_v4", deserialize_with = "given_or_new")]
        user_id: Uuid,
        /// `miner` lets it see and claim everybody's jobs.
        #[serde(default)]
        roles: BTreeSet<Role>,
    },
    /// Replaces an account's roles.
    SetRoles {
        /// The account.
        user_id: Uuid,
        /// All its roles from now on.
        roles: BTreeSet<Role>,
    },
    /// Its keys, hotkeys and JWTs open nothing from now on, its chutes take no new jobs, and its jobs that wait are cancelled. A job
    /// that runs may end, but is not tried again; a miner keeps the jobs that it holds until they end.
    DisableUser {
        /// The account.
        user_id: Uuid,
        /// `next_cursor` of the answer before: where to go on with the account's jobs.
        cursor: Option<String>,
    },
    /// Undoes `disable_user`, but for the jobs that it cancelled.
    EnableUser {
        /// The account.
        user_id: Uuid,
    },
    /// From now on the user's jobs are listed in shards, and from the next UTC day on (after 23:00, the one after that) counted in
    /// shards: for more than a few dozen jobs a second. It cannot be undone: jobs are listed in the shards for as long as they are
    /// kept, and so are the day's counts.
    SetBusyUser {
        /// The account.
        user_id: Uuid,
    },
    /// A new API key. The answer is the only place where it is ever shown.
    CreateKey {
        /// Whose it is.
        user_id: Uuid,
        /// What it is called.
        name: Option<String>,
        /// From when on it opens nothing. RFC 3339.
        expires_at: Option<String>,
        /// What it may be used for: `user`, `miner`, or both, as without.
        roles: Option<BTreeSet<KeyRole>>,
    },
    /// Gives an API key another name, end or roles. What is left out stays as it is, and null undoes it.
    UpdateKey {
        /// The id that `create_key` answered.
        key_id: Uuid,
        /// What it is called.
        #[serde(default, deserialize_with = "given")]
        name: Option<Option<String>>,
        /// From when on it opens nothing. RFC 3339.
        #[serde(default, deserialize_with = "given")]
        expires_at: Option<Option<String>>,
        /// What it may be used for.
        #[serde(default, deserialize_with = "given")]
        roles: Option<Option<BTreeSet<KeyRole>>>,
    },
    /// The key opens nothing from now on.
    RevokeKey {
        /// The id that `create_key` answered.
        key_id: Uuid,
    },
    /// The hotkey signs for the account from now on.
    RegisterHotkey {
        /// The account.
        user_id: Uuid,
        /// Its SS58 address.
        hotkey: String,
    },
    /// The hotkey signs for nobody from now on, until it is registered again.
    RevokeHotkey {
        /// Its SS58 address.
        hotkey: String,
    },
    /// Creates or replaces a chute.
    PutChute {
        /// All of it.
        chute: Value,
    },
    /// Replaces an account's quotas: jobs a day by chute id, `global` or `*`. A quota of a busy user that is lowered may
    /// let jobs pass in shards that are below their new slice; from the next UTC day on it holds exactly.
    SetQuotas {
        /// The account.
        user_id: Uuid,
        /// All its quotas from now on.
        quotas: BTreeMap<String, u64>,
    },
    /// So many of the jobs that an account creates from now on may run at once: the others wait. Another limit holds for
    /// all of them; a first one does not hold for jobs that were created before. A claim of such a job costs twice the write units, and
    /// those of a row that has each job that runs.
    SetRunningLimit {
        /// The account.
        user_id: Uuid,
        /// 1 to 1,000; null for any number.
        most: Option<u32>,
    },
    /// Ends a job that waits or runs. Its miner is told to stop, and can report nothing any more.
    CancelJob {
        /// The job.
        job_id: Uuid,
        /// What its owner reads in `error_detail`.
        reason: Option<String>,
    },
    /// Removes a job, as its owner may. The reaper removes its files within two minutes.
    DeleteJob {
        /// The job.
        job_id: Uuid,
    },
    /// Accounts.
    ListUsers(RowQuery),
    /// API keys, without the keys themselves and their hashes.
    ListKeys(RowQuery),
    /// Hotkeys.
    ListHotkeys(RowQuery),
    /// Chutes, as `put_chute` takes them.
    ListChutes(RowQuery),
    /// Jobs: a user's, newest first; or everybody's in no particular order, for which all that are stored are read, page by page.
    ListJobs(JobQuery),
}

/// Which accounts, keys, hotkeys or chutes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowQuery {
    /// This account's; everybody's in no particular order, if it is left out.
    pub user_id: Option<Uuid>,
    /// How many at most: 1 to 100, and 100 if it is left out.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Which jobs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// Whose.
    pub user_id: Option<Uuid>,
    /// On this chute.
    pub chute_id: Option<Uuid>,
    /// In this state.
    pub status: Option<Status>,
    /// Over, or not.
    pub terminal: Option<bool>,
    /// How many at most: 1 to 100, and 100 if it is left out.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Command {
    /// What it is about, as far as it says so.
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::CreateUser { user_id, .. }
            | Self::SetRoles { user_id, .. }
            | Self::DisableUser { user_id, .. }
            | Self::EnableUser { user_id }
            | Self::SetBusyUser { user_id }
            | Self::SetQuotas { user_id, .. }
            | Self::SetRunningLimit { user_id, .. }
            | Self::CreateKey { user_id, .. } => Target::user(*user_id),
            Self::RevokeKey { key_id } | Self::UpdateKey { key_id, .. } => {
                Target { key_id: Some(*key_id), ..Target::default() }
            }
            Self::RegisterHotkey { user_id, hotkey } => {
                Target { hotkey: Some(hotkey.clone()), ..Target::user(*user_id) }
            }
            Self::RevokeHotkey { hotkey } => Target { hotkey: Some(hotkey.clone()), ..Target::default() },
            Self::PutChute { chute } => Target {
                chute_id: chute["chute_id"].as_str().and_then(|id| Uuid::try_parse(id).ok()),
                ..Target::default()
            },
            Self::CancelJob { job_id, .. } | Self::DeleteJob { job_id } => Target::job(*job_id),
            Self::ListUsers(query) | Self::ListKeys(query) | Self::ListHotkeys(query) | Self::ListChutes(query) => {
                Target { user_id: query.user_id, ..Target::default() }
            }
            Self::ListJobs(query) => Target { user_id: query.user_id, chute_id: query.chute_id, ..Target::default() },
        }
    }
}

/// What is there, also where that is null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// `null` is as good as nothing.
fn given_or_new<'de, D: Deserializer<'de>>(id: D) -> Result<Uuid, D::Error> {
    Ok(Option::deserialize(id)?.unwrap_or_else(Uuid::new_v4))
}
