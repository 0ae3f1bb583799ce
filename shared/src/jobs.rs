//! The store of jobs: DynamoDB's jobs table.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        put_item::PutItemError,
        query::builders::QueryFluentBuilder,
        transact_write_items::{TransactWriteItemsError, builders::TransactWriteItemsFluentBuilder},
        update_item::UpdateItemError,
    },
    types::{
        AttributeValue, CancellationReason, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        Update,
    },
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    error::{Context, Error, Result, engine_error},
    job::{ChuteSnapshot, Job},
    lanes::{self, LANES},
    lifecycle::{self, Status},
    page::{Lane, Order, Page, lacking, merge},
    read::{Item, Read},
    registry::{Port, Usage},
    schema,
    time::{DAY, Timestamp},
    transition::{Transition, number, text},
};

/// The jobs table, and the usage rows that are counted in the same transaction.
#[derive(Debug, Clone)]
pub struct Jobs {
    client: aws_sdk_dynamodb::Client,
    table: String,
    registry: String,
    used_up: Arc<Mutex<HashMap<UsedUp, Usage>>>,
}

/// A busy user's quota that is used up: whose, for which chute, on which day.
type UsedUp = (Uuid, Uuid, String, Quota);

/// What became of a [`Transition`].
#[derive(Debug)]
pub enum Outcome {
    /// It happened; this is the job now.
    Changed(Box<Job>),
    /// A guard did not hold; this is the job as it is, which may be one that is being deleted.
    Refused(Box<Job>),
    /// There is no such job.
    Gone,
}

/// What became of an insert.
#[derive(Debug)]
pub enum Inserted {
    /// The job is stored and counted.
    Created,
    /// A job with this id exists; nothing was counted.
    Exists(Box<Job>),
    /// A quota is used up: the counts at that moment.
    OverQuota(Usage),
}

/// A hotkey's signature over a mutation: good for one job. The same request again, whose first answer may have been lost, is
/// about the same job; on any other job the signature is a replay.
#[derive(Debug, Clone)]
pub struct Signature {
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// When its nonce is too old anyway, in seconds.
    pub expires_at: i64,
}

/// Holds for a signature that was not used yet, or for this job.
const UNSPENT: &str = "attribute_not_exists(pk) OR job_id = :job";

impl Signature {
    fn row(&self, job_id: Uuid) -> Item {
        HashMap::from([
            ("pk".to_owned(), text(format!("replay#{}", hex::encode(self.hash)))),
            ("job_id".to_owned(), text(job_id.to_string())),
            ("expires_at".to_owned(), number(self.expires_at)),
        ])
    }
}

/// A pending job, as the `queue` index shows it to miners.
#[derive(Debug, Deserialize)]
pub struct Claimable {
    /// Its id.
    pub job_id: Uuid,
    /// Its chute.
    pub chute_id: Uuid,
    /// Which of the chute's jobs.
    pub method: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Seconds that it may run.
    #[serde(default)]
    pub timeout: Option<u32>,
    /// Ports that the miner has to open.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// The hardware that the chute asks for.
    #[serde(default)]
    pub node_selector: Option<Value>,
}

/// A job, as the index `by_user` shows it to its owner.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// Its id.
    pub job_id: Uuid,
    /// Its chute.
    pub chute_id: Uuid,
    /// The chute, as it was when the job was created.
    pub chute: ChuteSnapshot,
    /// Which of the chute's jobs.
    pub method: String,
    /// Where it is in its life.
    pub status: Status,
    /// It will never change again.
    pub terminal: bool,
    /// Which attempt is or was the last to run.
    pub attempt: u32,
    /// Attempts that it gets.
    pub max_attempts: u32,
    /// How far it is, 0 to 1.
    #[serde(default)]
    pub progress: Option<f64>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was last claimed.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the miner reported its result.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
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
}

impl Filter {
    fn add_to(&self, request: QueryFluentBuilder) -> QueryFluentBuilder {
        let conditions = [
            self.status.map(|status| ("#status", "status", text(status.as_str()))),
            self.terminal.map(|terminal| ("#terminal", "terminal", AttributeValue::Bool(terminal))),
            self.chute_id.map(|chute_id| ("#chute_id", "chute_id", text(chute_id.to_string()))),
        ];
        let mut expression = Vec::new();
        let mut request = request;
        for (alias, name, value) in conditions.into_iter().flatten() {
            expression.push(format!("{alias} = :{name}"));
            request = request.expression_attribute_names(alias, name);
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        request.set_filter_expression(Some(expression.join(" AND ")).filter(|text| !text.is_empty()))
    }
}

/// What a user may create in a day, and in how many lanes that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Jobs on the chute.
    pub chute: u64,
    /// Jobs in all.
    pub total: u64,
    /// Lanes that count them.
    pub counters: u8,
}

