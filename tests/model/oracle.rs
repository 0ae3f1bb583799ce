//! The model: a job as a few plain fields, and what a request does to it. It shares no code with what it is compared to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Milliseconds of the upload window, and of what may arrive after it.
pub(crate) const WINDOW: i64 = 3_600_000;
/// Milliseconds that an attempt may run.
pub(crate) const TIMEOUT: i64 = 60_000;
/// Milliseconds that a job waits for a miner, unless it was created with a time of its own.
pub(crate) const PENDING: i64 = 14_400_000;
/// Milliseconds that a claim holds a job before the reaper looks for heartbeats, and after which it looks again at what it had to
/// leave.
pub(crate) const FIRST_LEASE: i64 = 90_000;
pub(crate) const LONGEST_LEASE: i64 = 900_000;
/// Milliseconds after the claim from which on the reaper may have looked before a first heartbeat.
pub(crate) const LATE: i64 = 60_000;
pub(crate) const URLS_GIVEN: i64 = 300_000;
pub(crate) const MINUTE: i64 = 60_000;
/// Milliseconds for which a job is withheld from whoever lost it.
pub(crate) const WITHHELD: i64 = 300_000;
/// Milliseconds from an error to the next attempt, by how many there were before.
pub(crate) const PAUSES: [i64; 3] = [10_000, 60_000, 600_000];
/// Milliseconds that a miner has for its report when it was told of a cancel.
pub(crate) const LAST_WORDS: i64 = 90_000;

/// The files that a report may name.
pub(crate) const FILES: [&str; 2] = ["a.bin", "sub dir/ü.bin"];

/// Arguments and results by their numbers: small ones, those that are stored apart, and the largest.
pub(crate) fn content(number: u8) -> Value {
    let size = [0, 6_000, (4 << 20) - 100][usize::from(number)];
    json!({"n": number, "text": "x".repeat(size)})
}

/// The number of what is stored apart with so many bytes.
pub(crate) fn number_of(size: usize) -> u8 {
    [1, 1_000_000].into_iter().filter(|least| size >= *least).count() as u8
}

/// Whether it is stored apart from its job.
pub(crate) fn is_apart(number: u8) -> bool {
    number > 0
}

/// What of a job is an object of its own in the bucket, where it is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Arguments,
    Result,
    List,
}

impl Part {
    /// The item's attribute that refers to it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Arguments => "job_args",
            Self::Result => "result",
            Self::List => "file_list",
        }
    }
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
    /// Its place in the queue, whenever it waits: when it was created, or retried last.
    pub(crate) placed: i64,
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
    /// Their list is stored apart.
    pub(crate) is_long: bool,
    /// When nothing of a deleted job can arrive any more.
    pub(crate) gone: Option<i64>,
    /// What S3 holds of it.
    pub(crate) objects: BTreeMap<&'static str, u32>,
    /// What the owner downloads, once the job is at its end.
    pub(crate) outputs: BTreeMap<&'static str, u32>,
    /// A large report may have left something in the bucket, as the table tells.
    pub(crate) unsettled: bool,
    /// What somebody has removed from the bucket; and for what of that the job has ended.
    pub(crate) removed: BTreeSet<Part>,
    pub(crate) ended_without: Option<Part>,
}

/// A miner's report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) status: &'static str,
    pub(crate) result: u8,
    /// A bit for each of [`FILES`].
    pub(crate) files: u8,
    /// It names others, too, which never come: their list is stored apart.
    pub(crate) is_long: bool,
}

impl Report {
    pub(crate) fn files(self) -> impl Iterator<Item = &'static str> {
        FILES.into_iter().enumerate().filter(move |(at, _)| self.files >> at & 1 == 1).map(|(_, name)| name)
    }

    /// The names of all its files.
    pub(crate) fn names(self) -> Vec<String> {
        let others = (0..if self.is_long { 9 } else { 0 }).map(|number| format!("{number}{}", "n".repeat(925)));
        self.files().map(str::to_owned).chain(others).collect()
    }
}

