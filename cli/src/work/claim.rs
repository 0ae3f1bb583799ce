//! Looking for work.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{Answer, Api},
    work::{
        events::{self, Event},
        folder::Assignment,
        lease::Lease,
    },
};

/// Time to the next look where the API does not say.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// A miner's process that looks for jobs of some chutes.
pub(crate) struct Search<'a> {
    api: &'a Api,
    chutes: &'a [Uuid],
    /// Tells this process from another one with the same key: a claim whose answer is lost is sent again, and gets the same job.
    worker: String,
    /// The key and the chutes are right: what is refused later may pass.
    pub(crate) succeeded: bool,
}

/// What a look for work finds.
pub(crate) enum Found {
    Job(Assignment, Lease),
    /// Nothing for this miner, and when to look again.
    Nothing(Duration),
}

impl<'a> Search<'a> {
    pub(crate) fn new(api: &'a Api, chutes: &'a [Uuid]) -> Self {
        Self { api, chutes, worker: Uuid::new_v4().to_string(), succeeded: false }
    }

    /// The next job of these chutes, if there is one for this miner. A claim that was sent must be waited for.
    pub(crate) async fn claim(&mut self) -> Result<Found> {
        let names: Vec<_> = self.chutes.iter().map(Uuid::to_string).collect();
        let path = format!("/jobs/claim?chute_id={}", names.join("&chute_id="));
        let body = json!({ "worker": self.worker }).to_string();
        let Answer { body: job, wait, at } =
            self.api.answer::<Option<Assignment>>(Method::PUT, &path, Some(&body)).await?;
        if !self.succeeded {
            let chutes = if names.len() == 1 { "chute" } else { "chutes" };
            let looking = Event::Looking { chutes: self.chutes };
            events::tell(&looking, format_args!("looking for jobs of {chutes} {}", names.join(", ")));
        }
        self.succeeded = true;
        let Some(job) = job else { return Ok(Found::Nothing(wait.unwrap_or(SOON))) };
        let lease = Lease::of(job.lease_expires_at.as_deref(), job.next_heartbeat_at.as_deref(), at);
        Ok(Found::Job(job, lease))
    }
}
