//! Who is to be told of jobs' ends is told by a function of its own, which others call and do not wait for.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    signed::SignedCalls,
    time::Timestamp,
};

/// Jobs of one call: as many are told of at the same time.
const BATCH: usize = 100;

/// What the function is called with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Deliveries {
    /// The time of whoever calls.
    pub at: Timestamp,
    /// Jobs whose delivery is due.
    pub jobs: Vec<Uuid>,
}

/// The function that delivers webhooks.
#[derive(Debug, Clone)]
pub struct Deliverer {
    calls: SignedCalls,
    /// The function's name.
    function: String,
}

impl Deliverer {
    pub(crate) fn new(calls: SignedCalls, function: String) -> Self {
        Self { calls, function }
    }

    /// Has these jobs' ends told, and does not wait for that. Each delivery is due for the reaper meanwhile, so that one whose call is lost
    /// is made up for.
    pub async fn deliver(&self, jobs: &[Uuid], at: Timestamp) -> Result<()> {
        for jobs in jobs.chunks(BATCH) {
            let event = Deliveries { at, jobs: jobs.to_vec() };
            let event = serde_json::to_string(&event).map_err(|error| Error::internal("deliver: Invoke", error))?;
            let path = format!("/2015-03-31/functions/{}/invocations", self.function);
            let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "Event")];
            self.calls.post("deliver: Invoke", &path, &headers, &event).await?;
        }
        Ok(())
    }
}
