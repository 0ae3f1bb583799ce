//! Deliveries of webhooks: rows that tell what became of telling.

use uuid::Uuid;

use super::store::Jobs;
use crate::{
    error::{Error, Result},
    item::{Item, Transition},
    model::{Delivery, End, Job},
    tables::{client::unless_refused, read::Read},
    time::Timestamp,
};

impl Jobs {
    /// The delivery begins; None when it has begun before.
    pub async fn begin_delivery(&self, end: &End, now: Timestamp) -> Result<Option<Delivery>> {
        let row_id = Delivery::row_id(end.job_id);
        self.write_delivery(row_id, end.begin(now)).await
    }

    /// Changes a delivery; None when somebody else has changed it meanwhile.
    pub async fn change_delivery(&self, delivery: &Delivery, change: Transition) -> Result<Option<Delivery>> {
        let row_id = Delivery::row_id(delivery.delivery_of);
        self.write_delivery(row_id, change).await
    }

    /// A job's delivery, and the job, strongly consistent, in one round trip.
    pub async fn delivery_and_job(&self, job_id: Uuid) -> Result<(Option<Delivery>, Option<Job>)> {
        let mut read = Read::default();
        read.job(job_id);
        read.delivery(job_id);
        let mut found = read.run(&self.tables).await?;
        Ok((found.take_delivery()?, found.take_job()?))
    }

    /// Nothing more is told of a job that was deleted, and nothing is kept of what was.
    pub async fn forget_delivery(&self, job_id: Uuid, now: Timestamp) -> Result<()> {
        self.write_delivery(Delivery::row_id(job_id), Delivery::forget(job_id, now)).await.map(drop)
    }

    async fn write_delivery(&self, row_id: Uuid, change: Transition) -> Result<Option<Delivery>> {
        const DOING: &str = "webhook: UpdateItem";
        let sent = self.tables.change_job(row_id.to_string(), change).send().await;
        let Some(answer) = unless_refused(sent, DOING)? else { return Ok(None) };
        let row: Item = answer.attributes.unwrap_or_default();
        Delivery::from_item(&row).transpose()?.ok_or_else(|| Error::internal(DOING, "no delivery")).map(Some)
    }
}
