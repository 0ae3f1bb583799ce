//! `POST /inputs`: a user asks for a place for an input file.

use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::{
    App, Result,
    error::Invalid,
    http::{Fields, InputResponse, object, reply, request::now, tree},
    model::{Input, OutputFile, filename},
    outputs::{
        allowance, cut,
        declaration::{Filename, declare},
    },
    tables::Read,
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of the largest request body: 16 KiB.
const BODY_LIMIT: usize = 16 << 10;

/// A file that a user will upload. The rules are those of output files, but its size has to be told.
#[derive(ToSchema)]
#[schema(as = DeclaredInput)]
#[expect(dead_code, reason = "read by `declared`")]
struct InputBody {
    /// Its name.
    filename: Filename,
    /// Bytes, up to 5 TiB, and not more than the files of a job may have together.
    #[schema(minimum = 0, maximum = 5497558138880_i64)]
    size: u64,
    /// SHA-256 in hex.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    /// A media type of at most 80 printable ASCII characters.
    #[schema(pattern = "^[ -~]*/[ -~]*$", max_length = 80)]
    content_type: Option<String>,
    /// Bytes of each part of a file that goes in parts: 5 MiB to 5 GiB, and not more than 10,000 of them.
    #[schema(minimum = 5242880, maximum = 5368709120_i64)]
    part_size: Option<u64>,
}

/// Keeps what is declared of the file, and answers where it goes. With a hash, the same file is the same input, and is uploaded once. Two
/// round trips: the caller, with the input if it has been declared before, and the write of its row; where it has been, one to see whether
/// it is there.
#[utoipa::path(
    post,
    path = "/inputs",
    operation_id = "create-input",
    tag = "user",
    summary = "Get a place for an input file",
    description = "Jobs name the file by its `uri`: in their arguments, at any depth, a string that is exactly the `uri`. A miner sees a URL \
                   of the file in its place. With a `sha256`, the same request gives the same input, with `upload` null once the file is \
                   there. A file that is there is never replaced.",
    request_body(content = InputBody, description = "At most 16 KiB."),
    responses(
        (status = 200, description = "The input, and where its file goes.", body = InputResponse),
        (status = 401), (status = 413), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let (now, retention) = (now(&request), app.config.input_retention);
    let credentials = app.credentials(&request)?;
    let declared = declared(app, &request);
    let known_id = |user_id| Input::id(user_id, declared.as_ref().ok()?, retention, now);
    let per_user = |read: &mut Read, user_id| {
        if let Some(input_id) = known_id(user_id) {
            read.row::<Input>(&(user_id, input_id));
        }
    };
    let (caller, found) = credentials.caller_beside(&app.tables, Read::default(), per_user).await?;
    let user_id = caller.user.user_id;
    let input_id = known_id(user_id).unwrap_or_else(Uuid::new_v4);
    let file = declared?;

    app.jobs.guard_repeat(caller.guard.as_ref(), input_id).await?;
    let uploads = app.input_uploads(&request)?;
    let new = Input::new(file, retention, now);
    let known = match found.row::<Input>(&(user_id, input_id))? {
        Some(input) => Some(input),
        None => app.registry.keep_input(user_id, input_id, &new).await?,
    };
    let upload = match &known {
        Some(input) => uploads.rest(user_id, input_id, &input.file).await?,
        None => Some(uploads.first(user_id, input_id, &new.file).await?),
    };
    Ok(reply::json(200, &InputResponse::new(input_id, known.as_ref().unwrap_or(&new), upload)))
}

/// What the body says of the file. 422 names every field that is wrong.
fn declared(app: &App, request: &Request) -> Result<OutputFile> {
    let body = object(request, BODY_LIMIT)?;
    let tree = tree(&body);
    let mut fields = Fields::new(body);
    let filename = fields.required_string("filename").unwrap_or_default();
    if fields.are_good()
        && let Some(problem) = filename::problem(&filename)
    {
        let loc = vec!["body".into(), "filename".into()];
        fields.refuse(Invalid::value(loc, format!("Filename {problem}"), filename.clone().into()));
    }
    let file = match declare(&tree, OutputFile::named(filename)) {
        Ok(file) => cut(file, app.config.multipart_threshold),
        Err(problem) => {
            fields.refuse(problem.at(vec!["body".into()]));
            OutputFile::default()
        }
    };
    if tree.get("size").is_none_or(Value::is_null) {
        fields.refuse(Invalid::missing("body", "size"));
    }
    fields.end()?;
    allowance::check_declared([&file], app.config.max_job_bytes)?;
    Ok(file)
}
