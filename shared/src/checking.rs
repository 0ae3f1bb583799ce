//! The check of a reported job's files, by one at a time where there is much to do.

use std::time::Duration;

use crate::{
    app::App,
    error::{Error, Result},
    model::{
        Job, PayloadKind,
        lifecycle::{self, Transition},
    },
    outputs::{Seen, check_files, is_much_work},
    tables::jobs::Outcome,
    time::Timestamp,
};

/// What became of a check.
pub enum Check {
    /// The files were checked: the job with what was found, and what else is in the bucket.
    Done(Box<Job>, Seen),
    /// Somebody else is at it, or has ended the job: this is the job as it is.
    Refused(Box<Job>),
}

impl App {
    /// Checks the files of a job as it was read. Where many of them take several calls each, `begin` is written first, which lets one
    /// at a time begin: the others would do the same work once more. For few files the write would cost more than it spares. What
    /// takes longer than `limit` has failed: whoever drops this future instead leaves the job to nobody for a while.
    pub async fn check(
        &self,
        mut job: Job,
        begin: Transition,
        now: Timestamp,
        limit: Option<Duration>,
    ) -> Result<Check> {
        let (threshold, most) = (self.config.multipart_threshold, self.config.max_job_bytes);
        if !is_much_work(&job, threshold) {
            let seen = check_files(self.bucket()?, &mut job, threshold, most).await?;
            return Ok(Check::Done(Box::new(job), seen));
        }
        if job.checked_for(now).is_some() {
            return Ok(Check::Refused(Box::new(job)));
        }
        match self.jobs.change(job.job_id, begin, "begin check: UpdateItem").await? {
            // What a form or a declaration has changed meanwhile, the check sees, and its end goes by.
            Outcome::Changed(begun) => job = begun.with_files_of(&job),
            Outcome::Refused(job) => return Ok(Check::Refused(job)),
            Outcome::Gone => return Err(Error::no_job(job.job_id)),
        }
        let give_up = lifecycle::give_up_check(&job, now);
        let checking = async {
            if self.payloads()?.load(&mut job, &[PayloadKind::Files]).await?.is_some() {
                return Err(Error::unavailable("check", "the list of files was replaced twice"));
            }
            check_files(self.bucket()?, &mut job, threshold, most).await
        };
        let checked = match limit {
            Some(limit) => tokio::time::timeout(limit, checking).await,
            None => Ok(checking.await),
        };
        let checked = checked.unwrap_or_else(|_| Err(Error::unavailable("check", "no time left")));
        if checked.is_err() {
            // That it could not is as good: the repeat waits until the time of this check is over.
            let _ = self.jobs.change(job.job_id, give_up, "give up check: UpdateItem").await;
        }
        Ok(Check::Done(Box::new(job), checked?))
    }
}
