//! Follows the stream of the jobs table, where the deployment has an EventBridge bus: each end of a job becomes an event.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shared::{
    App, Result,
    events::{BATCH, Event},
    model::Status,
    stream::{Batch, BatchOutcome},
    time::{Timestamp, rfc3339, rfc3339_option},
};
use uuid::Uuid;

/// The `detail-type` of every event.
const DETAIL_TYPE: &str = "Job ended";

/// Bytes of the longest `error_detail`.
const LONGEST_DETAIL: usize = 1000;

/// The end of a job, as its row has it and as an event's `detail` shows it: what a rule selects by, and what names the job.
#[derive(Deserialize, Serialize)]
struct End {
    job_id: Uuid,
    user_id: Uuid,
    chute_id: Uuid,
    method: String,
    status: Status,
    #[serde(default)]
    error_detail: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    attempt: u32,
    max_attempts: u32,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    #[serde(default, serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    /// Nothing changes it any more.
    #[serde(rename(deserialize = "updated_at"), serialize_with = "rfc3339")]
    ended_at: Timestamp,
}

/// Puts an event for each end that the batch shows, ten in a call. From one on that cannot be put, the batch comes again.
pub async fn handle(app: &App, batch: Batch) -> Result<BatchOutcome> {
    let bus = app.event_bus()?;
    let mut ends = Vec::new();
    for record in batch {
        match record.row::<End>() {
            Ok(mut end) => {
                // A call takes 256 KB. The job has all of it.
                if let Some(detail) = &mut end.error_detail {
                    detail.truncate(detail.floor_char_boundary(LONGEST_DETAIL));
                }
                let event = Event::new(DETAIL_TYPE, &end, end.ended_at.millis())?;
                ends.push((record.sequence_number().to_owned(), event));
            }
            Err(error) => tracing::error!(cause = ?error.cause(), "a job's end cannot be read, and is not published"),
        }
    }
    let calls = ends.chunks(BATCH).map(|ends| async move {
        let failed = match bus.put(ends.iter().map(|(_, event)| event)).await {
            Ok(failed) => failed,
            Err(error) => {
                tracing::error!(cause = ?error.cause(), events = ends.len(), "events could not be put");
                Some(0)
            }
        };
        failed.and_then(|at| ends.get(at)).map(|(sequence_number, _)| sequence_number.clone())
    });
    Ok(BatchOutcome::new(join_all(calls).await.into_iter().flatten().next()))
}
