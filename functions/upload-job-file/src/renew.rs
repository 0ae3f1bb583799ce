//! The JSON form: a fresh upload target for one file.

use std::time::Duration;

use lambda_http::{Body, Request, Response};
use serde_json::Value;
use shared::{
    App, Error, Result,
    auth::JobClaims,
    http::{Fields, Object, object, reply, request::now, tree},
    model::{Job, OutputFile, lifecycle},
    outputs::{
        allowance, cut,
        declaration::{Declaration, declare},
        is_another, is_replaced,
    },
    tables::jobs::Change,
    time::Timestamp,
};
use utoipa::ToSchema;

use crate::expected::expected_file;

/// Bytes of the largest request body: 16 KiB.
const BODY_LIMIT: usize = 16 << 10;

/// How often a declaration is tried beside others of the same file or the same long list, and milliseconds, at most, between two tries.
const TRIES: usize = 8;
const PAUSE_MS: u64 = 200;

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
    let (mut tries, mut another) = (0..TRIES, false);
    let (job, file) = loop {
        let (job, before) = expected_file(app, &claims, &path).await?;
        let file = declared_anew(app, &declared, &job, &before)?;
        if file == before {
            break (job, file);
        }
        if is_another(&before, &file) {
            // Before it is stored, or whoever repeats it would go on with what has come; and once more after that, for what begins meanwhile.
            uploads.give_up(&job, &before).await?;
            another = true;
        }
        if let Some(job) = store(app, &claims, job, (&before, &file), now).await? {
            break (job, file);
        }
        tries.next().ok_or_else(|| Error::unavailable("renew: UpdateItem", "others declare files all the time"))?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=PAUSE_MS))).await;
    };
    let job = uploads.hold(job, now).await?;
    if job.terminal {
        return Err(Error::already_finished());
    }
    Ok(reply::json(200, &uploads.renewed(&job, &file, another).await?))
}

/// The file as it is declared now.
fn declared_anew(app: &App, declared: &Value, job: &Job, before: &OutputFile) -> Result<OutputFile> {
    let mut file = declare(declared, before.clone()).map_err(|problem| problem.at(vec!["body".into()]))?;
    if file.size > before.size {
        let others = job.files.iter().flat_map(|files| files.values()).filter(|other| other.filename != file.filename);
        allowance::check_declared(others.chain([&file]), app.config.max_job_bytes)?;
    }
    if (file.size, &file.sha256) != (before.size, &before.sha256) {
        // What has arrived need not be that.
        (file.redeclared, file.uploaded) = (true, false);
    }
    let is_replaced = is_replaced(before, &file);
    if is_replaced {
        file.replaced = before.replaced.saturating_add(1);
    }
    if is_replaced || file.size != before.size {
        file = cut(file, app.config.multipart_threshold);
    }
    Ok(file)
}

/// Stores what was declared, in a list apart from the item where it is too long for that; None when the file has changed since it was read,
/// or, of a list apart, any other.
async fn store(
    app: &App,
    claims: &JobClaims,
    mut job: Job,
    (before, file): (&OutputFile, &OutputFile),
    now: Timestamp,
) -> Result<Option<Job>> {
    let file_id = OutputFile::id(job.job_id, &file.filename);
    job.files.get_or_insert_default().insert(file_id, file.clone());
    let payloads = app.payloads()?;
    let (listed, recorded) = payloads.record_files(&job).await?;
    let transition = match (&listed.file_list, &job.file_list) {
        (None, None) => lifecycle::file_declared(claims.att, &file_id.to_string(), before, file, now)?,
        _ => lifecycle::list_replaced(&listed, &job, now)?,
    };
    let change = app.jobs.change_attempt(claims.sub, claims.att, transition, "renew: UpdateItem").await;
    match payloads.settle(&listed, &recorded, change).await? {
        Change::Made(job) => Ok(Some(job)),
        Change::Refused(job) if job.terminal => Err(Error::already_finished()),
        Change::Refused(job) => {
            Ok(Some(job).filter(|job| job.files.as_ref().is_some_and(|it| it.get(&file_id) == Some(file))))
        }
    }
}

fn path(body: Object) -> Result<String> {
    let mut fields = Fields::new(body);
    let path = fields.required_string("path");
    fields.end()?;
    path.ok_or_else(|| Error::internal("renew", "no path"))
}
