//! `POST /jobs/{job_id}?token=`: a miner reports its result and gets upload targets.

mod report;
mod store;

use lambda_http::{Body, Request, Response};
use shared::{
    App, Result,
    http::{JobResponse, request::now},
    outputs::cut,
};

use crate::{
    report::{Report, ReportBody},
    store::{Outcome, store},
};

/// Stores the report and answers with a presigned URL per file. One round trip to the database, two when the report is large or declares
/// too much, or is an error that has the job tried again; presigning is offline.
/// Repeating the same report gives fresh URLs and forgets nothing.
#[utoipa::path(
    post,
    path = "/jobs/{job_id}",
    operation_id = "finish-job",
    tag = "miner",
    summary = "Report the result, get upload URLs",
    description = "Python's `NaN` is taken in `result`, and stored as null. Repeating the same report gives fresh URLs and \
                   forgets nothing. Send each file as its entry in `uploads` says, then complete the job. After an `error` of a job \
                   whose method has `retry_errors`, and that has attempts left, the job is `pending`: it is tried again after 10 \
                   seconds, 1 minute, then 10 minutes each time, and there is nothing to send or to complete.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A claimed job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = ReportBody, description = "Every field is optional."),
    responses(
        (status = 200, description = "The job, with `output_storage_urls` and `uploads`.", body = JobResponse<'_>),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.job_claims(&request, now).await?;
    let mut report = Report::read(&request, claims.sub)?;
    // After the digest: which parts we choose is nothing that the miner said.
    let threshold = app.config.multipart_threshold;
    report.files = report.files.into_iter().map(|(file_id, file)| (file_id, cut(file, threshold))).collect();
    let uploads = app.uploads(&request, &claims)?;
    let (job, repeated) = match store(app, &claims, report, now).await? {
        Outcome::Stored(job) => (job, false),
        Outcome::Repeated(job) => (uploads.hold(job, now).await?, true),
        Outcome::ToBeTriedAgain(job) => return app.payloads()?.answer_to_miner(&request, &job, None).await,
    };
    let targets = uploads.targets(&job, repeated).await?;
    app.payloads()?.answer_to_miner(&request, &job, Some(&targets)).await
}
