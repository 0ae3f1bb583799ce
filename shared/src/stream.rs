//! The stream of the jobs table, as Lambda hands it to a function. ("Using AWS Lambda with Amazon DynamoDB".)

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// A batch of changes, in their order.
#[derive(Debug, Deserialize)]
pub struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

/// One change of one row.
#[derive(Debug, Deserialize)]
pub struct Record {
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    new_image: Option<serde_dynamo::Item>,
}

impl IntoIterator for Batch {
    type Item = Record;
    type IntoIter = std::vec::IntoIter<Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl Record {
    /// Where in the stream it is.
    pub fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// The row after it.
    pub fn row<T: DeserializeOwned>(&self) -> Result<T> {
        let image = self.dynamodb.new_image.clone().unwrap_or_default();
        serde_dynamo::from_item(image).map_err(|error| Error::internal("stream: row", error))
    }
}

/// What became of a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchOutcome {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl BatchOutcome {
    /// From the first change on that has failed, if one has, the batch comes again. ("Reporting batch item failures".)
    pub fn new(first_failed: Option<String>) -> Self {
        let failed = first_failed.into_iter().map(|item_identifier| Failure { item_identifier });
        Self { batch_item_failures: failed.collect() }
    }
}
