//! The reaper's queue: what is due. It has several parts, and an entry stays where it is for as long as heartbeats hold its job. The
//! reaper then sees in the row of the heartbeats that there is nothing to do: half a read unit at each look, and the entry's share of a
//! query. A write that moved the entry would be three write units, thirty times as much.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::{
    left_off::DuePlace,
    lists::{CLAIMABLE, Index, start},
    store::Jobs,
};
use crate::{
    error::{Context, Result},
    item::{Cursor, Item, cursor, keys, number, schema},
    model::Lease,
    tables::read::batch_get_jobs,
    time::Timestamp,
};

/// Jobs of one part that are read at a time: as many as one BatchGetItem reads rows.
const PAGE: i32 = 100;

const DUE: Index = Index { doing: "reap: Query", ..CLAIMABLE };

/// Jobs that are due.
#[derive(Debug)]
pub struct DuePage {
    /// When each became due, and its id; the longest due first.
    pub jobs: Vec<Cursor>,
    /// How many others heartbeats hold.
    pub held: u32,
    /// Where the next page of this part begins.
    pub next: Option<DuePlace>,
}

impl Jobs {
    /// Where the parts of the queue begin.
    pub fn due_parts(&self) -> Vec<DuePlace> {
        (0..keys::DUE_SHARDS).map(|shard| DuePlace { shard, after: None }).collect()
    }

    /// Where what can wait is due. That is never in the way of a lease: a run looks at it when nothing else is due.
    pub fn later_parts(&self) -> Vec<DuePlace> {
        (keys::DUE_SHARDS..2 * keys::DUE_SHARDS).map(|shard| DuePlace { shard, after: None }).collect()
    }

    /// Where the last run of this process came no further. What is held stays in the queue: a run that always began at the beginning
    /// would never come to the end of a queue that is too long for it.
    pub fn take_left_off(&self, now: Timestamp) -> Vec<DuePlace> {
        self.left_off.take(now)
    }

    /// The next run of this process begins there.
    pub fn leave_off(&self, places: Vec<DuePlace>) {
        self.left_off.add(places);
    }

    /// The page that begins there of the jobs that are due at `now`.
    pub async fn due(&self, from: DuePlace, now: Timestamp) -> Result<DuePage> {
        let key = keys::due_shard(from.shard);
        let request = self
            .query(&DUE, &key)
            .key_condition_expression("#key = :key AND due_at <= :now")
            .expression_attribute_values(":now", number(now.millis()))
            .projection_expression("job_id, due_at, attempt, v")
            .limit(PAGE)
            .set_exclusive_start_key(from.after.map(|after| start(&DUE, &key, after)));
        let answer = request.send().await.context(DUE.doing)?;
        let items = answer.items.unwrap_or_default();
        let mut jobs: Vec<_> = items.iter().filter_map(|item| cursor(item, DUE.sorted_by)).collect();
        let held = self.held(&items, now).await?;
        jobs.retain(|(_, job_id)| !held.contains(job_id));
        let end = answer.last_evaluated_key.and_then(|last| cursor(&last, DUE.sorted_by));
        Ok(DuePage { jobs, held: held.len() as u32, next: end.map(|end| DuePlace { after: Some(end), ..from }) })
    }

    /// Which of these jobs heartbeats hold, as far as their rows tell. They are not read strongly consistent: one that has come a moment
    /// ago is seen when the job is read, and one that was revoked a moment ago at the next look.
    async fn held(&self, due: &[Item], now: Timestamp) -> Result<HashSet<Uuid>> {
        let row = |entry: &Item| {
            // A job of an earlier release is looked at once, which makes it this one's: after a rollback, that one would not see what holds it.
            let (_, job_id) = cursor(entry, DUE.sorted_by).filter(|_| schema::is_current(entry))?;
            let attempt: u32 = entry.get("attempt")?.as_n().ok()?.parse().ok()?;
            Some((keys::lease(job_id), (job_id, attempt)))
        };
        let rows: HashMap<_, _> = due.iter().filter_map(row).collect();
        let found = batch_get_jobs(&self.tables, rows.keys().cloned()).await?;
        let held = found.into_iter().filter_map(|item| {
            let (job_id, attempt) = *rows.get(item.get("job_id").map(AttributeValue::as_s)?.ok()?)?;
            // What a newer release has written, this one does not judge: the job is looked at.
            Lease::from_item(item).is_ok_and(|lease| lease.holds(attempt, now)).then_some(job_id)
        });
        Ok(held.collect())
    }
}
