//! Transactions whose items are known by what they are for.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::transact_write_items::{TransactWriteItemsError, builders::TransactWriteItemsFluentBuilder},
    types::{CancellationReason, Put, TransactWriteItem, Update},
};

use crate::{
    error::{Error, Result, engine_error},
    item::Item,
};

/// Milliseconds, at most, before a transaction that met another one is tried again: half a second in all on average.
/// ("Exponential Backoff And Jitter", with full jitter.)
pub const CONFLICT_PAUSES_MS: [u64; 6] = [20, 40, 80, 160, 320, 640];

/// What an item of a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slot {
    /// The job.
    Job,
    /// The row of its heartbeats.
    Lease,
    /// Its alarm.
    Alarm,
    /// A count of usage.
    Usage,
    /// What runs of the owner's jobs.
    Running,
    /// The signature that asks for it.
    ReplayGuard,
}

/// A transaction under construction.
pub(super) struct Transaction {
    request: TransactWriteItemsFluentBuilder,
    slots: Vec<Slot>,
}

impl Transaction {
    pub(super) fn new(client: &Client) -> Self {
        Self { request: client.transact_write_items(), slots: Vec::new() }
    }

    pub(super) fn put(self, slot: Slot, put: Put) -> Self {
        self.add(slot, TransactWriteItem::builder().put(put).build())
    }

    pub(super) fn update(self, slot: Slot, update: Update) -> Self {
        self.add(slot, TransactWriteItem::builder().update(update).build())
    }

    fn add(mut self, slot: Slot, item: TransactWriteItem) -> Self {
        self.slots.push(slot);
        Self { request: self.request.transact_items(item), slots: self.slots }
    }

    /// Carries it out, and again when another transaction on the same rows was in its way: all creates of a user count in one row.
    /// What refused it, when something did; 401 when that was the signature, which was used before.
    pub(super) async fn run(self, doing: &'static str) -> Result<Option<Refusals>> {
        for pause in CONFLICT_PAUSES_MS {
            let Err(error) = self.request.clone().send().await else { return Ok(None) };
            let reasons = reasons(&error, doing)?;
            if !are_conflicts(&reasons) {
                return Refusals { reasons, slots: self.slots }.unless_replayed().map(Some);
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=pause))).await;
        }
        match self.request.send().await {
            Ok(_) => Ok(None),
            Err(error) => Refusals { reasons: reasons(&error, doing)?, slots: self.slots }.unless_replayed().map(Some),
        }
    }
}

fn reasons<R: std::fmt::Debug + 'static>(
    error: &SdkError<TransactWriteItemsError, R>,
    doing: &'static str,
) -> Result<Vec<CancellationReason>> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            Ok(canceled.cancellation_reasons().to_vec())
        }
        _ => Err(engine_error(doing, error)),
    }
}

/// Whether nothing but another transaction was in the way.
fn are_conflicts(reasons: &[CancellationReason]) -> bool {
    reasons.iter().all(|reason| matches!(reason.code(), None | Some("None" | "TransactionConflict")))
}

/// Why a transaction was cancelled, item by item.
pub(super) struct Refusals {
    reasons: Vec<CancellationReason>,
    slots: Vec<Slot>,
}

impl Refusals {
    fn unless_replayed(self) -> Result<Self> {
        if self.of(Slot::ReplayGuard).is_some() { Err(Error::replayed()) } else { Ok(self) }
    }

    /// The item in a slot whose condition did not hold, as it is; empty when there is none.
    pub(super) fn of(&self, slot: Slot) -> Option<Item> {
        let in_slot = self.slots.iter().zip(&self.reasons).filter(|(of, _)| **of == slot);
        let mut refused = in_slot.filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"));
        refused.next().map(|(_, reason)| reason.item.clone().unwrap_or_default())
    }

    /// Most of what else cancels a transaction passes: another one on the same rows, or throttling. An item that DynamoDB
    /// cannot store does not. Nothing of it was written.
    pub(super) fn error(&self, doing: &'static str) -> Error {
        let codes: Vec<_> = self.reasons.iter().map(|reason| reason.code().unwrap_or_default()).collect();
        let lasting = ["ValidationError", "ItemCollectionSizeLimitExceeded"];
        let error = match codes.iter().any(|code| lasting.contains(code)) {
            true => Error::internal(doing, codes.join(", ")),
            false => Error::unavailable(doing, codes.join(", ")),
        };
        error.unwritten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_was_cancelled_has_written_nothing() {
        for code in ["TransactionConflict", "ThrottlingError", "ValidationError"] {
            let reasons = vec![CancellationReason::builder().code(code).build()];
            let refusals = Refusals { reasons, slots: vec![Slot::Job] };
            assert!(refusals.error("test").is_refusal(), "{code}");
        }
    }
}
