//! How clients see what was done to tell of a job's end.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    model::{Delivery, DeliveryState, Try},
    time::{Timestamp, rfc3339, rfc3339_option},
};

/// What became of a job's webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryLog {
    /// What the receiver knows it by, however often it comes. Null before the job is over.
    webhook_id: Option<String>,
    /// How it stands. Null before the job is over.
    state: Option<DeliveryState>,
    /// By when it is tried next, to the minute. Null when it is not.
    #[serde(serialize_with = "rfc3339_option")]
    next_try_at: Option<Timestamp>,
    /// The tries, the newest last.
    deliveries: Vec<DeliveryTry>,
}

/// One try.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryTry {
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    at: Timestamp,
    /// The HTTP status of the answer. Null when there was none.
    status: Option<u16>,
    /// How long it took, in milliseconds.
    ms: u32,
    /// The first 1 KiB of the answer's body.
    body: Option<String>,
    /// Why there was no answer. Null when there was one.
    error: Option<String>,
}

impl DeliveryLog {
    /// Of a delivery, if it has begun.
    pub fn new(delivery: Option<&Delivery>) -> Self {
        let tries = delivery.into_iter().flat_map(|delivery| delivery.log.iter().cloned());
        Self {
            webhook_id: delivery.map(Delivery::webhook_id),
            state: delivery.map(|delivery| delivery.state),
            next_try_at: delivery.and_then(|delivery| delivery.due_at),
            deliveries: tries.map(DeliveryTry::from).collect(),
        }
    }
}

impl From<Try> for DeliveryTry {
    fn from(Try { at, status, ms, body, error }: Try) -> Self {
        Self { at, status, ms, body, error }
    }
}
