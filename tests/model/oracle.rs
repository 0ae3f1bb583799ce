//! The model: a job as a few plain fields, and what a request does to it. It shares no code with what it is compared to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Milliseconds of the upload window, and of what may arrive after it.
pub(crate) const WINDOW: i64 = 3_600_000;
/// Milliseconds that an attempt may run.
pub(crate) const TIMEOUT: i64 = 60_000;
/// Milliseconds that a job waits for a miner, unless it was created with a time of its own.
pub(crate) const PENDING: i64 = 14_400_000;
/// Milliseconds that a claim holds a job before the reaper looks for heartbeats, and after which it looks again at what it had to
/// leave.
const FIRST_LEASE: i64 = 90_000;
const LONGEST_LEASE: i64 = 900_000;
const URLS_GIVEN: i64 = 300_000;
pub(crate) const MINUTE: i64 = 60_000;
/// Milliseconds for which a job is withheld from whoever lost it.
const WITHHELD: i64 = 300_000;
/// Milliseconds from an error to the next attempt, by how many there were before.
const PAUSES: [i64; 3] = [10_000, 60_000, 600_000];
/// Milliseconds that a miner has for its report when it was told of a cancel.
const LAST_WORDS: i64 = 90_000;

/// The files that a report may name.
pub(crate) const FILES: [&str; 2] = ["a.bin", "sub dir/ü.bin"];

/// Arguments and results by their numbers: small ones, those that are stored apart, and the largest.
pub(crate) fn content(number: u8) -> Value {
    let size = [0, 6_000, (4 << 20) - 100][usize::from(number)];
    json!({"n": number, "text": "x".repeat(size)})
}

/// Whether it is stored apart from its job.
fn is_apart(number: u8) -> bool {
    number > 0
}

/// What a job was created with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Made {
    /// Of [`METHODS`].
    pub(crate) method: usize,
    pub(crate) body: u8,
    /// Milliseconds that it waits for a miner, where that is a time of its own.
    pub(crate) wait: Option<i64>,
}

/// Methods of the chute: each one's name, how often a job is tried, and whether it is tried again after an error.
pub(crate) const METHODS: [(&str, u32, bool); 3] = [("train", 1, false), ("serve", 3, false), ("tune", 3, true)];

/// A job, as far as anybody can tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) user: usize,
    pub(crate) made: Made,
    pub(crate) created: i64,
    pub(crate) status: &'static str,
    pub(crate) terminal: bool,
    pub(crate) attempt: u32,
    /// How often it was retried, and attempts before that.
    pub(crate) run: u32,
    pub(crate) before: u32,
    pub(crate) miner: Option<usize>,
    /// Which of the miner's processes, when it said so.
    pub(crate) worker: Option<u8>,
    /// When the last attempt began, and whether its miner had asked for the next job.
    pub(crate) started: i64,
    pub(crate) was_next: bool,
    /// Since when it waits, and when its own alarm rings.
    pub(crate) since: i64,
    pub(crate) alarm: Option<i64>,
    /// How many errors there were, and the last report of one, until the next attempt.
    pub(crate) errors: u32,
    pub(crate) failure: Option<Report>,
    /// Miners that lost it, and when each did so last.
    pub(crate) lost: BTreeMap<usize, i64>,
    /// Until when a miner that sends no heartbeats may bring files.
    pub(crate) lease: Option<i64>,
    /// Until when upload URLs work.
    pub(crate) urls: Option<i64>,
    pub(crate) beats: Option<Beats>,
    pub(crate) deadline: Option<i64>,
    /// The attempt that was given back last, and how many were.
    pub(crate) released: Option<u32>,
    pub(crate) given_back: u32,
    /// When the reaper looks at it, or from when on it may be claimed; and how much later that may be, until the table has told.
    pub(crate) due: Option<i64>,
    pub(crate) due_within: i64,
    /// Its owner has cancelled it while it ran.
    pub(crate) cancel: bool,
    pub(crate) report: Option<Report>,
    /// The report's files, and whether they are known to have arrived.
    pub(crate) files: BTreeMap<&'static str, bool>,
    /// When nothing of a deleted job can arrive any more.
    pub(crate) gone: Option<i64>,
    /// What S3 holds of it.
    pub(crate) objects: BTreeMap<&'static str, u32>,
    /// What the owner downloads, once the job is at its end.
    pub(crate) outputs: BTreeMap<&'static str, u32>,
}

