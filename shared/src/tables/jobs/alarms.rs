//! Alarms: rows that bring to the reaper's attention what has waited too long for a miner.

use aws_sdk_dynamodb::types::Put;
use uuid::Uuid;

use super::{
    lists::{CLAIMABLE, Filter, JobList},
    store::Jobs,
};
use crate::{
    error::{Error, Result},
    item::{Cursor, Item, Transition, cursor, keys, text},
    model::{Alarm, Delivery, Job, Lease, Waiting, lifecycle},
    tables::{
        client::unless_refused,
        read::{Read, batch_get_jobs},
    },
    time::Timestamp,
};

/// Jobs of a chute that are looked at together: as many as one BatchGetItem reads.
const PAGE: u32 = 100;

/// What the reaper's queue leads to.
#[derive(Debug)]
pub enum Due {
    /// A job, and what its heartbeats have written.
    Job(Box<Job>, Option<Lease>),
    /// An alarm.
    Alarm(Alarm),
    /// The delivery of a webhook.
    Delivery(Delivery),
}

impl Jobs {
    /// What is due under this id, strongly consistent.
    pub async fn due_row(&self, id: Uuid) -> Result<Option<Due>> {
        let mut read = Read::default();
        read.job(id);
        read.lease(id);
        let mut found = read.run(&self.tables).await?;
        if let Some(alarm) = found.alarm()? {
            return Ok(Some(Due::Alarm(alarm)));
        }
        if let Some(delivery) = found.delivery_in_place()? {
            return Ok(Some(Due::Delivery(delivery)));
        }
        let Some(job) = found.take_job()? else { return Ok(None) };
        Ok(Some(Due::Job(Box::new(job), found.take_lease()?)))
    }

    /// Has the reaper look then at what waits.
    pub async fn ring(&self, waiting: Waiting, at: Timestamp) -> Result<()> {
        self.change_alarm(waiting, waiting.ring(at)).await
    }

    /// A job that waits for a time of its own is about to wait anew, from now on. Before the write that makes it do so: an alarm that
    /// rings for a job that does not wait is silenced.
    pub async fn ring_for(&self, job: &Job, now: Timestamp) -> Result<()> {
        match job.own_alarm(now) {
            Some((waiting, at)) => self.ring(waiting, at).await,
            None => Ok(()),
        }
    }

    /// Changes an alarm. One that was set since it was read stays as it is.
    pub async fn change_alarm(&self, waiting: Waiting, change: Transition) -> Result<()> {
        self.change_row(waiting.row_id(), change, "alarm: UpdateItem").await
    }

    /// Puts off what is due, whatever it is.
    pub async fn postpone(&self, id: Uuid, due_at: i64, now: Timestamp) -> Result<()> {
        self.change_row(id, lifecycle::postpone(due_at, now), "postpone: UpdateItem").await
    }

    /// Changes a row that need not be a job, unless a condition does not hold.
    async fn change_row(&self, id: Uuid, change: Transition, doing: &'static str) -> Result<()> {
        unless_refused(self.tables.change_job(id.to_string(), change).send().await, doing).map(drop)
    }

    /// The alarm of a new job, to be put in the transaction that inserts it.
    pub(super) fn put_alarm(&self, job: &Job) -> Result<Option<Put>> {
        let Some((waiting, at)) = job.own_alarm(job.created_at) else { return Ok(None) };
        let row = Item::from([("job_id".to_owned(), text(waiting.row_id().to_string()))]);
        let put = Put::builder().table_name(&self.tables.jobs).set_item(waiting.ring(at).apply(row)).build();
        put.map(Some).map_err(|error| Error::internal("create job: alarm", error))
    }

    /// A page of what waits in one shard of the chute's queue, the longest-waiting first: each one's place, and the jobs as far as they
    /// are there. Not strongly consistent: whoever changes one of them finds out.
    pub async fn waiting(
        &self,
        chute_id: Uuid,
        shard: u8,
        after: Option<Cursor>,
    ) -> Result<(JobList<Cursor>, Vec<Job>)> {
        let key = keys::claimable(chute_id, shard);
        let (entries, next) = self.one_shard(&CLAIMABLE, &key, &Filter::default(), PAGE, after).await?;
        let places: Vec<_> = entries.iter().filter_map(|entry| cursor(entry, CLAIMABLE.sorted_by)).collect();
        let found = batch_get_jobs(&self.tables, places.iter().map(|(_, job_id)| job_id.to_string())).await?;
        // What a newer release has written is left to it.
        let jobs = found.into_iter().filter_map(|item| Job::from_item(item).ok());
        Ok(((places, next), jobs.collect()))
    }
}
