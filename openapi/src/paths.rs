//! The routes: what each is for, what it takes and what it answers when all is well. A function here stands for the endpoint of
//! its name.

#![expect(dead_code, reason = "the attributes are what counts")]

use serde::Serialize;
use shared::{
    job::{JobResponse, UploadTarget},
    lifecycle::Status,
};
use utoipa::ToSchema;

use crate::requests::{Arguments, Claim, Heartbeat, Renewal, Report, UploadForm};

/// What `upload-job-file` answers.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum UploadAnswer {
    Stored(upload_job_file::Output),
    Target(UploadTarget),
}

#[utoipa::path(
    post,
    path = "/jobs/{chute_id}/{method}",
    operation_id = "create-job",
    tag = "user",
    summary = "Create a job",
    description = "The body is the job's arguments: any JSON object of at most 128 KiB. It counts against the day's quota (UTC).",
    params(
        ("chute_id" = Uuid, Path, description = "A chute that is public, the caller's own or shared with the caller."),
        ("method" = String, Path, description = "One of the chute's jobs."),
        (
            "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$",
            description = "The same key with the same request gives the same job back, never a second one."
        ),
    ),
    request_body(content = Arguments, description = "The job's arguments. Empty for `{}`."),
    responses((
        status = 200, description = "The job, pending.", body = JobResponse<'_>,
        headers(("Idempotent-Replayed" = String, description = "`true` when the job was made by an earlier request."))
    ))
)]
pub(crate) fn create_job() {}

#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list-jobs",
    tag = "user",
    summary = "List own jobs, newest first",
    description = "A page that a filter leaves short may still have a `next_cursor`: one request reads 1,000 jobs at most. A \
                   change may show here a moment later than in the job itself.",
    params(
        ("status" = Option<Status>, Query, description = "Jobs in this state only."),
        ("terminal" = Option<bool>, Query, description = "Jobs that are over, or those that are not."),
        ("chute_id" = Option<Uuid>, Query, description = "Jobs on this chute only."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Jobs on the page. 20 unless given."),
        (
            "cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}\.[0-9a-f]{32}$",
            description = "`next_cursor` of the page before."
        ),
    ),
    responses((status = 200, description = "A page.", body = list_jobs::Output))
)]
pub(crate) fn list_jobs() {}

#[utoipa::path(
    get,
    path = "/jobs/{job_id}",
    operation_id = "get-job",
    tag = "user",
    summary = "Read a job",
    description = "The owner sees it as it is now. Poll until `terminal` is true: it will never change again.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobResponse<'_>))
)]
pub(crate) fn get_job() {}

#[utoipa::path(
    delete,
    path = "/jobs/{job_id}",
    operation_id = "delete-job",
    tag = "user",
    summary = "Delete a job and its files",
    description = "From this moment on the job is gone for everyone; its miner is told to stop. Repeating it is harmless.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses((status = 200, description = "It is gone.", body = delete_job::Output))
)]
pub(crate) fn delete_job() {}

#[utoipa::path(
    get,
    path = "/jobs/{job_id}/download/{file_id}",
    operation_id = "download-output-file",
    tag = "user",
    summary = "Fetch an output file",
    description = "Redirects to S3, or says where the file is in JSON when `Accept` asks for it. The address is good for 15 minutes.",
    params(
        ("job_id" = Uuid, Path, description = "The job."),
        ("file_id" = Uuid, Path, description = "A key of the job's `output_files`."),
    ),
    responses(
        (status = 200, description = "With `Accept: application/json`.", body = download_output_file::Output<'_>),
        (
            status = 307, description = "To the file.",
            headers(("Location" = String, description = "A presigned URL."))
        ),
    )
)]
pub(crate) fn download_output_file() {}

#[utoipa::path(
    get,
    path = "/jobs/claimable",
    operation_id = "list-claimable-jobs",
    tag = "miner",
    summary = "Look for work on a chute",
    description = "Pending jobs, oldest first. For accounts with the miner role.",
    params(
        ("chute_id" = Uuid, Query, description = "The chute."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Jobs on the page. 20 unless given."),
        (
            "cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}\.[0-9a-f]{32}$",
            description = "`next_cursor` of the page before."
        ),
    ),
    responses((status = 200, description = "A page.", body = list_claimable_jobs::Output))
)]
pub(crate) fn list_claimable_jobs() {}

#[utoipa::path(
    put,
    path = "/jobs/{job_id}/claim",
    operation_id = "claim-job",
    tag = "miner",
    summary = "Claim a job",
    description = "One miner wins; it may ask again. `job_status_url` carries the job token that opens the job's own routes.",
    params(("job_id" = Uuid, Path, description = "A pending job.")),
    request_body(content = Claim, description = "At most 16 KiB. May be empty."),
    responses((status = 200, description = "The job is the caller's.", body = claim_job::Output<'_>))
)]
pub(crate) fn claim_job() {}

