//! The JSON form: a fresh upload target for one file.

use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::{
    App, Error, Result,
    auth::JobClaims,
    http::{Fields, Object, object, reply, request::now},
    model::{OutputFile, lifecycle},
    outputs::{
        allowance, cut,
        declaration::{Declaration, declare},
    },
};
use utoipa::ToSchema;

use crate::expected::{change, expected_file};

/// Bytes of the largest request body: 16 KiB.
const BODY_LIMIT: usize = 16 << 10;

/// One of the job's files, to get a fresh upload target for it. What else it says replaces what was declared.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the declaration is read over what is known of the file")]
pub(crate) struct Renewal {
    /// The file's name.
    path: String,
    #[serde(flatten)]
    declaration: Declaration,
}

/// Answers where the file goes; for a file in parts, only the parts that are missing. What the body declares of the file holds
/// from now on.
pub(crate) async fn handle(app: &App, request: &Request, claims: JobClaims) -> Result<Response<Body>> {
    let body = object(request, BODY_LIMIT)?;
    let declared = tree(&body);
    let path = path(body)?;
    let now = now(request);
    let uploads = app.uploads(request, &claims)?;
    let (mut job, before) = expected_file(app, &claims, &path).await?;
    let mut file = declare(&declared, before.clone()).map_err(|problem| problem.at(vec!["body".into()]))?;
    if file.size > before.size {
        let others = job.files.iter().flat_map(|files| files.values()).filter(|other| other.filename != path);
        allowance::check_declared(others.chain([&file]), app.config.max_job_bytes)?;
    }
    if file != before {
        if file.size != before.size {
            file = cut(file);
        }
        if (file.size, &file.sha256) != (before.size, &before.sha256) {
            // What has arrived need not be that.
            (file.redeclared, file.uploaded) = (true, false);
        }
        let another = |told: bool, same: bool| told && !same;
        if another(before.sha256.is_some(), file.sha256 == before.sha256)
            || another(before.size.is_some(), file.size == before.size)
        {
            uploads.give_up(&job, &before).await?;
        }
        let file_id = OutputFile::id(job.job_id, &path).to_string();
        let transition = lifecycle::file_declared(claims.att, &file_id, &file, now)?;
        job = change(app, &claims, transition, "renew: UpdateItem").await?;
    }
    let job = uploads.hold(job, now).await?;
    if job.terminal {
        return Err(Error::already_finished());
    }
    Ok(reply::json(200, &uploads.renewed(&job, &file).await?))
}

fn path(body: Object) -> Result<String> {
    let mut fields = Fields::new(body);
    let path = fields.required_string("path");
    fields.end()?;
    path.ok_or_else(|| Error::internal("renew", "no path"))
}

/// The body as a tree of values: it is small.
fn tree(body: &Object) -> Value {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
    Value::Object(body.iter().map(|(name, raw)| (name.clone(), value(raw.get()))).collect())
}
