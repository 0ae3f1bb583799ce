//! The queues of the chutes that a miner asks for, and which of their jobs it takes.
//!
//! The next one in [turn](in_turn), unless others take jobs at the same moment: a job that the index shows, and that turns out to be taken when it is
//! read, tells so. Then it is one of the next ones at random, or miners that come at the same time would all go on to try the
//! same job, one after the other. Of a busy chute, others always take jobs at the same moment.
//!
//! Each reads the job, strongly consistent, just before it writes, and waits a moment at random before that, where more than one job waits. So
//! of many that have come at once most see what the first ones have taken, and a write that is refused is the exception: it costs as
//! much as five reads.

use std::{collections::HashSet, time::Duration};

use futures_util::future::try_join_all;
use shared::{
    App, Error, Result,
    claims::Claimant,
    item::Page,
    model::{Chute, Job, PayloadKind, Status, pace},
    tables::jobs::{ClaimableJob, Outcome},
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::turns::in_turn;

/// Jobs of each chute that are looked at first.
const FIRST_LOOK: usize = 32;
/// Of how many of the next jobs one is taken, where others take jobs at the same moment.
const SPREAD: usize = 64;
/// Milliseconds that are waited, at most, before the first job is read. Few wait for a short time only, so that one of many is the first.
const FIRST_PAUSE_MS: f64 = 80.0;
/// The same after one that others have taken, and twice as long after each further one, twice.
const LATER_PAUSE_MS: f64 = 400.0;
/// Seconds for which others come first who wait, after a user was found to have as many running as may be.
const PASSED_OVER: i64 = 10;
/// Jobs that are tried.
const TRIES: usize = 24;
/// Jobs of a chute that are looked at, however few of them suit the miner: as many as for a page of a filtered list.
const MOST_READ: usize = 1000;
/// Pages of a chute's queue that are looked at, however many of their jobs are of users who have as many running as may be.
const MOST_PAGES: usize = 100;
/// Jobs of a page of the index.
const PAGE: usize = 100;
/// Seconds for which a queue is taken to have been empty where nothing in it is for this miner.
const LONG: i64 = 3600;

/// The jobs that wait, as far as they suit one miner.
pub(crate) struct Queue<'a> {
    app: &'a App,
    claimant: &'a Claimant<'a>,
    chutes: &'a [Chute],
    /// The next one first.
    waiting: Vec<ClaimableJob>,
    /// Jobs that were tried.
    tried: HashSet<Uuid>,
    /// Users of whose jobs as many run as may.
    have_enough: HashSet<Uuid>,
    /// Whether others take jobs at the same moment.
    is_contended: bool,
    /// Jobs that others have taken, as was seen too late.
    losses: i32,
    /// When to ask again, as far as queues were empty.
    again: Option<i64>,
    /// Why the arguments of one of them can't be had.
    unreadable: Option<Error>,
}

/// What a miner gets.
pub(crate) enum Next {
    Job(Box<Job>),
    /// Nothing, and it should ask again after so many seconds.
    Nothing {
        again: i64,
    },
}

/// What became of a try.
enum Tried {
    Taken(Box<Job>),
    /// It is kept from this miner.
    NotForThisMiner,
    /// Of this user, as many run as may.
    OwnerHasEnough(Uuid),
    /// Its arguments can't be had.
    Unreadable(Error),
    /// It is another's.
    Lost,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(app: &'a App, claimant: &'a Claimant<'a>, chutes: &'a [Chute]) -> Self {
        let is_contended = chutes.iter().any(|chute| chute.busy);
        let (tried, have_enough) = (HashSet::new(), HashSet::new());
        Self {
            app,
            claimant,
            chutes,
            waiting: Vec::new(),
            tried,
            have_enough,
            is_contended,
            losses: 0,
            again: None,
            unreadable: None,
        }
    }

    /// Looks what waits.
    pub(crate) async fn look(&mut self) -> Result<()> {
        let wanted = self.tried.len() + if self.is_contended { SPREAD } else { FIRST_LOOK };
        let found = try_join_all(self.chutes.iter().map(|chute| self.suiting(chute, wanted))).await?;
        let (found, again): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let untried = found.into_iter().flatten().filter(|job| !self.tried.contains(&job.job_id()));
        self.waiting = in_turn(untried.collect(), |owner| self.app.jobs.last_served(owner));
        self.again = again.into_iter().flatten().min();
        Ok(())
    }