/// The lanes that count one job: of all the user's, and of those on the chute.
#[derive(Debug, Clone, Copy)]
struct Counters {
    total: u8,
    chute: u8,
}

/// Lanes that an insert is refused in, each time by jobs that were counted since it was seen to have room, before it gives up.
const REFUSALS: usize = 20;
/// Quotas that are remembered as used up.
const REMEMBERED: usize = 1000;

/// Jobs of a user that one request reads, about, however few of them pass its filter: 0.7 MB of the index.
pub const MOST_READ: u32 = 1000;
/// Jobs of a lane that are read first. Those of all lanes are twice the longest page and more.
const LANE_PAGE: u32 = 16;
/// Jobs of a lane that are read at least when a filter leaves a page short.
const LANE_MORE: u32 = 60;

/// Jobs of one shard that the reaper reads at a time.
const DUE_PAGE: i32 = 50;

/// A place in an index: the time that it is sorted by, in milliseconds, and the job's id.
pub type Cursor = (i64, Uuid);

impl Jobs {
    /// A store over these tables.
    pub fn new(client: aws_sdk_dynamodb::Client, table: String, registry: String) -> Self {
        Self { client, table, registry, used_up: Arc::default() }
    }

    /// Stores a new job and counts it, in one transaction: never more than the quota a day, however many creates run at
    /// once, and never a second job for one signature.
    pub async fn insert(&self, job: &Job, quota: Quota, signature: Option<&Signature>) -> Result<Inserted> {
        let mut lanes = match quota.counters {
            1 => Some(0),
            counters => lanes::with_a_slice([quota.total, quota.chute], counters),
        }
        .map(|lane| Counters { total: lane, chute: lane });
        for _ in 0..REFUSALS {
            if let Some(lanes) = lanes {
                match self.insert_counted(job, quota, lanes, signature).await? {
                    Inserted::OverQuota(_) if quota.counters > 1 => {}
                    done => return Ok(done),
                }
            }
            // A slice is full, which another lane's need not be. Counts only grow: when all slices are full, so is the quota.
            let rows = self.usage(job, quota.counters).await?;
            let counts: Vec<_> = rows.iter().map(|row| [row.total(), row.of_chute(job.chute_id)]).collect();
            let Some([total, chute]) = lanes::with_room([quota.total, quota.chute], &counts) else {
                let usage = Usage::sum(&rows, job.chute_id);
                self.remember((job.user_id, job.chute_id, job.created_at.date(), quota), &usage);
                return Ok(Inserted::OverQuota(usage));
            };
            lanes = Some(Counters { total, chute });
        }
        Err(Error::busy("create job: usage", "every lane with room was full a moment later"))
    }

    /// What was counted when this process found a busy user's quota used up. It stays so: counts only grow within a day.
    pub fn used_up(&self, user_id: Uuid, chute_id: Uuid, quota: Quota, now: Timestamp) -> Option<Usage> {
        self.remembered().get(&(user_id, chute_id, now.date(), quota)).cloned()
    }

