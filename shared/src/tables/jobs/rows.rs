//! The rows that an index names. The index `by_owner` holds nothing that a step changes, since each such attribute would cost each
//! step of each job a write unit more: a page of a list reads the rows of its jobs, half a read unit for each 4 KB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::try_join_all;

use super::{lists::Filter, store::Jobs};
use crate::{
    error::{Error, Result},
    item::{Item, schema},
    tables::read::batch_get,
};

/// What lists show of a row. `owner`: a job that is being deleted has none, and the index may be behind.
const SHOWN: [&str; 15] = [
    "attempt",
    "chute",
    "chute_id",
    "created_at",
    "finished_at",
    "job_id",
    "labels",
    "max_attempts",
    "method",
    "owner",
    "started_at",
    "status",
    "terminal",
    "updated_at",
    schema::ATTRIBUTE,
];
/// Keys of one BatchGetItem. ("Service, account, and table quotas")
const BATCH: usize = 100;

impl Jobs {
    /// What passes the filter, as rows where it looks at them. Without such a filter only the rows that a page shows are read.
    pub(super) async fn sift(&self, filter: &Filter, entries: Vec<Item>) -> Result<Vec<Item>> {
        if !filter.needs_rows() {
            return Ok(entries);
        }
        let mut rows = self.rows(entries).await?;
        rows.retain(|row| filter.passes(row));
        Ok(rows)
    }

    /// The rows of these entries, in their order. What is a row stays as it is.
    pub(super) async fn rows(&self, entries: Vec<Item>) -> Result<Vec<Item>> {
        let lacking: Vec<_> = entries.iter().filter(|entry| !is_row(entry)).collect();
        let read = lacking.chunks(BATCH).map(async |entries| {
            let keys = entries.iter().filter_map(|entry| entry.get_key_value("job_id"));
            let keys = keys.map(|(name, id)| HashMap::from([(name.clone(), id.clone())])).collect();
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .projection_expression(SHOWN.map(|name| format!("#{name}")).join(", "))
                .set_expression_attribute_names(Some(SHOWN.map(|name| (format!("#{name}"), name.to_owned())).into()))
                .build();
            let keys = keys.map_err(|error| Error::internal("list jobs: keys", error))?;
            batch_get(&self.tables, HashMap::from([(self.tables.jobs.clone(), keys)])).await
        });
        let found = try_join_all(read).await?.into_iter().flatten().flat_map(|(_, rows)| rows).collect();
        let found = schema::known(found).into_iter().filter(is_row);
        let mut rows: HashMap<_, _> = found.filter_map(|row| Some((job_id(&row)?.to_owned(), row))).collect();
        let row = |entry: Item| if is_row(&entry) { Some(entry) } else { rows.remove(job_id(&entry)?) };
        Ok(entries.into_iter().filter_map(row).collect())
    }
}

/// An entry of the index has an owner, and no status.
fn is_row(item: &Item) -> bool {
    item.contains_key("owner") && item.contains_key("status")
}

fn job_id(item: &Item) -> Option<&str> {
    item.get("job_id").and_then(|id| id.as_s().ok()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use utoipa::{
        PartialSchema,
        openapi::{RefOr, Schema},
    };

    use super::*;
    use crate::tables::jobs::ListedJob;

    #[test]
    fn what_a_list_shows_is_read() {
        let RefOr::T(Schema::Object(shown)) = ListedJob::schema() else { panic!("an object") };
        for field in shown.properties.keys() {
            // The name is in the snapshot of the chute.
            let attribute = if field == "chute_name" { "chute" } else { field };
            assert!(SHOWN.contains(&attribute), "{field}");
        }
    }
}
