//! `GET /jobs`: a user's own jobs, newest first.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Result,
    http::{Parameters, reply, show_cursor},
    item::Page,
    model::Status,
    tables::{
        Read,
        jobs::{Filter, ListedJob},
    },
};
use utoipa::ToSchema;

/// A page of a user's jobs.
#[derive(Serialize, ToSchema)]
pub struct JobPage {
    jobs: Vec<ListedJob>,
    /// Where the next page begins. Null on the last one.
    next_cursor: Option<String>,
}

/// Lists the caller's jobs. One query, beside the last read of the caller, and after it where an API key calls; then one read of the jobs.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list-jobs",
    tag = "user",
    summary = "List own jobs, newest first",
    description = "A page that a filter leaves short may still have a `next_cursor`: one request looks at 1,000 jobs at \
                   most, and at some hundreds with `status`, `terminal` or `label`. A \
                   change may show here a moment later than in the job itself.",
    params(
        ("status" = Option<Status>, Query, description = "Jobs in this state only."),
        ("terminal" = Option<bool>, Query, description = "Jobs that are over, or those that are not."),
        ("chute_id" = Option<Uuid>, Query, description = "Jobs on this chute only."),
        (
            "label" = Option<Vec<String>>, Query, style = Form, explode,
            description = "Jobs with this label only; with all of them, when it is repeated."
        ),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Jobs on the page. 20 unless given."),
        (
            "cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}\.[0-9a-f]{32}$",
            description = "`next_cursor` of the page before."
        ),
    ),
    responses(
        (status = 200, description = "A page.", body = JobPage),
        (status = 401), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let query = query(&request);
    let credentials = app.credentials(&request)?;
    let begin = async |user_id| match &query {
        Ok((filter, page)) => app.jobs.begin_list(user_id, filter, page).await.map(Some),
        Err(_) => Ok(None),
    };
    let (caller, _, begun) = credentials.caller_and(&app.tables, Read::default(), |_, _| (), begin).await?;
    let (filter, page) = query?;
    let begun = begun.transpose()?.flatten();
    let (jobs, next) = app.jobs.list(&caller.user, &filter, &page, begun).await?;
    Ok(reply::json(200, &JobPage { jobs, next_cursor: next.map(show_cursor) }))
}

fn query(request: &Request) -> Result<(Filter, Page)> {
    let mut query = Parameters::new(request);
    let filter = Filter {
        status: query.optional("status", "a status of a job", |text| text.parse().ok()),
        terminal: query.optional("terminal", "true or false", |text| text.parse().ok()),
        chute_id: query.chute_id(),
        labels: query.labels(),
    };
    let page = query.page();
    query.end()?;
    Ok((filter, page))
}
