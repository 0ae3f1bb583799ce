//! Lists: a user's jobs and a chute's pending jobs. Each is a query of an index, or, for a busy user or chute, of all its shards. An
//! index cannot be read strongly consistent: a change may show a moment late.

use std::collections::HashMap;

use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::AttributeValue};
use futures_util::future::try_join_all;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    merge::{ShardRead, begins_at, lacking, merge},
    store::Jobs,
};
use crate::{
    error::{Context, Error, Result},
    item::{Cursor, Item, Order, Page, cursor, keys, number, schema, shards::SHARDS, text},
    model::{Chute, ChuteSnapshot, Place, Port, Status, User, pace},
    time::{Timestamp, rfc3339, rfc3339_option},
};

/// Entries of a user's list that one request reads, about, however few of them pass its filter.
const MOST_READ: u32 = 1000;
/// The same, where the filter needs the jobs' rows: 150 read units of the table that everybody's jobs are in, while each has 4 KB at most.
const MOST_ROWS: u32 = 300;
/// Jobs of a shard that are read first. Those of all shards are twice the longest page and more.
const SHARD_PAGE: u32 = 16;
/// Jobs of a shard that are read at least when a filter leaves a page short.
const SHARD_MORE: u32 = 60;

/// Jobs, and where the next page begins when there is more.
pub type JobList<T> = (Vec<T>, Option<Cursor>);

/// A pending job, as the index `queue` holds it and as miners see it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(description = "A job that waits for a miner.")]
pub struct ClaimableJob {
    job_id: Uuid,
    chute_id: Uuid,
    method: String,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    #[serde(skip_serializing)]
    #[schema(ignore)]
    user_id: Uuid,
    /// Where it stands: never behind its creation, unless its miner has reported an error.
    #[serde(rename(deserialize = "due_at"), skip_serializing)]
    #[schema(ignore)]
    place: Place,
    /// Seconds that it may run. Null: the deployment's longest.
    #[serde(default)]
    timeout: Option<u32>,
    /// Ports that the miner has to open.
    #[serde(default)]
    ports: Vec<Port>,
    /// The hardware that the chute asks for, in the words of its owner. Null: any.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    node_selector: Option<Value>,
}

/// A job in a list, as its owner sees it: some attributes of its row ([`SHOWN`]).
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(description = "A job in a list.")]
pub struct ListedJob {
    job_id: Uuid,
    chute_id: Uuid,
    /// As it was when the job was created.
    #[serde(rename(deserialize = "chute"), deserialize_with = "name_of_chute")]
    chute_name: String,
    /// Which of the chute's jobs.
    method: String,
    status: Status,
    /// It will never change again.
    terminal: bool,
    /// What it is filed under.
    #[serde(default)]
    labels: Vec<String>,
    /// Which attempt is or was the last to run; 0 before the first claim.
    attempt: u32,
    max_attempts: u32,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// When it last changed.
    #[serde(serialize_with = "rfc3339")]
    updated_at: Timestamp,
    /// When it was last claimed.
    #[serde(default, serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    /// When the miner reported its result.
    #[serde(default, serialize_with = "rfc3339_option")]
    finished_at: Option<Timestamp>,
}

fn name_of_chute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    ChuteSnapshot::deserialize(deserializer).map(|chute| chute.name)
}

/// Which of a user's jobs are listed.
#[derive(Debug, Default)]
pub struct Filter {
    /// In this state.
    pub status: Option<Status>,
    /// Over, or not.
    pub terminal: Option<bool>,
    /// On this chute.
    pub chute_id: Option<Uuid>,
    /// With all of these labels.
    pub labels: Vec<String>,
}

impl Filter {
    /// Whether it looks at what the index `by_owner` does not hold.
    pub(super) fn needs_rows(&self) -> bool {
        self.status.is_some() || self.terminal.is_some() || !self.labels.is_empty()
    }

