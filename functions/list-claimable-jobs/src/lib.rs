//! `GET /jobs/claimable?chute_id=`: a miner looks for work.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::Value;
use shared::{
    App, Error, Result,
    jobs::Claimable,
    page::{ListQuery, Page, show_cursor},
    read::Read,
    registry::{Chute, Port},
    reply,
    time::{Timestamp, rfc3339},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of a chute's pending jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaimablePage)]
pub struct Output {
    jobs: Vec<Job>,
    /// Where the next page begins. Null on the last one.
    next_cursor: Option<String>,
}

/// A job that waits for a miner.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaimableJob)]
struct Job {
    job_id: Uuid,
    chute_id: Uuid,
    method: String,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// Seconds that it may run. Null: the deployment's longest.
    timeout: Option<u32>,
    /// Ports that the miner has to open.
    ports: Vec<Port>,
    /// The hardware that the chute asks for, in the words of its owner. Null: any.
    #[schema(value_type = Option<Object>)]
    node_selector: Option<Value>,
}

impl From<Claimable> for Job {
    fn from(job: Claimable) -> Self {
        let Claimable { job_id, chute_id, method, created_at, timeout, ports, node_selector } = job;
        Self { job_id, chute_id, method, created_at, timeout, ports, node_selector }
    }
}

/// Lists a chute's pending jobs, oldest first. The caller, the chute and the jobs are read side by side, and a busy chute's lanes
/// after that; the cost does not grow with the jobs stored.
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let credentials = app.credentials(&request)?;
    let input = input(&request);
    let mut read = Read::default();
    let (chute_id, page) = match input {
        Ok(input) => input,
        Err(error) => {
            read.with_caller(app, credentials, |_, _| ()).await?.0.require_miner()?;
            return Err(error);
        }
    };
    read.registry(Chute::pk(chute_id));
    let caller = read.with_caller(app, credentials, |_, _| ());
    let (caller, listed) = tokio::join!(caller, app.jobs.claimable(chute_id, page.limit, page.after));
    let (caller, found) = caller?;
    caller.require_miner()?;
    let (jobs, next) = match found.registry::<Chute>(&Chute::pk(chute_id))? {
        Some(chute) if chute.busy => app.jobs.claimable_of_busy(chute_id, &page).await?,
        _ => listed?,
    };
    let jobs = jobs.into_iter().map(Job::from).collect();
    Ok(reply::json(200, &Output { jobs, next_cursor: next.map(show_cursor) }))
}

fn input(request: &Request) -> Result<(Uuid, Page)> {
    let mut query = ListQuery::new(request);
    query.require("chute_id");
    let (chute_id, page) = (query.chute_id(), query.page());
    query.end()?;
    let chute_id = chute_id.ok_or_else(|| Error::internal("claimable jobs", "no chute"))?;
    Ok((chute_id, page))
}