    /// The first jobs of the chute's queue that suit the miner, so many or a few more; and when to ask again if the chute's queue is empty.
    async fn suiting(&self, chute: &Chute, wanted: usize) -> Result<(Vec<ClaimableJob>, Option<i64>)> {
        let (mut suiting, mut read, mut pages) = (Vec::new(), 0, 0);
        let mut page = Page { limit: wanted.min(PAGE) as u32, after: None };
        loop {
            let (jobs, next) = self.app.jobs.claimable(chute, &page, None, self.claimant.now).await?;
            pages += 1;
            let is_empty = pages == 1 && jobs.is_empty() && next.is_none();
            let covers = |job: &ClaimableJob| job.ports().iter().all(|port| self.claimant.instance.covers(port));
            let may_run = |job: &ClaimableJob| !self.have_enough.contains(&job.owner());
            // Those of users who have enough are many, or they would have no limit.
            read += jobs.iter().filter(|job| may_run(job)).count();
            suiting.extend(jobs.into_iter().filter(|job| covers(job) && may_run(job)));
            page = Page { limit: PAGE as u32, after: next };
            if next.is_none() || suiting.len() >= wanted || read >= MOST_READ || pages >= MOST_PAGES {
                let again = self.app.jobs.look_again_after(chute.chute_id, is_empty, self.claimant.now);
                return Ok((suiting, again));
            }
        }
    }

    /// Takes the next job, after a look.
    pub(crate) async fn next(&mut self) -> Result<Next> {
        for number in 0..TRIES {
            if self.waiting.is_empty() && number > 0 {
                self.look().await?;
            }
            if self.waiting.is_empty() {
                break;
            }
            if number == 0 || self.losses > 0 {
                self.pause().await;
            }
            let choice = if self.is_contended { self.waiting.len().min(SPREAD) } else { 1 };
            let job_id = self.waiting.remove(fastrand::usize(..choice)).job_id();
            self.tried.insert(job_id);
            match self.take(job_id).await? {
                Tried::Taken(job) => {
                    self.app.jobs.serve(job.user_id, self.claimant.now);
                    return Ok(Next::Job(job));
                }
                Tried::NotForThisMiner => {}
                // One keeps nobody from the others. Two are hardly those jobs' own trouble.
                Tried::Unreadable(error) if self.unreadable.is_some() => return Err(error),
                Tried::Unreadable(error) => self.unreadable = Some(error),
                Tried::OwnerHasEnough(owner) => {
                    // The next claims of this process need not find out first.
                    self.app.jobs.serve(owner, self.claimant.now.plus_seconds(PASSED_OVER));
                    self.have_enough.insert(owner);
                    self.waiting.retain(|job| job.owner() != owner);
                }
                Tried::Lost => {
                    self.is_contended = true;
                    self.losses += 1;
                    self.look().await?;
                }
            }
        }
        if let Some(error) = self.unreadable.take() {
            return Err(error);
        }
        let again = match self.is_contended {
            // There may well be more.
            true if !self.tried.is_empty() => pace::look_for_work(0),
            _ => self.again.unwrap_or_else(|| pace::look_for_work(LONG)),
        };
        Ok(Next::Nothing { again })
    }

    /// Lets others go first, or goes first.
    async fn pause(&self) {
        let millis = match self.losses {
            0 if self.waiting.len() < 2 => return,
            0 => FIRST_PAUSE_MS * fastrand::f64().sqrt(),
            losses => LATER_PAUSE_MS * 2_f64.powi((losses - 1).min(2)) * fastrand::f64(),
        };
        sleep(Duration::from_secs_f64(millis / 1000.0)).await;
    }

    async fn take(&self, job_id: Uuid) -> Result<Tried> {
        let (app, claimant) = (self.app, self.claimant);
        let Some(mut job) = app.jobs.get(job_id).await? else { return Ok(Tried::Lost) };
        if job.status != Status::Pending || job.deleted_at.is_some() {
            return self.lost(job).await;
        }
        if claimant.is_refused(&job) || job.is_delayed(claimant.now) {
            return Ok(Tried::NotForThisMiner);
        }
        if claimant.worker.is_none() {
            // It could not ask for the job again: what may fail comes before the write. Where they are gone, the answer tells.
            if let Err(error) = app.payloads()?.load(&mut job, &[PayloadKind::Arguments]).await {
                return Ok(Tried::Unreadable(error));
            }
        }
        let (owner, counted) = (job.user_id, job.counted);
        let claimed = match claimant.claim(app, job).await {
            // Many claim this user's jobs at the same moment: others' may be had meanwhile.
            Err(Error::Busy { .. } | Error::Unavailable(_)) if counted => None,
            claimed => claimed?,
        };
        match claimed {
            Some(Outcome::Changed(job)) => Ok(Tried::Taken(job)),
            Some(Outcome::Refused(job)) => self.lost(*job).await,
            Some(Outcome::Gone) => Ok(Tried::Lost),
            None => Ok(Tried::OwnerHasEnough(owner)),
        }
    }

    /// A job that is taken: by another request of this very worker's, perhaps, which it has repeated before that was answered.
    async fn lost(&self, job: Job) -> Result<Tried> {
        if !self.claimant.asks_again(&job, None) {
            return Ok(Tried::Lost);
        }
        let Some((job, lease)) = self.app.jobs.get_with_lease(job.job_id).await? else { return Ok(Tried::Lost) };
        if !self.claimant.asks_again(&job, lease.as_ref()) {
            return Ok(Tried::Lost);
        }
        self.app.jobs.guard_repeat(self.claimant.caller.guard.as_ref(), job.job_id).await?;
        Ok(Tried::Taken(Box::new(job)))
    }
}
