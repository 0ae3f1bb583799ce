//! What the engine lacks to keep a stream: it looks through all records for each write, and keeps them for ever. It stores them in a table of
//! SQLite, and SQLite can do better when it is told to.

use std::{fmt, fs, path::Path, sync::OnceLock};

use anyhow::{Context, Result, anyhow};
use dynoxide::Database;
use rusqlite::Connection;
use tempfile::TempDir;

/// "Data retention limit for DynamoDB Streams": 24 hours.
pub(super) const RETENTION_SECONDS: i64 = 24 * 3600;

/// Adds indexes by sequence number and by age, and removes with each record those that are too old. `file` is the engine's; one in memory
/// is still empty, and goes through a file in `folder`.
pub(crate) fn prepare(database: &Database, file: Option<&Path>, folder: &Path) -> Result<()> {
    let Some(file) = file else {
        let copy = folder.join("streams.sqlite");
        fs::write(&copy, empty()?).with_context(|| format!("can't write {}", copy.display()))?;
        database.restore_from(path(&copy)?).map_err(|error| failed(&error))?;
        return fs::remove_file(&copy).with_context(|| format!("can't remove {}", copy.display()));
    };
    // It writes to what the engine keeps: so that a power cut leaves it whole.
    add(file, "FULL").map_err(|error| failed(&error))
}

/// An empty engine's file with what is added. SQLite waits for the disk when it writes one, so it is made once in a process.
fn empty() -> Result<&'static [u8]> {
    static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(made) = EMPTY.get() {
        return Ok(made);
    }
    let folder = TempDir::with_prefix("jobchute-").context("can't make a temporary folder")?;
    let file = folder.path().join("streams.sqlite");
    let database = Database::memory().map_err(|error| failed(&error))?;
    database.vacuum_into(path(&file)?).map_err(|error| failed(&error))?;
    add(&file, "OFF").map_err(|error| failed(&error))?;
    let made = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(EMPTY.get_or_init(|| made))
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("a folder is not UTF-8")
}

fn failed(error: &dyn fmt::Display) -> anyhow::Error {
    anyhow!("can't prepare the streams of DynamoDB: {error}")
}

fn add(file: &Path, synchronous: &str) -> rusqlite::Result<()> {
    Connection::open(file)?.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         BEGIN;
         CREATE INDEX IF NOT EXISTS local_stream_order ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
         CREATE INDEX IF NOT EXISTS local_stream_age ON _stream_records (created_at);
         CREATE TRIGGER IF NOT EXISTS local_stream_retention AFTER INSERT ON _stream_records BEGIN
             DELETE FROM _stream_records WHERE created_at < NEW.created_at - {RETENTION_SECONDS};
         END;
         COMMIT;"
    ))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use dynoxide::actions::{describe_stream::DescribeStreamRequest, put_item::PutItemRequest};
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_record_is_kept_for_a_day() {
        let (clock, folder) = (Clock::default(), tempfile::tempdir().expect("a folder"));
        clock.set(1_795_000_000_000);
        let database = Database::memory_with_clock(Arc::new(clock.clone())).expect("a database");
        prepare(&database, None, folder.path()).expect("prepared");
        let table = json!({
            "TableName": "items", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
        });
        database.create_table(serde_json::from_value(table).expect("a request")).expect("a table");
        let put = |id: &str| {
            let request = json!({"TableName": "items", "Item": {"id": {"S": id}}});
            let request: PutItemRequest = serde_json::from_value(request).expect("a request");
            database.put_item(request).expect("put");
            let stream_arn = dynoxide::streams::stream_arn("items", "");
            let request = DescribeStreamRequest { stream_arn, ..Default::default() };
            let described = database.describe_stream(request).expect("a stream").stream_description;
            let range = described.shards.into_iter().next().expect("a shard").sequence_number_range;
            (range.starting_sequence_number.expect("a record"), range.ending_sequence_number.expect("a record"))
        };
        let (first, _) = put("a");
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(put("b").0, first);
        clock.advance(Duration::from_secs(1));
        let (first_now, last) = put("c");
        assert!(first < first_now && first_now < last, "the second and the third are left");
    }
}
