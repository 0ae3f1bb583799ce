//! What a deployment's operator counts. A request's metrics are part of its log line, in CloudWatch's embedded metric format, and
//! cost no call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::time::Timestamp;

/// The namespace of all of them.
const NAMESPACE: &str = "Jobchute";
/// Their one dimension: the CloudFormation stack. Any more would make metrics, which are paid for by the month, out of users.
const DIMENSION: &str = "Stack";

/// A metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Metric {
    /// Jobs that users created.
    JobsCreated,
    /// Jobs that their owners had tried again.
    JobsRetried,
    /// Jobs that miners claimed.
    JobsClaimed,
    /// Jobs that their miner gave back.
    JobsReleased,
    /// Time that a job had waited when it was claimed, since its creation or since it was lost.
    QueueAge,
    /// Jobs that ended with all their files.
    JobsComplete,
    /// Jobs that ended without some of their files.
    JobsPartialFailure,
    /// Jobs that ended with an error.
    JobsError,
    /// Jobs that their miner gave up, or that their owner or an administrator ended.
    JobsCancelled,
    /// Jobs that ran out of time.
    JobsTimeout,
    /// Bytes of the output files of jobs that ended.
    OutputBytes,
    /// Envelopes that were opened: uploads of an unmodified SDK.
    Envelopes,
    /// Leases that ran out, of jobs that ran or that had been reported.
    LeasesLost,
    /// Webhooks that their receiver has taken.
    WebhooksDelivered,
    /// Webhooks that were given up.
    WebhooksFailed,
    /// Time from a job's end until its webhook was taken, of the one that took longest.
    WebhookDelay,
    /// Jobs, and parts of the queue, that the reaper could not look after.
    ReapFailures,
    /// How late the reaper was, with the job that had been due for longest.
    ReapDelay,
}

impl Metric {
    const fn unit(self) -> &'static str {
        match self {
            Self::QueueAge | Self::ReapDelay | Self::WebhookDelay => "Milliseconds",
            Self::OutputBytes => "Bytes",
            _ => "Count",
        }
    }
}

/// The metrics of the request under way.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<Metric, u64>>>);

impl Metrics {
    /// Adds to what the request has counted.
    pub fn add(&self, metric: Metric, more: u64) {
        self.change(metric, |value| value.saturating_add(more));
    }

    /// Keeps the longest of several times.
    pub fn longest(&self, metric: Metric, since: Timestamp, until: Timestamp) {
        let millis = until.millis().saturating_sub(since.millis()).max(0).unsigned_abs();
        self.change(metric, |value| value.max(millis));
    }

    /// The request's metrics as members of its log line; `None` when it has none. The next request begins from nothing.
    /// ("Specification: Embedded metric format".)
    pub(crate) fn take(&self, stack: &str) -> Option<Value> {
        let values = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if values.is_empty() {
            return None;
        }
        let directives: Vec<_> = values.keys().map(|metric| json!({"Name": metric, "Unit": metric.unit()})).collect();
        let mut members = json!(values);
        members[DIMENSION] = stack.into();
        members["_aws"] = json!({
            "Timestamp": Timestamp::system(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": directives}],
        });
        Some(members)
    }

    fn change(&self, metric: Metric, change: impl FnOnce(u64) -> u64) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values.entry(metric).or_default();
        *value = change(*value);
    }
}
