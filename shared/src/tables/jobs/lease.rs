//! The row of a job's heartbeats.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use uuid::Uuid;

use super::{alarms::Due, change::Outcome, store::Jobs};
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
    /// which there is no room any more: then it is taken out of `beat`. An attempt's first one that is late costs four more: the reaper
    /// then looks at the job in time.
    pub async fn heartbeat(&self, job_id: Uuid, beat: &mut Heartbeat) -> Result<Option<Lease>> {
        let mut change = lease::heartbeat(beat);
        // Another heartbeat may be told at the same time, and first.
        for _ in 0..5 {
            let refused = match self.write_lease(job_id, change).await? {
                Ok(row) => return Ok(Some(row)),
                Err(refused) => refused,
            };
            let is_first = beat.is_late && beat.is_first(refused.as_ref());
            if is_first {
                // Before the row: should this be all, the repeat is the first one, too.
                self.look_at_lease_end(job_id, beat, beat.is_cancelled(refused.as_ref())).await?;
            }
            let is_less = refused.as_ref().is_some_and(|row| beat.leave_out_log(row));
            match refused.and_then(|row| stopping::heartbeat_of_cancelled(beat, &row)) {
                Some(told) => change = told,
                None if is_first => change = lease::heartbeat(&Heartbeat { is_late: false, ..*beat }),
                None if is_less => change = lease::heartbeat(beat),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn look_at_lease_end(&self, job_id: Uuid, beat: &Heartbeat, is_cancelled: bool) -> Result<()> {
        const DOING: &str = "heartbeat: look at lease end: UpdateItem";
        let look = |is_cancelled| self.change(job_id, lifecycle::look_at_lease_end(beat, is_cancelled), DOING);
        match look(is_cancelled).await? {
            // Since the row was read.
            Outcome::Refused(job) if !is_cancelled && job.cancel_requested_at.is_some() => look(true).await.map(drop),
            _ => Ok(()),
        }
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
