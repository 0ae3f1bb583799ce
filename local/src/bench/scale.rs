//! One busy user on one busy chute, simulated: at how many jobs a second which of DynamoDB's limits is met, and how many shards
//! move it. Nothing is measured here; the rules are AWS's, the times are stated, and entries are of at most 1 KB.

use std::{cmp::Reverse, collections::BinaryHeap};

use anyhow::{Context, Result};
use serde::Serialize;
use shared::{
    item::{keys::DUE_SHARDS, shards},
    tables::jobs::CONFLICT_PAUSES_MS,
};

use super::{samples::quantile, turns};

/// Write units a second of one partition key. Bursts and adaptive capacity are left out: they end. ("Best practices for designing
/// and using partition keys effectively in DynamoDB".)
const UNITS: f64 = 1000.0;
/// Microseconds for which a transaction holds its rows, so that another one conflicts. AWS states no figure; this is a slow one.
const HOLD: u64 = 10_000;
/// Microseconds of the read before it, and of an answer that there was a conflict.
const CALL: u64 = 5000;
/// Microseconds until a job is claimed, from there to its heartbeat, to its report and to its end.
const STEPS: [u64; 4] = [2_000_000, 10_000_000, 10_000_000, 1_000_000];
/// Microseconds after which a miner repeats what was throttled.
const REPEAT: u64 = 1_000_000;
/// Microseconds in which jobs are created: more than a job takes.
const RUN: u64 = 40_000_000;
/// Jobs a second that are offered.
const LOADS: [u32; 8] = [50, 100, 200, 400, 700, 1000, 1500, 2000];
/// Shards of counters and of the indexes; the last is what is deployed.
const CASES: [Shards; 6] = [
    Shards { usage: 1, index: 1 },
    Shards { usage: 4, index: 4 },
    Shards { usage: 8, index: 8 },
    Shards { usage: 16, index: 16 },
    Shards { usage: shards::USAGE_SHARDS, index: 1 },
    Shards { usage: shards::USAGE_SHARDS, index: shards::SHARDS },
];

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Shards {
    usage: u8,
    index: u8,
}

/// Something that is met when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Limit {
    /// Transactions on one usage row, one after the other.
    Conflicts,
    UsageRow,
    ByOwner,
    Claimable,
    Due,
}

impl Limit {
    const fn name(self) -> &'static str {
        match self {
            Self::Conflicts => "conflicts on usage rows",
            Self::UsageRow => "units of a usage row",
            Self::ByOwner => "units of by_owner",
            Self::Claimable => "units of claimable",
            Self::Due => "units of due",
        }
    }
}

/// What became of one load.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    #[serde(flatten)]
    shards: Shards,
    /// Jobs a second.
    offered: u32,
    created: f64,
    /// Creates a second that were answered 503.
    refused: f64,
    /// Milliseconds of a create that went through.
    p50_ms: f64,
    p99_ms: f64,
    first_met: Option<Limit>,
}

/// What one key still takes: it fills by [`UNITS`] a second, and holds a second's.
#[derive(Debug, Clone)]
struct Bucket {
    units: f64,
    at: u64,
}

impl Bucket {
    /// Whether there are this many units.
    fn has(&mut self, units: f64, now: u64) -> bool {
        self.units = (self.units + (now - self.at) as f64 * UNITS / 1e6).min(UNITS);
        self.at = now;
        self.units >= units
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Create {
        tried: usize,
    },
    /// Step of the job's life.
    Step(usize),
}

#[derive(Debug, Clone, Copy)]
struct Job {
    asked: u64,
    counter: usize,
    owner: usize,
    queue: usize,
    shard: usize,
}

struct Simulation {
    random: fastrand::Rng,
    usage: Vec<Bucket>,
    held: Vec<u64>,
    by_owner: Vec<Bucket>,
    claimable: Vec<Bucket>,
    due: Vec<Bucket>,
    jobs: Vec<Job>,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    first_met: Option<Limit>,
    refused: usize,
    took_ms: Vec<f64>,
}

impl Simulation {
    fn new(shards: Shards, due_shards: u8) -> Self {
        let keys = |shards: u8| vec![Bucket { units: UNITS, at: 0 }; shards.into()];
        Self {
            random: fastrand::Rng::with_seed(1),
            usage: keys(shards.usage),
            held: vec![0; shards.usage.into()],
            by_owner: keys(shards.index),
            claimable: keys(shards.index),
            due: keys(due_shards),
            jobs: Vec::new(),
            events: BinaryHeap::new(),
            first_met: None,
            refused: 0,
            took_ms: Vec::new(),
        }
    }

