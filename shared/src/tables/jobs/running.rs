//! At most so many of a user's jobs at once.
//!
//! A row of the registry has the jobs that run, each with its attempt, and how many there may be. A claim adds its job in the transaction that
//! claims it, if there is room. Nothing takes a job out when it ends, which would make a transaction of each end: a claim that finds the row full
//! reads those jobs, takes out what does not run any more, and tries again. What it takes out it names with the attempt that it has read, so
//! that a claim of the same job meanwhile stays in. Only users who have such a limit pay for it.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Update},
};
use uuid::Uuid;

use super::{
    change::{Outcome, written},
    replay::ReplayGuard,
    store::Jobs,
    transaction::{Slot, Transaction},
};
use crate::{
    error::{Error, Result, engine_error},
    item::{Item, Transition, keys, number, text},
    model::{Job, Status, lifecycle::Revocation},
    tables::read::batch_get_jobs_now,
};

const DOING: &str = "claim job: TransactWriteItems";
/// Holds where there is room, or the job has its place from an attempt before.
const ROOM: &str = "size(jobs) < most OR (attribute_exists(jobs.#job) AND size(jobs) <= most)";
/// How often the row is tidied and tried again, while others fill it.
const TRIES: usize = 3;

impl Jobs {
    /// Claims a job whose owner may have so many running at once. None when that many run.
    pub async fn claim_counted(
        &self,
        job: &Job,
        claim: Transition,
        guard: Option<&ReplayGuard>,
    ) -> Result<Option<Outcome>> {
        for _ in 0..TRIES {
            let together = Revocation { job: claim.clone(), lease: None };
            let transaction = self.revoke_in(Transaction::new(&self.tables.client), job, together, DOING)?;
            let transaction = transaction.update(Slot::Running, self.add_running(job)?);
            let transaction = self.guarded(transaction, guard, job.job_id)?;
            let Some(refusals) = transaction.run(DOING).await? else {
                return written(job, claim, DOING).map(Some);
            };
            match (refusals.of(Slot::Job), refusals.of(Slot::Running)) {
                (Some(item), _) => return Outcome::refused_by(item).map(Some),
                // There is no limit any more.
                (None, Some(row)) if !row.contains_key("most") => {
                    return self.change_once(job, claim, guard, "claim job").await.map(Some);
                }
                (None, Some(row)) => {
                    if !self.take_out_ended(job.user_id, &row).await.map_err(Error::unwritten)? {
                        return Ok(None);
                    }
                }
                (None, None) => return Err(refusals.error(DOING)),
            }
        }
        Err(Error::Busy { retry_after: 1 })
    }

    fn add_running(&self, job: &Job) -> Result<Update> {
        Update::builder()
            .table_name(&self.tables.registry)
            .key("pk", text(keys::running(job.user_id)))
            .condition_expression(ROOM)
            .update_expression("SET jobs.#job = :attempt")
            .expression_attribute_names("#job", job.job_id.to_string())
            .expression_attribute_values(":attempt", number(i64::from(job.attempt) + 1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::internal(DOING, error))
    }

    /// Takes out of a full row what does not run any more; false when all of it runs.
    async fn take_out_ended(&self, user_id: Uuid, row: &Item) -> Result<bool> {
        const DOING: &str = "claim job: UpdateItem";
        let there: HashMap<String, AttributeValue> =
            row.get("jobs").and_then(|jobs| jobs.as_m().ok()).cloned().unwrap_or_default();
        // Strongly consistent: one that was claimed a moment ago runs.
        let mut running: HashMap<String, u32> = HashMap::new();
        for keys in there.keys().collect::<Vec<_>>().chunks(100) {
            for item in batch_get_jobs_now(&self.tables, keys.iter().map(|key| (*key).clone())).await? {
                let job = Job::from_item(item)?;
                // A read of several rows is not one moment: of a claim that is being written, the job may still be as it was before.
                let is_being_claimed = there.get(&job.job_id.to_string()).and_then(attempt) > Some(job.attempt);
                let is_over = job.terminal || job.deleted_at.is_some();
                if !is_over && (is_being_claimed || job.status != Status::Pending) {
                    running.insert(job.job_id.to_string(), job.attempt);
                }
            }
        }
        // The attempt of one that runs is the row's, or is about to be.
        let has_ended = |(job_id, there): &(String, AttributeValue)| {
            running.get(job_id).is_none_or(|running| Some(*running) > attempt(there))
        };
        let ended: Vec<_> = there.into_iter().filter(has_ended).collect();
        if ended.is_empty() {
            return Ok(false);
        }
        let mut request = self.tables.client.update_item().table_name(&self.tables.registry);
        request = request.key("pk", text(keys::running(user_id)));
        let (mut conditions, mut removed) = (Vec::new(), Vec::new());
        for (place, (job_id, attempt)) in ended.into_iter().take(100).enumerate() {
            conditions.push(format!("jobs.#j{place} = :a{place}"));
            removed.push(format!("jobs.#j{place}"));
            request = request
                .expression_attribute_names(format!("#j{place}"), job_id)
                .expression_attribute_values(format!(":a{place}"), attempt);
        }
        let request = request
            .condition_expression(conditions.join(" AND "))
            .update_expression(format!("REMOVE {}", removed.join(", ")));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                // Somebody else has tidied, or claims.
                Some(
                    UpdateItemError::ConditionalCheckFailedException(_)
                    | UpdateItemError::TransactionConflictException(_),
                ) => Ok(true),
                _ => Err(engine_error(DOING, &error)),
            },
        }
    }
}

fn attempt(value: &AttributeValue) -> Option<u32> {
    value.as_n().ok()?.parse().ok()
}
