//! Every order of events in the life of one job, tried out on the transitions that the functions write: two miners, an owner
//! and a reaper, each of whom may read, be overtaken, write late, lose the answer, repeat, or die at any point, and each of
//! whose requests may carry any time: clocks jump, and requests arrive late.
//!
//! The checker is `stateright`; the transitions are `shared::model::lifecycle`'s, carried out by `Transition::apply`.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, hash::Hash};

use shared::{
    item::{Transition, keys},
    model::{
        ChuteSnapshot, Job, OutputFile, Status,
        lifecycle::{self, Claim, Report},
    },
    time::Timestamp,
};
use stateright::{Checker, Model, Property};
use uuid::Uuid;

const JOB: Uuid = Uuid::from_u128(1);
const MINERS: [&str; 2] = ["alice", "bob"];
/// Their accounts.
const ACCOUNTS: [Uuid; 2] = [Uuid::from_u128(10), Uuid::from_u128(11)];
/// Where it waits and is listed.
const SHARD: u8 = 3;
/// Seconds that the upload window has.
const WINDOW: i64 = 3600;
/// The times that a request may carry, in seconds, in any order: what was leased at the one has run out at the other.
const TIMES: [i64; 2] = [0, 10_000];
/// When a job that was lost at the later of them is no longer withheld.
const AFTER: i64 = 10_300;

/// What somebody remembers between reading and writing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Intent {
    Claim(usize),
    /// By this miner, or the reaper.
    BeginCheck(Option<usize>),
    /// With what was found in S3.
    Complete(usize, bool),
    Reap(bool),
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The stored job, as JSON; None once it is swept away.
    job: String,
    /// What each miner knows: the attempt that it holds a token for.
    tokens: [Option<u32>; 2],
    /// Whoever has read and not yet written, with the job and the time as they were then.
    pending: BTreeMap<&'static str, (Intent, i64, String)>,
    /// The file is in S3.
    uploaded: bool,
    /// Who won each attempt.
    winners: Vec<usize>,
    /// Who lost which attempt, and at what time it was requeued.
    lost: Vec<(usize, i64)>,
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
    HeartbeatWhileUploading(usize, i64),
    Finish(usize, bool, i64),
    Upload(usize),
    FileArrived(usize),
}

struct Life;

fn file_id() -> Uuid {
    OutputFile::id(JOB, "out")
}

fn parse(text: &str) -> Job {
    serde_json::from_str(text).unwrap()
}

