//! The replay guard: a hotkey's signature over a request that changes something is accepted once.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{Put, ReturnValue},
};
use uuid::Uuid;

use super::{
    store::Jobs,
    transaction::{Slot, Transaction},
};
use crate::{
    error::{Error, Result, engine_error},
    item::{Item, keys, number, text},
};

/// A hotkey's signature over a mutation: good for one job and one route. The same request again, whose first answer may have been lost,
/// is about the same job; on any other job, or another route, the signature is a replay.
#[derive(Debug, Clone)]
pub struct ReplayGuard {
    /// SHA-256 of the signature's bytes.
    pub hash: [u8; 32],
    /// The request's method and path, which the signature of one with a body does not cover, and the job's run where that counts.
    pub used_for: String,
    /// When its nonce is too old anyway, in seconds.
    pub expires_at: i64,
}

/// Holds for a signature that was not used yet, or that was used for this. An earlier release has not written what for.
const UNUSED: &str =
    "attribute_not_exists(pk) OR (job_id = :job AND (attribute_not_exists(used_for) OR used_for = :used_for))";

impl ReplayGuard {
    /// Good for this run of the job alone: after a retry, the same request again would be about another one.
    pub fn of_run(&self, run: u32) -> Self {
        let used_for = match run {
            0 => self.used_for.clone(),
            _ => format!("{} of run {run}", self.used_for),
        };
        Self { used_for, ..self.clone() }
    }

    fn row(&self, job_id: Uuid) -> Item {
        HashMap::from([
            ("pk".to_owned(), text(keys::replay(self.hash))),
            ("job_id".to_owned(), text(job_id.to_string())),
            ("used_for".to_owned(), text(&self.used_for)),
            ("expires_at".to_owned(), number(self.expires_at)),
        ])
    }
}

impl Jobs {
    /// The transaction with the write that remembers the signature, where there is one.
    pub(super) fn guarded(
        &self,
        transaction: Transaction,
        guard: Option<&ReplayGuard>,
        job_id: Uuid,
    ) -> Result<Transaction> {
        Ok(match guard {
            Some(guard) => transaction.put(Slot::ReplayGuard, self.guard(guard, job_id)?),
            None => transaction,
        })
    }

    /// The write that remembers, until its nonce is too old anyway, which job a signature was used for.
    fn guard(&self, guard: &ReplayGuard, job_id: Uuid) -> Result<Put> {
        Put::builder()
            .table_name(&self.tables.registry)
            .set_item(Some(guard.row(job_id)))
            .condition_expression(UNUSED)
            .expression_attribute_values(":job", text(job_id.to_string()))
            .expression_attribute_values(":used_for", text(&guard.used_for))
            .build()
            .map_err(|error| Error::internal("replay guard", error))
    }

    /// Uses a signature for a request that changes nothing, because its change was made before. 401 when it was used for another
    /// job. Whether it was used before.
    pub async fn guard_repeat(&self, guard: Option<&ReplayGuard>, job_id: Uuid) -> Result<bool> {
        let Some(guard) = guard else { return Ok(false) };
        let request = self
            .tables
            .client
            .put_item()
            .table_name(&self.tables.registry)
            .set_item(Some(guard.row(job_id)))
            .condition_expression(UNUSED)
            .expression_attribute_values(":job", text(job_id.to_string()))
            .expression_attribute_values(":used_for", text(&guard.used_for))
            .return_values(ReturnValue::AllOld);
        match request.send().await {
            Ok(answer) => Ok(answer.attributes.is_some()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Err(Error::replayed()),
                _ => Err(engine_error("replay guard: PutItem", &error)),
            },
        }
    }
}
