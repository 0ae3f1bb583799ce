//! Whose turn it is: users of one chute are served in turn, however many jobs one of them has waiting.
//!
//! Who takes the next job looks at the first 32 of a queue, and takes those of their users in turn. So nothing need be done for it before one
//! user's jobs can hide another's. When a user has created 15 of a day on a chute, and after each sixteen more, each process that creates one
//! looks whether others wait, and marks the chute as crowded if so, in a row that each create reads with its caller. On such a chute each job is given a [place](Place) in turn when
//! it is created, for which the first job of the queue is read: half a read unit and a round trip. The first one who finds the queue
//! empty takes the mark away.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    lists::{CLAIMABLE, Index},
    quota::DailyQuota,
    store::Jobs,
};
use crate::{
    error::{Context, Error, Result},
    item::{Condition, cursor, keys, number, schema, shards::SHARDS},
    model::{Chute, Place, Usage},
    tables::{
        client::unless_refused,
        read::{Found, Read},
    },
    time::{DAY, Timestamp},
};

const FIRST: Index = Index { doing: "turn: Query", ..CLAIMABLE };
/// Seconds for which a mark is kept: longer than any job waits.
const KEPT: i64 = 60 * DAY;

/// Whether new jobs of a chute's are given places in turn.
#[derive(Debug, Deserialize)]
struct Mark {
    crowded: bool,
    /// Since when: what was created before has the place of its creation.
    since: Timestamp,
}

impl Jobs {
    /// Asks whether the chute is crowded, for [`Self::place`].
    pub fn ask_turns(read: &mut Read, chute_id: Uuid) {
        read.key(keys::crowded(chute_id));
    }

    /// The place of a job that begins to wait now, and is about to be counted. What the user has used on the day [was asked
    /// for](DailyQuota::ask) too; that of the day before is read for the first job of a day on a crowded chute.
    pub async fn place(&self, chute: &Chute, quota: &mut DailyQuota, found: &Found, now: Timestamp) -> Result<Place> {
        let mark: Option<Mark> = found.by_key(&keys::crowded(quota.chute_id))?;
        let crowded_since = mark.filter(|mark| mark.crowded).map(|mark| mark.since);
        let usage: Option<Usage> = found.by_key(&keys::usage(quota.user_id, &quota.day, 0))?;
        // Of several shards, each counts its share.
        let counted = usage.as_ref().map_or(0, |usage| usage.of_chute(quota.chute_id));
        let created = counted * u64::from(quota.shards);
        let place = match crowded_since.is_some() || self.turns.is_to_look(quota.user_id, quota.chute_id, created) {
            true => self.place_in_turn(chute, crowded_since, quota, usage.as_ref(), now).await?,
            false => Place::at(now),
        };
        quota.place = Some(place.time());
        Ok(place)
    }

    async fn place_in_turn(
        &self,
        chute: &Chute,
        crowded_since: Option<Timestamp>,
        quota: &DailyQuota,
        usage: Option<&Usage>,
        now: Timestamp,
    ) -> Result<Place> {
        // Where the queue cannot be asked, its time is not known, but that it is later than this.
        // A mark is taken away where nobody waits in any shard.
        let shards = if chute.busy && crowded_since.is_some() { SHARDS } else { 1 };
        let first = match known(quota, self.first(chute.chute_id, shards).await)? {
            Some(first) => {
                // Who may not be claimed yet does not wait for a miner.
                let first = first.filter(|first| *first <= now);
                if first.is_some() != crowded_since.is_some() {
                    known(quota, self.mark(quota.chute_id, first.is_some(), now).await)?;
                }
                // What waited before the chute was marked comes before what is created after it.
                first.max(crowded_since).filter(|_| first.is_some())
            }
            None => crowded_since,
        };
        let Some(first) = first.filter(|first| *first < now) else { return Ok(Place::at(now)) };
        let last = match usage.and_then(|usage| usage.last_place(quota.chute_id)) {
            Some(last) => Some(last),
            None => known(quota, self.last_place_before(quota, now).await)?.flatten(),
        };
        // Of several shards, each counts its share, and the first one remembers.
        Ok(Place::behind(first, last, quota.shards.into(), now))
    }

    /// Where the first job of the chute's queue stands: in the first shard, as all are served alike, or where nobody waits there, in another.
    async fn first(&self, chute_id: Uuid, shards: u8) -> Result<Option<Timestamp>> {
        let first = self.first_of(chute_id, 0).await?;
        if first.is_some() {
            return Ok(first);
        }
        let others = try_join_all((1..shards).map(|shard| self.first_of(chute_id, shard))).await?;
        Ok(others.into_iter().flatten().min())
    }

    async fn first_of(&self, chute_id: Uuid, shard: u8) -> Result<Option<Timestamp>> {
        let request = self.query(&FIRST, &keys::claimable(chute_id, shard));
        let answer = request.key_condition_expression("#key = :key").limit(1).send().await.context(FIRST.doing)?;
        let first = answer.items.unwrap_or_default().first().and_then(|entry| cursor(entry, FIRST.sorted_by));
        Ok(first.map(|(place, _)| Place::from_stored(place).time()))
    }

    async fn last_place_before(&self, quota: &DailyQuota, now: Timestamp) -> Result<Option<Timestamp>> {
        let yesterday = keys::usage(quota.user_id, &now.plus_seconds(-DAY).date(), 0);
        let mut read = Read::default();
        read.key(yesterday.clone());
        let usage: Option<Usage> = read.run(&self.tables).await?.by_key(&yesterday)?;
        Ok(usage.and_then(|usage| usage.last_place(quota.chute_id)))
    }

    /// Marks the chute, unless somebody has done so already.
    async fn mark(&self, chute_id: Uuid, crowded: bool, now: Timestamp) -> Result<()> {
        let other = Condition::Is("crowded", AttributeValue::Bool(!crowded));
        let change = schema::row()
            .when(if crowded { Condition::Any(vec![Condition::Absent("crowded"), other]) } else { other })
            .set("crowded", AttributeValue::Bool(crowded))
            .set("since", number(now.millis()))
            .set("expires_at", number(now.plus_seconds(KEPT).seconds()));
        let sent = self.tables.change_row(keys::crowded(chute_id), change).send().await;
        unless_refused(sent, "turn: UpdateItem").map(drop)
    }

    /// Remembers that a job of this user's was given to a miner.
    pub fn serve(&self, owner: Uuid, now: Timestamp) {
        self.turns.serve(owner, now);
    }

    /// When that last was, as far as this process knows.
    pub fn last_served(&self, owner: Uuid) -> Option<Timestamp> {
        self.turns.last_served(owner)
    }
}

/// What the engine has said of turns; None where it is overloaded. In which order jobs are taken is no reason not to create one.
fn known<T>(quota: &DailyQuota, said: Result<T>) -> Result<Option<T>> {
    match said {
        Err(error @ (Error::Busy { .. } | Error::Unavailable(_))) => {
            tracing::warn!(chute.id = %quota.chute_id, cause = ?error.cause(), "a job's turn could not be told");
            Ok(None)
        }
        said => said.map(Some),
    }
}