    fn run(mut self, offered: u32, shards: Shards) -> Outcome {
        let mut at = 0.0;
        loop {
            // A Poisson process: what comes does not wait for what came before.
            at -= (1.0 - self.random.f64()).ln() * 1e6 / f64::from(offered);
            let asked = at as u64;
            if asked > RUN {
                break;
            }
            let mut any = |keys: usize| self.random.usize(0..keys);
            let counter = any(self.usage.len());
            let (owner, queue, shard) = (any(self.by_owner.len()), any(self.claimable.len()), any(self.due.len()));
            self.events.push(Reverse((asked + CALL, self.jobs.len(), Event::Create { tried: 0 })));
            self.jobs.push(Job { asked, counter, owner, queue, shard });
        }
        while let Some(Reverse((now, job, event))) = self.events.pop() {
            match event {
                Event::Create { tried } => self.create(now, job, tried),
                Event::Step(step) => self.step(now, job, step),
            }
        }
        let per_second = |count: usize| count as f64 * 1e6 / RUN as f64;
        Outcome {
            shards,
            offered,
            created: per_second(self.took_ms.len()),
            refused: per_second(self.refused),
            p50_ms: quantile(self.took_ms.clone(), 0.5),
            p99_ms: quantile(self.took_ms, 0.99),
            first_met: self.first_met,
        }
    }

    /// Takes the units of all keys, or of none: an index key that is full throttles the write to its table. ("Using Global
    /// Secondary Indexes in DynamoDB", on provisioned throughput.)
    fn write(&mut self, now: u64, job: Job, units: [(Limit, f64); 4]) -> bool {
        for (limit, units) in units {
            if !self.key(limit, job).has(units, now) {
                self.first_met.get_or_insert(limit);
                return false;
            }
        }
        for (limit, units) in units {
            self.key(limit, job).units -= units;
        }
        true
    }

    fn key(&mut self, limit: Limit, job: Job) -> &mut Bucket {
        match limit {
            Limit::Conflicts | Limit::UsageRow => &mut self.usage[job.counter],
            Limit::ByOwner => &mut self.by_owner[job.owner],
            Limit::Claimable => &mut self.claimable[job.queue],
            Limit::Due => &mut self.due[job.shard],
        }
    }

    fn create(&mut self, now: u64, number: usize, tried: usize) {
        let job = self.jobs[number];
        // A row's write in a transaction costs two units, one that is cancelled too; an entry of an index one. ("Amazon DynamoDB
        // Transactions: How it works", on capacity.)
        if self.held[job.counter] > now {
            if self.usage[job.counter].has(2.0, now) {
                self.usage[job.counter].units -= 2.0;
            }
            match CONFLICT_PAUSES_MS.get(tried) {
                Some(pause) => {
                    let pause = self.random.u64(0..=*pause) * 1000;
                    self.events.push(Reverse((now + CALL + pause, number, Event::Create { tried: tried + 1 })));
                }
                None => {
                    self.first_met.get_or_insert(Limit::Conflicts);
                    self.refused += 1;
                }
            }
            return;
        }
        let units = [(Limit::UsageRow, 2.0), (Limit::ByOwner, 1.0), (Limit::Claimable, 1.0), (Limit::Due, 0.0)];
        if !self.write(now, job, units) {
            self.refused += 1;
            return;
        }
        self.held[job.counter] = now + HOLD;
        self.took_ms.push((now + HOLD - job.asked) as f64 / 1000.0);
        self.events.push(Reverse((now + HOLD + STEPS[0], number, Event::Step(0))));
    }

