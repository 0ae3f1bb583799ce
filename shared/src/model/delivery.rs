//! The delivery of a webhook: a row of the jobs table that begins when a job with a webhook is over, and says what was tried since.
//!
//! It is the outbox: as long as nobody has taken the call, the row is due for the reaper, in the part of its queue that keeps no lease
//! waiting. A process that dies between two tries, or in one, loses nothing. The job itself is not touched.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{job::Job, status::Status};
use crate::{
    error::{Error, Result},
    item::{Condition, Item, Transition, keys, number, schema, text},
    time::Timestamp,
};

/// Seconds between two tries, of which there is one more than of these: at once, and then for 17 hours and a half.
const PAUSES: [i64; 6] = [5, 300, 1800, 7200, 18_000, 36_000];
/// Seconds after which somebody else looks whether whoever is at it has died: more than two tries take.
const AT_IT: i64 = 60;
/// Tries that are kept: those of three deliveries.
const LOG: usize = 21;
/// Bytes of a receiver's answer that are kept.
pub const ANSWER: usize = 1024;
/// The longest pause that whoever has tried waits out itself, in seconds.
pub const SHORT_PAUSE: i64 = 5;

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is being tried, or will be again.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// It was given up.
    Failed,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// When it began.
    pub at: Timestamp,
    /// What the receiver answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub ms: u32,
    /// The beginning of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Try {
    /// One that began then, and took so long: the answer's status and the beginning of its body, or why there was none.
    pub fn new(at: Timestamp, ms: u32, said: Result<(u16, String), String>) -> Self {
        match said {
            Ok((status, body)) => Self { at, status: Some(status), ms, body: Some(body), error: None },
            Err(error) => Self { at, status: None, ms, body: None, error: Some(error) },
        }
    }

    /// Whether the receiver has taken it.
    pub fn is_success(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }
}

/// The row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    /// The job that it tells of.
    pub delivery_of: Uuid,
    /// As what it has ended.
    pub status: Status,
    /// When: a job that is tried again has another end, and so has one that is made under the id of a deleted one.
    pub ended_at: Timestamp,
    /// How it stands.
    pub state: DeliveryState,
    /// Tries since it began, or was asked for again.
    pub tries: u32,
    /// Rises with each change, so that none undoes another.
    revision: u32,
    /// The last tries.
    #[serde(default)]
    pub log: Vec<Try>,
    /// When it is tried next, unless somebody is at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// The end of a job that is to be told.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct End {
    /// The job.
    pub job_id: Uuid,
    /// As what it has ended.
    pub status: Status,
    /// When it ended: its last change.
    pub updated_at: Timestamp,
    /// Milliseconds for which it is kept, where it is not for 30 days.
    #[serde(default)]
    pub keep_ms: Option<i64>,
}

impl From<&Job> for End {
    fn from(job: &Job) -> Self {
        let Job { job_id, status, updated_at, keep_ms, .. } = job;
        Self { job_id: *job_id, status: *status, updated_at: *updated_at, keep_ms: *keep_ms }
    }
}

impl End {
    /// Its delivery begins, unless it has begun. It replaces that of the end before, which the owner has undone.
    pub fn begin(&self, now: Timestamp) -> Transition {
        let kept = self.keep_ms.map_or(Job::KEPT, |millis| millis / 1000);
        schema::row()
            .when(Condition::Any(vec![
                Condition::Absent("ended_at"),
                Condition::AtMost("ended_at", self.updated_at.millis() - 1),
            ]))
            .set("delivery_of", text(self.job_id.to_string()))
            .set("status", text(self.status.as_str()))
            .set("ended_at", number(self.updated_at.millis()))
            .set("state", text("pending"))
            .set("tries", number(0))
            .set("revision", number(0))
            .set("expires_at", number(self.updated_at.plus_seconds(kept).seconds()))
            .set("queue", text(keys::later(Delivery::row_id(self.job_id))))
            .set("due_at", number(now.plus_seconds(AT_IT).millis()))
            .remove("log")
    }
}

impl Delivery {
    /// The key of a job's: an id like a job's, and nobody's.
    pub fn row_id(job_id: Uuid) -> Uuid {
        Uuid::new_v5(&job_id, b"webhook")
    }

    /// From the table; None for a row that is something else.
    pub fn from_item(item: &Item) -> Option<Result<Self>> {
        item.contains_key("delivery_of").then(|| {
            schema::check(item, "read: delivery")?;
            serde_dynamo::from_item(item.clone()).map_err(|error| Error::internal("read: delivery", error))
        })
    }

    /// What a receiver knows it by, however often it comes. (Standard Webhooks: `webhook-id`.)
    pub fn webhook_id(&self) -> String {
        format!("msg_{}_{}", self.delivery_of.simple(), self.ended_at.millis())
    }