/// The job as the checker keeps it: without the times that decide nothing, so that fewer worlds differ.
fn stored(mut job: Job) -> String {
    job.updated_at = Timestamp::from_millis(0);
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
        "terminal": false, "attempt": 0, "max_attempts": 2, "created_at": 0, "updated_at": 0, "job_args": "{}",
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
        if before.terminal && (after.status != before.status || !after.terminal) {
            self.broken = Some("a terminal job changed");
        }
        if before.report.is_some() && after.status == Status::Pending {
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
        if after.terminal && after.deleted_at.is_none() {
            self.ended.get_or_insert_with(|| after.status.as_str().to_owned());
        }
        self.job = stored(after);
        true
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
    let deadline = now.plus_seconds(30 + WINDOW);
    let (miner, account) = (MINERS[miner], ACCOUNTS[miner]);
    let claim = Claim { miner, account, worker: None, hotkey: None, instance: None, now, deadline };
    lifecycle::claim(job, &claim).expect("a transition")
}

fn report_of(miner: usize, with_file: bool, now: Timestamp) -> Report<'static> {
    let file = OutputFile { filename: "out".to_owned(), ..OutputFile::default() };
    Report {
        status: Status::Complete,
        result: Some(["\"alice\"", "\"bob\""][miner]),
        detail: None,
        files: if with_file { vec![(file_id().to_string(), file)] } else { Vec::new() },
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

impl Model for Life {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            job: stored(new_job()),
            tokens: [None; 2],
            pending: BTreeMap::new(),
            uploaded: false,
            winners: Vec::new(),
            lost: Vec::new(),
            ended: None,
            broken: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let job = parse(&world.job);
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
                    steps.extend([Step::Heartbeat(miner, now), Step::HeartbeatWhileUploading(miner, now)]);
                    steps.extend([Step::Finish(miner, true, now), Step::Finish(miner, false, now)]);
                }
                steps.push(Step::FileArrived(miner));
                if job.files.as_ref().is_some_and(|files| !files.is_empty()) && job.report.as_deref() == Some(name) {
                    steps.push(Step::Upload(miner));
                }
                // Reading what is then refused without a write changes nothing.
                if !world.pending.contains_key(name) && may_complete(&job, attempt) {
                    steps.push(Step::Read(name, Intent::Complete(miner, world.uploaded), TIMES[0]));
                    let times = TIMES.into_iter().filter(|now| may_begin_check(&job, *now));
                    steps.extend(times.map(|now| Step::Read(name, Intent::BeginCheck(Some(miner)), now)));
                }
            }
        }
        for name in ["reaper", "owner"] {
            if world.pending.contains_key(name) {
                steps.extend([Step::Write(name, true), Step::Die(name)]);
            }
        }
        if !world.pending.contains_key("reaper") {
            let due = TIMES.into_iter().filter(|now| is_due(&job, Timestamp::from_millis(now * 1000)));
            let checks = due.clone().filter(|now| job.report.is_some() && may_begin_check(&job, *now));
            steps.extend(checks.map(|now| Step::Read("reaper", Intent::BeginCheck(None), now)));
            steps.extend(due.map(|now| Step::Read("reaper", Intent::Reap(world.uploaded), now)));
        }
        if !world.pending.contains_key("owner") && job.deleted_at.is_none() {
            steps.push(Step::Read("owner", Intent::Delete, TIMES[0]));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let at = |now: i64| Timestamp::from_millis(now * 1000);
        match step {
            Step::Read(name, intent, now) => {
                drop(world.pending.insert(name, (intent, now, world.job.clone())));
            }
            Step::Write(name, answered) => {
                let (intent, now, read) = world.pending.remove(name)?;
                write(&mut world, intent, parse(&read), answered, at(now));
            }
            Step::Die(name) => drop(world.pending.remove(name)),
            Step::AskAgain(miner) => world.tokens[miner] = Some(parse(&world.job).attempt),
            Step::Heartbeat(miner, now) => {
                let transition = lifecycle::heartbeat(JOB, world.tokens[miner]?, None, at(now));
                world.apply_as(miner, transition);
            }
            Step::HeartbeatWhileUploading(miner, now) => {
                let transition = lifecycle::hold_while_uploading(JOB, world.tokens[miner]?, at(now), WINDOW);
                world.apply_as(miner, transition);
            }
            Step::Finish(miner, with_file, now) => {
                let report = report_of(miner, with_file, at(now));
                let transition =
                    lifecycle::finish(JOB, world.tokens[miner]?, at(now).plus_seconds(WINDOW), report).unwrap();
                world.apply_as(miner, transition);
            }
            Step::Upload(_) => world.uploaded = true,
            Step::FileArrived(miner) => {
                let transition = lifecycle::file_arrived(world.tokens[miner]?, &file_id().to_string(), at(TIMES[0]));
                world.apply_as(miner, transition);
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no guard lets anything through", |_, world: &World| world.broken.is_none()),
            Property::always("the result is of the miner that holds the last attempt", |_, world: &World| {
                let job = parse(&world.job);
                let winner = world.winners.last().map(|miner| format!("\"{}\"", MINERS[*miner]));
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
            Property::always("a job that held files is swept when it is deleted", |_, world: &World| {
                let job = parse(&world.job);
                job.deleted_at.is_none() || !world.uploaded || job.queue.is_some()
            }),
            Property::sometimes("the second miner completes it", |_, world: &World| {
                world.ended.as_deref() == Some("complete") && world.winners.len() == 2
            }),
            Property::sometimes("a lone miner gets the job that it lost, and completes it", |_, world: &World| {
                world.ended.as_deref() == Some("complete") && world.winners[..] == [0, 0]
            }),
            Property::sometimes("a check of many files that died is followed by another", |_, world: &World| {
                let until = parse(&world.job).checking_until;
                world.pending.values().any(|(intent, _, read)| {
                    matches!(intent, Intent::BeginCheck(_)) && until.is_some() && parse(read).checking_until == until
                })
            }),
            Property::sometimes("some files are missing", |_, world: &World| {
                world.ended.as_deref() == Some("partial_failure")
            }),
            Property::sometimes("it times out", |_, world: &World| world.ended.as_deref() == Some("timeout")),
            Property::sometimes("it is deleted with a file", |_, world: &World| {
                world.uploaded && parse(&world.job).deleted_at.is_some()
            }),
        ]
    }
}

/// Whether nobody else is at the check of the job's files. In the first attempt only: a later one's is no different, and there are
/// fewer worlds.
fn may_begin_check(job: &Job, now: i64) -> bool {
    job.attempt == 1 && job.checked_for(Timestamp::from_millis(now * 1000)).is_none()
}

/// Whether complete-job goes on to write.
fn may_complete(job: &Job, attempt: u32) -> bool {
    job.attempt == attempt && job.report.is_some() && !job.terminal && job.deleted_at.is_none()
}

/// Whether the reaper goes on to write.
fn is_due(job: &Job, now: Timestamp) -> bool {
    let due = job.due_at.is_some_and(|due| due <= now);
    due && job.deleted_at.is_none() && !job.terminal && job.lease_expires_at.is_some()
}

fn write(world: &mut World, intent: Intent, read: Job, answered: bool, now: Timestamp) {
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
        Intent::Reap(there) => {
            let requeues = read.report.is_none() && read.attempt < read.max_attempts;
            let transition = if read.report.is_some() {
                lifecycle::complete_for_lost_miner(&checked(read, there), now).unwrap()
            } else if read.attempt < read.max_attempts {
                lifecycle::requeue(&read, now)
            } else {
                lifecycle::time_out(&read, now)
            };
            let lease = parse(&world.job).lease_expires_at;
            if !world.apply(transition) {
                return;
            }
            if lease.is_some_and(|lease| lease > now) {
                world.broken = Some("the reaper took a job whose lease had been renewed");
            }
            if requeues {
                world.lost.extend(world.winners.last().map(|miner| (*miner, now.seconds())));
            }
        }
        Intent::Delete => {
            world.apply(lifecycle::delete(&read, now, WINDOW));
        }
    }
}

#[test]
fn no_order_of_events_breaks_a_jobs_life() {
    let checker = Life.checker().threads(2).spawn_bfs().join();
    println!("{} states, {} of them distinct", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}
