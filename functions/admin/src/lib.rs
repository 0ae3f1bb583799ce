//! Administration: users, API keys, hotkeys, chutes and quotas. It has no route; whoever may invoke the function (IAM) may
//! do all of this, and nobody edits tables by hand.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use shared::{
    App, Error, Result,
    auth::{api_key::ApiKey, hotkey},
    model::{Chute, HotkeyRow, KeyRow, Role, User},
    quotas::Quotas,
    time::{DAY, Timestamp},
};
use uuid::Uuid;

/// Seconds of the shortest and of the longest timeout of a method.
const TIMEOUTS: std::ops::RangeInclusive<i64> = 30..=DAY;

/// What the administrator may ask for: `{"command": "create_user", …}`.
#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A new account, with an id of its own unless one is given.
    CreateUser {
        /// The id, for accounts that exist elsewhere.
        user_id: Option<Uuid>,
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
    /// Its keys, hotkeys and JWTs open nothing from now on. A miner keeps the jobs that it holds until they end.
    DisableUser {
        /// The account.
        user_id: Uuid,
    },
    /// Undoes `disable_user`.
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
        chute: serde_json::Value,
    },
    /// Replaces an account's quotas: jobs a day by chute id, `global` or `*`. A quota of a busy user that is lowered may
    /// let jobs pass in shards that are below their new slice; from the next UTC day on it holds exactly.
    SetQuotas {
        /// The account.
        user_id: Uuid,
        /// All its quotas from now on.
        quotas: BTreeMap<String, u64>,
    },
}

/// What a command answers.
#[derive(Default, Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hotkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chute_id: Option<Uuid>,
}

/// Carries out one command. Repeating it is harmless, but for `create_key` and a `create_user` without an id: they make another
/// one.
pub async fn handle(app: &App, command: serde_json::Value) -> Result<Output> {
    let command = serde_json::from_value(command).map_err(|error| Error::Unprocessable(error.to_string()))?;
    let now = Timestamp::system();
    match command {
        Command::CreateUser { user_id, roles } => create_user(app, user_id.unwrap_or_else(Uuid::new_v4), roles).await,
        Command::SetRoles { user_id, roles } => set(app, user_id, "roles", &roles).await,
        Command::DisableUser { user_id } => set(app, user_id, "disabled", &true).await,
        Command::EnableUser { user_id } => set(app, user_id, "disabled", &false).await,
        Command::SetBusyUser { user_id } => {
            if !app.registry.set_once::<User>(&user_id, "busy_since", &now).await? {
                return Err(no_user(user_id));
            }
            Ok(Output { user_id: Some(user_id), ..Output::default() })
        }
        Command::SetQuotas { user_id, quotas } => {
            let unknown = |key| Error::Unprocessable(format!("quota {key:?} is no chute id, global or *"));
            let quotas = Quotas::new(quotas).map_err(unknown)?;
            set(app, user_id, "quotas", &quotas).await
        }
        Command::CreateKey { user_id } => {
            existing_user(app, user_id).await?;
            let key = ApiKey::generate(user_id);
            let row = KeyRow { user_id, hash: ByteBuf::from(key.hash()), revoked: false, created_at: now };
            app.registry.put(&key.key_id, &row).await?;
            let text = key.reveal().to_owned();
            Ok(Output { user_id: Some(user_id), key_id: Some(key.key_id), key: Some(text), ..Output::default() })
        }
        Command::RevokeKey { key_id } => {
            if !app.registry.set::<KeyRow>(&key_id, "revoked", &true).await? {
                return Err(Error::NotFound(format!("API key {key_id} not found")));
            }
            Ok(Output { key_id: Some(key_id), ..Output::default() })
        }
        Command::RegisterHotkey { user_id, hotkey } => {
            existing_user(app, user_id).await?;
            if hotkey::public_key(&hotkey).is_none() {
                return Err(Error::Unprocessable("hotkey is not an SS58 address of an sr25519 key".to_owned()));
            }
            app.registry.put(hotkey.as_str(), &HotkeyRow { user_id, revoked: false, created_at: now }).await?;
            Ok(Output { user_id: Some(user_id), hotkey: Some(hotkey), ..Output::default() })
        }
        Command::RevokeHotkey { hotkey } => {
            if !app.registry.set::<HotkeyRow>(&hotkey, "revoked", &true).await? {
                return Err(Error::NotFound(format!("Hotkey {hotkey} not found")));
            }
            Ok(Output { hotkey: Some(hotkey), ..Output::default() })
        }
        Command::PutChute { chute } => {
            let chute = parse_chute(chute)?;
            existing_user(app, chute.user_id).await?;
            check_methods(&chute)?;
            if !app.registry.put_chute(&chute).await? {
                let detail = format!("Chute {} is busy and stays so: jobs wait in its lanes", chute.chute_id);
                return Err(Error::Conflict(detail));
            }
            Ok(Output { chute_id: Some(chute.chute_id), ..Output::default() })
        }
    }
}

