//! `POST /jobs/{job_id}?token=`: a miner reports its result and gets upload targets.

mod report;

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    http::{JobResponse, reply, request::now},
    model::lifecycle,
    outputs::{allowance, cut},
    tables::jobs::Change,
};

use crate::report::{Report, ReportBody};

/// Stores the report and answers with a presigned URL per file. One round trip to the database; presigning is offline.
/// Repeating the same report gives fresh URLs and forgets nothing.
#[utoipa::path(
    post,
    path = "/jobs/{job_id}",
    operation_id = "finish-job",
    tag = "miner",
    summary = "Report the result, get upload URLs",
    description = "Python's `NaN` is taken in `result`, and stored as null. Repeating the same report gives fresh URLs and \
                   forgets nothing. Send each file as its entry in `uploads` says, then complete the job.",
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
    let input = Report::read(&request, claims.sub)?;
    allowance::check_declared(input.files.iter().map(|(_, file)| file), app.config.max_job_bytes)?;
    let digest = input.digest()?;
    let report = lifecycle::Report {
        status: input.status,
        result: input.result.as_deref(),
        detail: input.detail.as_deref(),
        // After the digest: which parts we choose is nothing that the miner said.
        files: input.files.into_iter().map(|(file_id, file)| (file_id, cut(file))).collect(),
        digest: &digest,
        now,
    };
    let window = app.config.upload_window;
    let upload_until = claims.deadline(window).max(now.plus_seconds(window));
    let transition = lifecycle::finish(claims.sub, claims.att, upload_until, report)?;
    let uploads = app.uploads(&request, &claims)?;
    let (job, repeated) =
        match app.jobs.change_attempt(claims.sub, claims.att, transition, "finish job: UpdateItem").await? {
            Change::Made(job) => {
                job.count_end(&app.metrics);
                (job, false)
            }
            Change::Refused(job) if job.report.as_ref() == Some(&digest) => (uploads.hold(job, now).await?, true),
            Change::Refused(_) => return Err(Error::already_finished()),
        };
    let targets = uploads.targets(&job, repeated).await?;
    reply::job_with_uploads(&job, &targets)
}
