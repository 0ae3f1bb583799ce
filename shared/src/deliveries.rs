//! Who is to be told of jobs' ends is told by a function of its own, which others call and do not wait for.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    signed::SignedCalls,
    time::Timestamp,
};

/// Jobs of one call: as many are told of at the same time, and would have to be told of again if the function ran out of memory.
const BATCH: usize = 20;

const DOING: &str = "deliver: Invoke";

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
        let path = format!("/2015-03-31/functions/{}/invocations", self.function);
        let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "Event")];
        let calls = jobs.chunks(BATCH).map(|jobs| async {
            let event = Deliveries { at, jobs: jobs.to_vec() };
            let event = serde_json::to_string(&event).map_err(|error| Error::internal(DOING, error))?;
            self.calls.post(DOING, &path, &headers, &event).await
        });
        // One that fails does not keep the others from being made.
        join_all(calls).await.into_iter().collect::<Result<Vec<_>>>().map(drop)
    }
}
