//! `GET /jobs/{job_id}/download/{file_id}`: the owner fetches an output file.

mod accept;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    http::{
        reply,
        request::{header, path, path_uuid},
    },
    model::PayloadKind,
    time::{Timestamp, rfc3339},
};
use utoipa::ToSchema;

/// Where the file is, for 15 minutes.
#[derive(Serialize, ToSchema)]
pub struct Download<'a> {
    /// A presigned URL.
    url: &'a str,
    filename: &'a str,
    /// Bytes.
    size: Option<u64>,
    /// In hex, when the miner declared it.
    sha256: Option<&'a str>,
    content_type: Option<&'a str>,
    #[serde(serialize_with = "rfc3339")]
    expires_at: Timestamp,
}

/// Redirects to the file in S3, or says in JSON where it is. One round trip: presigning is offline, in a
/// bucket with versions.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}/download/{file_id}",
    operation_id = "download-output-file",
    tag = "user",
    summary = "Fetch an output file",
    description = "Redirects to S3, or says where the file is in JSON when `Accept` prefers it to the file's type and to `*/*`. The \
                   address is good for 15 minutes.",
    params(
        ("job_id" = Uuid, Path, description = "The job."),
        ("file_id" = Uuid, Path, description = "A key of the job's `output_files`."),
    ),
    responses(
        (status = 200, description = "With `Accept: application/json`.", body = Download<'_>),
        (
            status = 307, description = "To the file.",
            headers(("Location" = String, description = "A presigned URL."))
        ),
        (status = 401), (status = 404), (status = 409),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let job = app.own_job_with(&request, &[PayloadKind::Files]).await?;
    let file = path_uuid(&request, "file_id").and_then(|file_id| job.files.as_ref()?.get(&file_id));
    let Some(file) = file.filter(|file| file.uploaded) else {
        let (job_id, file_id) = (path(&request, "job_id"), path(&request, "file_id"));
        return Err(Error::NotFound(format!("Job output file not found job_id='{job_id}' file_id='{file_id}'")));
    };

    let key = job.file_keys().key(&file.filename);
    if file.is_replaceable() && job.terminal {
        // A bucket without versions, or without them yet: what is there now has to be what was checked.
        let head = app.bucket()?.head(&key, file.version_id.as_deref()).await?;
        if head.and_then(|head| head.object.etag) != file.etag {
            return Err(Error::Conflict("Output file changed after the job completed".to_owned()));
        }
    }
    let presigned = app.bucket()?.presign_get(&key, file).await?;
    let download = Download {
        url: &presigned.url,
        filename: &file.filename,
        size: file.size,
        sha256: file.sha256.as_deref(),
        content_type: file.content_type.as_deref(),
        expires_at: presigned.expires_at,
    };
    let accepted = header(&request, "accept");
    if accepted.is_some_and(|accepted| accept::prefers_json(accepted, file.content_type.as_deref())) {
        return Ok(reply::json(200, &download));
    }
    reply::redirect(&presigned.url)
}
