//! `GET /jobs/{job_id}`: the owner reads a job.

use lambda_http::{Body, Request, Response};
use shared::{App, Result, http::JobResponse, model::PayloadKind};

/// Answers the job as it is now. One round trip: the caller and the job are read together; another, for all that the job has in the bucket.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}",
    operation_id = "get-job",
    tag = "user",
    summary = "Read a job",
    description = "The owner sees it as it is now. Poll until `terminal` is true: it will never change again.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses(
        (status = 200, description = "The job.", body = JobResponse<'_>),
        (status = 401), (status = 404),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let job = app.own_job_with(&request, PayloadKind::ALL).await?;
    app.payloads()?.answer(&request, &job).await
}
