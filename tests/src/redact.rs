//! Answers as snapshots: what differs from run to run has a name instead.

use serde_json::Value;
use uuid::Uuid;

/// The document, indented, with `[name]` for each of these texts, `[id]` for any other UUID and `[time]` for every time.
pub fn redacted(document: &Value, names: &[(&str, &str)]) -> String {
    serde_json::to_string_pretty(&redact(document, names)).unwrap()
}

fn redact(value: &Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (redact_text(key, names), redact(value, names))).collect()
        }
        Value::Array(list) => list.iter().map(|value| redact(value, names)).collect(),
        Value::String(text) => redact_text(text, names).into(),
        other => other.clone(),
    }
}

fn redact_text(text: &str, names: &[(&str, &str)]) -> String {
    if is_time(text) {
        return "[time]".to_owned();
    }
    let text = names.iter().fold(text.to_owned(), |text, (name, secret)| text.replace(secret, &format!("[{name}]")));
    if Uuid::try_parse(&text).is_ok_and(|id| !id.is_nil()) { "[id]".to_owned() } else { text }
}

/// `2026-11-18T11:06:40.000Z`, and nothing else that an RFC 3339 parser would take.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}