    /// Whether a row passes.
    pub(super) fn passes(&self, row: &Item) -> bool {
        let has = |name, value: Option<AttributeValue>| value.is_none_or(|value| row.get(name) == Some(&value));
        let labels = row.get("labels").and_then(|labels| labels.as_l().ok());
        let is_labelled = |label: &String| labels.is_some_and(|labels| labels.contains(&text(label)));
        has("status", self.status.map(|status| text(status.as_str())))
            && has("terminal", self.terminal.map(AttributeValue::Bool))
            && self.labels.iter().all(is_labelled)
    }

    fn add_to(&self, request: QueryFluentBuilder) -> QueryFluentBuilder {
        match self.chute_id {
            Some(chute_id) => request
                .filter_expression("chute_id = :chute_id")
                .expression_attribute_values(":chute_id", text(chute_id.to_string())),
            None => request,
        }
    }

    /// How many jobs one request looks at.
    fn most_read(&self) -> u32 {
        if self.needs_rows() { MOST_ROWS } else { MOST_READ }
    }

    /// How many more of a shard it looks at, at least.
    fn least_more(&self) -> u32 {
        if self.needs_rows() { SHARD_PAGE } else { SHARD_MORE }
    }

    fn is_empty(&self) -> bool {
        self.chute_id.is_none() && !self.needs_rows()
    }
}

/// An index of the jobs table, and which way its lists go through time.
pub(super) struct Index {
    pub(super) name: &'static str,
    /// Its partition key.
    pub(super) key: &'static str,
    /// Its sort key: milliseconds.
    pub(super) sorted_by: &'static str,
    pub(super) order: Order,
    pub(super) doing: &'static str,
}

pub(super) const BY_OWNER: Index = Index {
    name: "by_owner",
    key: "owner",
    sorted_by: "created_at",
    order: Order::NewestFirst,
    doing: "list jobs: Query",
};
pub(super) const CLAIMABLE: Index = Index {
    name: "queue",
    key: "queue",
    sorted_by: "due_at",
    order: Order::OldestFirst,
    doing: "claimable jobs: Query",
};

impl ClaimableJob {
    /// The job's id.
    pub fn job_id(&self) -> Uuid {
        self.job_id
    }

    /// The chute's.
    pub fn chute_id(&self) -> Uuid {
        self.chute_id
    }

    /// Whose it is.
    pub fn owner(&self) -> Uuid {
        self.user_id
    }

    /// Where it stands in its chute's queue.
    pub fn place(&self) -> Place {
        self.place
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Whether it waits for its own next attempt, which comes a while after one that has failed.
    fn is_delayed(&self, now: Timestamp) -> bool {
        self.place.time() > self.created_at.max(now)
    }

    /// Ports that the miner has to open.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }
}

impl ListedJob {
    /// The job's id.
    pub fn job_id(&self) -> Uuid {
        self.job_id
    }
}

impl Jobs {
    /// The first query of a page of a chute's pending jobs, which is the page unless the chute is busy. Where the caller is known to be
    /// one, it is made beside the read that tells.
    pub async fn begin_claimable(&self, chute_id: Uuid, page: &Page, now: Timestamp) -> Result<JobList<ClaimableJob>> {
        let key = keys::claimable(chute_id, 0);
        let (items, next) = self.one_shard(&CLAIMABLE, &key, &Filter::default(), page.limit, page.after).await?;
        claimable(items, next, now)
    }

    /// A page of the chute's pending jobs, oldest first. `begun` is the first query, where it was made.
    pub async fn claimable(
        &self,
        chute: &Chute,
        page: &Page,
        begun: Option<Result<JobList<ClaimableJob>>>,
        now: Timestamp,
    ) -> Result<JobList<ClaimableJob>> {
        if !chute.busy {
            return match begun {
                Some(begun) => begun,
                None => self.begin_claimable(chute.chute_id, page, now).await,
            };
        }
        let key = |shard| keys::claimable(chute.chute_id, shard);
        let (items, next) = self.all_shards(&CLAIMABLE, key, &Filter::default(), page).await?;
        claimable(items, next, now)
    }

