//! `GET /jobs/claimable?chute_id=`: a miner looks for work.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Error, Result,
    http::{Parameters, reply, request::now, show_cursor},
    item::Page,
    model::{Chute, pace},
    tables::{Read, jobs::ClaimableJob},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of a chute's pending jobs.
#[derive(Serialize, ToSchema)]
pub struct ClaimablePage {
    jobs: Vec<ClaimableJob>,
    /// Where the next page begins. Null on the last one.
    next_cursor: Option<String>,
}

/// Lists a chute's pending jobs, the next one first. One query, beside the last read of the caller, and after it where an API key calls; for a
/// busy chute, its shards after that. The cost does not grow with the jobs stored.
#[utoipa::path(
    get,
    path = "/jobs/claimable",
    operation_id = "list-claimable-jobs",
    tag = "miner",
    summary = "Look for work on a chute",
    description = "Pending jobs, oldest first; where many wait, their users in turn. For accounts with the miner role. Where there are none, `Retry-After` tells when to ask \
                   again: after 2 to 15 seconds, longer the longer there were none.",
    params(
        ("chute_id" = Uuid, Query, description = "The chute."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Jobs on the page. 20 unless given."),
        (
            "cursor" = Option<String>, Query, pattern = r"^[0-8]?[0-9]{1,18}\.[0-9a-f]{32}$",
            description = "`next_cursor` of the page before."
        ),
    ),
    responses(
        (
            status = 200, description = "A page.", body = ClaimablePage,
            headers(("Retry-After" = u16, description = "Seconds after which to ask again, when there are no jobs."))
        ),
        (status = 401), (status = 403), (status = 404), (status = 422),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let credentials = app.miner_credentials(&request)?;
    let query = query(&request);
    let mut read = Read::default();
    if let Ok((chute_id, _)) = &query {
        read.row::<Chute>(chute_id);
    }
    let begin = async |_| match &query {
        Ok((chute_id, page)) => app.jobs.begin_claimable(*chute_id, page, now).await.map(Some),
        Err(_) => Ok(None),
    };
    let (_, found, begun) = credentials.caller_and(&app.tables, read, |_, _| (), begin).await?;
    let (chute_id, page) = query?;
    let chute = found.row::<Chute>(&chute_id)?.ok_or_else(|| Error::no_chute(chute_id))?;
    let (jobs, next) = app.jobs.claimable(&chute, &page, begun.and_then(Result::transpose), now).await?;
    // Of a queue whose first page is empty there is no other.
    let again = match page.after {
        None => app.jobs.look_again_after(chute_id, jobs.is_empty(), now),
        Some(_) => jobs.is_empty().then(|| pace::look_for_work(0)),
    };
    let answer = reply::json(200, &ClaimablePage { jobs, next_cursor: next.map(show_cursor) });
    Ok(reply::again_after(answer, again))
}

fn query(request: &Request) -> Result<(Uuid, Page)> {
    let mut query = Parameters::new(request);
    query.require("chute_id");
    let (chute_id, page) = (query.chute_id(), query.page());
    query.end()?;
    let chute_id = chute_id.ok_or_else(|| Error::internal("claimable jobs", "no chute"))?;
    Ok((chute_id, page))
}
