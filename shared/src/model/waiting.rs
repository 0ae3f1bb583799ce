//! How long a job waits for a miner, and what ends it when none comes.
//!
//! No index has pending jobs by when they expire: an entry would cost every job two writes more, for the few that nobody claims. The reaper
//! looks at what waits instead, where a row in its queue, an alarm, tells it to. A chute has one for all its jobs that wait as long as the
//! deployment says: but for those that were requeued they expire in the order in which they wait, so the alarm rings when the first of
//! them does. A job that was created with a time of its own has one of its own, and pays for it. Those may be many, and most of them
//! ring for a job that was claimed long ago, so they stand where they keep no lease waiting.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{job::Job, status::Status};
use crate::{
    config::PENDING,
    error::{Error, Result},
    item::{Condition, Item, Transition, keys, number, schema, text},
    time::Timestamp,
};

/// Whose waiting an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "alarm", content = "of", rename_all = "snake_case")]
pub enum Waiting {
    /// All pending jobs of this chute.
    Chute(Uuid),
    /// This job.
    Job(Uuid),
}

/// A row of the jobs table that comes to the reaper's attention at a time.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Alarm {
    /// Whose.
    #[serde(flatten)]
    pub waiting: Waiting,
    /// When it rings; it does not, without.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
}

impl Alarm {
    /// From the table; None for a row that is something else.
    pub fn from_item(item: &Item) -> Option<Result<Self>> {
        item.contains_key("alarm").then(|| {
            schema::check(item, "read: alarm")?;
            serde_dynamo::from_item(item.clone()).map_err(|error| Error::internal("read: alarm", error))
        })
    }
}

impl Waiting {
    /// The key of its row: an id like a job's, and nobody's.
    pub fn row_id(self) -> Uuid {
        let (Self::Chute(id) | Self::Job(id)) = self;
        Uuid::new_v5(&id, b"waiting")
    }

    /// The alarm rings then, whatever was said before.
    pub fn ring(self, at: Timestamp) -> Transition {
        let row_id = self.row_id();
        let (kind, id, queue) = match self {
            Self::Chute(id) => ("chute", id, keys::due(row_id)),
            Self::Job(id) => ("job", id, keys::later(row_id)),
        };
        schema::row()
            .set("alarm", text(kind))
            .set("of", text(id.to_string()))
            .set("queue", text(queue))
            .set("due_at", number(at.millis()))
            .remove("expires_at")
    }

    /// The same, if nobody has set it since it was read.
    pub fn ring_again(self, alarm: &Alarm, at: Timestamp) -> Transition {
        self.ring(at).when(Condition::unchanged_time("due_at", alarm.due_at))
    }

    /// It rings no more, if nobody has set it since it was read, and the row goes.
    pub fn silence(alarm: &Alarm, now: Timestamp) -> Transition {
        schema::row()
            .when(Condition::unchanged_time("due_at", alarm.due_at))
            .set("expires_at", number(now.seconds()))
            .remove("queue")
            .remove("due_at")
    }
}

impl Job {
    /// Until when the job waits for a miner; None when it does not wait. Its time begins anew when it is requeued or retried: what waits
    /// has not changed since.
    pub fn waits_until(&self) -> Option<Timestamp> {
        // After a failed attempt nobody may claim it for a while, which is not waiting for a miner.
        let since =
            if self.failure.is_some() { self.ready_at().max(Some(self.updated_at)) } else { Some(self.updated_at) };
        since.filter(|_| self.status == Status::Pending).map(|since| since.plus_seconds(self.waits_for()))
    }

    /// The alarm that it has when it waits for a time of its own, and when that rings if it begins to wait now.
    pub fn own_alarm(&self, now: Timestamp) -> Option<(Waiting, Timestamp)> {
        self.own_wait.then(|| (Waiting::Job(self.job_id), now.plus_seconds(self.waits_for())))
    }

    /// Seconds that it waits.
    pub fn waits_for(&self) -> i64 {
        self.wait.unwrap_or(PENDING)
    }
}