    /// Seconds after which a miner should ask again for work on this chute, whose queue was just found empty, or not.
    pub fn look_again_after(&self, chute_id: Uuid, is_empty: bool, now: Timestamp) -> Option<i64> {
        self.idle.found(chute_id, is_empty, now).map(pace::look_for_work)
    }

    /// The first query of a page of a user's list: what the page holds and one more, which tells whether there is another page.
    /// Where the caller is known to be one it is made beside the read of the user; so it reads no more than that.
    pub async fn begin_list(&self, user_id: Uuid, filter: &Filter, page: &Page) -> Result<JobList<Item>> {
        self.one_shard(&BY_OWNER, &keys::owner(user_id, 0), filter, page.limit + 1, page.after).await
    }

    /// A page of the user's jobs that pass the filter, newest first: a query of the index, and a read of the rows that it names. A filter
    /// that leaves the page short costs one more query; a page that is still short after as many jobs as one request looks at is answered
    /// as it is: what a page costs does not grow with the jobs stored. `begun` is the first query, where it was made.
    pub async fn list(
        &self,
        user: &User,
        filter: &Filter,
        page: &Page,
        begun: Option<JobList<Item>>,
    ) -> Result<JobList<ListedJob>> {
        let (items, next) = match user.is_busy() {
            true => self.all_shards(&BY_OWNER, |shard| keys::owner(user.user_id, shard), filter, page).await?,
            false => self.own_list(user.user_id, filter, page, begun).await?,
        };
        Ok((jobs(&BY_OWNER, self.rows(items).await?)?, next))
    }

    async fn own_list(
        &self,
        user_id: Uuid,
        filter: &Filter,
        page: &Page,
        begun: Option<JobList<Item>>,
    ) -> Result<JobList<Item>> {
        let (mut items, mut next) = match begun {
            Some(begun) => begun,
            None => self.begin_list(user_id, filter, page).await?,
        };
        items = self.sift(filter, items).await?;
        if let (true, Some(after)) = (items.len() < page.limit as usize, next) {
            let (key, read) = (keys::owner(user_id, 0), filter.most_read() - page.limit - 1);
            let (more, end) = self.one_shard(&BY_OWNER, &key, filter, read, Some(after)).await?;
            items.extend(self.sift(filter, more).await?);
            next = end;
        }
        if items.len() > page.limit as usize {
            items.truncate(page.limit as usize);
            next = items.last().and_then(|item| cursor(item, BY_OWNER.sorted_by));
        }
        Ok((items, next))
    }

    /// The jobs that pass what the index knows of the filter, out of the next `read` ones under this key; and where the reading ended,
    /// when there is more.
    pub(super) async fn one_shard(
        &self,
        index: &Index,
        key: &str,
        filter: &Filter,
        read: u32,
        after: Option<Cursor>,
    ) -> Result<JobList<Item>> {
        let request = self
            .query(index, key)
            .key_condition_expression("#key = :key")
            .limit(read.cast_signed())
            .set_exclusive_start_key(after.map(|after| start(index, key, after)));
        let answer = filter.add_to(request).send().await.context(index.doing)?;
        // Nobody here can show or claim what a newer release has made.
        let items = schema::known(answer.items.unwrap_or_default());
        Ok((items, answer.last_evaluated_key.and_then(|last| cursor(&last, index.sorted_by))))
    }

