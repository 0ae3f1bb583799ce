//! A miner that claims.

use crate::{
    app::App,
    auth::Caller,
    error::Result,
    metrics::Metric,
    model::{
        Instance, Job, Lease, Status,
        lifecycle::{self, Claim},
        trace::{REPEATED, Trace},
    },
    tables::jobs::Outcome,
    time::Timestamp,
};

/// Who claims, as which of its processes, and where the job would run.
#[derive(Debug)]
pub struct Claimant<'a> {
    /// The miner.
    pub caller: &'a Caller,
    /// Which of its processes, when it said so.
    pub worker: Option<&'a str>,
    /// Where.
    pub instance: &'a Instance,
    /// Leaves a trace of the claim, for a worker that does not know the job's id when it asks again.
    pub trace: Option<Trace>,
    /// When.
    pub now: Timestamp,
}

impl Claimant<'_> {
    /// Whether the job is this worker's, as its last claim says. Workers that share a key are as different as miners.
    pub fn has_claimed(&self, job: &Job) -> bool {
        job.miner.as_ref() == Some(&self.caller.miner()) && job.worker.as_deref() == self.worker
    }

    /// Whether the job was given to this worker so lately, and with no sign since that the answer arrived, that the worker asks for it again.
    /// Who does not name itself may be anybody.
    pub fn asks_again(&self, job: &Job, lease: Option<&Lease>) -> bool {
        let is_silent = !lease.is_some_and(|lease| lease.is_of(job, self.now));
        let is_running = job.status == Status::Running && job.report.is_none() && job.deleted_at.is_none();
        let since = self.now.plus_seconds(-REPEATED);
        let lately = job.started_at.is_some_and(|started| started >= since);
        self.worker.is_some() && self.has_claimed(job) && is_running && lately && is_silent
    }

    /// Whether the job is kept from the miner for a while, because its account has lost it.
    pub fn is_refused(&self, job: &Job) -> bool {
        lifecycle::is_withheld(job, self.caller.user.user_id, &self.caller.miner(), self.now)
    }

    /// Claims the job as it was read: one conditional write, or a transaction with the caller's signature. None when its owner has as many jobs
    /// running as may be. What was loaded of its arguments, it keeps.
    pub async fn claim(&self, app: &App, mut job: Job) -> Result<Option<Outcome>> {
        let (miner, payloads, now) = (self.caller.miner(), app.payloads()?, self.now);
        let (waits_since, deadline) = (job.updated_at, now.plus_seconds(job.longest_run() + app.config.upload_window));
        let put = payloads.renew(&mut job, now, deadline).await?;
        let claim = Claim {
            miner: &miner,
            account: self.caller.user.user_id,
            worker: self.worker,
            hotkey: self.caller.hotkey.as_deref(),
            instance: Some(self.instance.clone()),
            renewed: &put,
            trace: self.trace.as_ref(),
            now,
            deadline,
        };
        let guard = self.caller.guard.as_ref();
        let transition = lifecycle::claim(&job, &claim)?;
        let claimed = match job.counted {
            true => app.jobs.claim_counted(&job, transition, guard).await,
            false => app.jobs.change_once(&job, transition, guard, "claim job").await.map(Some),
        };
        // Collected: what an iterator maps lazily, a future that is sent to another thread may not hold.
        let stored: Vec<_> = put.iter().map(|(_, stored)| stored).collect();
        match &claimed {
            Ok(None) => payloads.give_up(&job.file_keys(), stored).await,
            Ok(Some(outcome)) => payloads.settle_change(&job.file_keys(), stored, Ok(outcome)).await,
            Err(error) => payloads.settle_change(&job.file_keys(), stored, Err(error)).await,
        }
        let Some(mut outcome) = claimed? else { return Ok(None) };
        if let Outcome::Changed(claimed) = &mut outcome {
            claimed.take_arguments_of(job);
            for (kind, stored) in put {
                claimed.set_loaded(kind, stored.text.unwrap_or_default())?;
            }
            app.metrics.add(Metric::JobsClaimed, 1);
            app.metrics.longest(Metric::QueueAge, waits_since, now);
        }
        Ok(Some(outcome))
    }
}
