//! Every order of events in the life of one job, tried out on the transitions that the functions write: two miners, a reaper, and an
//! owner or an administrator, each of whom may read, be overtaken, write late, lose the answer, repeat, or die at any point, and each of
//! whose requests may carry any time: clocks jump, and requests arrive late.
//!
//! The checker is `stateright`; the transitions are `shared::model::lifecycle`'s, carried out by `Transition::apply`.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod alarms;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    hash::Hash,
    rc::Rc,
};

use shared::{
    item::{Item, Transition, keys},
    model::{
        ChuteSnapshot, Job, Lease, OutputFile, Payload, Place, Status,
        lease::{self, Heartbeat},
        lifecycle::{self, Claim, Report, Revocation},
        stopping,
    },
    time::Timestamp,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use uuid::Uuid;

const JOB: Uuid = Uuid::from_u128(1);
const MINERS: [&str; 2] = ["alice", "bob"];
/// Their accounts.
const ACCOUNTS: [Uuid; 2] = [Uuid::from_u128(10), Uuid::from_u128(11)];
/// When attempts of theirs are over, whenever they began: after all of those times, and between them.
const DEADLINES: [i64; 2] = [20_000, 30 + WINDOW];
/// Where it waits and is listed.
const SHARD: u8 = 3;
/// Seconds that the upload window has.
const WINDOW: i64 = 3600;
/// The times that a request may carry, in seconds, in any order: what was leased at the one has run out at the other.
const TIMES: [i64; 2] = [0, 10_000];
/// When a job that was lost at the later of them is no longer withheld.
const AFTER: i64 = 10_300;

/// When no token and no row means anything any more: after all of them.
const TOKENS_END: i64 = 1_000_000;

/// What somebody remembers between reading and writing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Intent {
    Claim(usize),
    /// By this miner, or the reaper.
    BeginCheck(Option<usize>),
    /// With what was found in S3.
    Complete(usize, bool),
    Release(usize),
    /// Reports an error, after which the job is tried again.
    Fail(usize),
    Reap(bool),
    /// By the reaper: nobody has claimed it.
    Expire,
    /// By the reaper: it was kept for its time.
    Retire,
    Delete,
    /// By the owner.
    Cancel,
    Retry,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The stored job, as JSON.
    job: String,
    /// The row of its heartbeats, as JSON.
    lease: Option<String>,
    /// What each miner knows: the attempt that it holds a token for.
    tokens: [Option<u32>; 2],
    /// Whoever has read and not yet written, with the time, the job and, for the reaper, the row as they were then.
    pending: BTreeMap<&'static str, (Intent, i64, String, Option<String>)>,
    /// The file is in S3.
    uploaded: bool,
    /// Who won each attempt.
    winners: Vec<usize>,
    /// Who lost which attempt, and at what time it was requeued.
    lost: Vec<(usize, i64)>,
    /// Attempts that were taken from their miners.
    revoked: Vec<u32>,
    /// Attempts that their miners gave back.
    released: Vec<u32>,
    /// The end that the job came to.
    ended: Option<String>,
    /// What went wrong.
    broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Read(&'static str, Intent, i64),
    /// The writer may not get to see the answer.
    Write(&'static str, bool),
    /// Whoever has read is killed before it writes, and may begin again.
    Die(&'static str),
    /// A miner that holds a job asks for its token again.
    AskAgain(usize),
    Heartbeat(usize, i64),
    /// It gets fresh upload URLs.
    Renew(usize, i64),
    Finish(usize, bool, i64),
    Upload(usize),
    FileArrived(usize),
    /// An administrator ends the job, or closes it because its owner was disabled: what waits, or what runs.
    Cancel,
    CancelPending,
    LastAttempt,
}

/// Who has power over the job beside its miners, or what takes them long. All at once would be a product of worlds, of which each has
/// its part here.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    /// The owner, who deletes it.
    Owned,
    /// An administrator, who ends or closes it before it has reported: what happens while files are uploaded is left out.
    Administered,
    /// The owner, who cancels it.
    Cancelled,
    /// The owner, who has it tried again once, and deletes it.
    Retried,
    /// Nobody else, but so many files that they are checked by one at a time.
    ManyFiles,
    /// Its miners, of whom one gives it back, and an administrator, who closes it. There are no files.
    GivenBack,
    /// Its miners, who report errors, after which it is tried again, and the reaper, which ends it when it waits for too long. There are
    /// no files.
    Failing,
}

/// Seconds that a job of that kind waits for a miner: more than at the one time, and less than at the other.
const WAIT: i64 = 5_000;
/// Seconds that a job is kept which is tried again: less than from the one time to the other.
const KEPT: i64 = 5_000;

/// Attempts that the job gets.
const ATTEMPTS: u32 = 2;

fn file_id() -> Uuid {
    OutputFile::id(JOB, "out")
}

thread_local! {
    /// Few jobs are in many states, and reading them was most of the work.
    static PARSED: RefCell<HashMap<String, Rc<Job>>> = RefCell::default();
}

fn parse(text: &str) -> Rc<Job> {
    PARSED.with_borrow_mut(|parsed| {
        if !parsed.contains_key(text) {
            parsed.insert(text.to_owned(), Rc::new(serde_json::from_str(text).unwrap()));
        }
        Rc::clone(&parsed[text])
    })
}

fn parse_row(text: Option<&String>) -> Option<Lease> {
    text.map(|text| serde_json::from_str(text).unwrap())
}

/// The row as an item; one that is not there is an empty one.
fn row_of(text: Option<&String>) -> Item {
    text.map_or_else(Item::new, |text| {
        let mut item = serde_dynamo::to_item(parse_row(Some(text))).unwrap();
        shared::item::schema::stamp(&mut item);
        item
    })
}

/// The row as the checker keeps it: without what decides nothing, so that fewer worlds differ.
fn stored_row(item: Item, job: &Job) -> String {
    let mut row = Lease { expires_at: TOKENS_END, ..Lease::from_item(item).unwrap() };
    if job.terminal || job.deleted_at.is_some() {
        (row.lease_expires_at, row.uploads_until) = (None, None);
    }
    row.told_at = row.told_at.map(|_| Timestamp::from_millis(0));
    serde_json::to_string(&row).unwrap()
}

/// The job as the checker keeps it: without the times that decide nothing, and without how often its files have changed, so that fewer worlds
/// differ.
fn stored(mut job: Job) -> String {
    (job.updated_at, job.file_changes) = (Timestamp::from_millis(0), None);
    job.started_at = None;
    job.finished_at = None;
    job.gone_at = None;
    serde_json::to_string(&job).unwrap()
}

fn new_job() -> Job {
    let chute_id = Uuid::from_u128(2);
    let chute = ChuteSnapshot {
        name: "c".to_owned(),
        public: true,
        version: "1".to_owned(),
        slug: None,
        chutes_version: None,
        preemptible: false,
        image: None,
    };
    let json = serde_json::json!({
        "job_id": JOB, "user_id": Uuid::from_u128(3), "chute_id": chute_id, "method": "train", "status": "pending",
        "terminal": false, "attempt": 0, "max_attempts": ATTEMPTS, "created_at": 0, "updated_at": 0, "job_args": "{}",
        "chute": chute, "timeout": 30, "queue": keys::claimable(chute_id, SHARD), "due_at": 0,
        "owner": keys::owner(Uuid::from_u128(3), SHARD), "lane": SHARD,
    });
    serde_json::from_value(json).unwrap()
}

impl World {
    /// Writes, if the conditions hold. Whether they did.
    fn apply(&mut self, transition: Transition) -> bool {
        let before = parse(&self.job);
        let Some(after) = transition.apply(before.to_item().unwrap()) else { return false };
        let after = Job::from_item(after).unwrap();
        if before.deleted_at.is_some() && after.deleted_at.is_none() {
            self.broken = Some("a deleted job came back");
        }
        if before.terminal && after.run == before.run && (after.status != before.status || !after.terminal) {
            self.broken = Some("a terminal job changed");
        }
        let waits_again = before.status != Status::Pending && after.status == Status::Pending;
        if before.run == after.run && (before.max_attempts < ATTEMPTS || before.closed) && waits_again {
            self.broken = Some("a job that was closed waits for miners again");
        }
        if before.cancel_requested_at.is_some() && after.status == Status::Pending {
            self.broken = Some("a job that its owner has cancelled waits for miners again");
        }
        let cancelled = after.cancel_requested_at.is_some();
        if after.terminal && cancelled && after.status != Status::Cancelled {
            self.broken = Some("a job that its owner has cancelled ended otherwise");
        }
        if before.report.is_some() && before.cancel_requested_at != after.cancel_requested_at {
            self.broken = Some("finished work was cancelled");
        }
        if before.run != after.run && !(before.terminal && before.status != Status::Complete) {
            self.broken = Some("a job was tried again that was not over, or complete");
        }
        if before.run == after.run && before.report.is_some() && after.status == Status::Pending {
            self.broken = Some("a reported job was given to another miner");
        }
        let (waits, listed) = (keys::claimable(after.chute_id, SHARD), keys::owner(after.user_id, SHARD));
        let is_listed = after.owner.as_ref() == Some(&listed);
        if is_listed == after.deleted_at.is_some() {
            self.broken = Some("a job is not in its owner's list, or a deleted one is");
        }
        let may_be_claimed = after.status == Status::Pending && after.deleted_at.is_none();
        if (after.queue.as_ref() == Some(&waits)) != may_be_claimed {
            self.broken = Some("a job waits for miners in another shard, or without being pending");
        }
        if before.run != after.run {
            self.ended = None;
            self.uploaded = false;
        }
        if after.terminal && after.deleted_at.is_none() {
            self.ended.get_or_insert_with(|| after.status.as_str().to_owned());
        }
        self.job = stored(after);
        true
    }

    /// Both writes, if the conditions of both hold. Whether they did.
    fn apply_both(&mut self, revocation: Revocation) -> bool {
        let row = match revocation.lease {
            None => self.lease.clone(),
            Some(change) => match change.apply(row_of(self.lease.as_ref())) {
                None => return false,
                Some(row) => Some(stored_row(row, &parse(&self.job))),
            },
        };
        let done = self.apply(revocation.job);
        if done {
            self.lease = row;
        }
        done
    }

    /// The same, by which an attempt is taken from its miner.
    fn revoke(&mut self, revocation: Revocation) -> bool {
        let attempt = parse(&self.job).attempt;
        let done = self.apply_both(revocation);
        if done {
            self.revoked.push(attempt);
        }
        done
    }

    fn beat(&mut self, attempt: u32, now: Timestamp) {
        // As the function does, which knows the deadline from the token, and past it asks the job.
        let (job, until) = (parse(&self.job), now.plus_seconds(90));
        let deadline = job.deadline_at.filter(|_| job.attempt == attempt);
        let over = deadline.is_some_and(|deadline| deadline <= now);
        if over && job.report.is_none() {
            return;
        }
        let deadline = deadline.filter(|_| !over);
        let beat = Heartbeat {
            attempt,
            now,
            lease_expires_at: deadline.map_or(until, |deadline| deadline.min(until)),
            uploads_until: now.plus_seconds(WINDOW),
            tokens_end: Timestamp::from_millis(TOKENS_END * 1000),
            is_late: false,
            progress: None,
            log_bytes: None,
        };
        let row = row_of(self.lease.as_ref());
        let told = |row: Item| {
            let refused = (!row.is_empty()).then(|| Lease::from_item(row.clone()).unwrap());
            refused
                .and_then(|refused| stopping::heartbeat_of_cancelled(&beat, &refused))
                .and_then(|change| change.apply(row))
        };
        let Some(row) = lease::heartbeat(&beat).apply(row.clone()).or_else(|| told(row)) else { return };
        let job = parse(&self.job);
        if job.attempt == attempt && job.cancel_requested_at.is_some() && !row.contains_key("cancelled") {
            self.broken = Some("the miner of a cancelled job was not told");
        }
        if self.revoked.contains(&attempt) {
            self.broken = Some("a heartbeat was taken of an attempt that was over, and its miner was not told");
        }
        self.lease = Some(stored_row(row, &parse(&self.job)));
    }

    /// What somebody remembers of the job and of its row: what its write depends on, so that fewer worlds differ.
    fn remembered(&self, intent: &Intent) -> (String, Option<String>) {
        let job = parse(&self.job);
        let (attempt, report) = (job.attempt, job.report.clone());
        match intent {
            Intent::Claim(_)
            | Intent::BeginCheck(_)
            | Intent::Release(_)
            | Intent::Fail(_)
            | Intent::Expire
            | Intent::Retire
            | Intent::Retry => (self.job.clone(), None),
            Intent::Reap(_) | Intent::Cancel => (self.job.clone(), self.lease.clone()),
            Intent::Delete => (stored(Job { attempt, report, run: job.run, ..new_job() }), None),
            Intent::Complete(..) => {
                let Job { status, files, error_detail, .. } = Job::clone(&job);
                (stored(Job { attempt, report, status, files, error_detail, ..new_job() }), None)
            }
        }
    }

    /// A write that only the miner of the present attempt may get through.
    fn apply_as(&mut self, miner: usize, transition: Transition) -> bool {
        let before = parse(&self.job);
        let done = self.apply(transition);
        if done && before.miner.as_deref() != Some(MINERS[miner]) {
            self.broken = Some("a miner that does not hold the job changed it");
        }
        done
    }
}

fn claim_of(job: &Job, miner: usize, now: Timestamp) -> Transition {
    let deadline = Timestamp::from_millis(DEADLINES[miner] * 1000);
    let (miner, account) = (MINERS[miner], ACCOUNTS[miner]);
    let claim =
        Claim { miner, account, worker: None, hotkey: None, instance: None, renewed: &[], trace: None, now, deadline };
    lifecycle::claim(job, &claim).expect("a transition")
}

fn result_of(miner: usize) -> Payload {
    Payload::Inline(format!("\"{}\"", MINERS[miner]))
}

fn report_of<'a>(
    miner: usize,
    result: &'a Payload,
    files: &'a BTreeMap<Uuid, OutputFile>,
    now: Timestamp,
) -> Report<'a> {
    Report {
        job_id: JOB,
        status: Status::Complete,
        result: Some(result),
        detail: None,
        files,
        file_list: None,
        logs: false,
        is_begun: false,
        digest: MINERS[miner],
        now,
    }
}

