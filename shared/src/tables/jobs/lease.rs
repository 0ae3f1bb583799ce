//! The row of a job's heartbeats.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use uuid::Uuid;

use super::{alarms::Due, store::Jobs};
use crate::{
    error::{Error, Result, engine_error},
    item::{Transition, keys},
    model::{
        Job, Lease,
        lease::{self, Heartbeat},
        lifecycle, stopping,
    },
};

impl Jobs {
    /// Writes a heartbeat, and nothing else: one write unit. The row as it is now; None when the attempt was taken from its miner, of
    /// which the job tells more. An attempt that was cancelled costs a write more: its row then says so. And so does a chunk of a log for
    /// which there is no room any more: then it is taken out of `beat`. An attempt's first one that is late costs three more: the reaper
    /// then looks at the job in time.
    pub async fn heartbeat(&self, job_id: Uuid, beat: &mut Heartbeat) -> Result<Option<Lease>> {
        let mut change = lease::heartbeat(beat);
        // Another heartbeat may be told at the same time, and first.
        for _ in 0..5 {
            let refused = match self.write_lease(job_id, change).await? {
                Ok(row) => return Ok(Some(row)),
                Err(refused) => refused,
            };
            if beat.is_late && beat.is_first(refused.as_ref()) {
                // Before the row: should this be all, the repeat is the first one, too.
                let look = lifecycle::look_at_lease_end(beat.attempt, beat.holds_until(refused.as_ref()));
                self.change(job_id, look, "heartbeat: look at lease end: UpdateItem").await?;
                beat.is_late = false;
                change = lease::heartbeat(beat);
                continue;
            }
            let Some(row) = refused else { return Ok(None) };
            let is_less = beat.leave_out_log(&row);
            match stopping::heartbeat_of_cancelled(beat, &row) {
                Some(told) => change = told,
                None if is_less => change = lease::heartbeat(beat),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The row after the change, or as it is, where a condition did not hold.
    async fn write_lease(&self, job_id: Uuid, change: Transition) -> Result<Result<Lease, Option<Lease>>> {
        const DOING: &str = "heartbeat: UpdateItem";
        match self.tables.change_job(keys::lease(job_id), change).send().await {
            Ok(answer) => {
                let item = answer.attributes.ok_or_else(|| Error::internal(DOING, "no attributes"))?;
                Lease::from_item(item).map(Ok)
            }
            Err(error) => match error.as_service_error() {
                // What a newer release has written is an error.
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    refusal.item.clone().map(Lease::from_item).transpose().map(Err)
                }
                _ => Err(engine_error(DOING, &error)),
            },
        }
    }

    /// The job and what its heartbeats have written, in one round trip, strongly consistent; also one that is being deleted.
    pub async fn get_with_lease(&self, job_id: Uuid) -> Result<Option<(Job, Option<Lease>)>> {
        match self.due_row(job_id).await? {
            Some(Due::Job(job, lease)) => Ok(Some((*job, lease))),
            Some(Due::Alarm(_) | Due::Delivery(_)) | None => Ok(None),
        }
    }
}
