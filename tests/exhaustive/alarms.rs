//! Every order of events around the alarms that end what waits for too long: a job's own, or its chute's. Miners claim the job, give it back,
//! and report errors; the reaper takes its lease, and another run of it hears the alarm; the owner cancels it and has it tried again. Each
//! may be overtaken or die between any two calls, and carry any time. Heartbeats and files have no part in it.

use std::{collections::BTreeMap, hash::Hash};

use shared::{
    item::{Item, Transition},
    model::{
        Alarm, Job, Place, Status, Waiting,
        lifecycle::{self, Report},
    },
    time::Timestamp,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use uuid::Uuid;

use super::{JOB, MINERS, TIMES, claim_of, new_job, parse};

/// Seconds that the job waits: more than at the one time, and less than at the other.
const WAIT: i64 = 5_000;
/// When all that waits has waited too long, and later than any alarm.
const AT_LAST: i64 = 1_000_000;

/// Whose alarm ends the job's waiting.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Job,
    Chute,
}

/// What somebody does in several calls, in this order: reads, sets the alarm, writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Claim(usize),
    Release,
    Fail,
    /// Of the job's lease, which is over.
    Requeue,
    Retry,
    Delete,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    /// With the job as it was read; and whether its alarm was set.
    Write(What, i64, String, bool),
    /// The reaper has read the alarm, with this time in it.
    Heard(i64, i64),
    /// And the job.
    Looked(i64, i64, String),
    /// And has ended it, or not; the alarm is to be set to that, or to be silenced.
    Set(i64, i64, Option<i64>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    job: String,
    /// When the alarm rings, milliseconds.
    alarm: Option<i64>,
    doing: BTreeMap<&'static str, Doing>,
    /// What was done that is done once: another time is no different, and there are fewer worlds.
    released: bool,
    broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Read(&'static str, What, i64),
    Hear(i64),
    /// The next call of what somebody does.
    GoOn(&'static str),
    Die(&'static str),
    Cancel(i64),
}

/// The job as the checker keeps it: without the times that decide nothing here.
fn stored(mut job: Job) -> String {
    (job.started_at, job.finished_at, job.gone_at, job.deadline_at, job.error_detail) = (None, None, None, None, None);
    if job.status != Status::Pending {
        (job.updated_at, job.due_at) = (Timestamp::from_millis(0), Some(Timestamp::from_millis(0)));
        job.lost.clear();
    }
    serde_json::to_string(&job).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

impl Whose {
    fn waiting(self) -> Waiting {
        match self {
            Self::Job => Waiting::Job(JOB),
            Self::Chute => Waiting::Chute(Uuid::from_u128(2)),
        }
    }

    /// The alarm's row.
    fn row(self, alarm: Option<i64>) -> Item {
        let at = Timestamp::from_millis(alarm.unwrap_or_default());
        let mut row = self.waiting().ring(at).apply(Item::new()).unwrap();
        if alarm.is_none() {
            row.remove("due_at");
        }
        row
    }

    fn change(self, world: &mut World, change: Transition) {
        if let Some(row) = change.apply(self.row(world.alarm)) {
            let due = Alarm::from_item(&row).unwrap().unwrap().due_at;
            world.alarm = due.map(Timestamp::millis);
        }
    }

    /// What the reaper does with a chute's alarm after its jobs, as far as they wait, and with a job's.
    fn next(self, job: Option<Timestamp>, now: i64) -> Option<i64> {
        let any = (self == Self::Chute).then(|| at(now + WAIT));
        job.into_iter().chain(any).min().map(Timestamp::millis)
    }

    /// The reaper hears the alarm, and nobody is in its way.
    fn hear_alone(self, world: &mut World, now: i64) {
        if world.alarm.is_some_and(|due| due <= now * 1000) {
            let mut doing = Doing::Heard(now, world.alarm.unwrap_or_default());
            while let Some(next) = self.go_on(world, doing) {
                doing = next;
            }
        }
    }

    /// The next call, and what is then still to be done.
    fn go_on(self, world: &mut World, doing: Doing) -> Option<Doing> {
        let is_own = self == Self::Job;
        match doing {
            Doing::Write(what, now, read, false) if is_own && what.makes_wait(&parse(&read)) => {
                let (waiting, due) = parse(&read).own_alarm(at(now))?;
                self.change(world, waiting.ring(due));
                Some(Doing::Write(what, now, read, true))
            }
            Doing::Write(what, now, read, _) => {
                let released = world.write(what.change(&parse(&read), now)) && what == What::Release;
                world.released |= released;
                None
            }
            Doing::Heard(now, due) => Some(Doing::Looked(now, due, world.job.clone())),
            Doing::Looked(now, due, read) => {
                let job = parse(&read);
                let until = job.waits_until().filter(|_| job.deleted_at.is_none());
                let over = until.is_some_and(|until| until <= at(now));
                if over {
                    let before = parse(&world.job).waits_until();
                    if world.write(lifecycle::expire(&job, at(now))) && before.is_none_or(|until| until > at(now)) {
                        world.broken = Some("a job that does not wait, or not for too long, was ended for it");
                    }
                }
                Some(Doing::Set(now, due, self.next(until.filter(|_| !over), now)))
            }
            Doing::Set(now, due, next) => {
                let waiting = self.waiting();
                let alarm = Alarm { waiting, due_at: Some(Timestamp::from_millis(due)) };
                let change = match next {
                    Some(next) => waiting.ring_again(&alarm, Timestamp::from_millis(next)),
                    None => Waiting::silence(&alarm, at(now)),
                };
                self.change(world, change);
                None
            }
        }
    }
}

impl What {
    /// Whether the job waits after it, so that its own alarm is set before.
    fn makes_wait(self, job: &Job) -> bool {
        match self {
            Self::Claim(_) | Self::Delete => false,
            Self::Release | Self::Retry => true,
            Self::Fail | Self::Requeue => job.attempt < job.max_attempts,
        }
    }

    fn change(self, job: &Job, now: i64) -> Transition {
        let report = Report {
            job_id: JOB,
            status: Status::Error,
            result: None,
            detail: None,
            files: &BTreeMap::new(),
            file_list: None,
            logs: false,
            is_begun: false,
            digest: "failed",
            now: at(now),
        };
        match self {
            Self::Claim(miner) => claim_of(job, miner, at(now)),
            Self::Release => lifecycle::release(job, at(now)),
            Self::Fail if self.makes_wait(job) => lifecycle::try_again(job, &report),
            Self::Fail => lifecycle::finish_last(job.attempt, at(now), 3600, report).unwrap(),
            Self::Requeue if self.makes_wait(job) => lifecycle::requeue(job, None, at(now)).job,
            Self::Requeue => lifecycle::time_out(job, None, at(now)).job,
            Self::Retry => lifecycle::retry(job, 1, &[], Place::at(at(now)), at(now)).unwrap().job,
            Self::Delete => lifecycle::delete(job, at(now), 3600).job,
        }
    }

    /// Seconds by which it comes later than others. An alarm is told from another by when it rings, so no two that set it come at the same
    /// millisecond; nor could they, unless a clock is as far behind as the job waits.
    fn moment(self, job: &Job) -> i64 {
        let kind = match self {
            Self::Claim(_) | Self::Delete => return 0,
            Self::Release => 1,
            Self::Fail => 2,
            Self::Requeue => 3,
            Self::Retry => 4,
        };
        kind + 10 * i64::from(job.attempt)
    }

    /// Whether somebody who has read the job goes on to write.
    fn is_possible(self, world: &World, job: &Job) -> bool {
        let runs = job.status == Status::Running && job.report.is_none() && !job.terminal;
        match self {
            _ if job.deleted_at.is_some() => false,
            Self::Claim(_) => job.status == Status::Pending,
            Self::Release => runs && !world.released,
            Self::Fail | Self::Requeue => runs,
            Self::Retry => job.is_retriable() && job.run == 0,
            Self::Delete => true,
        }
    }
}

impl World {
    /// Whether the conditions hold.
    fn write(&mut self, change: Transition) -> bool {
        let Some(after) = change.apply(parse(&self.job).to_item().unwrap()) else { return false };
        self.job = stored(Job::from_item(after).unwrap());
        true
    }

    /// Whether somebody has set the alarm to this time, in seconds.
    fn is_set_for(&self, seconds: i64) -> bool {
        let set = Some(seconds * 1000);
        let heard = self.doing.values().filter_map(|doing| match doing {
            Doing::Write(..) => None,
            Doing::Heard(_, due) | Doing::Looked(_, due, _) | Doing::Set(_, due, _) => Some(*due),
        });
        self.alarm == set || heard.map(Some).any(|heard| heard == set)
    }

    fn waits(&self) -> bool {
        let job = parse(&self.job);
        job.status == Status::Pending && job.deleted_at.is_none()
    }
}

impl Model for Whose {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let own_wait = *self == Self::Job;
        let job = Job { wait: Some(WAIT), own_wait, retry_errors: true, ..new_job() };
        // A job's is set when it is created, and a chute's before that.
        let alarm = if own_wait { WAIT * 1000 } else { 0 };
        vec![World { job: stored(job), alarm: Some(alarm), doing: BTreeMap::new(), released: false, broken: None }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let job = parse(&world.job);
        let mut read = |who, what: What| {
            if !world.doing.contains_key(who) && what.is_possible(world, &job) {
                let once = matches!(what, What::Claim(_) | What::Delete);
                let times = TIMES.into_iter().take(if once { 1 } else { TIMES.len() });
                let times = times.map(|now| now + what.moment(&job)).filter(|now| !world.is_set_for(now + WAIT));
                steps.extend(times.map(|now| Step::Read(who, what, now)));
            }
        };
        // Who has it is of no account here, so one may claim for all.
        read(MINERS[0], What::Claim(0));
        read("reaper", What::Requeue);
        // Of a chute's alarm, they are no different from that.
        if *self == Self::Job {
            read(MINERS[0], What::Release);
            read(MINERS[0], What::Fail);
        }
        read("owner", What::Retry);
        read("owner", What::Delete);
        // An alarm is not silenced before the request has ended that has set it.
        let is_set = world.doing.values().any(|doing| matches!(doing, Doing::Write(.., true)));
        if !is_set && !world.doing.contains_key("another run") {
            let rings = TIMES.into_iter().filter(|now| world.alarm.is_some_and(|due| due <= now * 1000));
            steps.extend(rings.map(Step::Hear));
        }
        steps.extend(world.doing.keys().flat_map(|who| [Step::GoOn(who), Step::Die(who)]));
        if job.status == Status::Pending && job.deleted_at.is_none() && job.run == 0 {
            steps.push(Step::Cancel(TIMES[0]));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Read(who, what, now) => {
                drop(world.doing.insert(who, Doing::Write(what, now, world.job.clone(), false)))
            }
            Step::Hear(now) => drop(world.doing.insert("another run", Doing::Heard(now, world.alarm?))),
            Step::GoOn(who) => {
                let doing = world.doing.remove(who)?;
                if let Some(next) = self.go_on(&mut world, doing) {
                    world.doing.insert(who, next);
                }
            }
            Step::Die(who) => drop(world.doing.remove(who)),
            Step::Cancel(now) => drop(world.write(lifecycle::cancel_pending(JOB, "no", at(now)))),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing ends that does not wait for too long", |_, world: &World| world.broken.is_none()),
            // Whoever is at something dies now.
            Property::always("what waits ends, if nobody claims it", |whose: &Self, world: &World| {
                let mut world = world.clone();
                if world.waits() {
                    whose.hear_alone(&mut world, AT_LAST);
                }
                !world.waits()
            }),
            Property::sometimes("it expires", |_, world: &World| {
                let job = parse(&world.job);
                job.status == Status::Timeout && job.attempt == 0
            }),
            Property::sometimes("it expires after it was tried again", |_, world: &World| {
                let job = parse(&world.job);
                job.status == Status::Timeout && job.run == 1 && job.attempt == 0
            }),
            Property::sometimes(
                "what the reaper does after it has heard the alarm comes too late",
                |whose, world: &World| {
                    let late = match world.doing.get("another run") {
                        Some(Doing::Set(_, due, _)) => world.alarm != Some(*due),
                        Some(Doing::Looked(_, _, read)) => *whose == Self::Chute && *read != world.job,
                        _ => false,
                    };
                    late && world.waits()
                },
            ),
        ]
    }
}

fn try_every_order(whose: Whose) {
    let checker = whose.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states, {} of them distinct", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn no_order_of_events_leaves_a_job_that_waits_without_its_own_alarm() {
    try_every_order(Whose::Job);
}

#[test]
fn no_order_of_events_leaves_a_job_that_waits_without_its_chutes_alarm() {
    try_every_order(Whose::Chute);
}
