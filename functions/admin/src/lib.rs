//! Administration: users, API keys, hotkeys, chutes, quotas and jobs. It has no route; whoever may invoke the function (IAM) may
//! do all of this, and nobody edits tables by hand.

mod chutes;
mod closing;
mod command;
mod jobs;
mod keys;
mod lists;
mod output;
mod users;

use serde_json::Value;
use shared::{App, Error, Result, audit::Entry};
use strum::VariantNames;

pub use command::Command;
pub use output::Output;

/// Characters of the longest name of who asks.
const LONGEST_NAME: usize = 128;

/// Carries out one command. Repeating it is harmless, but for `create_key` and a `create_user` without an id: they make another
/// one. The log line has the command, what it is about, and who asks.
pub async fn handle(app: &App, mut given: Value) -> Result<Output> {
    let note = |command, target, by| app.audit.note(Entry { command, target, by });
    let name = Command::VARIANTS.iter().find(|name| given["command"] == **name).unwrap_or(&"unreadable");
    note(name, Value::Null, None);
    let by = take_by(&mut given)?;
    note(name, Value::Null, by.clone());
    let command: Command = serde_json::from_value(given).map_err(|error| Error::Unprocessable(error.to_string()))?;
    note((&command).into(), told(&command.target())?, by.clone());
    // Boxed: the compiler cannot lay out so many kinds of work inside of one another.
    let output = Box::pin(carry_out(app, &command)).await?;
    // What was made has an id only now.
    if let Some(made) = output.made() {
        note((&command).into(), told(made)?, by);
    }
    Ok(output)
}

async fn carry_out(app: &App, command: &Command) -> Result<Output> {
    match command {
        Command::CreateUser { user_id, roles } => users::create(app, *user_id, roles).await,
        Command::SetRoles { user_id, roles } => users::set_roles(app, *user_id, roles).await,
        Command::DisableUser { user_id, cursor } => closing::disable(app, *user_id, cursor.as_deref()).await,
        Command::EnableUser { user_id } => users::enable(app, *user_id).await,
        Command::SetBusyUser { user_id } => users::shard(app, *user_id).await,
        Command::SetQuotas { user_id, quotas } => users::set_quotas(app, *user_id, quotas).await,
        Command::CreateKey { user_id, name, expires_at, roles } => {
            keys::create(app, *user_id, name.as_deref(), expires_at.as_deref(), roles.as_ref()).await
        }
        Command::UpdateKey { key_id, name, expires_at, roles } => {
            let name = name.as_ref().map(Option::as_deref);
            let expires_at = expires_at.as_ref().map(Option::as_deref);
            keys::update(app, *key_id, name, expires_at, roles.as_ref().map(Option::as_ref)).await
        }
        Command::RevokeKey { key_id } => keys::revoke(app, *key_id).await,
        Command::RegisterHotkey { user_id, hotkey } => users::register_hotkey(app, *user_id, hotkey).await,
        Command::RevokeHotkey { hotkey } => users::revoke_hotkey(app, hotkey).await,
        Command::PutChute { chute } => chutes::put(app, chute).await,
        Command::SetRunningLimit { user_id, most } => users::set_running_limit(app, *user_id, *most).await,
        Command::CancelJob { job_id, reason } => jobs::cancel(app, *job_id, reason.as_deref()).await,
        Command::DeleteJob { job_id } => jobs::delete(app, *job_id).await,
        Command::ListUsers(query) => lists::users(app, query).await,
        Command::ListKeys(query) => lists::keys(app, query).await,
        Command::ListHotkeys(query) => lists::hotkeys(app, query).await,
        Command::ListChutes(query) => lists::chutes(app, query).await,
        Command::ListJobs(query) => lists::jobs(app, query).await,
    }
}

/// Takes out who asks: every command may say so.
fn take_by(given: &mut Value) -> Result<Option<String>> {
    let by = given.as_object_mut().and_then(|fields| fields.remove("by"));
    let Some(by) = by.filter(|by| !by.is_null()) else { return Ok(None) };
    let name = by
        .as_str()
        .filter(|name| (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control));
    match name {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(Error::Unprocessable(format!("by is not a text of 1 to {LONGEST_NAME} printable characters"))),
    }
}

fn told(target: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(target).map_err(|error| Error::internal("log the command", error))
}
