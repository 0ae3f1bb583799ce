//! `GET /jobs`: a user's own jobs, newest first.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::Value;
use shared::{
    App, Result,
    jobs::{Cursor, Filter, Listed, MOST_READ},
    lifecycle::Status,
    page::{ListQuery, Page, show_cursor},
    read::Read,
    reply,
    time::{Timestamp, rfc3339, rfc3339_option},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of a user's jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = JobPage)]
pub struct Output {
    jobs: Vec<Job>,
    /// Where the next page begins. Null on the last one.
    next_cursor: Option<String>,
}

/// A job in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedJob)]
struct Job {
    job_id: Uuid,
    chute_id: Uuid,
    /// As it was when the job was created.
    chute_name: String,
    /// Which of the chute's jobs.
    method: String,
    status: Status,
    /// It will never change again.
    terminal: bool,
    /// Which attempt is or was the last to run; 0 before the first claim.
    attempt: u32,
    max_attempts: u32,
    /// How far it is, 0 to 1.
    progress: Option<f64>,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// When it last changed.
    #[serde(serialize_with = "rfc3339")]
    updated_at: Timestamp,
    /// When it was last claimed.
    #[serde(serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    /// When the miner reported its result.
    #[serde(serialize_with = "rfc3339_option")]
    finished_at: Option<Timestamp>,
}

impl From<Listed> for Job {
    fn from(job: Listed) -> Self {
        Self {
            job_id: job.job_id,
            chute_id: job.chute_id,
            chute_name: job.chute.name,
            method: job.method,
            status: job.status,
            terminal: job.terminal,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            progress: job.progress,
            created_at: job.created_at,
            updated_at: job.updated_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// Lists the caller's jobs. One query, beside the read of the caller where credentials name the user; a second one when a
/// filter leaves the page short. A page that is still short after [`MOST_READ`] jobs is answered as it is: the cost of a page
/// does not grow with the jobs stored. A busy user's lanes are queried when it is known that there are any. An index cannot be
/// read strongly consistent, so that a change may show a moment late.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let credentials = app.credentials(&request)?;
    let user_id = credentials.user_id();
    let input = input(&request);
    let caller = Read::default().with_caller(app, credentials, |_, _| ());
    let (user, first) = match (&input, user_id) {
        // Before it is known whether the caller is who they say: a page's worth and no more.
        (Ok((filter, page)), Some(user_id)) => {
            let (caller, first) = tokio::join!(caller, app.jobs.of_user(user_id, filter, first_read(page), page.after));
            (caller?.0.user, Some(first?))
        }
        _ => (caller.await?.0.user, None),
    };
    let (filter, page) = input?;
    let (jobs, next) = match user.busy_since {
        Some(_) => app.jobs.of_busy_user(user.user_id, &filter, &page).await?,
        None => one_lane(app, user.user_id, &filter, &page, first).await?,
    };
    let jobs = jobs.into_iter().map(Job::from).collect();
    Ok(reply::json(200, &Output { jobs, next_cursor: next.map(show_cursor) }))
}

/// The page of a user who is not busy, of which the first query may have been made.
async fn one_lane(
    app: &App,
    user_id: Uuid,
    filter: &Filter,
    page: &Page,
    first: Option<(Vec<Listed>, Option<Cursor>)>,
) -> Result<(Vec<Listed>, Option<Cursor>)> {
    let (mut jobs, mut next) = match first {
        Some(first) => first,
        None => app.jobs.of_user(user_id, filter, first_read(page), page.after).await?,
    };
    if let (true, Some(after)) = (jobs.len() < page.limit as usize, next) {
        let (more, end) = app.jobs.of_user(user_id, filter, MOST_READ - first_read(page), Some(after)).await?;
        jobs.extend(more);
        next = end;
    }
    if jobs.len() > page.limit as usize {
        jobs.truncate(page.limit as usize);
        next = jobs.last().map(|job| (job.created_at.millis(), job.job_id));
    }
    Ok((jobs, next))
}

/// One more than the page holds tells whether there is another page.
fn first_read(page: &Page) -> u32 {
    page.limit + 1
}

fn input(request: &Request) -> Result<(Filter, Page)> {
    let mut query = ListQuery::new(request);
    let status = |text: &str| serde_json::from_value(Value::from(text)).ok();
    let filter = Filter {
        status: query.optional("status", "a status of a job", status),
        terminal: query.optional("terminal", "true or false", |text| text.parse().ok()),
        chute_id: query.chute_id(),
    };
    let page = query.page();
    query.end()?;
    Ok((filter, page))
}
