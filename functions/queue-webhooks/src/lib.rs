//! Follows the stream of the jobs table: the delivery of a webhook begins when its job is over.
//!
//! The stream shows every end, whoever has written it, and costs a job without a webhook nothing: Lambda filters it. A batch that fails comes
//! again for a day. A delivery that has begun is the reaper's to go on with; the function that makes the first try is called here, and
//! not waited for, so that no receiver keeps the next batch waiting.

use futures_util::{StreamExt, stream};
use shared::{
    App, Result,
    model::End,
    stream::{Batch, BatchOutcome},
    time::Timestamp,
};

/// Deliveries that are begun at the same time.
const AT_ONCE: usize = 32;

/// Begins the delivery of each end that the batch shows, and has them made.
pub async fn handle(app: &App, batch: Batch) -> Result<BatchOutcome> {
    let begun = stream::iter(batch).map(|record| async move {
        let end: End = match record.row() {
            Ok(end) => end,
            Err(error) => {
                // It would hold up all behind it for a day, and be no clearer then.
                tracing::error!(cause = ?error.cause(), "a job's end cannot be read, and is not told");
                return Ok(None);
            }
        };
        // The stream may be late.
        let now = Timestamp::system().max(end.updated_at);
        match app.jobs.begin_delivery(&end, now).await {
            Ok(delivery) => Ok(delivery.map(|delivery| (delivery.delivery_of, now))),
            Err(error) => {
                tracing::error!(job.id = %end.job_id, cause = ?error.cause(), "a delivery could not begin");
                Err(record.sequence_number().to_owned())
            }
        }
    });
    let begun: Vec<_> = begun.buffered(AT_ONCE).collect().await;

    let jobs: Vec<_> = begun.iter().filter_map(|begun| begun.as_ref().ok().copied().flatten()).collect();
    if let Some(at) = jobs.iter().map(|(_, at)| *at).max() {
        let jobs: Vec<_> = jobs.into_iter().map(|(job_id, _)| job_id).collect();
        // The reaper makes up for a call that fails.
        if let Err(error) = app.deliverer()?.deliver(&jobs, at).await {
            tracing::error!(cause = ?error.cause(), deliveries = jobs.len(), "deliveries wait for the reaper");
        }
    }
    Ok(BatchOutcome::new(begun.into_iter().find_map(Result::err)))
}
