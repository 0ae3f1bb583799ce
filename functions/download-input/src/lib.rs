//! `GET /jobs/{job_id}/inputs/{input_id}?token=`: a miner fetches an input of its job.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    claims::load_needed,
    http::{
        reply,
        request::{now, path, path_uuid},
    },
    model::{Input, OutputFile, PayloadKind},
};

/// What a file is of which nothing else was declared, whatever its upload said: bytes.
const UNDECLARED: &str = "application/octet-stream";

/// Redirects to the file in S3, as the version that was there when the job was created. One round trip: presigning is offline.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}/inputs/{input_id}",
    operation_id = "download-input",
    tag = "miner",
    summary = "Fetch an input",
    description = "Redirects to S3, for as long as the attempt has the job: the claim's `job_data` has this address, with a token for this \
                   input alone, in the place of the input's `uri`. The address that it leads to is good for 15 minutes.",
    security(("job_token" = []), ()),
    params(
        ("job_id" = Uuid, Path, description = "The job."),
        ("input_id" = Uuid, Path, description = "An input that its arguments name."),
        ("token" = String, Query, description = "The token of the address in `job_data`, or the job token of `job_status_url`."),
    ),
    responses(
        (
            status = 307, description = "To the file.",
            headers(("Location" = String, description = "A presigned URL."))
        ),
        (status = 400), (status = 401), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let claims = app.input_claims(&request, now).await?;
    let mut job = app.held_job(&claims).await?;
    if job.terminal {
        return Err(Error::already_finished());
    }
    load_needed(app, &mut job, PayloadKind::Inputs, now, "fetch input: TransactWriteItems").await?;
    let inputs = job.named_inputs()?.unwrap_or_default();
    let input = path_uuid(&request, "input_id").and_then(|input_id| Some((input_id, inputs.get(&input_id)?)));
    let Some((input_id, file)) = input else {
        let (job_id, input_id) = (path(&request, "job_id"), path(&request, "input_id"));
        return Err(Error::NotFound(format!("Input not found job_id='{job_id}' input_id='{input_id}'")));
    };
    let key = Input::key(job.user_id, input_id, &file.filename);
    let content_type = file.content_type.clone().unwrap_or_else(|| UNDECLARED.to_owned());
    let file = OutputFile { content_type: Some(content_type), ..file.clone() };
    reply::redirect(&app.bucket()?.presign_get(&key, &file).await?.url)
}