    fn remember(&self, used_up: UsedUp, usage: &Usage) {
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(used_up, usage.clone());
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<UsedUp, Usage>> {
        self.used_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn insert_counted(
        &self,
        job: &Job,
        quota: Quota,
        lanes: Counters,
        signature: Option<&Signature>,
    ) -> Result<Inserted> {
        const DOING: &str = "create job: TransactWriteItems";
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(job.to_item()?))
            .condition_expression("attribute_not_exists(job_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal(DOING, error))?;
        let request = self.client.transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
        // What is counted in one row is one update: a transaction may not name a row twice.
        let of_total = ("#total", "total".to_owned(), lanes::slice(quota.total, quota.counters, lanes.total));
        let of_chute =
            ("#chute", Usage::chute_attribute(job.chute_id), lanes::slice(quota.chute, quota.counters, lanes.chute));
        let (request, signed) = if lanes.total == lanes.chute {
            (request.transact_items(self.count(job, lanes.total, &[of_total, of_chute])?), 2)
        } else {
            let request = request.transact_items(self.count(job, lanes.total, &[of_total])?);
            (request.transact_items(self.count(job, lanes.chute, &[of_chute])?), 3)
        };
        let request = match signature {
            Some(signature) => request.transact_items(self.spend(signature, job.job_id)?),
            None => request,
        };
        let Some(refusals) = transact(request, DOING).await? else { return Ok(Inserted::Created) };
        if refusals.refused(signed).is_some() {
            Err(replayed())
        } else if let Some(job) = refusals.refused(0) {
            Ok(Inserted::Exists(Box::new(Job::from_item(job)?)))
        } else if let Some(usage) = (1..signed).find_map(|at| refusals.refused(at)) {
            let counts = serde_dynamo::from_item(usage);
            counts.map(Inserted::OverQuota).map_err(|error| Error::internal("create job: usage", error))
        } else {
            Err(refusals.error(DOING))
        }
    }

    /// Counts the job in a lane's row, under each of these attributes, unless one is at its bound.
    fn count(&self, job: &Job, lane: u8, counted: &[(&str, String, u64)]) -> Result<TransactWriteItem> {
        let each = |one: &dyn Fn(&str) -> String| counted.iter().map(|(name, ..)| one(name)).collect::<Vec<_>>();
        let add = each(&|name| format!("{name} :one")).join(", ");
        let room = each(&|name| format!("(attribute_not_exists({name}) OR {name} < {})", name.replace('#', ":")));
        let mut update = Update::builder()
            .table_name(&self.registry)
            .key("pk", text(Usage::pk(job.user_id, job.created_at, lane)))
            .update_expression(format!("ADD {add} SET #expires = :expires, #v = :v"))
            .condition_expression(room.join(" AND "));
        for (name, attribute, bound) in counted {
            update = update.expression_attribute_names(*name, attribute);
            update = update.expression_attribute_values(name.replace('#', ":"), AttributeValue::N(bound.to_string()));
        }
        let update = update
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_names("#v", schema::ATTRIBUTE)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":v", number(schema::VERSION))
            .expression_attribute_values(":expires", number(job.created_at.plus_seconds(2 * DAY).seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal("create job: usage", error))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// What each lane has counted on the job's day.
    async fn usage(&self, job: &Job, counters: u8) -> Result<Vec<Usage>> {
        let pks: Vec<_> = (0..counters).map(|lane| Usage::pk(job.user_id, job.created_at, lane)).collect();
        let mut read = Read::default();
        pks.iter().for_each(|pk| read.registry(pk.clone()));
        let found = read.run(&self.client, &self.registry, &self.table).await?;
        pks.iter().map(|pk| Ok(found.registry(pk)?.unwrap_or_default())).collect()
    }

    /// The row that remembers, until its nonce is too old anyway, which job a signature was for.
    fn spend(&self, signature: &Signature, job_id: Uuid) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(&self.registry)
            .set_item(Some(signature.row(job_id)))
            .condition_expression(UNSPENT)
            .expression_attribute_values(":job", text(job_id.to_string()))
            .build()
            .map_err(|error| Error::internal("replay guard", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Spends a signature on a request that changes nothing, because its change was made before. 401 when it was for another
    /// job.
    pub async fn spend_on_repeat(&self, signature: Option<&Signature>, job_id: Uuid) -> Result<()> {
        let Some(signature) = signature else { return Ok(()) };
        let request = self
            .client
            .put_item()
            .table_name(&self.registry)
            .set_item(Some(signature.row(job_id)))
            .condition_expression(UNSPENT)
            .expression_attribute_values(":job", text(job_id.to_string()));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Err(replayed()),
                _ => Err(engine_error("replay guard: PutItem", &error)),
            },
        }
    }

    /// The job, strongly consistent, also when it is being deleted.
    pub async fn get(&self, job_id: Uuid) -> Result<Option<Job>> {
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("job_id", text(job_id.to_string()))
            .consistent_read(true);
        let answer = request.send().await.context("get job: GetItem")?;
        answer.item.map(Job::from_item).transpose()
    }

    /// Carries out a transition, in one conditional write.
    pub async fn change(&self, job_id: Uuid, transition: Transition, doing: &'static str) -> Result<Outcome> {
        // The request takes its values with it.
        let to_apply = transition.returns_before().then(|| transition.clone());
        let expression = transition.expression();
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("job_id", text(job_id.to_string()))
            .condition_expression(expression.condition)
            .update_expression(expression.update)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values(if to_apply.is_some() { ReturnValue::AllOld } else { ReturnValue::AllNew })
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(answer) => {
                let item = answer.attributes.and_then(|item| match to_apply {
                    Some(transition) => transition.apply(item),
                    None => Some(item),
                });
                let item = item.ok_or_else(|| Error::internal(doing, "not the attributes that were asked for"))?;
                Ok(Outcome::Changed(Box::new(Job::from_item(item)?)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => match &refusal.item {
                    Some(item) => Ok(Outcome::Refused(Box::new(Job::from_item(item.clone())?))),
                    None => Ok(Outcome::Gone),
                },
                _ if is_too_large(&error) => {
                    Err(Error::TooLarge("The job with its result and file list is larger than 400 KB".to_owned()))
                }
                _ => Err(engine_error(doing, &error)),
            },
        }
    }

    /// Carries out a transition of the job as it was read, once for a signature: together they are one transaction.
    pub async fn change_once(
        &self,
        job: &Job,
        transition: Transition,
        signature: Option<&Signature>,
        doing: &'static str,
    ) -> Result<Outcome> {
        let Some(signature) = signature else { return self.change(job.job_id, transition, doing).await };
        let expression = transition.clone().expression();
        let update = Update::builder()
            .table_name(&self.table)
            .key("job_id", text(job.job_id.to_string()))
            .condition_expression(expression.condition)
            .update_expression(expression.update)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal(doing, error))?;
        let request = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(update).build())
            .transact_items(self.spend(signature, job.job_id)?);
        let Some(refusals) = transact(request, doing).await? else {
            // A transaction answers no attributes. What the guards allow the answer to depend on is as it was read.
            let after = transition.apply(job.to_item()?);
            let after = after.ok_or_else(|| Error::internal(doing, "a transition that does not fit the job"))?;
            return Ok(Outcome::Changed(Box::new(Job::from_item(after)?)));
        };
        if refusals.refused(1).is_some() {
            return Err(replayed());
        }
        match refusals.refused(0) {
            Some(item) if item.is_empty() => Ok(Outcome::Gone),
            Some(item) => Ok(Outcome::Refused(Box::new(Job::from_item(item)?))),
            None => Err(refusals.error(doing)),
        }
    }

    /// A page of the jobs that are due for the reaper in this shard at `now`, the longest due first, and where the next page
    /// begins. The index may be behind the table.
    pub async fn due(&self, shard: u8, now: Timestamp, after: Option<Cursor>) -> Result<(Vec<Cursor>, Option<Cursor>)> {
        let queue = lifecycle::due_shard(shard);
        let request = self
            .queue(&queue, after)
            .key_condition_expression("#queue = :queue AND due_at <= :now")
            .expression_attribute_values(":now", number(now.millis()))
            .limit(DUE_PAGE);
        let answer = request.send().await.context("reap: Query")?;
        let due = answer.items.unwrap_or_default().iter().filter_map(|item| cursor(item, "due_at")).collect();
        Ok((due, answer.last_evaluated_key.and_then(|last| cursor(&last, "due_at"))))
    }

    /// A page of a chute's pending jobs, oldest first, and where the next one begins.
    pub async fn claimable(
        &self,
        chute_id: Uuid,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Claimable>, Option<Cursor>)> {
        let request = self.queue(&Job::claimable(chute_id, 0), after).key_condition_expression("#queue = :queue");
        let request = request.limit(limit.cast_signed());
        let answer = request.send().await.context("claimable jobs: Query")?;
        // Nobody could claim what a newer release has made.
        let items = schema::known(answer.items.unwrap_or_default());
        let jobs = serde_dynamo::from_items(items);
        let jobs = jobs.map_err(|error| Error::internal("claimable jobs: items", error))?;
        Ok((jobs, answer.last_evaluated_key.and_then(|last| cursor(&last, "due_at"))))
    }

    /// The jobs of a user that pass the filter, newest first, out of the next `read` ones of the user's; and where the reading
    /// ended, when there is more.
    pub async fn of_user(
        &self,
        user_id: Uuid,
        filter: &Filter,
        read: u32,
        after: Option<Cursor>,
    ) -> Result<(Vec<Listed>, Option<Cursor>)> {
        let start = after.map(|(created_at, job_id)| {
            HashMap::from([
                ("owner".to_owned(), text(Job::owner(user_id, 0))),
                ("created_at".to_owned(), number(created_at)),
                ("job_id".to_owned(), text(job_id.to_string())),
            ])
        });
        let request = self.client.query().table_name(&self.table).index_name("by_user");
        let request = request
            .key_condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":owner", text(Job::owner(user_id, 0)))
            .scan_index_forward(false)
            .limit(read.cast_signed())
            .set_exclusive_start_key(start);
        let answer = filter.add_to(request).send().await.context("list jobs: Query")?;
        // What a newer release has made is its own to show.
        let items = schema::known(answer.items.unwrap_or_default());
        let jobs = serde_dynamo::from_items(items);
        let jobs = jobs.map_err(|error| Error::internal("list jobs: items", error))?;
        Ok((jobs, answer.last_evaluated_key.and_then(|last| cursor(&last, "created_at"))))
    }

    /// A page of a busy chute's pending jobs, oldest first, and where the next one begins.
    pub async fn claimable_of_busy(&self, chute_id: Uuid, page: &Page) -> Result<(Vec<Claimable>, Option<Cursor>)> {
        let lane = |lane| {
            let request = self.client.query().table_name(&self.table).index_name("queue");
            request
                .expression_attribute_names("#key", "queue")
                .expression_attribute_values(":key", text(Job::claimable(chute_id, lane)))
        };
        let (items, next) =
            self.merged(lane, "due_at", Order::OldestFirst, page, false, "claimable jobs: Query").await?;
        let jobs = serde_dynamo::from_items(items);
        Ok((jobs.map_err(|error| Error::internal("claimable jobs: items", error))?, next))
    }

    /// The jobs of a busy user that pass the filter, newest first, and where the next page begins.
    pub async fn of_busy_user(
        &self,
        user_id: Uuid,
        filter: &Filter,
        page: &Page,
    ) -> Result<(Vec<Listed>, Option<Cursor>)> {
        let lane = |lane| {
            let request = self.client.query().table_name(&self.table).index_name("by_user");
            let request = request
                .expression_attribute_names("#key", "owner")
                .expression_attribute_values(":key", text(Job::owner(user_id, lane)));
            filter.add_to(request)
        };
        let filtered = filter.status.is_some() || filter.terminal.is_some() || filter.chute_id.is_some();
        let doing = "list jobs: Query";
        let (items, next) = self.merged(lane, "created_at", Order::NewestFirst, page, filtered, doing).await?;
        let jobs = serde_dynamo::from_items(items);
        Ok((jobs.map_err(|error| Error::internal("list jobs: items", error))?, next))
    }

    /// A page out of all lanes. Those that may have what it lacks after that are asked once more: for as much as fills it, or with
    /// a filter for their share of [`MOST_READ`]. They are asked from a time on, and not from a job: in which order DynamoDB has
    /// the jobs of one time, it does not say.
    async fn merged(
        &self,
        lane: impl Fn(u8) -> QueryFluentBuilder,
        sorted_by: &'static str,
        order: Order,
        page: &Page,
        filtered: bool,
        doing: &'static str,
    ) -> Result<(Vec<Item>, Option<Cursor>)> {
        let compares = if order == Order::NewestFirst { "<=" } else { ">=" };
        let query = |which, limit: u32, start: Option<Item>| {
            let request = lane(which).scan_index_forward(order == Order::OldestFirst).limit(limit.cast_signed());
            let request = match page.after {
                None => request.key_condition_expression("#key = :key"),
                Some((at, _)) => request
                    .key_condition_expression(format!("#key = :key AND {sorted_by} {compares} :at"))
                    .expression_attribute_values(":at", number(at)),
            };
            request.set_exclusive_start_key(start)
        };
        let read = async |number, limit, mut start| {
            let mut jobs = Vec::new();
            loop {
                let answer = query(number, limit, start).send().await.context(doing)?;
                let found = schema::known(answer.items.unwrap_or_default());
                jobs.extend(found.into_iter().filter_map(|item| Some((cursor(&item, sorted_by)?, item))));
                start = answer.last_evaluated_key;
                let end = start.as_ref().and_then(|end| cursor(end, sorted_by)).map(|(at, _)| at);
                // Few jobs can be of one time: a lane takes 1,000 writes a second.
                if !page.begins_at(end) {
                    return Ok::<_, Error>((Lane { jobs, end }, start));
                }
            }
        };
        let first = (0..LANES).map(|number| read(number, LANE_PAGE, None));
        let (mut lanes, mut ends): (Vec<_>, Vec<_>) = try_join_all(first).await?.into_iter().unzip();
        let (lacks, hiding) = lacking(&lanes, order, page);
        let limit = match filtered {
            true => (MOST_READ / hiding.len().max(1) as u32).max(LANE_MORE),
            false => lacks + LANE_PAGE,
        };
        let more = hiding.iter().map(|number| read(*number as u8, limit, ends[*number].take()));
        for (number, (more, _)) in hiding.iter().zip(try_join_all(more).await?) {
            lanes[*number].jobs.extend(more.jobs);
            lanes[*number].end = more.end;
        }
        Ok(merge(lanes, order, page))
    }

    /// A query of the index `queue`, from where a page ended.
    fn queue(&self, queue: &str, after: Option<Cursor>) -> QueryFluentBuilder {
        let start = after.map(|(due_at, job_id)| {
            HashMap::from([
                ("queue".to_owned(), text(queue)),
                ("due_at".to_owned(), number(due_at)),
                ("job_id".to_owned(), text(job_id.to_string())),
            ])
        });
        let request = self.client.query().table_name(&self.table).index_name("queue");
        request
            .expression_attribute_names("#queue", "queue")
            .expression_attribute_values(":queue", text(queue))
            .set_exclusive_start_key(start)
    }
}

fn cursor(item: &Item, sorted_by: &str) -> Option<Cursor> {
    let at = item.get(sorted_by)?.as_n().ok()?.parse().ok()?;
    Some((at, Uuid::try_parse(item.get("job_id")?.as_s().ok()?).ok()?))
}

fn replayed() -> Error {
    Error::unauthorized("This signature has been used already")
}

/// Milliseconds, at most, before a transaction that met another one is tried again: half a second in all on average.
/// ("Exponential Backoff And Jitter", with full jitter.)
pub const CONFLICT_PAUSES_MS: [u64; 6] = [20, 40, 80, 160, 320, 640];

/// Carries out a transaction, and again when another one on the same rows was in its way: a user's creates all count in one
/// row. What refused it, when something did.
async fn transact(request: TransactWriteItemsFluentBuilder, doing: &'static str) -> Result<Option<Refusals>> {
    for pause in CONFLICT_PAUSES_MS {
        let Err(error) = request.clone().send().await else { return Ok(None) };
        let refusals = Refusals::of(&error, doing)?;
        if !refusals.are_conflicts() {
            return Ok(Some(refusals));
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=pause))).await;
    }
    match request.send().await {
        Ok(_) => Ok(None),
        Err(error) => Refusals::of(&error, doing).map(Some),
    }
}

