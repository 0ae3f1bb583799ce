//! `jobchute usage`.

use std::collections::BTreeMap;

use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{api::Api, screen};

#[derive(Deserialize)]
struct Usage {
    resets_at: String,
    global: Used,
    chutes: BTreeMap<String, Used>,
}

#[derive(Deserialize)]
struct Used {
    used: u64,
    quota: u64,
}

/// Prints what was used of the day's quotas, a line each.
pub(crate) async fn print(api: &Api) -> Result<()> {
    let answer: Box<RawValue> = api.json(Method::GET, "/usage", None).await?;
    if screen::is_json() {
        return Ok(screen::json(&answer)?);
    }
    let Usage { resets_at, global, chutes } = serde_json::from_str(answer.get())?;
    let all = chutes.into_iter().chain([("all chutes".to_owned(), global)]);
    for (name, Used { used, quota }) in all {
        screen::line(format_args!("{name:<36}  {used} of {quota}"))?;
    }
    Ok(screen::line(format_args!("until {resets_at}"))?)
}