    /// A page out of all shards. Those that may have what it lacks after the first read are asked once more: for as much as fills it,
    /// or with a filter for their share of what one request looks at. They are asked from a time on, and not from a job: in which order
    /// DynamoDB has the jobs of one time, it does not say.
    async fn all_shards(
        &self,
        index: &Index,
        key: impl Fn(u8) -> String,
        filter: &Filter,
        page: &Page,
    ) -> Result<JobList<Item>> {
        let first = (0..SHARDS).map(|shard| self.read_shard(index, key(shard), filter, page, SHARD_PAGE, None));
        let (mut shards, mut ends): (Vec<_>, Vec<_>) = try_join_all(first).await?.into_iter().unzip();
        let (lacks, hiding) = lacking(&shards, index.order, page);
        let limit = match filter.is_empty() {
            true => lacks + SHARD_PAGE,
            false => (filter.most_read() / hiding.len().max(1) as u32).max(filter.least_more()),
        };
        let more = hiding.iter().map(|shard| {
            let end = ends[*shard].take();
            self.read_shard(index, key(*shard as u8), filter, page, limit, end)
        });
        for (shard, (more, _)) in hiding.iter().zip(try_join_all(more).await?) {
            shards[*shard].jobs.extend(more.jobs);
            shards[*shard].end = more.end;
        }
        Ok(merge(shards, index.order, page))
    }

    /// The next `limit` jobs of a shard from the page's beginning, or from where an earlier read ended, and where this one did.
    async fn read_shard(
        &self,
        index: &Index,
        key: String,
        filter: &Filter,
        page: &Page,
        limit: u32,
        mut start: Option<Item>,
    ) -> Result<(ShardRead<Item>, Option<Item>)> {
        let compares = if index.order == Order::NewestFirst { "<=" } else { ">=" };
        let mut found = Vec::new();
        loop {
            let request = filter.add_to(self.query(index, &key)).limit(limit.cast_signed());
            let request = match page.after {
                None => request.key_condition_expression("#key = :key"),
                Some((at, _)) => request
                    .key_condition_expression(format!("#key = :key AND {} {compares} :at", index.sorted_by))
                    .expression_attribute_values(":at", number(at)),
            };
            let answer = request.set_exclusive_start_key(start).send().await.context(index.doing)?;
            let items = schema::known(answer.items.unwrap_or_default());
            let items = self.sift(filter, items).await?;
            found.extend(items.into_iter().filter_map(|item| Some((cursor(&item, index.sorted_by)?, item))));
            start = answer.last_evaluated_key;
            let end = start.as_ref().and_then(|end| cursor(end, index.sorted_by)).map(|(at, _)| at);
            // Few jobs can be of one time: a partition key takes 1,000 writes a second.
            if !begins_at(page, end) {
                return Ok((ShardRead { jobs: found, end }, start));
            }
        }
    }

    /// A query of an index under this key, in its lists' order.
    pub(super) fn query(&self, index: &Index, key: &str) -> QueryFluentBuilder {
        let request = self.tables.client.query().table_name(&self.tables.jobs).index_name(index.name);
        request
            .expression_attribute_names("#key", index.key)
            .expression_attribute_values(":key", text(key))
            .scan_index_forward(index.order == Order::OldestFirst)
    }
}

/// The key in an index from which a query goes on.
pub(super) fn start(index: &Index, key: &str, (at, job_id): Cursor) -> Item {
    HashMap::from([
        (index.key.to_owned(), text(key)),
        (index.sorted_by.to_owned(), number(at)),
        ("job_id".to_owned(), text(job_id.to_string())),
    ])
}

/// What a miner may claim of a page of what waits. Behind one that may not be claimed yet, there is none that may.
fn claimable(items: Vec<Item>, next: Option<Cursor>, now: Timestamp) -> Result<JobList<ClaimableJob>> {
    let mut jobs: Vec<ClaimableJob> = jobs(&CLAIMABLE, items)?;
    let all = jobs.len();
    jobs.retain(|job| !job.is_delayed(now));
    let next = next.filter(|_| jobs.len() == all);
    Ok((jobs, next))
}

fn jobs<T: DeserializeOwned>(index: &Index, items: Vec<Item>) -> Result<Vec<T>> {
    serde_dynamo::from_items(items).map_err(|error| Error::internal(index.doing, error))
}
