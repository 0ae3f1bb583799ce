//! Lists, page by page. None shows a key or a hash.

use shared::{
    App, Error, Result,
    http::{parse_cursor, show_cursor},
    item::Page,
    model::{Chute, HotkeyRow, KeyRow, User},
    tables::jobs::Filter,
};
use uuid::Uuid;

use crate::{
    command::{JobQuery, RowQuery},
    output::{ListedHotkey, ListedKey, ListedUser, Output},
};

/// Entries of the longest page, and of one whose length nobody names.
const LONGEST_PAGE: u32 = 100;

pub(crate) async fn users(app: &App, query: &RowQuery) -> Result<Output> {
    let (rows, next_cursor) = app.registry.list::<User>(query.user_id, limit(query.limit)?, query.cursor()).await?;
    let shown = |(_, user): (String, User)| ListedUser {
        user_id: user.user_id,
        roles: user.roles,
        quotas: user.quotas,
        running_limit: user.running_limit,
        disabled: user.disabled,
        disabled_at: user.disabled_at,
        busy_since: user.busy_since,
        created_at: user.created_at,
    };
    Ok(Output::Users { users: rows.into_iter().map(shown).collect(), next_cursor })
}

pub(crate) async fn keys(app: &App, query: &RowQuery) -> Result<Output> {
    let (rows, next_cursor) = app.registry.list::<KeyRow>(query.user_id, limit(query.limit)?, query.cursor()).await?;
    let shown = |(key_id, key): (String, KeyRow)| {
        let key_id = Uuid::try_parse(&key_id).ok()?;
        Some(ListedKey {
            key_id,
            user_id: key.user_id,
            roles: key.roles(),
            revoked: key.revoked,
            name: key.name,
            expires_at: key.expires_at,
            created_at: key.created_at,
        })
    };
    Ok(Output::Keys { keys: rows.into_iter().filter_map(shown).collect(), next_cursor })
}

pub(crate) async fn hotkeys(app: &App, query: &RowQuery) -> Result<Output> {
    let limit = limit(query.limit)?;
    let (rows, next_cursor) = app.registry.list::<HotkeyRow>(query.user_id, limit, query.cursor()).await?;
    let shown = |(hotkey, row): (String, HotkeyRow)| ListedHotkey {
        hotkey,
        user_id: row.user_id,
        revoked: row.revoked,
        created_at: row.created_at,
    };
    Ok(Output::Hotkeys { hotkeys: rows.into_iter().map(shown).collect(), next_cursor })
}

pub(crate) async fn chutes(app: &App, query: &RowQuery) -> Result<Output> {
    let (rows, next_cursor) = app.registry.list::<Chute>(query.user_id, limit(query.limit)?, query.cursor()).await?;
    Ok(Output::Chutes { chutes: rows.into_iter().map(|(_, chute)| chute).collect(), next_cursor })
}

pub(crate) async fn jobs(app: &App, query: &JobQuery) -> Result<Output> {
    let filter =
        Filter { status: query.status, terminal: query.terminal, chute_id: query.chute_id, labels: Vec::new() };
    let (limit, cursor) = (limit(query.limit)?, query.cursor.as_deref());
    let Some(user_id) = query.user_id else {
        let (jobs, next_cursor) = app.jobs.list_of_all(&filter, limit, cursor).await?;
        return Ok(Output::OwnedJobs { jobs, next_cursor });
    };
    let after = cursor.map(|text| parse_cursor(text).ok_or_else(|| Error::no_cursor(text))).transpose()?;
    let user = app.registry.user(user_id).await?;
    let (jobs, next) = app.jobs.list(&user, &filter, &Page { limit, after }, None).await?;
    Ok(Output::Jobs { jobs, next_cursor: next.map(show_cursor) })
}

impl RowQuery {
    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

fn limit(asked: Option<u32>) -> Result<u32> {
    let limit = asked.unwrap_or(LONGEST_PAGE);
    match (1..=LONGEST_PAGE).contains(&limit) {
        true => Ok(limit),
        false => Err(Error::Unprocessable(format!("limit is not from 1 to {LONGEST_PAGE}"))),
    }
}
