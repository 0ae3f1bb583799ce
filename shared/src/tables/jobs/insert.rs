//! Inserts: a new job is stored and counted in one transaction.

use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure};

use super::{
    quota::{DailyQuota, Shards},
    replay::ReplayGuard,
    store::Jobs,
    transaction::{Slot, Transaction},
};
use crate::{
    error::{Error, Result},
    item::Item,
    model::{Job, Usage, lifecycle::Revocation},
};

/// What became of an insert.
#[derive(Debug)]
pub enum Inserted {
    /// The job is stored and counted.
    Created,
    /// A job with this id exists; nothing was counted.
    Exists(Box<Job>),
}

impl Inserted {
    /// The job that was there before.
    pub fn refused(&self) -> Option<&Job> {
        match self {
            Self::Exists(job) => Some(job),
            Self::Created => None,
        }
    }
}

/// What became of an insert that counts in some of the quota's shards.
enum Counted {
    In,
    Exists(Item),
    /// A slice of the quota is full: the counts at that moment.
    Full(Usage),
}

/// How many shards an insert tries. Each looked as if it had room, and was full by the time of the write.
const TRIES: usize = 20;

impl Jobs {
    /// Stores a new job and counts it, in one transaction: never more than the quota a day, however many creates run at
    /// once, and never a second job for one signature. 429 when the quota is used up.
    pub async fn insert(&self, job: &Job, quota: &DailyQuota, guard: Option<&ReplayGuard>) -> Result<Inserted> {
        match self.count_and_write(job, None, quota, guard).await? {
            None => Ok(Inserted::Created),
            Some(there) => Ok(Inserted::Exists(Box::new(Job::from_item(there)?))),
        }
    }

    /// Counts the job and inserts it, or counts it again and changes it: None. Or the item that was in the way, which is empty when there is
    /// none.
    pub(super) async fn count_and_write(
        &self,
        job: &Job,
        change: Option<&Revocation>,
        quota: &DailyQuota,
        guard: Option<&ReplayGuard>,
    ) -> Result<Option<Item>> {
        let mut shards = quota.first();
        for _ in 0..TRIES {
            if let Some(shards) = shards {
                match self.write_counted(job, change, quota, shards, guard).await? {
                    Counted::In => return Ok(None),
                    Counted::Exists(there) => return Ok(Some(there)),
                    Counted::Full(_) if quota.shards > 1 => {}
                    Counted::Full(usage) => return Err(quota.exceeded(&usage)),
                }
            }
            // A slice is full, which another shard's need not be. Counts only grow: when all slices are full, so is the quota.
            let rows = self.usage(quota).await.map_err(Error::unwritten)?;
            shards = quota.next(&rows);
            if shards.is_none() {
                let usage = Usage::sum(&rows, job.chute_id);
                self.remember(quota, &usage);
                return Err(quota.exceeded(&usage));
            }
        }
        Err(Error::unavailable("create job: usage", "every shard with room was full a moment later").unwritten())
    }

    async fn write_counted(
        &self,
        job: &Job,
        change: Option<&Revocation>,
        quota: &DailyQuota,
        shards: Shards,
        guard: Option<&ReplayGuard>,
    ) -> Result<Counted> {
        const DOING: &str = "create job: TransactWriteItems";
        let transaction = Transaction::new(&self.tables.client);
        let mut transaction = match change {
            None => {
                let transaction = transaction.put(Slot::Job, self.put_new(job)?);
                let alarm = self.put_alarm(job)?.into_iter();
                alarm.fold(transaction, |transaction, alarm| transaction.put(Slot::Alarm, alarm))
            }
            Some(change) => self.revoke_in(transaction, job, change.clone(), DOING)?,
        };
        // What is counted in one row is one update: a transaction may not name a row twice.
        let (of_total, of_chute) = (quota.count_total(shards.total), quota.count_chute(shards.chute));
        if shards.total == shards.chute {
            let both = self.count(quota, shards.total, &[of_total, of_chute])?;
            transaction = transaction.update(Slot::Usage, both);
        } else {
            transaction = transaction.update(Slot::Usage, self.count(quota, shards.total, &[of_total])?);
            transaction = transaction.update(Slot::Usage, self.count(quota, shards.chute, &[of_chute])?);
        }
        let transaction = self.guarded(transaction, guard, job.job_id)?;
        let Some(refusals) = transaction.run(DOING).await? else { return Ok(Counted::In) };
        if let Some(job) = refusals.of(Slot::Job) {
            Ok(Counted::Exists(job))
        } else if let Some(usage) = refusals.of(Slot::Usage) {
            let counts = serde_dynamo::from_item(usage);
            counts.map(Counted::Full).map_err(|error| Error::internal("create job: usage", error))
        } else {
            Err(refusals.error(DOING))
        }
    }

    fn put_new(&self, job: &Job) -> Result<Put> {
        Put::builder()
            .table_name(&self.tables.jobs)
            .set_item(Some(job.to_item()?))
            .condition_expression("attribute_not_exists(job_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal("create job: item", error))
    }
}
