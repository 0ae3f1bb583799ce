//! What DynamoDB calls consume: every call of a function is made to ask, and the answers are added up. The bench turns it on.

use bytes::Bytes;
use serde_json::{Value, json};

/// Capacity units, as on-demand tables bill them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Units {
    pub(crate) read: f64,
    pub(crate) write: f64,
}

/// The request, asking for what it consumes. One that is no JSON object is the engine's to refuse.
pub(crate) fn asking(body: Bytes) -> Bytes {
    match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(mut request)) => {
            request.insert("ReturnConsumedCapacity".to_owned(), json!("TOTAL"));
            Value::Object(request).to_string().into()
        }
        _ => body,
    }
}

/// What the answer to `operation` says it consumed.
pub(crate) fn consumed(operation: &str, answer: &[u8]) -> Units {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let units = |table: &Value| table["CapacityUnits"].as_f64().unwrap_or(0.0);
    let units = match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    };
    match operation {
        "BatchGetItem" | "GetItem" | "Query" | "Scan" | "TransactGetItems" => Units { read: units, write: 0.0 },
        _ => Units { read: 0.0, write: units },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_all_tables_are_added_up() {
        let answer = br#"{"ConsumedCapacity":[{"TableName":"a","CapacityUnits":1.5},{"CapacityUnits":2.0}]}"#;
        assert_eq!(consumed("BatchGetItem", answer), Units { read: 3.5, write: 0.0 });
        let answer = br#"{"ConsumedCapacity":{"TableName":"a","CapacityUnits":4.0}}"#;
        assert_eq!(consumed("UpdateItem", answer), Units { read: 0.0, write: 4.0 });
        assert_eq!(consumed("UpdateItem", b"{}"), Units::default());
    }

    #[test]
    fn a_request_asks_and_stays_what_it_was() {
        assert_eq!(asking("{\"TableName\":\"a\"}".into()), r#"{"TableName":"a","ReturnConsumedCapacity":"TOTAL"}"#);
        assert_eq!(asking("nonsense".into()), "nonsense");
    }
}
