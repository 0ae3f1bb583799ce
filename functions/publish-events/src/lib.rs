//! Follows the stream of the jobs table, where the deployment has an EventBridge bus: each end of a job becomes an event.

use futures_util::future::join_all;
use serde::Serialize;
use shared::{
    App, Result,
    events::{BATCH, Event},
    model::{Job, Status},
    stream::{Batch, BatchOutcome},
    time::{Timestamp, rfc3339, rfc3339_option},
};
use uuid::Uuid;

/// The `detail-type` of every event.
const DETAIL_TYPE: &str = "Job ended";

/// An event's `detail`: what a rule selects by, and what names the job. `docs/events.md` describes it.
#[derive(Serialize)]
struct Detail<'a> {
    job_id: Uuid,
    user_id: Uuid,
    chute_id: Uuid,
    method: &'a str,
    status: Status,
    error_detail: Option<&'a str>,
    labels: &'a [String],
    attempt: u32,
    max_attempts: u32,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    ended_at: Timestamp,
}

impl<'a> From<&'a Job> for Detail<'a> {
    fn from(job: &'a Job) -> Self {
        Self {
            job_id: job.job_id,
            user_id: job.user_id,
            chute_id: job.chute_id,
            method: &job.method,
            status: job.status,
            error_detail: job.error_detail.as_deref(),
            labels: &job.labels,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            created_at: job.created_at,
            started_at: job.started_at,
            ended_at: job.updated_at,
        }
    }
}

/// Puts an event for each end that the batch shows, ten in a call. From one on that cannot be put, the batch comes again.
pub async fn handle(app: &App, batch: Batch) -> Result<BatchOutcome> {
    let bus = app.event_bus()?;
    let mut ends = Vec::new();
    for record in batch {
        match record.row::<Job>() {
            Ok(job) => {
                let event = Event::new(DETAIL_TYPE, &Detail::from(&job), job.updated_at.millis())?;
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
