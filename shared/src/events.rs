//! Events that others may follow: an EventBridge bus.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    signed::SignedCalls,
};

/// Events of one call. ("PutEvents".)
pub const BATCH: usize = 10;
/// The `Source` of every event.
const SOURCE: &str = "jobchute";

/// A bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    calls: SignedCalls,
    name: String,
}

/// An event to be put.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// What has happened.
    detail_type: &'static str,
    /// JSON.
    detail: String,
    /// When it happened, in seconds.
    time: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    source: &'static str,
    event_bus_name: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    entries: Vec<AnswerEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerEntry {
    error_code: Option<String>,
}

impl Event {
    /// One that happened `millis` after 1970.
    pub fn new(detail_type: &'static str, detail: &impl Serialize, millis: i64) -> Result<Self> {
        let detail = serde_json::to_string(detail).map_err(|error| Error::internal("event: detail", error))?;
        Ok(Self { detail_type, detail, time: millis as f64 / 1000.0 })
    }
}

impl EventBus {
    pub(crate) fn new(calls: SignedCalls, name: String) -> Self {
        Self { calls, name }
    }

    /// Puts up to ten events; the place of the first that the bus has not taken.
    pub async fn put<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Result<Option<usize>> {
        const DOING: &str = "events: PutEvents";
        let entries = events.map(|event| Entry { source: SOURCE, event_bus_name: &self.name, event }).collect();
        let body = serde_json::to_string(&PutEvents { entries }).map_err(|error| Error::internal(DOING, error))?;
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AWSEvents.PutEvents")];
        let answer = self.calls.post(DOING, "/", &headers, &body).await?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|error| Error::unavailable(DOING, error))?;
        Ok(answer.entries.iter().position(|entry| entry.error_code.is_some()))
    }
}
