//! A job is tried again: it is counted and changed in one transaction.

use super::{
    change::{Outcome, written},
    quota::DailyQuota,
    replay::ReplayGuard,
    store::Jobs,
};
use crate::{
    error::Result,
    model::{Job, lifecycle::Revocation},
};

impl Jobs {
    /// Carries out a retry of the job as it was read, and counts it like a new one. 429 when the quota is used up.
    pub async fn retry(
        &self,
        job: &Job,
        retry: &Revocation,
        quota: &DailyQuota,
        guard: Option<&ReplayGuard>,
    ) -> Result<Outcome> {
        match self.count_and_write(job, Some(retry), quota, guard).await? {
            Some(there) => Outcome::refused_by(there),
            None => written(job, retry.job.clone(), "retry job"),
        }
    }
}
