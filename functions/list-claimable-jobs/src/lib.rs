//! `GET /jobs/claimable?chute_id=`: a miner looks for work.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    error::Invalid,
    jobs::{Claimable, Cursor},
    read::Read,
    registry::Port,
    reply,
    request::query,
    time::{Timestamp, rfc3339},
};
use uuid::Uuid;

/// Jobs on a page, unless the miner asks for fewer or more.
const DEFAULT_LIMIT: i32 = 20;
/// Jobs on the longest page.
const LONGEST_PAGE: i32 = 100;

#[derive(Serialize)]
struct Output {
    jobs: Vec<Job>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Job {
    job_id: Uuid,
    chute_id: Uuid,
    method: String,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    timeout: Option<u32>,
    ports: Vec<Port>,
}

impl From<Claimable> for Job {
    fn from(job: Claimable) -> Self {
        let Claimable { job_id, chute_id, method, created_at, timeout, ports } = job;
        Self { job_id, chute_id, method, created_at, timeout, ports }
    }
}

/// Lists a chute's pending jobs, oldest first. The caller and the jobs are read side by side; the cost does not grow with
/// the jobs stored.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let credentials = app.credentials(&request)?;
    let input = input(&request);
    let caller = Read::default().with_caller(app, credentials, |_, _| ());
    let (caller, page) = match &input {
        Ok((chute_id, limit, after)) => {
            let (caller, page) = tokio::join!(caller, app.jobs.claimable(*chute_id, *limit, *after));
            (caller?.0, Some(page))
        }
        Err(_) => (caller.await?.0, None),
    };
    caller.require_miner()?;
    let (jobs, next) = match page {
        Some(page) => page?,
        None => return Err(input.err().unwrap_or_else(|| Error::internal("claimable jobs", "no page"))),
    };
    let next_cursor = next.map(|(due_at, job_id)| format!("{due_at}.{}", job_id.simple()));
    Ok(reply::json(200, &Output { jobs: jobs.into_iter().map(Job::from).collect(), next_cursor }))
}

fn input(request: &Request) -> Result<(Uuid, i32, Option<Cursor>)> {
    let mut errors = Vec::new();
    let mut invalid = |field: &'static str, msg: &'static str, value: &str| {
        errors.push(Invalid::value(vec!["query".into(), field.into()], msg, value.into()));
    };
    let chute_id = query(request, "chute_id").map(|text| (text, Uuid::try_parse(text).ok()));
    if let Some((text, None)) = chute_id {
        invalid("chute_id", "Input should be a valid UUID", text);
    }
    let limit =
        query(request, "limit").map(|text| (text, text.parse().ok().filter(|n| (1..=LONGEST_PAGE).contains(n))));
    if let Some((text, None)) = limit {
        invalid("limit", "Input should be an integer from 1 to 100", text);
    }
    let after = query(request, "cursor").map(|text| (text, cursor(text)));
    if let Some((text, None)) = after {
        invalid("cursor", "Input should be a cursor of this list", text);
    }
    if chute_id.is_none() {
        errors.insert(0, Invalid::missing("query", "chute_id"));
    }
    match chute_id.and_then(|(_, chute_id)| chute_id) {
        Some(chute_id) if errors.is_empty() => {
            let limit = limit.and_then(|(_, limit)| limit).unwrap_or(DEFAULT_LIMIT);
            Ok((chute_id, limit, after.and_then(|(_, after)| after)))
        }
        _ => Err(Error::Invalid(errors)),
    }
}

fn cursor(text: &str) -> Option<Cursor> {
    let (due_at, job_id) = text.split_once('.')?;
    Some((due_at.parse().ok()?, Uuid::try_parse(job_id).ok()?))
}