async fn create_user(app: &App, user_id: Uuid, roles: BTreeSet<Role>) -> Result<Output> {
    let user = User::new(user_id, roles, Timestamp::system());
    // One that exists keeps its quotas and its state.
    if !app.registry.create(&user_id, &user).await? {
        return Err(Error::Conflict(format!("User {user_id} exists")));
    }
    Ok(Output { user_id: Some(user_id), ..Output::default() })
}

async fn existing_user(app: &App, user_id: Uuid) -> Result<()> {
    let user = app.registry.get::<User>(&user_id).await?;
    user.map(drop).ok_or_else(|| no_user(user_id))
}

/// Sets one attribute of an account. Two administrators at once do not undo each other's changes.
async fn set(app: &App, user_id: Uuid, attribute: &'static str, value: &impl Serialize) -> Result<Output> {
    if !app.registry.set::<User>(&user_id, attribute, value).await? {
        return Err(no_user(user_id));
    }
    Ok(Output { user_id: Some(user_id), ..Output::default() })
}

fn no_user(user_id: Uuid) -> Error {
    Error::NotFound(format!("User {user_id} not found"))
}

/// Bytes of the longest node selector: each of the chute's jobs has it, and each page of the claimable ones.
const NODE_SELECTOR: usize = 4 << 10;

/// The chute, of fields that a chute has.
fn parse_chute(given: serde_json::Value) -> Result<Chute> {
    let wrong = |error: &dyn std::fmt::Display| Error::Unprocessable(error.to_string());
    let chute: Chute = serde_json::from_value(given.clone()).map_err(|error| wrong(&error))?;
    let known = serde_json::to_value(&chute).map_err(|error| Error::internal("put chute", error))?;
    let selector = chute.node_selector.as_ref();
    if selector.is_some_and(|selector| !selector.is_object() || selector.to_string().len() > NODE_SELECTOR) {
        return Err(wrong(&format!("node_selector is not an object of at most {NODE_SELECTOR} bytes")));
    }
    match given.as_object().and_then(|given| given.keys().find(|field| known.get(field).is_none())) {
        Some(unknown) => Err(wrong(&format!("unknown field `{unknown}` of a chute"))),
        None => Ok(chute),
    }
}

fn check_methods(chute: &Chute) -> Result<()> {
    let mut names = BTreeSet::new();
    for method in &chute.methods {
        let name = &method.name;
        if name.is_empty() || name.contains('/') || !names.insert(name) {
            return Err(Error::Unprocessable(format!("method name {name:?} is empty, not unique or holds a slash")));
        }
        if method.timeout.is_some_and(|seconds| !TIMEOUTS.contains(&seconds.into())) {
            let detail =
                format!("timeout of method {name:?} is not from {} to {} seconds", TIMEOUTS.start(), TIMEOUTS.end());
            return Err(Error::Unprocessable(detail));
        }
        let known = |proto: &str| matches!(proto, "tcp" | "udp" | "http");
        if let Some(port) = method.ports.iter().find(|port| port.port == 0 || !known(&port.proto)) {
            return Err(Error::Unprocessable(format!("port {}/{} of method {name:?} is none", port.port, port.proto)));
        }
    }
    Ok(())
}
