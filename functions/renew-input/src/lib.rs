//! `PUT /inputs/{input_id}`: a user goes on with the upload of an input, or ends it.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    http::{
        InputResponse, reply,
        request::{now, path, path_uuid},
    },
    model::Input,
    tables::Read,
};

/// Answers a fresh target for the file: of one in parts, the parts that are missing. Where none is, the file is made of them.
#[utoipa::path(
    put,
    path = "/inputs/{input_id}",
    operation_id = "renew-input",
    tag = "user",
    summary = "Go on with the upload of an input",
    description = "Fresh URLs; of a file in parts, for the parts that are missing. When all parts are there, this makes the file of them. \
                   `upload` is null when the file is there. A body is ignored.",
    params(("input_id" = Uuid, Path, description = "An input of the caller's own.")),
    responses(
        (status = 200, description = "The input, and where its file goes.", body = InputResponse),
        (status = 401), (status = 404),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let input_id = path_uuid(&request, "input_id");
    let per_user = |read: &mut Read, user_id| {
        if let Some(input_id) = input_id {
            read.row::<Input>(&(user_id, input_id));
        }
    };
    let credentials = app.credentials(&request)?;
    let (caller, found) = credentials.caller_beside(&app.tables, Read::default(), per_user).await?;
    let (user_id, asked) = (caller.user.user_id, path(&request, "input_id"));
    let not_found = || Error::NotFound(format!("Input {asked} not found or does not belong to you"));
    let input_id = input_id.ok_or_else(not_found)?;
    let input = found.row::<Input>(&(user_id, input_id))?.filter(|input| input.is_live(now(&request)));
    let input = input.ok_or_else(not_found)?;

    app.jobs.guard_repeat(caller.guard.as_ref(), input_id).await?;
    let upload = app.input_uploads(&request)?.rest(user_id, input_id, &input.file).await?;
    Ok(reply::json(200, &InputResponse::new(input_id, &input, upload)))
}
