//! The form: a small file through the API.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::TryStreamExt;
use lambda_http::{Body, Request, Response};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    App, Error, Result,
    auth::JobClaims,
    error::Invalid,
    http::{
        decoded, reply,
        request::{header, now},
    },
    model::{Job, OutputFile, lifecycle},
    tables::jobs::Change,
    time::Timestamp,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::expected::expected_file;

/// Bytes of the largest file that goes through the API: 4 MiB. In base64 it still fits into Lambda's 6 MB.
const FILE_LIMIT: u64 = 4 << 20;
/// Bytes of the largest form when it is compressed: the file, and as much around it as Lambda lets pass of another form.
const FORM_LIMIT: usize = 6 << 20;
/// Writes that are tried: a list moves once, if at all.
const TRIES: usize = 3;

/// That the file is stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct Uploaded {
    status: &'static str,
    filename: String,
    file_id: Uuid,
    path: String,
    uploaded: bool,
}

/// A small file.
#[derive(ToSchema)]
pub(crate) struct UploadForm {
    /// The bytes: at most 4 MiB.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Bytes,
    /// Of the part that the file is in.
    #[schema(ignore)]
    content_type: Option<String>,
    /// The file's name, as it was reported.
    path: String,
}

/// Stores the file and marks it as uploaded.
pub(crate) async fn handle(app: &App, request: Request, claims: JobClaims) -> Result<Response<Body>> {
    let now = now(&request);
    let uploads = app.uploads(&request, &claims)?;
    let form = parse(request).await?;
    let (job, file) = expected_file(app, &claims, &form.path).await?;
    check_declared(&file, &form.file)?;
    let job = uploads.hold(job, now).await?;
    if job.terminal {
        return Err(Error::already_finished());
    }
    let file_id = OutputFile::id(job.job_id, &form.path);
    let path = job.file_keys().key(&file.filename);
    app.bucket()?.put_file(&path, form.file, form.content_type.as_deref(), &file).await?;
    mark_arrived(app, &claims, job, file_id, now).await?;
    let uploaded = Uploaded { status: "success", filename: file.filename, file_id, path, uploaded: true };
    Ok(reply::json(200, &uploaded))
}

/// Marks the file as uploaded, where the job's list is: a declaration may have taken it out of the item since the job was read.
async fn mark_arrived(app: &App, claims: &JobClaims, mut job: Job, file_id: Uuid, now: Timestamp) -> Result<()> {
    for _ in 0..TRIES {
        let transition = match job.file_list {
            Some(_) => lifecycle::file_arrived_in_list(claims.att, now),
            None => lifecycle::file_arrived(claims.att, &file_id.to_string(), now),
        };
        match app.jobs.change_attempt(claims.sub, claims.att, transition, "upload: UpdateItem").await? {
            Change::Made(_) => return Ok(()),
            Change::Refused(job) if job.terminal => return Err(Error::already_finished()),
            Change::Refused(changed) => job = changed,
        }
    }
    Err(Error::unavailable("upload: UpdateItem", "the list of files is elsewhere each time"))
}

/// What S3 checks for a presigned URL is checked here for a form.
fn check_declared(file: &OutputFile, bytes: &[u8]) -> Result<()> {
    let hash = || hex::encode(Sha256::digest(bytes));
    if file.size.is_some_and(|size| size != bytes.len() as u64) {
        return Err(Error::BadRequest(format!("File {} has not the declared size", file.filename)));
    }
    if file.sha256.as_ref().is_some_and(|declared| *declared != hash()) {
        return Err(Error::BadRequest(format!("File {} has not the declared SHA-256", file.filename)));
    }
    Ok(())
}

/// All of a part. Like the body, it comes in one piece: `Field::bytes` would copy that.
async fn whole(part: Field<'_>) -> multer::Result<Bytes> {
    let mut pieces: Vec<_> = part.try_collect().await?;
    Ok(if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() })
}

/// The fields `file` and `path`, in either order.
async fn parse(request: Request) -> Result<UploadForm> {
    let broken = |_| Error::BadRequest("There was an error parsing the body".to_owned());
    let missing = || vec![Invalid::missing("body", "file"), Invalid::missing("body", "path")];
    let Ok(boundary) = multer::parse_boundary(header(&request, "content-type").unwrap_or_default()) else {
        return Err(Error::Invalid(missing()));
    };
    let body = match header(&request, "content-encoding") {
        Some(_) => Bytes::from(decoded(&request, FORM_LIMIT)?.into_owned()),
        // Not copied.
        None => match request.into_body() {
            Body::Text(text) => text.into(),
            Body::Binary(bytes) => bytes.into(),
            _ => Bytes::new(),
        },
    };
    let stream = futures_util::stream::once(async { Ok::<_, Infallible>(body) });
    let limits = Constraints::new().size_limit(SizeLimit::new().per_field(FILE_LIMIT));
    let mut parts = Multipart::with_constraints(stream, boundary, limits);
    let (mut file, mut content_type, mut path) = (None, None, None);
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        match part.name() {
            Some("file") => {
                content_type = part.content_type().map(ToString::to_string);
                file = Some(whole(part).await.map_err(|error| match error {
                    multer::Error::FieldSizeExceeded { .. } => Error::TooLarge(format!(
                        "Files over {FILE_LIMIT} bytes do not go through the API: PUT them to the presigned URL"
                    )),
                    other => broken(other),
                })?);
            }
            Some("path") => path = Some(part.text().await.map_err(broken)?),
            _ => {}
        }
    }
    match (file, path) {
        (Some(file), Some(path)) => Ok(UploadForm { file, content_type, path }),
        (file, path) => {
            let absent = [file.is_none(), path.is_none()];
            let errors = missing().into_iter().zip(absent).filter_map(|(error, absent)| absent.then_some(error));
            Err(Error::Invalid(errors.collect()))
        }
    }
}