/// A miner's report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) status: &'static str,
    pub(crate) result: u8,
    /// A bit for each of [`FILES`].
    pub(crate) files: u8,
}

impl Report {
    pub(crate) fn files(self) -> impl Iterator<Item = &'static str> {
        FILES.into_iter().enumerate().filter(move |(at, _)| self.files >> at & 1 == 1).map(|(_, name)| name)
    }
}

/// What heartbeats have left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Beats {
    /// The first attempt whose heartbeats are taken.
    attempt: u32,
    /// What they hold the job for while it runs, and while files are uploaded.
    until: Option<(i64, i64)>,
    /// The attempt that was cancelled, and whether its miner was told.
    cancelled: Option<(u32, bool)>,
}

/// What a job token says. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) attempt: u32,
    pub(crate) claimed: i64,
    pub(crate) expires: i64,
}

/// What is asked of a job.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// With the `Idempotency-Key` that made it.
    Create {
        made: Made,
    },
    Claim {
        miner: usize,
        worker: Option<u8>,
    },
    /// Of the next job, which turns out to be this one.
    Next {
        miner: usize,
        worker: Option<u8>,
    },
    Heartbeat {
        token: Token,
    },
    Release {
        token: Token,
    },
    Finish {
        token: Token,
        report: Report,
    },
    Upload {
        token: Token,
        file: &'static str,
        content: u32,
    },
    Complete {
        token: Token,
    },
    /// To a presigned URL.
    Put {
        file: &'static str,
        content: u32,
        /// The job's run that the URL is of.
        run: u32,
    },
    Cancel {
        user: usize,
    },
    Retry {
        user: usize,
    },
    Delete {
        user: usize,
    },
    Get {
        user: usize,
    },
    Download {
        user: usize,
        file: &'static str,
    },
    Reap {
        /// The alarm of the chute rings.
        rings: bool,
    },
}

/// What is answered: a status, and fields of the body.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

pub(crate) fn status(status: u16) -> Expected {
    Expected { status, fields: Vec::new() }
}

