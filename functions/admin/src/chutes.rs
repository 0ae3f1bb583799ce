//! Chutes, as the administrator writes them.

use std::{collections::BTreeSet, ops::RangeInclusive};

use serde_json::Value;
use shared::{
    App, Error, Result,
    model::{Chute, Waiting},
    time::{DAY, Timestamp},
};

use crate::output::{Output, Target};

/// Seconds of the shortest and of the longest timeout of a method.
const TIMEOUTS: RangeInclusive<i64> = 30..=DAY;
/// Days that a method's jobs may be kept.
const DAYS_KEPT: RangeInclusive<u32> = 1..=365;
/// Bytes of the longest node selector: each of the chute's jobs has it, and each page of the claimable ones.
const NODE_SELECTOR: usize = 4 << 10;

/// Creates or replaces a chute.
pub(crate) async fn put(app: &App, given: &Value) -> Result<Output> {
    let chute = parse(given)?;
    app.registry.user(chute.user_id).await?;
    check_methods(&chute)?;
    // The reaper's next run looks at what waits, and sets the alarm anew: no job of the chute's waits for ever.
    app.jobs.ring(Waiting::Chute(chute.chute_id), Timestamp::from_millis(0)).await?;
    if !app.registry.put_chute(&chute).await? {
        let detail = format!("Chute {} is busy and stays so: jobs wait in its lanes", chute.chute_id);
        return Err(Error::Conflict(detail));
    }
    Ok(Output::Done(Target { chute_id: Some(chute.chute_id), ..Target::default() }))
}

/// The chute, of fields that a chute has.
fn parse(given: &Value) -> Result<Chute> {
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
        if method.retention_days.is_some_and(|days| !DAYS_KEPT.contains(&days)) {
            let detail =
                format!("retention_days of method {name:?} is not from {} to {}", DAYS_KEPT.start(), DAYS_KEPT.end());
            return Err(Error::Unprocessable(detail));
        }
        let known = |proto: &str| matches!(proto, "tcp" | "udp" | "http");
        if let Some(port) = method.ports.iter().find(|port| port.port == 0 || !known(&port.proto)) {
            return Err(Error::Unprocessable(format!("port {}/{} of method {name:?} is none", port.port, port.proto)));
        }
    }
    Ok(())
}
