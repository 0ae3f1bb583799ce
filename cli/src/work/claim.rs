//! Looking for work.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{Answer, Api},
    refusal::refused_with,
    screen::tell,
    work::{folder::Assignment, lease::Lease},
};

/// Time to the next look where the API does not say.
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// The same when only jobs wait that this miner does not get: as long as the API says at most of an empty queue.
const LATER: Duration = Duration::from_secs(15);
/// How long the API refuses a job to a miner that lost it.
const REFUSED: Duration = Duration::from_secs(300);

/// A miner's process that looks for jobs of one chute.
pub(crate) struct Search<'a> {
    api: &'a Api,
    chute: &'a str,
    /// Tells this process from another one with the same key.
    worker: String,
    /// The key and the chute are right: what is refused later may pass.
    pub(crate) succeeded: bool,
    /// Jobs that this miner does not get, and since when.
    refused: HashMap<String, Instant>,
}

/// What a look for work finds.
pub(crate) enum Found {
    Job(Assignment, Lease),
    /// Nothing for this miner, and when to look again.
    Nothing(Duration),
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Claimable>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Claimable {
    job_id: String,
}

impl<'a> Search<'a> {
    pub(crate) fn new(api: &'a Api, chute: &'a str) -> Self {
        Self { api, chute, worker: Uuid::new_v4().to_string(), succeeded: false, refused: HashMap::new() }
    }

    /// Jobs that wait, from the one after `cursor`, and where there are more.
    async fn page(&mut self, cursor: Option<&str>) -> Result<Answer<Page>> {
        let from = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("/jobs/claimable?chute_id={}{from}", self.chute);
        let page = self.api.answer(Method::GET, &path, None).await?;
        if !self.succeeded {
            tell(format_args!("looking for jobs of chute {}", self.chute));
        }
        self.succeeded = true;
        Ok(page)
    }

    /// The first job that this miner gets, if there is one. `may_claim` is asked before each claim, since a claim that was sent must
    /// be waited for.
    pub(crate) async fn claim(&mut self, may_claim: impl Fn() -> bool) -> Result<Found> {
        self.refused.retain(|_, since| since.elapsed() < REFUSED);
        let (mut cursor, mut skips, mut tries) = (None, false, false);
        loop {
            let Answer { body: page, wait, .. } = self.page(cursor.as_deref()).await?;
            for Claimable { job_id } in page.jobs {
                if self.refused.contains_key(&job_id) {
                    skips = true;
                    continue;
                }
                if !may_claim() {
                    return Ok(Found::Nothing(SOON));
                }
                tries = true;
                let body = json!({ "worker": self.worker }).to_string();
                match self.api.answer::<Assignment>(Method::PUT, &format!("/jobs/{job_id}/claim"), Some(&body)).await {
                    Ok(Answer { body: job, at, .. }) => {
                        let lease = Lease::of(job.lease_expires_at.as_deref(), job.next_heartbeat_at.as_deref(), at);
                        return Ok(Found::Job(job, lease));
                    }
                    Err(error) => {
                        tell(format_args!("{error:#}"));
                        // It lost the job before, or the job asks for ports, which this miner has not.
                        if let Some(StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY) = refused_with(&error) {
                            self.refused.insert(job_id, Instant::now());
                        }
                    }
                }
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => {
                    let again = if skips && !tries { LATER } else { wait.unwrap_or(SOON) };
                    return Ok(Found::Nothing(again));
                }
            }
        }
    }
}