    /// Claim, heartbeat, report and end. The claim moves an entry of the index, which is two writes, and the end takes it out. Nothing
    /// else is in an index.
    fn step(&mut self, now: u64, number: usize, step: usize) {
        // At its end it moves on to the keys of what is kept, which are as many.
        let (claimable, due) = [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0), (0.0, 1.0)][step];
        let units = [(Limit::UsageRow, 0.0), (Limit::ByOwner, 0.0), (Limit::Claimable, claimable), (Limit::Due, due)];
        let next = match self.write(now, self.jobs[number], units) {
            true => STEPS.get(step + 1).map(|pause| (now + pause, Event::Step(step + 1))),
            // Who repeats a write while jobs are still created only adds to the load.
            false => Some((now + REPEAT, Event::Step(step))).filter(|_| now < RUN),
        };
        self.events.extend(next.map(|(at, event)| Reverse((at, number, event))));
    }
}

/// All loads with all numbers of shards.
fn simulate() -> Vec<Outcome> {
    let cases = CASES.into_iter().flat_map(|shards| LOADS.into_iter().map(move |offered| (shards, offered)));
    cases.map(|(shards, offered)| Simulation::new(shards, DUE_SHARDS).run(offered, shards)).collect()
}

/// Prints the table, and writes it as JSON when a file is named.
pub(super) fn run(json: Option<&std::path::Path>) -> Result<()> {
    let outcomes = simulate();
    println!(
        "One user on one chute. {UNITS} write units a second and key, {} ms that a transaction holds its rows, {DUE_SHARDS} due_shards of due.",
        HOLD / 1000
    );
    println!("   usage  index  offered/s  created/s   503/s  p50 ms  p99 ms  first met");
    for outcome in &outcomes {
        let Outcome { shards, offered, created, refused, p50_ms, p99_ms, first_met } = outcome;
        println!(
            "{:>8} {:>6} {offered:>10} {created:>10.1} {refused:>7.1} {p50_ms:>7.0} {p99_ms:>7.0}  {}",
            shards.usage,
            shards.index,
            first_met.map_or("", Limit::name),
        );
    }
    let waited = turns::run();
    if let Some(file) = json {
        let figures = serde_json::json!({"scale": outcomes, "turns": waited});
        let text = serde_json::to_string_pretty(&figures).context("figures are JSON")?;
        std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYED: Shards = CASES[CASES.len() - 1];

    fn refused_share(shards: Shards, due_shards: u8, offered: u32) -> (f64, Option<Limit>) {
        let outcome = Simulation::new(shards, due_shards).run(offered, shards);
        (outcome.refused / f64::from(offered), outcome.first_met)
    }

    #[test]
    fn without_shards_there_is_a_wall_far_below_a_thousand_jobs_a_second() {
        let (refused, first_met) = refused_share(CASES[0], DUE_SHARDS, 200);
        assert!(refused > 0.1, "{refused}");
        assert_eq!(first_met, Some(Limit::Conflicts));
        // With counters alone, the queue is next.
        let (_, first_met) = refused_share(CASES[CASES.len() - 2], DUE_SHARDS, 700);
        assert_eq!(first_met, Some(Limit::Claimable));
    }

    #[test]
    fn with_shards_there_is_none_at_two_thousand() {
        let (refused, first_met) = refused_share(DEPLOYED, DUE_SHARDS, 2000);
        assert!(refused < 0.001, "{refused} {first_met:?}");
    }

    #[test]
    fn one_shard_of_due_is_full_before_a_thousand_jobs_a_second() {
        assert_eq!(refused_share(DEPLOYED, 1, 900).1, Some(Limit::Due));
        assert_eq!(refused_share(DEPLOYED, DUE_SHARDS, 1000).1, None);
    }
}
