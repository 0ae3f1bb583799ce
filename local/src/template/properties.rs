//! Properties as the template's JSON has them.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// Refuses properties that are neither honoured nor known to change nothing.
pub(super) fn only(properties: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match properties.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => bail!("the local stack can't honour the property {unknown}"),
        None => Ok(()),
    }
}

pub(super) fn object(value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        other => bail!("expected a mapping, found {other}"),
    }
}
