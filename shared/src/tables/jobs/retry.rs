//! A job is tried again: it is counted and changed in one transaction.

use super::{change::Outcome, quota::DailyQuota, replay::ReplayGuard, store::Jobs};
use crate::{
    error::{Error, Result},
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
            Some(there) if there.is_empty() => Ok(Outcome::Gone),
            Some(there) => Ok(Outcome::Refused(Box::new(Job::from_item(there)?))),
            None => {
                // A transaction answers no attributes.
                let after = retry.job.clone().apply(job.to_item()?);
                let after =
                    after.ok_or_else(|| Error::internal("retry job", "a transition that does not fit the job"))?;
                Ok(Outcome::Changed(Box::new(Job::from_item(after)?)))
            }
        }
    }
}
