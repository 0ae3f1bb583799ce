//! Changes of a job: each is one conditional write, or one transaction with what has to happen together with it.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ReturnValuesOnConditionCheckFailure, Update},
};
use uuid::Uuid;

use super::{
    replay::ReplayGuard,
    store::Jobs,
    transaction::{Slot, Transaction},
};
use crate::{
    error::{Error, Result, engine_error},
    item::{Item, Transition, keys, text},
    model::{Job, Lease, lifecycle::Revocation},
};

/// What became of a [`Transition`].
#[derive(Debug)]
pub enum Outcome {
    /// It happened; this is the job now.
    Changed(Box<Job>),
    /// A condition did not hold; this is the job as it is, which may be one that is being deleted.
    Refused(Box<Job>),
    /// There is no such job.
    Gone,
}

impl Outcome {
    /// Of a transaction that this item of the job has refused; empty where there is none.
    pub(super) fn refused_by(item: Item) -> Result<Self> {
        if item.is_empty() { Ok(Self::Gone) } else { Job::from_item(item).map(|job| Self::Refused(Box::new(job))) }
    }

    /// The job as it is, where a condition did not hold.
    pub fn refused(&self) -> Option<&Job> {
        match self {
            Self::Refused(job) => Some(job),
            Self::Changed(_) | Self::Gone => None,
        }
    }
}

/// What became of a change that the miner of an attempt asked for.
#[derive(Debug)]
pub enum Change {
    /// It happened; this is the job now.
    Made(Job),
    /// The miner holds the job, and its state did not allow the change; this is the job as it is.
    Refused(Job),
}

impl Change {
    /// The job as it is, where its state did not allow the change.
    pub fn refused(&self) -> Option<&Job> {
        match self {
            Self::Refused(job) => Some(job),
            Self::Made(_) => None,
        }
    }
}

impl Jobs {
    /// Carries out a transition that the miner of this attempt asks for. 404 when the job is gone, 401 when the attempt is over.
    pub async fn change_attempt(
        &self,
        job_id: Uuid,
        attempt: u32,
        transition: Transition,
        doing: &'static str,
    ) -> Result<Change> {
        match self.change(job_id, transition, doing).await? {
            Outcome::Changed(job) => Ok(Change::Made(*job)),
            Outcome::Refused(job) => job.held_by(attempt).map(Change::Refused),
            Outcome::Gone => Err(Error::no_job(job_id)),
        }
    }

    /// Carries out a transition, in one conditional write.
    pub async fn change(&self, job_id: Uuid, transition: Transition, doing: &'static str) -> Result<Outcome> {
        let request = self.tables.change_job(job_id.to_string(), transition);
        match request.send().await {
            Ok(answer) => {
                let item = answer.attributes.ok_or_else(|| Error::internal(doing, "no attributes"))?;
                Ok(Outcome::Changed(Box::new(Job::from_item(item)?)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => match &refusal.item {
                    Some(item) => Ok(Outcome::Refused(Box::new(Job::from_item(item.clone())?))),
                    None => Ok(Outcome::Gone),
                },
                _ => Err(engine_error(doing, &error)),
            },
        }
    }

    /// Carries out a transition of the job as it was read, once for a signature: together they are one transaction.
    pub async fn change_once(
        &self,
        job: &Job,
        transition: Transition,
        guard: Option<&ReplayGuard>,
        doing: &'static str,
    ) -> Result<Outcome> {
        match guard {
            None => self.change(job.job_id, transition, doing).await,
            Some(guard) => self.change_together(job, transition, None, Some(guard), doing).await,
        }
    }

    /// Takes the present attempt from its miner, once for a signature. Refused, too, when a heartbeat came since the job was read.
    pub async fn revoke(
        &self,
        job: &Job,
        revocation: Revocation,
        guard: Option<&ReplayGuard>,
        doing: &'static str,
    ) -> Result<Outcome> {
        match revocation.lease {
            None => self.change_once(job, revocation.job, guard, doing).await,
            lease => self.change_together(job, revocation.job, lease, guard, doing).await,
        }
    }

    /// One transaction: the job, the row of its heartbeats, and the replay guard.
    async fn change_together(
        &self,
        job: &Job,
        transition: Transition,
        lease: Option<Transition>,
        guard: Option<&ReplayGuard>,
        doing: &'static str,
    ) -> Result<Outcome> {
        let together = Revocation { job: transition.clone(), lease };
        let transaction = self.revoke_in(Transaction::new(&self.tables.client), job, together, doing)?;
        let transaction = self.guarded(transaction, guard, job.job_id)?;
        let Some(refusals) = transaction.run(doing).await? else {
            return written(job, transition, doing);
        };
        match (refusals.of(Slot::Job), refusals.of(Slot::Lease)) {
            (Some(item), _) => Outcome::refused_by(item),
            // A heartbeat was faster, unless a newer release has written it. The job is as it was.
            (None, Some(row)) => {
                let row = (!row.is_empty()).then(|| Lease::from_item(row)).transpose()?;
                let logged = job.logged || row.is_some_and(|row| row.log_bytes.is_some());
                Ok(Outcome::Refused(Box::new(Job { logged, ..job.clone() })))
            }
            (None, None) => Err(refusals.error(doing)),
        }
    }

    /// Both writes, as part of a transaction.
    pub(super) fn revoke_in(
        &self,
        transaction: Transaction,
        job: &Job,
        revocation: Revocation,
        doing: &'static str,
    ) -> Result<Transaction> {
        let update = |key: String, transition: Transition| {
            let expression = transition.expression();
            Update::builder()
                .table_name(&self.tables.jobs)
                .key("job_id", text(key))
                .condition_expression(expression.condition)
                .update_expression(expression.update)
                .set_expression_attribute_names(Some(expression.names))
                .set_expression_attribute_values(Some(expression.values))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .build()
                .map_err(|error| Error::internal(doing, error))
        };
        let transaction = transaction.update(Slot::Job, update(job.job_id.to_string(), revocation.job)?);
        Ok(match revocation.lease {
            Some(lease) => transaction.update(Slot::Lease, update(keys::lease(job.job_id), lease)?),
            None => transaction,
        })
    }
}

/// The job as a transaction has written it, which answers no attributes. What the conditions allow the answer to depend on is as it was read.
pub(super) fn written(job: &Job, transition: Transition, doing: &'static str) -> Result<Outcome> {
    let after = transition.apply(job.to_item()?);
    let after = after.ok_or_else(|| Error::internal(doing, "a transition that does not fit the job"))?;
    Ok(Outcome::Changed(Box::new(Job::from_item(after)?)))
}