    /// Whether somebody is at it, who need not be called.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        self.state == DeliveryState::Pending && self.due_at.is_none_or(|due| due <= now.plus_seconds(AT_IT))
    }

    /// Whether it waits for its next try.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|due| due > now.plus_seconds(AT_IT))
    }

    /// Rises with each change.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The job is gone, and what receivers have answered goes with it.
    pub fn forget(job_id: Uuid, now: Timestamp) -> Transition {
        schema::row()
            .when(Condition::Is("delivery_of", text(job_id.to_string())))
            .set("expires_at", number(now.seconds()))
            .set("state", text("failed"))
            .set("log", AttributeValue::L(Vec::new()))
            .remove("queue")
            .remove("due_at")
    }

    /// Whether it tells of the job as it is.
    pub fn is_of(&self, job: &Job) -> bool {
        job.terminal && job.deleted_at.is_none() && job.updated_at == self.ended_at
    }

    /// Whoever does this is at it for a while, unless somebody else is.
    pub fn take_up(&self, now: Timestamp) -> Transition {
        schema::row()
            .when(Condition::unchanged_time("due_at", self.due_at))
            .when(Condition::Is("state", text("pending")))
            .set("due_at", number(now.plus_seconds(AT_IT).millis()))
    }

    /// It is delivered once more, from the first try on, whatever came of it before.
    pub fn again(&self, now: Timestamp) -> Transition {
        self.changed()
            .set("state", text("pending"))
            .set("tries", number(0))
            .set("queue", text(keys::later(Self::row_id(self.delivery_of))))
            .set("due_at", number(now.plus_seconds(AT_IT).millis()))
    }

    /// What a try has come to. Seconds until the next one, if there is one.
    pub fn tried(&self, one: Try, now: Timestamp) -> Result<(Transition, Option<i64>)> {
        // 410: the receiver wants no more of it.
        let ends = one.is_success() || one.status == Some(410);
        let pause = PAUSES.get(self.tries as usize).copied().filter(|_| !ends);
        let state = match pause {
            Some(_) => "pending",
            None if one.is_success() => "delivered",
            None => "failed",
        };
        let log: Vec<_> = self.log.iter().chain([&one]).collect();
        let log = serde_dynamo::to_attribute_value(&log[log.len().saturating_sub(LOG)..]);
        let change = self
            .changed()
            .set("log", log.map_err(|error| Error::internal("write: delivery", error))?)
            .set("tries", number(i64::from(self.tries) + 1))
            .set("state", text(state));
        let change = match pause {
            // Whoever waits that out is at it meanwhile.
            Some(pause) => {
                change.set("due_at", number(now.plus_seconds(if pause > SHORT_PAUSE { pause } else { AT_IT }).millis()))
            }
            None => change.remove("queue").remove("due_at"),
        };
        Ok((change, pause))
    }

    /// It is given up without a try.
    pub fn give_up(&self, why: &str, now: Timestamp) -> Result<Transition> {
        let one = Try::new(now, 0, Err(why.to_owned()));
        let last = Self { tries: PAUSES.len() as u32, ..self.clone() };
        last.tried(one, now).map(|(change, _)| change)
    }

    fn changed(&self) -> Transition {
        schema::row()
            .when(Condition::Is("revision", number(self.revision.into())))
            .when(Condition::Is("ended_at", number(self.ended_at.millis())))
            .set("revision", number(i64::from(self.revision) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> (Delivery, Item) {
        let end = End {
            job_id: Uuid::from_u128(7),
            status: Status::Complete,
            updated_at: Timestamp::from_millis(1_000_000),
            keep_ms: None,
        };
        let item = end.begin(end.updated_at).apply(Item::new()).expect("a new row");
        (Delivery::from_item(&item).expect("one").expect("readable"), item)
    }

    fn answered(status: u16) -> Try {
        Try::new(Timestamp::from_millis(1_000_000), 5, Ok((status, String::new())))
    }

    #[test]
    fn it_is_tried_seven_times_in_seventeen_hours_and_a_half_and_then_given_up() {
        let (mut delivery, mut item) = delivery();
        let mut pauses = Vec::new();
        loop {
            let (change, pause) = delivery.tried(answered(500), delivery.ended_at).expect("a change");
            item = change.apply(item).expect("nobody else was at it");
            delivery = Delivery::from_item(&item).expect("one").expect("readable");
            assert_eq!(delivery.due_at.is_some(), item.contains_key("queue"));
            let Some(pause) = pause else { break };
            assert_eq!(delivery.state, DeliveryState::Pending);
            pauses.push(pause);
        }
        assert_eq!(pauses, [5, 300, 1800, 7200, 18_000, 36_000]);
        assert_eq!((delivery.state, delivery.due_at, delivery.log.len()), (DeliveryState::Failed, None, 7));
    }

    #[test]
    fn an_answer_of_success_and_410_end_it() {
        for (status, state) in
            [(200, DeliveryState::Delivered), (299, DeliveryState::Delivered), (410, DeliveryState::Failed)]
        {
            let (delivery, item) = delivery();
            let (change, pause) = delivery.tried(answered(status), delivery.ended_at).expect("a change");
            let item = change.apply(item).expect("nobody else was at it");
            assert_eq!(
                (Delivery::from_item(&item).expect("one").expect("readable").state, pause),
                (state, None),
                "{status}"
            );
        }
    }

    #[test]
    fn of_two_who_have_tried_at_once_one_reads_again() {
        let (delivery, item) = delivery();
        let (first, _) = delivery.tried(answered(500), delivery.ended_at).expect("a change");
        let (second, _) = delivery.tried(answered(200), delivery.ended_at).expect("a change");
        let item = first.apply(item).expect("the first");
        assert!(second.clone().apply(item.clone()).is_none());
        assert!(delivery.take_up(delivery.ended_at).apply(item).is_some(), "which changes only when it is due");
    }

    #[test]
    fn each_end_is_told_once_and_the_next_replaces_it() {
        let (delivery, item) = delivery();
        let end = |later: i64| End {
            job_id: delivery.delivery_of,
            status: Status::Error,
            updated_at: delivery.ended_at.plus_seconds(later),
            keep_ms: None,
        };
        assert!(end(0).begin(delivery.ended_at).apply(item.clone()).is_none());
        assert!(end(-1).begin(delivery.ended_at).apply(item.clone()).is_none());
        let next = end(2).begin(delivery.ended_at).apply(item).expect("the next end");
        let next = Delivery::from_item(&next).expect("one").expect("readable");
        assert_ne!(next.webhook_id(), delivery.webhook_id());
    }
}
