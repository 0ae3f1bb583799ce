//! Everybody's jobs, such as those on a chute, for the administrator. No index has a chute's jobs together: one would cost each step of
//! each job a write more. So they are looked for in the index `by_owner`, whose entries are small, and a page reads a bounded
//! part of it.

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use serde::Serialize;
use uuid::Uuid;

use super::{
    lists::{BY_OWNER, Filter, ListedJob},
    store::Jobs,
};
use crate::{
    error::{Context, Error, Result},
    item::{Item, cursor, number, text},
};

/// Index entries that one call reads: 0.2 MB.
const READ: i32 = 1000;
/// Calls that a page makes at most: 250 read units in all, and 5,000 more for the rows if the filter looks at a job's state.
const MOST_CALLS: usize = 10;

/// A job in a list of several users' jobs.
#[derive(Debug, Serialize)]
pub struct OwnedJob {
    /// Whose it is.
    pub user_id: Uuid,
    /// What its owner sees of it in a list.
    #[serde(flatten)]
    pub job: ListedJob,
}

/// Jobs, and where the next page begins when there is more.
pub type OwnedJobs = (Vec<OwnedJob>, Option<String>);

impl Jobs {
    /// A page of everybody's jobs that pass the filter, in no particular order. It may be short, or empty, and still have a next one.
    /// `after` is where the page before ended; 422 when it is of another list.
    pub async fn list_of_all(&self, filter: &Filter, limit: u32, after: Option<&str>) -> Result<OwnedJobs> {
        const DOING: &str = "list jobs: Scan";
        let mut start = after.map(|after| start(after).ok_or_else(|| Error::no_cursor(after))).transpose()?;
        let mut found = Vec::new();
        for _ in 0..MOST_CALLS {
            let request = self.tables.client.scan().table_name(&self.tables.jobs).index_name(BY_OWNER.name).limit(READ);
            let answer = with(request, filter).set_exclusive_start_key(start).send().await.context(DOING)?;
            found.extend(self.sift(filter, answer.items.unwrap_or_default()).await?);
            start = answer.last_evaluated_key;
            if found.len() >= limit as usize || start.is_none() {
                break;
            }
        }
        let mut next = start.as_ref().and_then(place);
        if found.len() > limit as usize {
            found.truncate(limit as usize);
            next = found.last().and_then(place);
        }
        let jobs = self.rows(found).await?.into_iter().filter_map(|item| Some((owner(&item)?, item)));
        let jobs = jobs.map(|(user_id, item)| Ok(OwnedJob { user_id, job: serde_dynamo::from_item(item)? }));
        let jobs: serde_dynamo::Result<_> = jobs.collect();
        Ok((jobs.map_err(|error| Error::internal(DOING, error))?, next))
    }
}

fn with(request: ScanFluentBuilder, filter: &Filter) -> ScanFluentBuilder {
    match filter.chute_id {
        Some(chute_id) => request
            .filter_expression("chute_id = :chute_id")
            .expression_attribute_values(":chute_id", text(chute_id.to_string())),
        None => request,
    }
}

/// Whose list the entry is in, without the list's shard.
fn owner(item: &Item) -> Option<Uuid> {
    let owner = item.get(BY_OWNER.key)?.as_s().ok()?;
    Uuid::try_parse(owner.split('#').next()?).ok()
}

/// An entry's place in the index, as text: its list, time and job.
fn place(item: &Item) -> Option<String> {
    let (at, job_id) = cursor(item, BY_OWNER.sorted_by)?;
    Some(format!("{}.{at}.{job_id}", item.get(BY_OWNER.key)?.as_s().ok()?))
}

/// The key in the index from which a scan goes on.
fn start(place: &str) -> Option<Item> {
    let mut parts = place.split('.');
    let (list, at, job_id) = (parts.next()?, parts.next()?.parse().ok()?, Uuid::try_parse(parts.next()?).ok()?);
    let key = [(BY_OWNER.key, text(list)), (BY_OWNER.sorted_by, number(at)), ("job_id", text(job_id.to_string()))];
    let whole = parts.next().is_none() && !list.is_empty();
    whole.then(|| key.map(|(name, value)| (name.to_owned(), value)).into())
}
