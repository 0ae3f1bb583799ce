//! `PUT /jobs/{job_id}/upload?token=`: one file of a job. A form brings a small file, as the Chutes Job API takes it; JSON asks for a
//! fresh upload target.

mod expected;
mod form;
mod renew;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Result,
    http::{
        UploadTarget,
        request::{header, now},
    },
};
use utoipa::ToSchema;

use crate::{
    form::{UploadForm, Uploaded},
    renew::Renewal,
};

/// That the file is stored, or where it goes.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "each request form answers its own")]
enum UploadAnswer {
    Stored(Uploaded),
    Target(UploadTarget),
}

/// Takes the file or answers where it goes. Both need a token of the job or of this file.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/upload",
    operation_id = "upload-job-file",
    tag = "miner",
    summary = "Send a small file, or renew an upload URL",
    description = "A form brings a file of at most 4 MiB. JSON asks for a fresh target; of a file in parts, for the parts that are \
                   still missing. A file token, as in `renew_url`, opens this route for its own file.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "A job whose uploads are under way."),
        ("token" = String, Query, description = "The job token of `job_status_url`, or the file token of `renew_url`."),
    ),
    request_body(content((UploadForm = "multipart/form-data"), (Renewal = "application/json"))),
    responses(
        (status = 200, description = "Stored, or where the file goes.", body = UploadAnswer),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let claims = app.file_claims(&request, now(&request)).await?;
    match header(&request, "content-type") {
        Some(kind) if is_json(kind) => renew::handle(app, &request, claims).await,
        _ => form::handle(app, request, claims).await,
    }
}

/// Whether a media type, whose case does not matter, is JSON's.
fn is_json(kind: &str) -> bool {
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
