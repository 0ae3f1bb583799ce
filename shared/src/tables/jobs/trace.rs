//! What a worker was given lately.

use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{lists::CLAIMABLE, store::Jobs};
use crate::{
    error::{Context, Result},
    item::{cursor, number},
    model::trace::Trace,
    time::Timestamp,
};

impl Jobs {
    /// Jobs that may be what the worker of this trace was given in the last minute: two queries, side by side. The jobs themselves tell.
    pub async fn traced(&self, trace: Trace, now: Timestamp) -> Result<Vec<Uuid>> {
        let key = &trace.queue();
        let found = try_join_all(trace.times(now).map(|at| async move {
            let request = self
                .query(&CLAIMABLE, key)
                .key_condition_expression("#key = :key AND due_at = :at")
                .expression_attribute_values(":at", number(at.millis()));
            request.send().await.context("claim next: Query")
        }));
        let items = found.await?.into_iter().flat_map(|answer| answer.items.unwrap_or_default());
        Ok(items.filter_map(|item| cursor(&item, CLAIMABLE.sorted_by)).map(|(_, job_id)| job_id).collect())
    }
}