impl Job {
    pub(crate) fn new(user: usize, made: Made, now: i64) -> Self {
        Self {
            user,
            made,
            created: now,
            status: "pending",
            terminal: false,
            attempt: 0,
            run: 0,
            before: 0,
            miner: None,
            worker: None,
            started: 0,
            was_next: false,
            since: now,
            alarm: made.wait.map(|wait| now + wait),
            errors: 0,
            failure: None,
            lost: BTreeMap::new(),
            lease: None,
            urls: None,
            beats: None,
            deadline: None,
            released: None,
            given_back: 0,
            due: Some(now),
            due_within: 0,
            cancel: false,
            report: None,
            files: BTreeMap::new(),
            gone: None,
            objects: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// What was given back does not count.
    fn max_attempts(&self) -> u32 {
        self.before + METHODS[self.made.method].1 + self.given_back
    }

    /// The answer, and the job after it.
    pub(crate) fn after(&self, call: &Call, now: i64) -> (Expected, Self) {
        let mut job = self.clone();
        let answer = job.carry_out(call, now);
        (answer, job)
    }

    /// What a request that was not answered may have left behind, other than all of its work or nothing.
    pub(crate) fn half_way(&self, call: &Call, now: i64) -> Vec<Self> {
        let (_, whole) = self.after(call, now);
        let mut states = Vec::new();
        match call {
            // The job is gone; its files are not yet, or the reaper is not told that they are.
            Call::Delete { .. } => {
                let due = if self.gone.is_some() { self.due } else { self.has_objects().then_some(now + MINUTE) };
                let gone = Self { due, objects: self.objects.clone(), ..whole.clone() };
                states.push(Self { objects: whole.objects, ..gone.clone() });
                states.push(gone);
            }
            // The job is held; or the file is there as well, and the job does not know.
            Call::Upload { .. } => {
                let held = Self { urls: whole.urls, ..self.clone() };
                states.push(Self { objects: whole.objects, ..held.clone() });
                states.push(held);
            }
            // It has an alarm already, and does not wait.
            Call::Release { .. } | Call::Finish { .. } | Call::Retry { .. } if whole.alarm != self.alarm => {
                states.push(Self { alarm: whole.alarm, ..self.clone() });
            }
            Call::Reap { rings } => states = self.half_reaped(*rings, now),
            _ => {}
        }
        states
    }

    fn carry_out(&mut self, call: &Call, now: i64) -> Expected {
        match call {
            Call::Create { made } if *made != self.made => status(422),
            Call::Create { .. } if self.gone.is_some() => status(409),
            Call::Create { .. } => self.shown_to_owner(),
            Call::Claim { miner, worker } => self.claim(*miner, *worker, now),
            Call::Next { miner, worker } => self.next(*miner, *worker, now),
            Call::Heartbeat { token } => self.heartbeat(*token, now),
            Call::Release { token } => self.release(*token, now),
            Call::Finish { token, report } => self.finish(*token, *report, now),
            Call::Upload { token, file, content } => match self.held(*token, now) {
                Err(refused) => status(refused),
                Ok(()) if !self.files.contains_key(file) => status(404),
                Ok(()) if self.terminal => status(400),
                Ok(()) => {
                    self.give_urls(now);
                    self.objects.insert(file, *content);
                    self.files.insert(file, true);
                    status(200)
                }
            },
            Call::Complete { token } if self.has_failed(*token, now) => self.shown_to_miner(),
            Call::Complete { token } => match self.held(*token, now) {
                Err(refused) => status(refused),
                Ok(()) if self.report.is_none() => status(400),
                Ok(()) => {
                    self.complete();
                    self.shown_to_miner()
                }
            },
            Call::Put { file, content, run } => {
                if *run == self.run {
                    self.objects.insert(file, *content);
                }
                status(200)
            }
            Call::Cancel { user } if *user != self.user || self.gone.is_some() => status(404),
            Call::Cancel { .. } => {
                self.cancel(now);
                let mut answer = self.shown(None);
                answer.fields.push(("/job_args", Value::Null));
                answer
            }
            Call::Retry { user } if *user != self.user || self.gone.is_some() => status(404),
            Call::Retry { .. } if !self.terminal || self.status == "complete" => status(409),
            Call::Retry { .. } => {
                self.retry(now);
                let mut answer = self.shown(None);
                answer.fields.push(("/job_args", Value::Null));
                answer
            }
            Call::Delete { user } if *user != self.user => status(404),
            Call::Delete { .. } => {
                if self.gone.is_none() {
                    if self.attempt > 0 {
                        self.close();
                    }
                    self.due = self.has_objects().then_some(now + MINUTE);
                }
                let gone = *self.gone.get_or_insert(now + 2 * WINDOW);
                if self.due.is_some_and(|due| due < gone) {
                    self.objects.clear();
                    self.due = (now < gone).then_some(gone);
                }
                Expected { status: 200, fields: vec![("/deleted", json!(true))] }
            }
            Call::Get { user } if *user != self.user || self.gone.is_some() => status(404),
            Call::Get { .. } => self.shown_to_owner(),
            Call::Download { user, .. } if *user != self.user || self.gone.is_some() => status(404),
            Call::Download { file, .. } => match self.outputs.get(file) {
                Some(content) => Expected { status: 200, fields: vec![("/content", json!(content))] },
                None => status(404),
            },
            Call::Reap { rings } => {
                self.reap(now);
                self.ring(*rings, now);
                status(200)
            }
        }
    }

    /// Whether it has, or may have, something in S3.
    pub(crate) fn has_objects(&self) -> bool {
        self.report.is_some() || self.run > 0 || is_apart(self.made.body)
    }

    /// What a JobResponse says of it.
    fn shown(&self, result: Option<u8>) -> Expected {
        let fields = vec![
            ("/status", json!(self.status)),
            ("/terminal", json!(self.terminal)),
            ("/attempt", json!(self.attempt)),
            ("/result", result.map_or(Value::Null, content)),
        ];
        Expected { status: 200, fields }
    }

    /// To its miner: what is stored apart only by its URL.
    fn shown_to_miner(&self) -> Expected {
        self.shown(self.report.map(|report| report.result).filter(|result| !is_apart(*result)))
    }

    /// To its owner. Without gzip, an answer has room for one of the largest.
    fn shown_to_owner(&self) -> Expected {
        let result = self.report.map(|report| report.result);
        let mut answer = self.shown(result);
        answer.fields.push(match (self.made.body, result) {
            (2, Some(2)) => ("/job_args", Value::Null),
            (arguments, _) => ("/job_args/text", content(arguments)["text"].take()),
        });
        answer
    }

    fn claim(&mut self, miner: usize, worker: Option<u8>, now: i64) -> Expected {
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

    /// Whether a heartbeat of this attempt was taken.
    pub(crate) fn has_beaten(&self) -> bool {
        self.beats.is_some_and(|beats| beats.attempt == self.attempt && beats.until.is_some())
    }

    /// What its miner is told.
    pub(crate) fn assigned(&self) -> Expected {
        let arguments = content(self.made.body)["text"].take();
        Expected { status: 200, fields: vec![("/attempt", json!(self.attempt)), ("/job_data/text", arguments)] }
    }

    /// Whether the miner of this token has reported an error after which the job is tried again, and nobody has begun.
    fn has_failed(&self, token: Token, now: i64) -> bool {
        let is_open = token.expires > now.div_euclid(1000) && self.gone.is_none();
        is_open && self.failure.is_some() && self.report.is_none() && self.attempt == token.attempt
    }

    /// Whether a token opens the job.
    fn held(&self, token: Token, now: i64) -> Result<(), u16> {
        if token.expires <= now.div_euclid(1000) {
            Err(401)
        } else if self.gone.is_some() {
            Err(404)
        } else if self.attempt != token.attempt || self.status == "pending" {
            Err(401)
        } else {
            Ok(())
        }
    }

    fn heartbeat(&mut self, token: Token, now: i64) -> Expected {
        let held = self.held(token, now).and(if self.terminal && self.report.is_some() { Err(400) } else { Ok(()) });
        let stop = Expected { status: 200, fields: vec![("/cancelled", json!(true))] };
        if token.expires <= now.div_euclid(1000) {
            return status(401);
        }
        let mut deadline = Some(token.expires * 1000 - WINDOW);
        if deadline <= Some(now) {
            if let Err(refused) = held {
                return status(refused);
            }
            deadline = self.deadline.filter(|_| self.report.is_none());
            if self.terminal || deadline.is_some_and(|deadline| deadline <= now) {
                return stop;
            }
        }
        let interval = ((now.div_euclid(1000) - token.claimed) / 20).clamp(30, 300);
        let lease = now + 3000 * interval;
        let until = (deadline.map_or(lease, |deadline| deadline.min(lease)), lease.max(now + WINDOW));
        if let Some(beats) = &mut self.beats
            && beats.attempt == token.attempt
            && let Some((attempt, told)) = &mut beats.cancelled
            && *attempt == token.attempt
        {
            let running = match (*told, beats.until) {
                (true, Some((running, _))) => running,
                _ => until.0.min(now + LAST_WORDS),
            };
            beats.until = Some((running, until.1));
            *told = true;
            return stop;
        }
        // Nobody tells a miner of what it has done itself.
        if self.beats.is_some_and(|beats| beats.attempt > token.attempt) {
            return match held {
                Ok(()) if self.terminal => stop,
                held => status(held.err().unwrap_or(503)),
            };
        }
        self.beats = Some(Beats { attempt: token.attempt, until: Some(until), cancelled: None });
        Expected { status: 200, fields: vec![("/cancelled", json!(false))] }
    }

    fn cancel(&mut self, now: i64) {
        if self.terminal || self.report.is_some() || self.cancel {
            return;
        }
        if self.status == "pending" {
            self.status = "cancelled";
            self.end();
            return;
        }
        self.cancel = true;
        let until = self.beats.filter(|beats| beats.attempt == self.attempt).and_then(|beats| beats.until);
        if until.is_some() {
            self.due = self.due.min(Some(now + LAST_WORDS));
        }
        self.beats = Some(Beats { attempt: self.attempt, until, cancelled: Some((self.attempt, false)) });
    }

    fn retry(&mut self, now: i64) {
        if self.attempt > 0 {
            self.close();
        }
        (self.status, self.terminal, self.cancel, self.released, self.given_back) = ("pending", false, false, None, 0);
        (self.before, self.run) = (self.attempt, self.run + 1);
        (self.miner, self.worker, self.report, self.deadline, self.due) = (None, None, None, None, Some(now));
        (self.errors, self.failure) = (0, None);
        self.waits(now);
        self.files.clear();
        self.objects.clear();
        self.outputs.clear();
    }

    fn release(&mut self, token: Token, now: i64) -> Expected {
        let done = Expected { status: 200, fields: vec![("/released", json!(true))] };
        if token.expires > now.div_euclid(1000) && self.gone.is_none() && self.released == Some(token.attempt) {
            return done;
        }
        match self.held(token, now) {
            Err(refused) => status(refused),
            Ok(()) if self.terminal || self.report.is_some() => status(400),
            Ok(()) => {
                self.released = Some(self.attempt);
                if self.cancel {
                    // The alarm is set for whatever is given back.
                    self.alarm = self.alarm_of_wait(now).or(self.alarm);
                    self.status = "cancelled";
                    self.end();
                } else {
                    self.given_back += 1;
                    self.requeue(now);
                }
                done
            }
        }
    }

    /// It waits again, and not for who had it.
    fn requeue(&mut self, now: i64) {
        self.status = "pending";
        self.lost.retain(|_, at| now < *at + WITHHELD);
        self.lost.extend(self.miner.take().map(|miner| (miner, now)));
        (self.worker, self.due_within) = (None, 0);
        (self.lease, self.urls, self.deadline, self.due) = (None, None, None, Some(self.created));
        self.waits(now);
    }

    fn finish(&mut self, token: Token, report: Report, now: i64) -> Expected {
        if self.has_failed(token, now) && self.failure == Some(report) {
            return self.shown_to_miner();
        }
        if let Err(refused) = self.held(token, now) {
            return status(refused);
        }
        let is_tried_again = report.status == "error" && METHODS[self.made.method].2 && !self.cancel;
        if self.status == "running" && self.report.is_none() {
            if is_tried_again && self.attempt < self.max_attempts() {
                self.requeue(now);
                self.due = Some(now + PAUSES[(self.errors as usize).min(2)]);
                (self.errors, self.failure) = (self.errors + 1, Some(report));
                self.since = now.max(self.due.unwrap_or(now));
                return self.shown_to_miner();
            }
            self.report = Some(report);
            let report = if self.cancel { Report { status: "cancelled", ..report } } else { report };
            self.files = report.files().map(|file| (file, false)).collect();
            let uploads = !self.files.is_empty();
            self.status =
                if uploads && report.status == "complete" { "complete_pending_uploads" } else { report.status };
            if uploads {
                self.give_urls(now);
                self.lease = self.urls.max(Some(token.expires * 1000 - WINDOW));
            } else {
                self.end();
            }
        } else if self.report == Some(report) && !self.terminal {
            // Fresh URLs, and the time to use them.
            self.give_urls(now);
        }
        if self.report == Some(report) { self.shown_to_miner() } else { status(400) }
    }

    fn give_urls(&mut self, now: i64) {
        if self.urls < Some(now + WINDOW) {
            self.urls = Some(now + WINDOW + URLS_GIVEN);
        }
    }

    /// What has arrived is all there is.
    fn complete(&mut self) {
        if self.terminal {
            return;
        }
        self.outputs = self.objects.clone();
        self.outputs.retain(|file, _| self.files.contains_key(file));
        for (file, arrived) in &mut self.files {
            *arrived = self.outputs.contains_key(file);
        }
        if self.status == "complete_pending_uploads" {
            self.status = if self.files.values().all(|arrived| *arrived) { "complete" } else { "partial_failure" };
        }
        self.end();
    }

    pub(crate) fn reap(&mut self, now: i64) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match self.gone {
            Some(gone) => {
                self.objects.clear();
                self.due = (now < gone).then_some(gone);
            }
            None if self.terminal || self.status == "pending" => {}
            // The row alone tells that there is nothing to do.
            None if self.lease_of_row() > Some(now) => {}
            None if self.held_until() > Some(now) => {
                let beats = self.beats.is_some_and(|beats| beats.attempt == self.attempt);
                let soon = if self.cancel { now + LAST_WORDS } else { i64::MAX };
                let look = |end: i64| if beats { end.min(soon) } else { end.min(now + LONGEST_LEASE) };
                self.due = self.held_until().map(look);
            }
            None if self.report.is_some() => {
                self.complete();
                self.close();
            }
            None if self.cancel => {
                self.status = "cancelled";
                self.end();
                self.close();
            }
            None if self.attempt == self.max_attempts() => {
                self.status = "timeout";
                self.end();
                self.close();
            }
            None => {
                self.close();
                self.requeue(now);
            }
        }
    }

    /// Until when the last heartbeat of this attempt holds it, whatever its state.
    fn lease_of_row(&self) -> Option<i64> {
        let beats = self.beats.filter(|beats| beats.attempt == self.attempt)?;
        beats.until.map(|(running, uploads)| running.min(uploads))
    }

    /// When its miner loses it, unless it beats again.
    fn held_until(&self) -> Option<i64> {
        let beats = self.beats.filter(|beats| beats.attempt == self.attempt).and_then(|beats| beats.until);
        match self.report {
            Some(_) => beats.map_or(self.lease, |(_, uploads)| Some(uploads)).max(self.urls),
            None => beats.map(|(running, _)| running).into_iter().chain(self.deadline).min(),
        }
    }

    /// The attempt is taken from its miner.
    fn close(&mut self) {
        let cancelled = self.beats.and_then(|beats| beats.cancelled);
        self.beats = Some(Beats { attempt: self.attempt + 1, until: None, cancelled });
    }

    pub(crate) fn end(&mut self) {
        (self.terminal, self.lease, self.urls, self.due) = (true, None, None, None);
    }

    /// The table tells when the reaper looks at it.
    pub(crate) fn learn(&mut self, item: &Value) {
        let due = item["due_at"]["N"].as_str().and_then(|due| due.parse::<i64>().ok());
        if let (Some(expected), Some(due)) = (self.due, due)
            && self.due_within > 0
            && (expected..=expected + self.due_within).contains(&due)
        {
            (self.due, self.due_within) = (Some(due), 0);
        }
    }

    /// Whether the table's items are this job's and its heartbeats'. `miners` are their names there, and their accounts.
    pub(crate) fn is(&self, item: &Value, row: &Value, miners: &[(String, String)]) -> bool {
        let number_of = |item: &Value, name: &str| item[name]["N"].as_str().and_then(|text| text.parse::<i64>().ok());
        let number = |name: &str| number_of(item, name);
        let beats = number_of(row, "attempt").map(|attempt| Beats {
            attempt: u32::try_from(attempt).unwrap_or_default(),
            until: number_of(row, "lease_expires_at").zip(number_of(row, "uploads_until")),
            cancelled: number_of(row, "cancelled")
                .map(|attempt| (u32::try_from(attempt).unwrap_or_default(), !row["told_at"].is_null())),
        });
        if beats != self.beats {
            return false;
        }
        let text = |name: &str| item[name]["S"].as_str();
        if self.gone.is_some() || !item["deleted_at"].is_null() {
            return self.gone == number("gone_at") && self.due == number("due_at");
        }
        let lost: BTreeMap<_, _> = item["lost"]["M"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(account, at)| (account.as_str(), at["N"].as_str().and_then(|at| at.parse::<i64>().ok())))
            .collect();
        let expected = self.lost.iter().map(|(miner, at)| (miners[*miner].1.as_str(), Some(*at)));
        let files: BTreeMap<_, _> = item["files"]["M"]
            .as_object()
            .into_iter()
            .flat_map(|files| files.values())
            .map(|file| (file["M"]["n"]["S"].as_str().unwrap_or_default(), file["M"]["u"]["BOOL"] == json!(true)))
            .collect();
        text("status") == Some(self.status)
            && item["terminal"]["BOOL"] == json!(self.terminal)
            && number("attempt") == Some(self.attempt.into())
            && number("run").unwrap_or(0) == i64::from(self.run)
            && text("miner") == self.miner.map(|miner| miners[miner].0.as_str())
            && text("worker") == self.worker.map(crate::claims::name_of).as_deref()
            && number("errors").unwrap_or(0) == i64::from(self.errors)
            && text("failure").is_some() == self.failure.is_some()
            && lost == expected.collect()
            && number("lease_expires_at") == self.lease
            && number("uploads_until") == self.urls
            && number("deadline_at") == self.deadline
            && number("released") == self.released.map(i64::from)
            && number("max_attempts") == Some(self.max_attempts().into())
            // One that is over waits for the end of its retention, which is after all that happens here.
            && (self.terminal && text("queue").is_some_and(|queue| queue.starts_with("later#")) || number("due_at") == self.due)
            && number("cancel_requested_at").is_some() == self.cancel
            && text("report").is_some() == self.report.is_some()
            && files == self.files
    }
}
