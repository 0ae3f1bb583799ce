//! One strongly consistent read of items in both tables: BatchGetItem. An authenticated endpoint needs no more than this
//! before it acts.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{
    client::Tables,
    row::{self, Row},
};
use crate::{
    error::{Context, Error, Result},
    item::{Item, keys, text},
    model::{Alarm, Delivery, Job, Lease},
};

/// Milliseconds before asking again for keys that were left unprocessed. ("BatchGetItem" asks for exponential backoff.)
const PAUSES_MS: [u64; 4] = [50, 100, 200, 400];

/// What to read.
#[derive(Debug, Default)]
pub struct Read {
    rows: Vec<String>,
    job: Option<Uuid>,
    lease: Option<Uuid>,
    delivery: Option<Uuid>,
}

/// What was there.
#[derive(Debug, Default)]
pub struct Found {
    rows: HashMap<String, Item>,
    job: Option<Item>,
    lease: Option<Item>,
    delivery: Option<Item>,
}

impl Read {
    /// Also read this row of the registry. Asking twice is asking once.
    pub fn row<T: Row>(&mut self, id: &T::Id) {
        self.key(T::pk(id));
    }

    /// The same, by the row's key.
    pub(super) fn key(&mut self, pk: String) {
        if !self.rows.contains(&pk) {
            self.rows.push(pk);
        }
    }

    /// Also read this job.
    pub fn job(&mut self, job_id: Uuid) {
        self.job = Some(job_id);
    }

    /// Also read what this job's heartbeats have written.
    pub fn lease(&mut self, job_id: Uuid) {
        self.lease = Some(job_id);
    }

    /// Also read the delivery of this job's webhook.
    pub fn delivery(&mut self, job_id: Uuid) {
        self.delivery = Some(job_id);
    }

    /// Reads everything.
    pub async fn run(self, from: &Tables) -> Result<Found> {
        let mut tables = HashMap::new();
        let keys = self.rows.iter().map(|pk| key("pk", pk));
        add_table(&mut tables, &from.registry, keys)?;
        let lease_key = self.lease.map(keys::lease);
        let delivery_key = self.delivery.map(|job_id| Delivery::row_id(job_id).to_string());
        let keys = self.job.map(|job_id| job_id.to_string()).into_iter();
        let keys = keys.chain(lease_key.clone()).chain(delivery_key.clone());
        add_table(&mut tables, &from.jobs, keys.map(|id| key("job_id", &id)))?;

        let mut found = Found::default();
        for (table, items) in batch_get(from, tables).await? {
            for item in items {
                if table == from.jobs {
                    let key = item.get("job_id").and_then(|id| id.as_s().ok());
                    let place = match key {
                        key if key == lease_key.as_ref() => &mut found.lease,
                        key if key == delivery_key.as_ref() => &mut found.delivery,
                        _ => &mut found.job,
                    };
                    *place = Some(item);
                } else if let Some(Ok(pk)) = item.get("pk").map(AttributeValue::as_s) {
                    found.rows.insert(pk.clone(), item);
                }
            }
        }
        Ok(found)
    }
}

/// One BatchGetItem, going on a few times where DynamoDB left keys unprocessed, which is how it throttles a batch.
pub(super) async fn batch_get(
    from: &Tables,
    mut tables: HashMap<String, KeysAndAttributes>,
) -> Result<Vec<(String, Vec<Item>)>> {
    let mut found = Vec::new();
    let mut pauses = PAUSES_MS.into_iter().map(Duration::from_millis);
    while !tables.is_empty() {
        let request = from.client.batch_get_item().set_request_items(Some(tables));
        let answer = request.send().await.context("read: BatchGetItem")?;
        found.extend(answer.responses.unwrap_or_default());
        tables = answer.unprocessed_keys.unwrap_or_default();
        if !tables.is_empty() {
            let pause =
                pauses.next().ok_or_else(|| Error::unavailable("read: BatchGetItem", "keys left unprocessed"))?;
            tokio::time::sleep(pause).await;
        }
    }
    Ok(found)
}

/// The rows of the jobs table that have these keys, 100 at most. Not strongly consistent, for half the price: whoever changes one of them
/// finds out.
pub(super) async fn batch_get_jobs(from: &Tables, keys: impl Iterator<Item = String>) -> Result<Vec<Item>> {
    rows_of_jobs(from, keys, false).await
}

/// The same, strongly consistent.
pub(super) async fn batch_get_jobs_now(from: &Tables, keys: impl Iterator<Item = String>) -> Result<Vec<Item>> {
    rows_of_jobs(from, keys, true).await
}

async fn rows_of_jobs(from: &Tables, keys: impl Iterator<Item = String>, now: bool) -> Result<Vec<Item>> {
    let keys: Vec<_> = keys.map(|id| key("job_id", &id)).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(now).build();
    let keys = keys.map_err(|error| Error::internal("read: keys", error))?;
    let found = batch_get(from, HashMap::from([(from.jobs.clone(), keys)])).await?;
    Ok(found.into_iter().flat_map(|(_, items)| items).collect())
}

fn key(name: &str, value: &str) -> Item {
    HashMap::from([(name.to_owned(), text(value))])
}

fn add_table(
    tables: &mut HashMap<String, KeysAndAttributes>,
    name: &str,
    keys: impl Iterator<Item = Item>,
) -> Result<()> {
    let keys: Vec<_> = keys.collect();
    if !keys.is_empty() {
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        tables.insert(name.to_owned(), keys.map_err(|error| Error::internal("read: keys", error))?);
    }
    Ok(())
}

impl Found {
    /// A row of the registry.
    pub fn row<T: Row>(&self, id: &T::Id) -> Result<Option<T>> {
        self.by_key(&T::pk(id))
    }

    /// The same, by the row's key.
    pub(super) fn by_key<T: DeserializeOwned>(&self, pk: &str) -> Result<Option<T>> {
        self.rows.get(pk).cloned().map(row::from_item).transpose()
    }

    /// Takes the job out, also when it is being deleted.
    pub fn take_job(&mut self) -> Result<Option<Job>> {
        self.job.take().filter(Job::is).map(Job::from_item).transpose()
    }

    /// The alarm, where that is what was read in a job's place.
    pub(super) fn alarm(&self) -> Result<Option<Alarm>> {
        self.job.as_ref().and_then(Alarm::from_item).transpose()
    }

    /// The delivery, where that is what was read in a job's place.
    pub(super) fn delivery_in_place(&self) -> Result<Option<Delivery>> {
        self.job.as_ref().and_then(Delivery::from_item).transpose()
    }

    /// Takes out what the job's heartbeats have written.
    pub fn take_lease(&mut self) -> Result<Option<Lease>> {
        self.lease.take().map(Lease::from_item).transpose()
    }

    /// Takes out what was done to tell of the job's end.
    pub fn take_delivery(&mut self) -> Result<Option<Delivery>> {
        self.delivery.take().as_ref().and_then(Delivery::from_item).transpose()
    }

    /// Adds what a further read has found.
    pub fn add(&mut self, more: Self) {
        self.rows.extend(more.rows);
        self.job = self.job.take().or(more.job);
        self.lease = self.lease.take().or(more.lease);
        self.delivery = self.delivery.take().or(more.delivery);
    }
}
