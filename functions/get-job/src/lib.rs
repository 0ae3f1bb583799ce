//! `GET /jobs/{job_id}`: the owner reads a job.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    error::Invalid,
    http::{
        JobResponse, reply,
        request::{now, query},
    },
    model::{PayloadKind, pace},
};

/// How much of the job is asked for, which decides what is read.
#[derive(Clone, Copy, PartialEq)]
enum View {
    /// All of it.
    Whole,
    /// Its state alone: what pollers ask.
    Status,
}

/// Answers the job as it is now. One round trip: the caller, the job and its progress are read together; another, for all that the job
/// has in the bucket.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}",
    operation_id = "get-job",
    tag = "user",
    summary = "Read a job",
    description = "The owner sees it as it is now. Poll until `terminal` is true: it will never change again, unless its owner has it tried again. Until then, `Retry-After` \
                   tells when to ask again: after a tenth of the time since the job last changed its state, 1 to 300 seconds.",
    params(
        ("job_id" = Uuid, Path, description = "The job."),
        (
            "view" = Option<String>, Query, pattern = "^status$",
            description = "`status` leaves out `job_args`, `inputs`, `result` and `output_files` (null): what pollers ask."
        ),
    ),
    responses(
        (
            status = 200, description = "The job.", body = JobResponse<'_>,
            headers(("Retry-After" = u16, description = "Seconds after which to ask again. None once `terminal` is true."))
        ),
        (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let job = app.own_job_in_progress(&request, now).await?;
    let again = pace::poll(&job, now);
    let job = match View::of(&request)? {
        View::Whole => app.with_payloads(job, PayloadKind::ALL, &request).await?,
        View::Status => job.without_payloads(),
    };
    Ok(reply::again_after(app.payloads()?.answer(&request, &job).await?, again))
}

impl View {
    /// 422 for one that is not known.
    fn of(request: &Request) -> Result<Self> {
        match query(request, "view") {
            None => Ok(Self::Whole),
            Some("status") => Ok(Self::Status),
            Some(other) => {
                let loc = vec!["query".into(), "view".into()];
                Err(Error::Invalid(vec![Invalid::value(loc, "Input should be 'status'", other.into())]))
            }
        }
    }
}
