//! Items and their values.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

/// An item as DynamoDB holds it.
pub type Item = HashMap<String, AttributeValue>;

/// A place in an index: the time that the index is sorted by, in milliseconds, and the job's id.
pub type Cursor = (i64, Uuid);

/// A string attribute.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The place of a job's item in an index that is sorted by this attribute.
pub fn cursor(item: &Item, sorted_by: &str) -> Option<Cursor> {
    let at = item.get(sorted_by)?.as_n().ok()?.parse().ok()?;
    Some((at, Uuid::try_parse(item.get("job_id")?.as_s().ok()?).ok()?))
}
