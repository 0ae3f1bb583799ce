//! EventBridge's `PutEvents`. No rule reads the buses: what was put is kept, for a test to take.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use hyper::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    account::{ACCOUNT, REGION},
    clock::Clock,
    secrets,
    server::{self, Body},
};

/// "PutEvents": "Array Members: Minimum number of 1 item. Maximum number of 10 items."
const ENTRIES: usize = 10;
/// "Calculating PutEvents event entry size": the total must be less than that. AWS announced 1 MB in January 2026; its API reference says
/// 256 KB, and the lower one is sure to go through.
const SIZE: usize = 256 * 1024;
/// Events kept in memory.
const KEPT: usize = 20_000;

/// An event that was put on a bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusEvent {
    /// The bus's name.
    pub bus: String,
    /// What a rule's target would be given ("Events in Amazon EventBridge").
    pub event: Value,
}

/// Every bus. There is one of each name that somebody uses.
#[derive(Debug)]
pub(crate) struct EventBuses {
    clock: Clock,
    put: Mutex<VecDeque<BusEvent>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    /// Seconds since the Unix epoch.
    time: Option<f64>,
}

impl EventBuses {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), put: Mutex::default() }
    }

    /// What was put since the last time, the oldest first.
    pub(crate) fn take(&self) -> Vec<BusEvent> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Serves one operation of the JSON protocol.
    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> Response<Body> {
        if operation != "PutEvents" {
            return secrets::error(400, "UnknownOperationException", "The local stack can't honour this request.");
        }
        let input: Input = match serde_json::from_slice(body) {
            Ok(input) => input,
            Err(error) => return secrets::error(400, "SerializationException", &error.to_string()),
        };
        if let Some(message) = refusal(&input.entries) {
            return secrets::error(400, "ValidationException", &message);
        }
        let answers: Vec<Value> = input.entries.into_iter().map(|entry| self.put(entry)).collect();
        let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
        let answer = json!({"FailedEntryCount": failed, "Entries": answers});
        server::answer(200, secrets::CONTENT_TYPE, answer.to_string())
    }

    /// Puts one event; one that can't be put fails alone.
    fn put(&self, entry: Entry) -> Value {
        let failed = |code: &str, message: &str| json!({"ErrorCode": code, "ErrorMessage": message});
        let missing = |name: &str| {
            let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            failed("InvalidArgument", &message)
        };
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let Some(source) = given(entry.source) else { return missing("Source") };
        let Some(detail_type) = given(entry.detail_type) else { return missing("DetailType") };
        let Some(detail) = given(entry.detail) else { return missing("Detail") };
        if source.starts_with("aws.") {
            return failed("NotAuthorizedForSourceException", "Not authorized for the source.");
        }
        let Ok(detail) = serde_json::from_str::<Map<String, Value>>(&detail) else {
            return failed("MalformedDetail", "Detail is malformed.");
        };
        let seconds = entry.time.map_or_else(|| self.clock.now().div_euclid(1000), |seconds| seconds as i64);
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
        let Some(time) = time else { return failed("InvalidArgument", "Parameter Time is not valid.") };
        let id = Uuid::new_v4();
        let event = json!({
            "version": "0",
            "id": id,
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": entry.resources,
            "detail": detail,
        });
        let bus = entry.event_bus_name.unwrap_or_else(|| "default".to_owned());
        let bus = bus.rsplit('/').next().unwrap_or_default().to_owned();
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        if put.len() == KEPT {
            put.pop_front();
        }
        put.push_back(BusEvent { bus, event });
        json!({"EventId": id})
    }
}

/// Why none of the entries is put.
fn refusal(entries: &[Entry]) -> Option<String> {
    let constraint = |at: &str, what: &str| {
        format!(
            "1 validation error detected: Value at '{at}' failed to satisfy constraint: Member must have length {what}"
        )
    };
    if entries.is_empty() {
        return Some(constraint("entries", "greater than or equal to 1"));
    }
    if entries.len() > ENTRIES {
        return Some(constraint("entries", &format!("less than or equal to {ENTRIES}")));
    }
    if let Some(at) = entries.iter().position(|entry| entry.event_bus_name.as_deref() == Some("")) {
        let at = format!("entries.{}.member.eventBusName", at + 1);
        return Some(constraint(&at, "greater than or equal to 1"));
    }
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let size = |entry: &Entry| {
        let time = entry.time.map_or(0, |_| 14);
        let resources: usize = entry.resources.iter().map(String::len).sum();
        time + length(&entry.source) + length(&entry.detail_type) + length(&entry.detail) + resources
    };
    let size: usize = entries.iter().map(size).sum();
    (size >= SIZE).then(|| "Total size of the entries in the request is over the limit.".to_owned())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn put(buses: &EventBuses, entries: Value) -> (u16, Value) {
        let answer = buses.call("PutEvents", json!({"Entries": entries}).to_string().as_bytes());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    fn entry(detail: &str) -> Value {
        json!({"Source": "jobchute", "DetailType": "job.complete", "Detail": detail, "EventBusName": "jobs"})
    }

    #[tokio::test]
    async fn an_event_arrives_as_a_rule_sees_it_and_a_bad_one_fails_alone() {
        let clock = Clock::default();
        clock.set(1_795_000_000_000);
        let buses = EventBuses::new(&clock);
        let of_aws = json!({"Source": "aws.s3", "DetailType": "x", "Detail": "{}"});
        let entries = json!([entry("{\"a\":1}"), entry("[]"), {"Source": "x"}, of_aws]);
        let (status, answer) = put(&buses, entries).await;
        assert_eq!((status, &answer["FailedEntryCount"]), (200, &json!(3)));
        let codes: Vec<_> = [1, 2, 3].map(|at| answer["Entries"][at]["ErrorCode"].clone()).into();
        assert_eq!(codes, ["MalformedDetail", "InvalidArgument", "NotAuthorizedForSourceException"]);
        let [BusEvent { bus, event }] = &buses.take()[..] else { panic!("one event") };
        assert_eq!((bus.as_str(), &event["detail"]), ("jobs", &json!({"a": 1})));
        assert_eq!((&event["detail-type"], &event["time"]), (&json!("job.complete"), &json!("2026-11-18T11:06:40Z")));
        assert_eq!(event["id"], answer["Entries"][0]["EventId"]);
        assert_eq!(buses.take(), []);
    }

    #[tokio::test]
    async fn too_much_at_once_is_refused_as_a_whole() {
        let buses = EventBuses::new(&Clock::default());
        let large = |bytes: usize| entry(&format!("{{\"a\":\"{}\"}}", "x".repeat(bytes)));
        for entries in [json!([]), json!(vec![entry("{}"); 11]), json!([large(128 << 10), large(128 << 10)])] {
            let (status, answer) = put(&buses, entries).await;
            assert_eq!((status, &answer["__type"]), (400, &json!("ValidationException")));
        }
        assert_eq!(buses.take(), []);
        assert_eq!(put(&buses, json!(vec![large(25 << 10); 10])).await.0, 200);
    }
}
