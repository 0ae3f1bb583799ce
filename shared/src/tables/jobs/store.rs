//! The store itself, and the read of one job.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::{idle::Idle, left_off::LeftOff, quota::QuotaKey, turns::Turns};
use crate::{
    error::{Context, Result},
    item::text,
    model::{Job, Usage},
    tables::client::Tables,
};

/// The jobs table, and the registry's rows that are written in the same transaction.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub(super) tables: Tables,
    /// Quotas of busy users that this process has found used up, and what was counted then.
    pub(super) used_up: Arc<Mutex<HashMap<QuotaKey, Usage>>>,
    /// Queues that this process has found empty.
    pub(super) idle: Idle,
    /// Whose turn it is, as far as this process knows.
    pub(super) turns: Turns,
    /// Where the reaper's last run had no more time.
    pub(super) left_off: LeftOff,
}

impl Jobs {
    /// A store over these tables.
    pub fn new(tables: Tables) -> Self {
        Self {
            tables,
            used_up: Arc::default(),
            idle: Idle::default(),
            turns: Turns::default(),
            left_off: LeftOff::default(),
        }
    }

    /// The job, strongly consistent, also when it is being deleted.
    pub async fn get(&self, job_id: Uuid) -> Result<Option<Job>> {
        let request = self
            .tables
            .client
            .get_item()
            .table_name(&self.tables.jobs)
            .key("job_id", text(job_id.to_string()))
            .consistent_read(true);
        let answer = request.send().await.context("get job: GetItem")?;
        answer.item.filter(Job::is).map(Job::from_item).transpose()
    }
}
