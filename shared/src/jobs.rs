//! The store of jobs: DynamoDB's jobs table.

use std::{collections::HashMap, time::Duration};

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
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    error::{Context, Error, Result, engine_error},
    job::{ChuteSnapshot, Job},
    lifecycle::{self, Status},
    read::Item,
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
}

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

/// Which of a user's jobs are listed. Jobs that are being deleted never are.
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
        let mut expression = "attribute_not_exists(deleted_at)".to_owned();
        let mut request = request;
        for (alias, name, value) in conditions.into_iter().flatten() {
            expression.push_str(&format!(" AND {alias} = :{name}"));
            request = request.expression_attribute_names(alias, name);
            request = request.expression_attribute_values(format!(":{name}"), value);
        }
        request.filter_expression(expression)
    }
}

/// Jobs of one shard that the reaper reads at a time.
const DUE_PAGE: i32 = 50;

/// A place in an index: the time that it is sorted by, in milliseconds, and the job's id.
pub type Cursor = (i64, Uuid);

impl Jobs {
    /// A store over these tables.
    pub fn new(client: aws_sdk_dynamodb::Client, table: String, registry: String) -> Self {
        Self { client, table, registry }
    }

    /// Stores a new job and counts it, in one transaction: never more than `chute_quota` and `total_quota` a day, however
    /// many creates run at once, and never a second job for one signature.
    pub async fn insert(
        &self,
        job: &Job,
        chute_quota: u64,
        total_quota: u64,
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
        let usage = self.count(job, chute_quota, total_quota)?;
        let request = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(TransactWriteItem::builder().update(usage).build());
        let request = match signature {
            Some(signature) => request.transact_items(self.spend(signature, job.job_id)?),
            None => request,
        };
        let Some(refusals) = transact(request, DOING).await? else { return Ok(Inserted::Created) };
        if refusals.refused(2).is_some() {
            Err(replayed())
        } else if let Some(job) = refusals.refused(0) {
            Ok(Inserted::Exists(Box::new(Job::from_item(job)?)))
        } else if let Some(usage) = refusals.refused(1) {
            let counts = serde_dynamo::from_item(usage);
            counts.map(Inserted::OverQuota).map_err(|error| Error::internal("create job: usage", error))
        } else {
            Err(refusals.error(DOING))
        }
    }

    fn count(&self, job: &Job, chute_quota: u64, total_quota: u64) -> Result<Update> {
        Update::builder()
            .table_name(&self.registry)
            .key("pk", text(Usage::pk(job.user_id, job.created_at)))
            .update_expression("ADD #total :one, #chute :one SET #expires = :expires, #v = :v")
            .condition_expression(
                "(attribute_not_exists(#total) OR #total < :total) AND (attribute_not_exists(#chute) OR #chute < :chute)",
            )
            .expression_attribute_names("#total", "total")
            .expression_attribute_names("#chute", Usage::chute_attribute(job.chute_id))
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_names("#v", schema::ATTRIBUTE)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":v", number(schema::VERSION))
            .expression_attribute_values(":total", AttributeValue::N(total_quota.to_string()))
            .expression_attribute_values(":chute", AttributeValue::N(chute_quota.to_string()))
            .expression_attribute_values(":expires", number(job.created_at.plus_seconds(2 * DAY).seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal("create job: usage", error))
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
    pub async fn change(&self, job_id: Uuid, transition: &Transition, doing: &'static str) -> Result<Outcome> {
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
            .return_values(if transition.returns_before() { ReturnValue::AllOld } else { ReturnValue::AllNew })
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(answer) => {
                let item = answer.attributes.and_then(|item| match transition.returns_before() {
                    true => transition.apply(&item),
                    false => Some(item),
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
        transition: &Transition,
        signature: Option<&Signature>,
        doing: &'static str,
    ) -> Result<Outcome> {
        let Some(signature) = signature else { return self.change(job.job_id, transition, doing).await };
        let expression = transition.expression();
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
            let after = transition.apply(&job.to_item()?);
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
        let request = self.queue(&Job::claimable(chute_id), after).key_condition_expression("#queue = :queue");
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
                ("user_id".to_owned(), text(user_id.to_string())),
                ("created_at".to_owned(), number(created_at)),
                ("job_id".to_owned(), text(job_id.to_string())),
            ])
        });
        let request = self.client.query().table_name(&self.table).index_name("by_user");
        let request = request
            .key_condition_expression("user_id = :user")
            .expression_attribute_values(":user", text(user_id.to_string()))
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

/// Carries out a transaction, and again when another one on the same rows was in its way: a user's creates all count in one
/// row. What refused it, when something did.
async fn transact(request: TransactWriteItemsFluentBuilder, doing: &'static str) -> Result<Option<Refusals>> {
    // Half a second on average, 1.3 s at most: "Exponential Backoff And Jitter", with full jitter.
    const PAUSES: [u64; 6] = [20, 40, 80, 160, 320, 640];
    for pause in PAUSES {
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
