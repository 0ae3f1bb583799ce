//! `GET /jobs/{job_id}/download/{file_id}`: the owner fetches an output file.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    read::Read,
    reply,
    request::{header, path, path_uuid},
    time::{Timestamp, rfc3339},
};
use utoipa::ToSchema;

/// Where the file is, for 15 minutes.
#[derive(Serialize, ToSchema)]
#[schema(as = Download)]
pub struct Output<'a> {
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
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let credentials = app.credentials(&request)?;
    let mut read = Read::default();
    if let Some(job_id) = path_uuid(&request, "job_id") {
        read.job(job_id);
    }
    let (caller, found) = read.with_caller(app, credentials, |_, _| ()).await?;
    let job = found.own_job(path(&request, "job_id"), &caller)?;
    let file = path_uuid(&request, "file_id").and_then(|file_id| job.files.as_ref()?.get(&file_id));
    let Some(file) = file.filter(|file| file.uploaded) else {
        let (job_id, file_id) = (path(&request, "job_id"), path(&request, "file_id"));
        return Err(Error::NotFound(format!("Job output file not found job_id='{job_id}' file_id='{file_id}'")));
    };

    let key = job.file_key(file);
    if file.version_id.is_none() && job.terminal {
        // A bucket without versions: what is there now has to be what was checked.
        let head = app.outputs()?.head(&key, None).await?;
        if head.and_then(|head| head.object.etag) != file.etag {
            return Err(Error::Conflict("Output file changed after the job completed".to_owned()));
        }
    }
    let presigned = app.outputs()?.presign_get(&key, file).await?;
    let output = Output {
        url: &presigned.url,
        filename: &file.filename,
        size: file.size,
        sha256: file.sha256.as_deref(),
        content_type: file.content_type.as_deref(),
        expires_at: presigned.expires_at,
    };
    if header(&request, "accept").is_some_and(|accept| accept.contains("application/json")) {
        return Ok(reply::json(200, &output));
    }
    reply::redirect(&presigned.url)
}
