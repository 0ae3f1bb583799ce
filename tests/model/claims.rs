//! The model of claims; and, of who asks for the next job, which one may be given, and which has to be.

use serde_json::json;

use crate::oracle::{Call, Expected, FIRST_LEASE, Job, MINUTE, Part, TIMEOUT, WINDOW, WITHHELD, content, status};

/// What a worker calls itself.
pub(crate) fn name_of(worker: u8) -> String {
    format!("worker {worker}")
}

/// Who asks for the next job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    pub(crate) miner: usize,
    pub(crate) worker: Option<u8>,
}

impl Asks {
    /// As a request for the job that it turned out to be.
    pub(crate) fn call(self) -> Call {
        Call::Next { miner: self.miner, worker: self.worker }
    }
}

/// What may be true of a job: more than one state only while nobody can tell.
type States<'a> = &'a [Job];

impl Job {
    pub(crate) fn claim(&mut self, miner: usize, worker: Option<u8>, now: i64) -> Expected {
        if self.gone.is_some() {
            return status(404);
        }
        if self.miner != Some(miner) || self.worker != worker || self.terminal {
            if self.is_withheld(miner, now) {
                return status(403);
            }
            if self.status != "pending" || self.is_delayed(now) {
                return status(409);
            }
            self.begin(miner, worker, now);
        }
        self.assigned()
    }

    pub(crate) fn is_withheld(&self, miner: usize, now: i64) -> bool {
        self.lost.get(&miner).is_some_and(|at| now < at + WITHHELD)
    }

    /// Whether it waits for the time of its next attempt, after an error.
    pub(crate) fn is_delayed(&self, now: i64) -> bool {
        self.failure.is_some() && self.due > Some(now)
    }

    pub(crate) fn begin(&mut self, miner: usize, worker: Option<u8>, now: i64) {
        self.status = "running";
        self.attempt += 1;
        (self.miner, self.worker, self.started, self.was_next) = (Some(miner), worker, now, false);
        self.deadline = Some(now + TIMEOUT + WINDOW);
        self.due = Some(now + FIRST_LEASE);
        self.failure = None;
    }

    /// What the last heartbeat of this attempt holds the job for while it runs, and while files are uploaded.
    pub(crate) fn beats_of(&self, now: i64) -> Option<(i64, i64)> {
        self.beats.filter(|beats| beats.attempt == self.attempt && now < beats.ends)?.until
    }

    /// Whether a heartbeat of this attempt was taken.
    pub(crate) fn has_beaten(&self, now: i64) -> bool {
        self.beats_of(now).is_some()
    }

    /// What its miner is told. A job that cannot be run ends.
    pub(crate) fn assigned(&mut self) -> Expected {
        if self.lacks(Part::Arguments) {
            if self.report.is_none() {
                self.end_without(Part::Arguments);
            }
            return status(500);
        }
        let arguments = content(self.made.body)["text"].take();
        Expected { status: 200, fields: vec![("/attempt", json!(self.attempt)), ("/job_data/text", arguments)] }
    }

    /// The next job of this miner is this one, if it may have it.
    pub(crate) fn next(&mut self, miner: usize, worker: Option<u8>, now: i64) -> Expected {
        if !self.is_given_again(miner, worker, now) {
            if !self.may_be_given(miner, now) {
                return status(204);
            }
            self.begin(miner, worker, now);
            // The worker is remembered by when the reaper looks.
            self.due_within = worker.map_or(0, |_| MINUTE - 1);
            self.was_next = true;
        }
        self.assigned()
    }

    /// Whether this worker was given it in the last minute, and has made no other request for it.
    fn is_given_again(&self, miner: usize, worker: Option<u8>, now: i64) -> bool {
        let is_its_own = worker.is_some() && self.miner == Some(miner) && self.worker == worker;
        let runs = self.status == "running" && self.report.is_none() && self.gone.is_none();
        is_its_own && runs && self.started >= now - MINUTE && !self.has_beaten(now)
    }

    fn may_be_given(&self, miner: usize, now: i64) -> bool {
        let waits = self.status == "pending" && self.gone.is_none();
        waits && !self.is_withheld(miner, now) && !self.is_delayed(now)
    }
}

/// What was answered to who asked for the next job, while nobody else was at it, must be what it had to be. `given` is its number; None for
/// 204. `quiet` tells whether nothing failed, and `in_order` whether its user's longest-waiting job comes first.
pub(crate) fn check(
    jobs: &[(String, Vec<Job>)],
    asks: Asks,
    given: Option<usize>,
    now: i64,
    quiet: bool,
    in_order: bool,
) -> Result<(), String> {
    let Asks { miner, worker } = asks;
    // Nobody knows what the miner was given without a name, if the write's answer was lost.
    let is_certain = quiet || worker.is_some();
    let all = |states: States<'_>, is: &dyn Fn(&Job) -> bool| states.iter().all(is);
    let again = |job: &Job| job.was_next && job.started <= now && job.is_given_again(miner, worker, now);
    let before: Vec<_> = (0..jobs.len()).filter(|at| all(&jobs[*at].1, &again)).collect();
    if !before.is_empty()
        && given.is_none_or(|given| !jobs[given].1.iter().any(|job| job.is_given_again(miner, worker, now)))
    {
        return Err(format!("{asks:?} was given {before:?}, asks again at {now}, and is given {given:?}"));
    }
    let is_claimable = |job: &Job| job.may_be_given(miner, now) && job.due <= Some(now);
    let mut waiting = jobs.iter().filter(|(_, states)| all(states, &is_claimable)).map(|(_, states)| &states[0]);
    match given {
        None if is_certain => match waiting.next() {
            Some(job) => Err(format!("{asks:?} is given nothing at {now}, and may have {job:?}")),
            None => Ok(()),
        },
        Some(given) if quiet && in_order && before.is_empty() => {
            let since = jobs[given].1.iter().filter_map(|job| job.due).max();
            // Users are served in turn.
            let is_before = |job: &&Job| job.due < since && job.user == jobs[given].1[0].user;
            match waiting.find(|job| is_before(job) && jobs[given].1[0].status == "pending") {
                Some(job) => Err(format!("{asks:?} is given {:?} at {now}, behind {job:?}", jobs[given].1)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