/// What heartbeats have left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Beats {
    /// The first attempt whose heartbeats are taken.
    pub(crate) attempt: u32,
    /// What they hold the job for while it runs, and while files are uploaded.
    pub(crate) until: Option<(i64, i64)>,
    /// The attempt that was cancelled, and whether its miner was told.
    pub(crate) cancelled: Option<(u32, bool)>,
    /// When they mean nothing any more: no token of the attempt is valid.
    pub(crate) ends: i64,
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
            placed: now,
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
            is_long: false,
            gone: None,
            objects: BTreeMap::new(),
            outputs: BTreeMap::new(),
            unsettled: false,
            removed: BTreeSet::new(),
            ended_without: None,
        }
    }

    /// What was given back does not count.
    pub(crate) fn max_attempts(&self) -> u32 {
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
            // The reaper will look in time, and the heartbeat does not count.
            Call::Heartbeat { .. } => states.push(Self { due: whole.due, ..self.clone() }),
            // It runs, and nobody has found that it cannot.
            Call::Claim { miner, worker } | Call::Next { miner, worker } if self.lacks(Part::Arguments) => {
                let mut claimed = Self { removed: BTreeSet::new(), ..self.clone() };
                match call {
                    Call::Claim { .. } => claimed.claim(*miner, *worker, now),
                    _ => claimed.next(*miner, *worker, now),
                };
                states.push(Self { removed: self.removed.clone(), ..claimed });
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
            Call::Create { .. } if self.lacks_any() => status(500),
            Call::Create { .. } => self.shown_to_owner(),
            Call::Claim { miner, worker } => self.claim(*miner, *worker, now),
            Call::Next { miner, worker } => self.next(*miner, *worker, now),
            Call::Heartbeat { token } => self.heartbeat(*token, now),
            Call::Release { token } => self.release(*token, now),
            Call::Finish { token, report } => self.finish(*token, *report, now),
            Call::Upload { token, file, content } => match self.held(*token, now) {
                Err(refused) => status(refused),
                Ok(()) if self.lacks(Part::List) => status(500),
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
                Ok(()) if self.lacks(Part::List) => status(500),
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
            Call::Retry { .. } if self.removed.contains(&Part::Arguments) => status(409),
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
            Call::Get { .. } if self.lacks_any() => status(500),
            Call::Get { .. } => self.shown_to_owner(),
            Call::Download { user, .. } if *user != self.user || self.gone.is_some() => status(404),
            Call::Download { .. } if self.lacks(Part::List) => status(500),
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
        self.report.is_some() || self.run > 0 || self.unsettled || is_apart(self.made.body)
    }

    /// Whether it refers to this, and that is not there.
    pub(crate) fn lacks(&self, part: Part) -> bool {
        self.removed.contains(&part) && self.ended_without != Some(part)
    }

    fn lacks_any(&self) -> bool {
        [Part::Arguments, Part::Result, Part::List].into_iter().any(|part| self.lacks(part))
    }

    /// It ends, since nobody can run it, or answer it, without this.
    pub(crate) fn end_without(&mut self, part: Part) {
        self.status = if self.cancel { "cancelled" } else { "error" };
        self.ended_without = Some(part);
        if part == Part::List {
            self.is_long = false;
            self.files.clear();
        }
        self.end();
        self.close();
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
    pub(crate) fn shown_to_miner(&self) -> Expected {
        self.shown(self.report.map(|report| report.result).filter(|result| !is_apart(*result)))
    }

    /// To its owner. Without gzip, an answer has room for one of the largest.
    fn shown_to_owner(&self) -> Expected {
        let result = self.report.map(|report| report.result).filter(|_| self.ended_without != Some(Part::Result));
        let mut answer = self.shown(result);
        answer.fields.push(match (self.made.body, result) {
            _ if self.ended_without == Some(Part::Arguments) => ("/job_args", Value::Null),
            (2, Some(2)) => ("/job_args", Value::Null),
            (arguments, _) => ("/job_args/text", content(arguments)["text"].take()),
        });
        answer
    }
}