/// Why a transaction was cancelled, item by item.
struct Refusals(Vec<CancellationReason>);

impl Refusals {
    fn of<R: std::fmt::Debug + 'static>(
        error: &SdkError<TransactWriteItemsError, R>,
        doing: &'static str,
    ) -> Result<Self> {
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                Ok(Self(canceled.cancellation_reasons().to_vec()))
            }
            _ => Err(engine_error(doing, error)),
        }
    }

    /// The item whose condition did not hold, as it is; empty when there is none.
    fn refused(&self, at: usize) -> Option<Item> {
        let reason = self.0.get(at).filter(|reason| reason.code() == Some("ConditionalCheckFailed"))?;
        Some(reason.item.clone().unwrap_or_default())
    }

    /// Whether nothing but another transaction was in the way.
    fn are_conflicts(&self) -> bool {
        self.0.iter().all(|reason| matches!(reason.code(), None | Some("None" | "TransactionConflict")))
    }

    /// Most of what else cancels a transaction passes: another one on the same rows, or throttling. An item that DynamoDB
    /// cannot store does not.
    fn error(&self, doing: &'static str) -> Error {
        let codes: Vec<_> = self.0.iter().map(|reason| reason.code().unwrap_or_default()).collect();
        let lasting = ["ValidationError", "ItemCollectionSizeLimitExceeded"];
        match codes.iter().any(|code| lasting.contains(code)) {
            true => Error::internal(doing, codes.join(", ")),
            false => Error::busy(doing, codes.join(", ")),
        }
    }
}

/// Whether DynamoDB refused the item for its size. It has no code of its own for that.
fn is_too_large(error: &SdkError<UpdateItemError>) -> bool {
    error.as_service_error().is_some_and(|error| {
        error.code() == Some("ValidationException")
            && error.message().is_some_and(|message| message.to_lowercase().contains("item size"))
    })
}