#[utoipa::path(
    put,
    path = "/jobs/{job_id}/heartbeat",
    operation_id = "heartbeat-job",
    tag = "miner",
    summary = "Hold the job, tell the progress",
    description = "A miner that sends heartbeats has to go on: the lease ends 90 seconds after each, and the job goes to another \
                   miner then. While files are uploaded it ends as late as an upload URL of that moment.",
    security((), ("job_token" = [])),
    params(
        ("job_id" = Uuid, Path, description = "A claimed job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = Heartbeat, description = "At most 4 KiB. May be empty."),
    responses((status = 200, description = "The lease. `cancelled`: stop, nothing will count.", body = heartbeat_job::Output))
)]
pub(crate) fn heartbeat_job() {}

#[utoipa::path(
    post,
    path = "/jobs/{job_id}",
    operation_id = "finish-job",
    tag = "miner",
    summary = "Report the result, get upload URLs",
    description = "Python's `NaN` is taken in `result`, and stored as null. Repeating the same report gives fresh URLs and \
                   forgets nothing. Send each file as its entry in `uploads` says, then complete the job.",
    security((), ("job_token" = [])),
    params(
        ("job_id" = Uuid, Path, description = "A claimed job."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    request_body(content = Report, description = "Every field is optional."),
    responses((status = 200, description = "The job, with `output_storage_urls` and `uploads`.", body = JobResponse<'_>))
)]
pub(crate) fn finish_job() {}

#[utoipa::path(
    put,
    path = "/jobs/{job_id}/upload",
    operation_id = "upload-job-file",
    tag = "miner",
    summary = "Send a small file, or renew an upload URL",
    description = "A form brings a file of at most 4 MiB. JSON asks for a fresh target; of a file in parts, for the parts that are \
                   still missing. A file token, as in `renew_url`, opens this route for its own file.",
    security((), ("job_token" = [])),
    params(
        ("job_id" = Uuid, Path, description = "A job whose uploads are under way."),
        ("token" = String, Query, description = "The job token of `job_status_url`, or the file token of `renew_url`."),
    ),
    request_body(content((UploadForm = "multipart/form-data"), (Renewal = "application/json"))),
    responses((status = 200, description = "Stored, or where the file goes.", body = UploadAnswer))
)]
pub(crate) fn upload_job_file() {}

#[utoipa::path(
    put,
    path = "/jobs/{job_id}",
    operation_id = "complete-job",
    tag = "miner",
    summary = "Have the uploads checked",
    description = "Every file that was reported is looked for; then the job is terminal: `complete`, or `partial_failure` when \
                   files are missing. The body is ignored. 503 means that checking goes on where it stopped when repeated.",
    security((), ("job_token" = [])),
    params(
        ("job_id" = Uuid, Path, description = "A job that was reported."),
        ("token" = String, Query, description = "The job token of `job_status_url`."),
    ),
    responses((status = 200, description = "The job.", body = JobResponse<'_>))
)]
pub(crate) fn complete_job() {}

#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "docs",
    tag = "reference",
    summary = "This document",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object))
)]
pub(crate) fn openapi_json() {}

#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs-page",
    tag = "reference",
    summary = "The API reference",
    security(()),
    responses(
        (status = 200, description = "HTML.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub(crate) fn docs_page() {}

#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs-file",
    tag = "reference",
    summary = "What the reference loads",
    security(()),
    params(("file" = String, Path, description = "A file that the page names.")),
    responses(
        (
            status = 200, description = "The file.",
            content((String = "text/css; charset=utf-8"), (String = "text/javascript; charset=utf-8"))
        ),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub(crate) fn docs_file() {}

#[utoipa::path(
    get,
    path = "/console",
    operation_id = "console-page",
    tag = "reference",
    summary = "A page that shows a user their jobs",
    security(()),
    responses(
        (status = 200, description = "HTML.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub(crate) fn console_page() {}

#[utoipa::path(
    get,
    path = "/console/{file}",
    operation_id = "console-file",
    tag = "reference",
    summary = "What the console loads",
    security(()),
    params(("file" = String, Path, description = "A file that the page names.")),
    responses(
        (
            status = 200, description = "The file.",
            content((String = "text/css; charset=utf-8"), (String = "text/javascript; charset=utf-8"))
        ),
        (status = 304, description = "The copy that the client has, by `If-None-Match`, is still good.")
    )
)]
pub(crate) fn console_file() {}
