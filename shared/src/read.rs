//! One strongly consistent read of items in both tables: BatchGetItem. An authenticated endpoint needs no more than this
//! before it acts.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, KeysAndAttributes},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    app::App,
    auth::{Caller, Credentials},
    error::{Context, Error, Result},
    job::Job,
    registry::{self, User},
};

/// Milliseconds before asking again for keys that were left unprocessed. ("BatchGetItem" asks for exponential backoff.)
const PAUSES_MS: [u64; 4] = [50, 100, 200, 400];

/// An item as DynamoDB holds it.
pub type Item = HashMap<String, AttributeValue>;

/// What to read.
#[derive(Debug, Default)]
pub struct Read {
    registry: Vec<String>,
    job: Option<Uuid>,
}

/// What was there.
#[derive(Debug, Default)]
pub struct Found {
    registry: HashMap<String, Item>,
    job: Option<Item>,
}

impl Read {
    /// Also read this row of the registry. Asking twice is asking once.
    pub fn registry(&mut self, pk: String) {
        if !self.registry.contains(&pk) {
            self.registry.push(pk);
        }
    }

    /// Also read this job.
    pub fn job(&mut self, job_id: Uuid) {
        self.job = Some(job_id);
    }

    /// Reads the caller beside everything asked for so far: one round trip, and a second for hotkeys, whose user is not
    /// known before. `per_user` asks for what depends on the user.
    pub async fn with_caller(
        mut self,
        app: &App,
        credentials: Credentials,
        per_user: impl Fn(&mut Read, Uuid),
    ) -> Result<(Caller, Found)> {
        credentials.ask(&mut self);
        if let Some(user_id) = credentials.user_id() {
            per_user(&mut self, user_id);
        }
        let mut found = self.run_with(app).await?;
        if let Some(user_id) = credentials.hotkey_user(&found)? {
            let mut read = Read::default();
            read.registry(User::pk(user_id));
            per_user(&mut read, user_id);
            let more = read.run_with(app).await?;
            found.registry.extend(more.registry);
            found.job = found.job.or(more.job);
        }
        Ok((credentials.caller(&found)?, found))
    }

    async fn run_with(self, app: &App) -> Result<Found> {
        self.run(&app.dynamodb, &app.config.registry_table, &app.config.jobs_table).await
    }

    /// Reads everything, going on a few times where DynamoDB left keys unprocessed, which is how it throttles a batch.
    pub async fn run(self, client: &Client, registry_table: &str, jobs_table: &str) -> Result<Found> {
        let mut tables = HashMap::new();
        let keys = self.registry.iter().map(|pk| key("pk", pk));
        add_table(&mut tables, registry_table, keys)?;
        let keys = self.job.iter().map(|job_id| key("job_id", &job_id.to_string()));
        add_table(&mut tables, jobs_table, keys)?;

        let mut found = Found::default();
        let mut pauses = PAUSES_MS.into_iter().map(Duration::from_millis);
        while !tables.is_empty() {
            let request = client.batch_get_item().set_request_items(Some(tables));
            let answer = request.send().await.context("read: BatchGetItem")?;
            for (table, items) in answer.responses.unwrap_or_default() {
                for item in items {
                    if table == jobs_table {
                        found.job = Some(item);
                    } else if let Some(Ok(pk)) = item.get("pk").map(AttributeValue::as_s) {
                        found.registry.insert(pk.clone(), item);
                    }
                }
            }
            tables = answer.unprocessed_keys.unwrap_or_default();
            if !tables.is_empty() {
                let pause = pauses.next().ok_or_else(|| Error::busy("read: BatchGetItem", "keys left unprocessed"))?;
                tokio::time::sleep(pause).await;
            }
        }
        Ok(found)
    }
}

fn key(name: &str, value: &str) -> Item {
    HashMap::from([(name.to_owned(), AttributeValue::S(value.to_owned()))])
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
    pub fn registry<T: DeserializeOwned>(&self, pk: &str) -> Result<Option<T>> {
        let Some(item) = self.registry.get(pk) else { return Ok(None) };
        registry::row(item.clone()).map(Some)
    }

    /// Takes the job out, also when it is being deleted.
    pub fn take_job(&mut self) -> Result<Option<Job>> {
        self.job.take().map(Job::from_item).transpose()
    }

    /// The job, unless it is being deleted, which is as good as gone.
    pub fn job(mut self) -> Result<Option<Job>> {
        Ok(self.take_job()?.filter(|job| job.deleted_at.is_none()))
    }

    /// The job, when it is there and `caller` owns it; 404 otherwise.
    pub fn own_job(self, job_id: &str, caller: &Caller) -> Result<Job> {
        self.job()?.filter(|job| job.user_id == caller.user.user_id).ok_or_else(|| Error::not_own_job(job_id))
    }
}
