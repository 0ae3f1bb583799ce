//! `GET /jobs/{job_id}/logs?after=`: the owner reads what the job prints.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Result,
    http::{Parameters, reply},
    model::Chunk,
    outputs,
    time::{Timestamp, rfc3339},
};
use utoipa::ToSchema;

/// What a job has printed, in the order in which it came.
#[derive(Serialize, ToSchema)]
pub struct Logs {
    chunks: Vec<LogChunk>,
    /// What `after` is to be, to go on from here: now, after a page of 100 chunks, or later, when there may be more. Null when there is
    /// nothing yet.
    next: Option<String>,
    /// What the job's `log_bytes` was with the last chunk up to there. While the job's is more, there is more, or on its way. Null when there is
    /// nothing yet.
    log_bytes: Option<u64>,
}

/// Some bytes of it. A character may begin in one and end in the next.
#[derive(Serialize, ToSchema)]
struct LogChunk {
    /// Which attempt printed it.
    attempt: u32,
    /// When its miner sent it.
    #[serde(serialize_with = "rfc3339")]
    at: Timestamp,
    /// Bytes.
    size: u64,
    /// Where it is, for 15 minutes.
    url: String,
}

/// Lists the chunks of all attempts. One round trip for the caller and the job, and one listing.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}/logs",
    operation_id = "list-logs",
    tag = "user",
    summary = "Read what the job prints",
    description = "While it runs and afterwards, of all its attempts, the oldest first: 100 chunks at most. Miners send what they have with \
                   their heartbeats, and where that is more than 100 MiB of an attempt, not all of it. The logs go with the job's files.",
    params(
        ("job_id" = Uuid, Path, description = "The job."),
        ("after" = Option<String>, Query, pattern = "^[0-9]{6}/[0-9]{12}-[0-9]{15}$", description = "The `next` of an answer: what has come since."),
    ),
    responses(
        (status = 200, description = "The chunks.", body = Logs),
        (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let job = app.own_job(&request).await?;
    let mut parameters = Parameters::new(&request);
    let after = parameters.optional("after", "the `next` of these logs", Chunk::at_place);
    parameters.end()?;
    let chunks = app.bucket()?.logs(&job.file_keys(), after).await?;
    let last = chunks.last().map(|last| last.chunk).or(after);
    let (next, log_bytes) = (last.map(|chunk| chunk.place()), last.map(|chunk| chunk.end));
    Ok(reply::json(200, &Logs { chunks: chunks.into_iter().map(LogChunk::from).collect(), next, log_bytes }))
}

impl From<outputs::LogChunk> for LogChunk {
    fn from(outputs::LogChunk { chunk, size, url }: outputs::LogChunk) -> Self {
        Self { attempt: chunk.attempt, at: chunk.at, size, url }
    }
}
