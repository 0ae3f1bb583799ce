//! The JSON form: a fresh upload target for one file.

use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::{
    App, Result, declaration,
    error::Invalid,
    job::Job,
    job_token::JobClaims,
    lifecycle, reply,
    request::{api_base, now, object},
    uploads,
};

use crate::{already_finished, changed, expected_file};

/// Bytes of the largest request body: 16 KiB.
const BODY_LIMIT: usize = 16 << 10;

/// Answers where the file goes; for a file in parts, only the parts that are missing. What the body declares of the file holds
/// from now on.
pub(crate) async fn handle(app: &App, request: &Request, claims: JobClaims) -> Result<Response<Body>> {
    let body = object(request, BODY_LIMIT)?;
    let body = Value::Object(body.iter().map(|(name, raw)| (name.clone(), value(raw.get()))).collect());
    let path = match body.get("path") {
        Some(Value::String(path)) => path,
        Some(other) => {
            let loc = vec!["body".into(), "path".into()];
            return Err(Invalid::kind("string_type", loc, "Input should be a valid string", other.clone()).into());
        }
        None => return Err(Invalid::missing("body", "path").into()),
    };
    let now = now(request);
    let (mut job, before) = expected_file(app, &claims, path).await?;
    let mut file = declaration::declare(&body, before.clone()).map_err(|problem| problem.at(vec!["body".into()]))?;
    if file != before {
        if (file.size, &file.sha256) != (before.size, &before.sha256) {
            // What has arrived need not be that.
            (file.redeclared, file.uploaded) = (true, false);
        }
        let another = |told: bool, same: bool| told && !same;
        if another(before.sha256.is_some(), file.sha256 == before.sha256)
            || another(before.size.is_some(), file.size == before.size)
        {
            uploads::give_up(app, &job, &before).await?;
        }
        let file_id = Job::file_id(job.job_id, path).to_string();
        let transition = lifecycle::file_declared(claims.att, &file_id, &file, now)?;
        job = changed(app.jobs.change(job.job_id, transition, "renew: UpdateItem").await?, &claims)?;
    }
    let job = uploads::hold(app, job, &claims, now).await?;
    if job.terminal {
        return Err(already_finished());
    }
    let target = uploads::renewed(app, &job, &file, &claims, &api_base(request, &app.config)).await?;
    Ok(reply::json(200, &target))
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