/// What `check_files` makes of the job when it finds the file, or does not.
fn checked(mut job: Job, there: bool) -> Job {
    for file in job.files.iter_mut().flat_map(|files| files.values_mut()) {
        file.uploaded = there;
    }
    if job.status == Status::CompletePendingUploads {
        job.status = if there { Status::Complete } else { Status::PartialFailure };
    }
    job
}

impl Life {
    /// Attempts that the job gets. One that is tried again gets another one: that is as many.
    fn attempts(self) -> u32 {
        if self == Self::Retried { 1 } else { ATTEMPTS }
    }
}

impl Model for Life {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            job: stored(Job {
                max_attempts: self.attempts(),
                retry_errors: *self == Self::Failing,
                wait: (*self == Self::Failing).then_some(WAIT),
                keep_ms: Some(KEPT * 1000).filter(|_| *self == Self::Retried),
                ..new_job()
            }),
            lease: None,
            tokens: [None; 2],
            pending: BTreeMap::new(),
            uploaded: false,
            winners: Vec::new(),
            lost: Vec::new(),
            revoked: Vec::new(),
            released: Vec::new(),
            ended: None,
            broken: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let job = parse(&world.job);
        let many = *self == Life::ManyFiles;
        for (miner, name) in MINERS.iter().enumerate() {
            if world.pending.contains_key(name) {
                steps.extend([Step::Write(name, true), Step::Write(name, false), Step::Die(name)]);
            } else if job.status == Status::Pending && job.deleted_at.is_none() {
                let account = ACCOUNTS[miner];
                let after = job.lost.contains_key(&account.to_string()).then_some(AFTER);
                let may = |now: &i64| !lifecycle::is_withheld(&job, account, name, Timestamp::from_millis(now * 1000));
                let times = TIMES.into_iter().chain(after).filter(may);
                steps.extend(times.map(|now| Step::Read(name, Intent::Claim(miner), now)));
            }
            if job.miner.as_deref() == Some(name) && world.tokens[miner] != Some(job.attempt) && !job.terminal {
                steps.push(Step::AskAgain(miner));
            }
            if let Some(attempt) = world.tokens[miner] {
                for now in TIMES {
                    if *self != Life::ManyFiles && (*self != Life::Retried || now == TIMES[0]) {
                        steps.push(Step::Heartbeat(miner, now));
                    }
                    // As fresh URLs do: unless the job is held for as long already.
                    if *self == Life::Owned
                        && job.report.is_some()
                        && job.uploads_until < Some(Timestamp::from_millis((now + WINDOW) * 1000))
                    {
                        steps.push(Step::Renew(miner, now));
                    }
                    let once = matches!(self, Life::Cancelled | Life::Retried);
                    let has_files = !matches!(self, Life::GivenBack | Life::Failing);
                    if has_files && (!once || now == TIMES[0]) {
                        steps.push(Step::Finish(miner, true, now));
                    }
                }
                // Its time decides nothing.
                steps.push(Step::Finish(miner, false, TIMES[0]));
                // Once: another time is no different, and there are fewer worlds.
                let may_release = *self == Life::GivenBack && world.released.is_empty() && runs(&job, attempt);
                if may_release && !world.pending.contains_key(name) {
                    // At the later time: what was given back long before a loss is forgotten with that, and clocks are not hours apart.
                    steps.push(Step::Read(name, Intent::Release(miner), TIMES[1]));
                }
                if *self == Life::Failing && runs(&job, attempt) && !world.pending.contains_key(name) {
                    steps.extend(TIMES.map(|now| Step::Read(name, Intent::Fail(miner), now)));
                }
                if *self == Life::Owned {
                    steps.push(Step::FileArrived(miner));
                }
                if job.files.as_ref().is_some_and(|files| !files.is_empty()) && job.report.as_deref() == Some(name) {
                    steps.push(Step::Upload(miner));
                }
                // Reading what is then refused without a write changes nothing.
                if !world.pending.contains_key(name) && may_complete(&job, attempt) {
                    steps.push(Step::Read(name, Intent::Complete(miner, world.uploaded), TIMES[0]));
                    let times = TIMES.into_iter().filter(|now| many && may_begin_check(&job, *now));
                    steps.extend(times.map(|now| Step::Read(name, Intent::BeginCheck(Some(miner)), now)));
                }
            }
        }
        for name in ["reaper", "owner", "owner too"] {
            if world.pending.contains_key(name) {
                steps.extend([Step::Write(name, true), Step::Die(name)]);
            }
        }
        if !world.pending.contains_key("reaper") {
            let row = parse_row(world.lease.as_ref());
            // What the row of heartbeats says to be held is not read, unless the row was seen as it was before.
            let stale = *self == Life::Administered;
            let due = TIMES.into_iter().filter(|now| {
                let now = Timestamp::from_millis(now * 1000);
                is_due(&job, now) && (stale || !row.as_ref().is_some_and(|row| row.holds(job.attempt, now)))
            });
            if *self == Life::Failing && job.waits_until().is_some() {
                let over =
                    TIMES.into_iter().filter(|now| job.waits_until().is_some_and(|until| until.seconds() <= *now));
                steps.extend(over.map(|now| Step::Read("reaper", Intent::Expire, now)));
            }
            if *self == Life::Retried && job.terminal && job.deleted_at.is_none() {
                let over = TIMES.into_iter().filter(|now| job.due_at.is_some_and(|due| due.seconds() <= *now));
                steps.extend(over.map(|now| Step::Read("reaper", Intent::Retire, now)));
            }
            let checks = due.clone().filter(|now| {
                let held_until = lease::held_until(&job, row.as_ref(), Timestamp::from_millis(now * 1000));
                many && job.report.is_some()
                    && may_begin_check(&job, *now)
                    && held_until.is_some_and(|until| until.seconds() <= *now)
            });
            steps.extend(checks.map(|now| Step::Read("reaper", Intent::BeginCheck(None), now)));
            steps
                .extend(due.map(|now| Step::Read("reaper", Intent::Reap(world.uploaded && job.report.is_some()), now)));
        }
        if *self == Life::Administered && !job.terminal {
            steps.extend([Step::Cancel, Step::CancelPending, Step::LastAttempt]);
        }
        if *self == Life::GivenBack && job.status == Status::Running && !job.closed {
            steps.push(Step::LastAttempt);
        }
        let over = job.terminal || job.report.is_some() || job.cancel_requested_at.is_some();
        // In the first attempt and before, in the time between two, and in the second one, where a row may be of the attempt before.
        let cancels = matches!(self, Life::Cancelled | Life::GivenBack);
        if cancels && !world.pending.contains_key("owner") && !over && (job.attempt < 2 || *self == Life::Cancelled) {
            steps.push(Step::Read("owner", Intent::Cancel, TIMES[0]));
        }
        if *self == Life::Retried && !world.pending.contains_key("owner too") && job.is_retriable() && job.run == 0 {
            steps.push(Step::Read("owner too", Intent::Retry, TIMES[0]));
        }
        let owned = matches!(self, Life::Owned | Life::Retried);
        if owned && !world.pending.contains_key("owner") && job.deleted_at.is_none() {
            steps.push(Step::Read("owner", Intent::Delete, TIMES[0]));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let at = |now: i64| Timestamp::from_millis(now * 1000);
        match step {
            Step::Read(name, intent, now) => {
                let (job, lease) = world.remembered(&intent);
                drop(world.pending.insert(name, (intent, now, job, lease)));
            }
            Step::Write(name, answered) => {
                let (intent, now, job, row) = world.pending.remove(name)?;
                write(&mut world, intent, (Job::clone(&parse(&job)), parse_row(row.as_ref())), answered, at(now));
            }
            Step::Die(name) => drop(world.pending.remove(name)),
            Step::AskAgain(miner) => world.tokens[miner] = Some(parse(&world.job).attempt),
            Step::Heartbeat(miner, now) => world.beat(world.tokens[miner]?, at(now)),
            Step::Renew(miner, now) => {
                let transition = lifecycle::hold_while_uploading(world.tokens[miner]?, at(now), WINDOW);
                world.apply_as(miner, transition);
            }
            Step::Finish(miner, with_file, now) => {
                let file = with_file.then(|| (file_id(), OutputFile::named("out")));
                let (result, files) = (result_of(miner), file.into_iter().collect());
                let report = report_of(miner, &result, &files, at(now));
                let attempt = world.tokens[miner]?;
                let transition = lifecycle::finish(attempt, at(now), WINDOW, report).unwrap();
                if !world.apply_as(miner, transition) {
                    let report = report_of(miner, &result, &files, at(now));
                    let late = lifecycle::finish_cancelled(attempt, at(now), WINDOW, report).unwrap();
                    world.apply_as(miner, late);
                }
            }
            Step::Upload(_) => world.uploaded = true,
            Step::FileArrived(miner) => {
                let transition = lifecycle::file_arrived(world.tokens[miner]?, &file_id().to_string(), at(TIMES[0]));
                world.apply_as(miner, transition);
            }
            Step::Cancel | Step::CancelPending | Step::LastAttempt => {
                let job = parse(&world.job);
                let now = at(TIMES[0]);
                let done = match step {
                    Step::Cancel => world.revoke(lifecycle::cancel(&job, "no", now)),
                    Step::CancelPending => world.apply(lifecycle::cancel_pending(JOB, "no", now)),
                    _ => world.apply(lifecycle::last_attempt(job.attempt, now)),
                };
                if done && job.report.is_some() {
                    world.broken = Some("finished work was thrown away");
                }
                if done && step == Step::CancelPending && job.status != Status::Pending {
                    world.broken = Some("a job that runs was ended because its owner was disabled");
                }
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no guard lets anything through", |_, world: &World| world.broken.is_none()),
            Property::always("the result is of the miner that holds the last attempt", |_, world: &World| {
                let job = parse(&world.job);
                let winner = world.winners.last().map(|miner| result_of(*miner));
                job.result.is_none() || job.result == winner
            }),
            Property::always("an attempt has one winner", |_, world: &World| {
                world.winners.len() == parse(&world.job).attempt as usize
            }),
            Property::always("the end is for ever", |_, world: &World| {
                let job = parse(&world.job);
                job.deleted_at.is_some() || world.ended.as_deref().is_none_or(|end| end == job.status.as_str())
            }),
            Property::always("whatever is not at an end waits for somebody", |_, world: &World| {
                let job = parse(&world.job);
                job.terminal || job.deleted_at.is_some() || (job.queue.is_some() && job.due_at.is_some())
            }),
            Property::always("a job that is due is held if its heartbeats' row says so", |_, world: &World| {
                let (job, row) = (parse(&world.job), parse_row(world.lease.as_ref()));
                TIMES.map(|now| Timestamp::from_millis(now * 1000)).into_iter().all(|now| {
                    let says_so = is_due(&job, now) && row.as_ref().is_some_and(|row| row.holds(job.attempt, now));
                    !says_so || lease::held_until(&job, row.as_ref(), now) > Some(now)
                })
            }),
            Property::always("a job that held files is swept when it is deleted", |_, world: &World| {
                let job = parse(&world.job);
                job.deleted_at.is_none() || !world.uploaded || job.queue.is_some()
            }),
            Property::sometimes("the second miner completes it", |_, world: &World| {
                world.ended.as_deref() == Some("complete") && world.winners.len() == 2
            }),
            Property::sometimes("some files are missing, where there are any", |life, world: &World| {
                let has_none = matches!(life, Life::GivenBack | Life::Failing);
                world.ended.as_deref() == Some("partial_failure") || has_none
            }),
            Property::sometimes("it times out", |_, world: &World| world.ended.as_deref() == Some("timeout")),
        ];
        properties.extend(match self {
            Life::Owned => vec![
                Property::sometimes("a lone miner gets the job that it lost, and completes it", |_, world: &World| {
                    world.ended.as_deref() == Some("complete") && world.winners[..] == [0, 0]
                }),
                Property::sometimes("it is deleted with a file", |_, world: &World| {
                    world.uploaded && parse(&world.job).deleted_at.is_some()
                }),
                Property::sometimes(
                    "a miner sends its first heartbeat after the reaper has looked",
                    |_, world: &World| {
                        let job = parse(&world.job);
                        let first = TIMES.map(|claimed| Some(Timestamp::from_millis((claimed + 90) * 1000)));
                        let beats = parse_row(world.lease.as_ref())
                            .is_some_and(|row| row.attempt == job.attempt && row.lease_expires_at.is_some());
                        job.status == Status::Running && beats && !first.contains(&job.due_at)
                    },
                ),
            ],
            Life::Retried => vec![
                Property::sometimes("it succeeds at last", |_, world: &World| {
                    world.ended.as_deref() == Some("complete") && parse(&world.job).run > 0
                }),
                Property::sometimes("it is deleted after it was tried again", |_, world: &World| {
                    let job = parse(&world.job);
                    job.run > 0 && job.deleted_at.is_some()
                }),
                Property::sometimes("a retirement that has read it before comes too late", |_, world: &World| {
                    let late = matches!(world.pending.get("reaper"), Some((Intent::Retire, ..)));
                    parse(&world.job).run > 0 && late
                }),
                Property::sometimes("a delete that has read it before comes too late", |_, world: &World| {
                    let job = parse(&world.job);
                    let late = matches!(world.pending.get("owner"), Some((Intent::Delete, ..)));
                    job.run > 0 && late && job.deleted_at.is_none()
                }),
            ],
            Life::Cancelled => vec![
                Property::sometimes("it is cancelled before anybody has it", |_, world: &World| {
                    world.ended.as_deref() == Some("cancelled") && world.winners.is_empty()
                }),
                Property::sometimes("a cancelled miner still brings its file", |_, world: &World| {
                    let job = parse(&world.job);
                    world.ended.as_deref() == Some("cancelled") && job.result.is_some() && world.uploaded
                }),
                Property::sometimes("a cancelled miner says nothing more", |_, world: &World| {
                    let job = parse(&world.job);
                    job.terminal && job.cancel_requested_at.is_some() && job.report.is_none()
                }),
                Property::sometimes("the report is faster than the cancel", |_, world: &World| {
                    let late = matches!(world.pending.get("owner"), Some((Intent::Cancel, ..)));
                    late && world.ended.as_deref() == Some("complete")
                }),
            ],
            Life::ManyFiles => {
                vec![Property::sometimes("a check that died is followed by another", |_, world: &World| {
                    let until = parse(&world.job).checking_until;
                    world.pending.values().any(|(intent, _, read, _)| {
                        matches!(intent, Intent::BeginCheck(_))
                            && until.is_some()
                            && parse(read).checking_until == until
                    })
                })]
            }
            Life::GivenBack => vec![
                Property::always(
                    "an attempt that was given back does not count, and no other is for nothing",
                    |_, world: &World| world.winners.len() <= ATTEMPTS as usize + world.released.len(),
                ),
                Property::sometimes("a job that was given back has as many attempts as any", |_, world: &World| {
                    world.ended.as_deref() == Some("timeout") && world.winners.len() == ATTEMPTS as usize + 1
                }),
                Property::sometimes("one that was closed ends as it is given back", |_, world: &World| {
                    world.ended.as_deref() == Some("timeout") && world.winners.len() == 1 && world.released == [1]
                }),
            ],
            Life::Failing => vec![
                Property::always("an attempt that has failed counts", |_, world: &World| {
                    world.winners.len() <= ATTEMPTS as usize
                }),
                Property::sometimes("an error is tried again, and another miner succeeds", |_, world: &World| {
                    world.ended.as_deref() == Some("complete") && parse(&world.job).errors == 1
                }),
                Property::sometimes("the last error is the job's end", |_, world: &World| {
                    world.ended.as_deref() == Some("error") && world.winners.len() == ATTEMPTS as usize
                }),
                Property::sometimes("nobody comes after an error", |_, world: &World| {
                    world.ended.as_deref() == Some("timeout")
                        && parse(&world.job).errors == 1
                        && world.winners.len() == 1
                }),
                Property::sometimes("a claim is faster than its expiry", |_, world: &World| {
                    let late = matches!(world.pending.get("reaper"), Some((Intent::Expire, ..)));
                    late && parse(&world.job).status == Status::Running
                }),
            ],
            Life::Administered => vec![
                Property::sometimes("it is ended while it runs", |_, world: &World| {
                    world.ended.as_deref() == Some("cancelled") && !world.winners.is_empty()
                }),
                Property::sometimes("its first attempt is its last", |_, world: &World| {
                    world.ended.as_deref() == Some("timeout") && world.winners.len() == 1
                }),
            ],
        });
        properties
    }
}

/// Whether nobody else is at the check of the job's files. In the first attempt only: a later one's is no different, and there are
/// fewer worlds.
fn may_begin_check(job: &Job, now: i64) -> bool {
    job.attempt == 1 && job.checked_for(Timestamp::from_millis(now * 1000)).is_none()
}

/// Whether release-job, or a report, goes on to write.
fn runs(job: &Job, attempt: u32) -> bool {
    job.attempt == attempt && job.status == Status::Running && job.report.is_none() && job.deleted_at.is_none()
}

/// Whether complete-job goes on to write.
fn may_complete(job: &Job, attempt: u32) -> bool {
    job.attempt == attempt && job.report.is_some() && !job.terminal && job.deleted_at.is_none()
}

/// Whether the reaper goes on to write.
fn is_due(job: &Job, now: Timestamp) -> bool {
    let due = job.due_at.is_some_and(|due| due <= now);
    due && job.deleted_at.is_none() && !job.terminal && job.status != Status::Pending
}

fn write(world: &mut World, intent: Intent, (read, row): (Job, Option<Lease>), answered: bool, now: Timestamp) {
    let row = row.as_ref();
    match intent {
        Intent::Claim(miner) => {
            if world.apply(claim_of(&read, miner, now)) {
                let too_early = |lost: &(usize, i64)| lost.0 == miner && now.seconds() < lost.1 + 300;
                if world.lost.iter().any(too_early) {
                    world.broken = Some("a miner got the job that it had lost less than five minutes before");
                }
                world.winners.push(miner);
                if answered {
                    world.tokens[miner] = Some(read.attempt + 1);
                }
            }
        }
        Intent::BeginCheck(miner) => {
            let before = parse(&world.job);
            let begun = match miner {
                Some(miner) => world.apply_as(miner, lifecycle::begin_check(&read, now)),
                None => world.apply(lifecycle::begin_check_for_lost_miner(&read, now)),
            };
            if begun && before.checked_for(now).is_some() {
                world.broken = Some("two check the same files at the same time");
            }
            if begun && miner.is_none() && before.lease_expires_at > Some(now) {
                world.broken = Some("the reaper checks the files of a miner whose lease had been renewed");
            }
        }
        Intent::Complete(miner, there) => {
            let transition = lifecycle::complete(&checked(read, there), now).unwrap();
            world.apply_as(miner, transition);
        }
        Intent::Release(miner) => {
            let attempt = read.attempt;
            let waits_again = !read.closed;
            if world.apply_as(miner, lifecycle::release(&read, now)) {
                world.released.push(attempt);
                if waits_again {
                    world.lost.push((miner, now.seconds()));
                }
            }
        }
        Intent::Fail(miner) => {
            let report = Report {
                job_id: JOB,
                status: Status::Error,
                result: None,
                detail: None,
                files: &BTreeMap::new(),
                file_list: None,
                logs: false,
                is_begun: false,
                digest: MINERS[miner],
                now,
            };
            if read.attempt < read.max_attempts {
                if world.apply_as(miner, lifecycle::try_again(&read, &report)) {
                    world.lost.push((miner, now.seconds()));
                }
            } else {
                let last = lifecycle::finish_last(read.attempt, now, WINDOW, report).unwrap();
                world.apply_as(miner, last);
            }
        }
        Intent::Expire => {
            let before = parse(&world.job);
            if world.apply(lifecycle::expire(&read, now)) && before.waits_until().is_none_or(|until| until > now) {
                world.broken = Some("a job that does not wait, or not for too long, was ended for it");
            }
        }
        Intent::Retire => {
            let before = parse(&world.job);
            if world.apply(lifecycle::retire(&read, now)) && (!before.terminal || before.run != read.run) {
                world.broken = Some("a job was retired that is not over, or was tried again");
            }
        }
        Intent::Reap(there) => {
            let (due, held_until) = (read.due_at.unwrap(), lease::held_until(&read, row, now).unwrap());
            if held_until > now {
                world.apply(lifecycle::rearm(&read, due, lease::look_again(&read, row, held_until, now)));
                return;
            }
            let cancelled = read.report.is_none() && read.cancel_requested_at.is_some();
            let requeues = read.report.is_none() && !cancelled && read.attempt < read.max_attempts;
            let revocation = if read.report.is_some() {
                lifecycle::complete_for_lost_miner(&checked(read, there), row, now).unwrap()
            } else if cancelled {
                lifecycle::end_cancelled(&read, row, now)
            } else if requeues {
                lifecycle::requeue(&read, row, now)
            } else {
                lifecycle::time_out(&read, row, now)
            };
            let held_until = lease::held_until(&parse(&world.job), parse_row(world.lease.as_ref()).as_ref(), now);
            if !world.revoke(revocation) {
                return;
            }
            if held_until.is_some_and(|held_until| held_until > now) {
                world.broken = Some("the reaper took a job whose lease had been extended");
            }
            if requeues {
                world.lost.extend(world.winners.last().map(|miner| (*miner, now.seconds())));
            }
        }
        Intent::Cancel if read.status == Status::Pending => {
            world.apply(lifecycle::cancel_pending(JOB, "no", now));
        }
        Intent::Cancel => {
            let beats = |world: &World| {
                let attempt = parse(&world.job).attempt;
                let row = parse_row(world.lease.as_ref());
                row.filter(|row| row.attempt == attempt).and_then(|row| row.lease_expires_at)
            };
            let before = beats(world);
            world.apply_both(lifecycle::request_cancel(&read, row, now));
            if beats(world) != before {
                world.broken = Some("a cancel has taken the miner's lease");
            }
        }
        Intent::Retry => {
            world.revoke(lifecycle::retry(&read, 1, &[], Place::at(now), now).unwrap());
        }
        Intent::Delete => {
            world.revoke(lifecycle::delete(&read, now, WINDOW));
        }
    }
}

fn try_every_order(life: Life) {
    let checker = life.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states, {} of them distinct", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn no_order_of_events_breaks_a_jobs_life() {
    try_every_order(Life::Owned);
}

#[test]
fn no_order_of_events_with_many_files_breaks_a_jobs_life() {
    try_every_order(Life::ManyFiles);
}

#[test]
fn no_order_of_events_with_an_owner_who_cancels_breaks_a_jobs_life() {
    try_every_order(Life::Cancelled);
}

#[test]
fn no_order_of_events_with_a_job_that_is_tried_again_breaks_its_life() {
    try_every_order(Life::Retried);
}

#[test]
fn no_order_of_events_with_a_miner_that_gives_the_job_back_breaks_its_life() {
    try_every_order(Life::GivenBack);
}

#[test]
fn no_order_of_events_with_errors_that_are_tried_again_breaks_a_jobs_life() {
    try_every_order(Life::Failing);
}

#[test]
fn no_order_of_events_with_an_administrator_breaks_a_jobs_life() {
    try_every_order(Life::Administered);
}
