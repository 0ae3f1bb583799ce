//! The records of the tables' streams, as the engine has them, and as a function is given them.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, anyhow};
use dynoxide::{
    Database,
    actions::{
        describe_stream::DescribeStreamRequest, get_records::GetRecordsRequest,
        get_shard_iterator::GetShardIteratorRequest,
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    account::{REGION, stream_arn},
    clock::Clock,
    template::Table,
};

/// "GetRecords": "The maximum number of records to return from the shard" is 1,000.
pub(super) const PAGE: usize = 1000;

/// The streams of all tables.
#[derive(Clone)]
pub(crate) struct Records {
    database: Database,
    /// Each table's `StreamViewType`.
    views: Arc<BTreeMap<String, String>>,
    /// What the engine dates records by.
    pub(super) clock: Clock,
    /// Counts writes.
    written: watch::Sender<u64>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("views", &self.views).finish_non_exhaustive()
    }
}

/// A change of an item.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) sequence: String,
    /// Milliseconds since the Unix epoch, to the second.
    pub(super) created: i64,
    /// What the function is given.
    pub(super) event: Value,
}

/// Records in their order.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// Up to where it was read, if there was anything.
    pub(super) end: Option<String>,
    /// Whether there may be more.
    pub(super) full: bool,
}

impl Records {
    pub(crate) fn new(database: Database, tables: &[Table], clock: Clock) -> Self {
        let view = |table: &Table| {
            let view = table.stream_view()?.to_owned();
            Some((table.name().to_owned(), view))
        };
        let views = Arc::new(tables.iter().filter_map(view).collect());
        Self { database, views, clock, written: watch::Sender::new(0) }
    }

    /// Somebody has written: who waits for records looks.
    pub(crate) fn wake(&self) {
        self.written.send_modify(|written| *written += 1);
    }

    /// How many writes there were, and a way to wait for the next one.
    pub(super) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Removes expired items now.
    pub(crate) async fn expire(&self) -> Result<usize> {
        let database = self.database.clone();
        let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await.context("the sweep ended early")?;
        self.wake();
        swept.map_err(|error| anyhow!("can't remove expired items: {error}"))
    }

    /// The last record there is.
    pub(super) fn last(&self, table: &str) -> Result<Option<String>> {
        let request = DescribeStreamRequest { stream_arn: stream_arn(table), ..Default::default() };
        let described = self.database.describe_stream(request).map_err(|error| anyhow!("{table}: {error}"))?;
        let range = described.stream_description.shards.into_iter().next().map(|shard| shard.sequence_number_range);
        Ok(range.and_then(|range| range.ending_sequence_number))
    }

    /// The records after one, or from the first.
    pub(super) async fn after(&self, table: &str, position: Option<String>) -> Result<Page> {
        let (database, name) = (self.database.clone(), table.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let kind = if position.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" };
            let iterator = database.get_shard_iterator(GetShardIteratorRequest {
                stream_arn: stream_arn(&name),
                shard_id: dynoxide::streams::shard_id(&name),
                shard_iterator_type: kind.to_owned(),
                sequence_number: position,
            })?;
            let shard_iterator = iterator.shard_iterator.unwrap_or_default();
            database.get_records(GetRecordsRequest { shard_iterator, limit: Some(PAGE) })
        });
        let read = read.await.context("the engine ended early")?.map_err(|error| anyhow!("{table}: {error}"))?;
        let full = read.records.len() == PAGE;
        let end = read.records.last().map(|record| record.dynamodb.sequence_number.clone());
        let view = self.views.get(table).map(String::as_str).unwrap_or_default();
        let event = |record| shaped(serde_json::to_value(record).ok()?, &stream_arn(table), view);
        Ok(Page { records: read.records.into_iter().filter_map(event).collect(), end, full })
    }
}

/// A record as a function is given it ("Using AWS Lambda with Amazon DynamoDB"), from one with both images. A write that changes nothing leaves
/// none ("If you perform a PutItem or UpdateItem operation that does not change any data, DynamoDB Streams does not write a stream record").
fn shaped(mut event: Value, arn: &str, view: &str) -> Option<Record> {
    let change = event["dynamodb"].as_object_mut()?;
    if change.contains_key("NewImage") && change.get("NewImage") == change.get("OldImage") {
        return None;
    }
    if !view.starts_with("NEW") {
        change.remove("NewImage");
    }
    if !view.contains("OLD") {
        change.remove("OldImage");
    }
    let images =
        ["Keys", "NewImage", "OldImage"].map(|name| change.get(name).map_or(0, |image| image.to_string().len()));
    let created = change["ApproximateCreationDateTime"].as_f64()? as i64;
    let sequence = change["SequenceNumber"].as_str()?.to_owned();
    change.insert("ApproximateCreationDateTime".to_owned(), created.into());
    change.insert("SizeBytes".to_owned(), images.iter().sum::<usize>().into());
    change.insert("StreamViewType".to_owned(), view.into());
    event["awsRegion"] = json!(REGION);
    event["eventSourceARN"] = json!(arn);
    Some(Record { sequence, created: created * 1000, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_there_when_the_table_says_so_and_something_has_changed() {
        let record = |old: Value, new: Value| {
            let change = json!({
                "Keys": {"id": {"S": "a"}}, "OldImage": old, "NewImage": new, "SequenceNumber": "1",
                "ApproximateCreationDateTime": 1_795_000_000.0,
            });
            json!({"eventID": "e", "eventName": "MODIFY", "dynamodb": change})
        };
        let (a, b) = (json!({"id": {"S": "a"}, "n": {"N": "1"}}), json!({"id": {"S": "a"}, "n": {"N": "2"}}));
        let images = |view: &str| {
            let shaped = shaped(record(a.clone(), b.clone()), "arn", view).expect("a record");
            assert_eq!(shaped.created, 1_795_000_000_000);
            assert_eq!(shaped.event["dynamodb"]["StreamViewType"], view);
            ["OldImage", "NewImage"].map(|name| !shaped.event["dynamodb"][name].is_null())
        };
        assert_eq!(images("NEW_IMAGE"), [false, true]);
        assert_eq!(images("OLD_IMAGE"), [true, false]);
        assert_eq!(images("NEW_AND_OLD_IMAGES"), [true, true]);
        assert_eq!(images("KEYS_ONLY"), [false, false]);
        assert!(shaped(record(a.clone(), a.clone()), "arn", "KEYS_ONLY").is_none());
    }
}
