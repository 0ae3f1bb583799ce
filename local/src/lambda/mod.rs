//! AWS Lambda: functions as pools of execution environments, each one process of the real binary that serves one request
//! at a time.

mod environment;
mod runtime_api;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    binaries::Binaries,
    calls::{Callers, Counts},
    capacity::Units,
    logs::Logs,
    share::CpuShare,
    template::Function,
};
use environment::Environment;

/// The most that a request's event or a response may be ("Lambda quotas": 6 MB).
pub(crate) const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// What every environment is started with.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The functions' binaries.
    pub(crate) binaries: Binaries,
    /// Variables of every function: endpoints, and what a test adds.
    pub(crate) environment: BTreeMap<String, String>,
    /// Environments that may serve a request at the same time, over all functions.
    pub(crate) concurrency: usize,
    /// The share of a core that every environment has, when it has no whole one.
    pub(crate) share: Option<CpuShare>,
    /// How long a request waits when as many run as may.
    pub(crate) queue_time: Duration,
    pub(crate) logs: Arc<Logs>,
    pub(crate) callers: Arc<Callers>,
    /// Ends every process.
    pub(crate) stop: CancellationToken,
    /// Every process's task, so that a shutdown can wait for the last.
    pub(crate) tasks: TaskTracker,
}

/// A request that a function answered, or an error that it reported itself.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The answer; `Err` is the error document of the function.
    pub(crate) outcome: Result<Bytes, Bytes>,
    /// Engine calls that the function made.
    pub(crate) counts: Counts,
    /// How long the environment took to start, when this request started it.
    pub(crate) cold_start: Option<Duration>,
    /// What it took once the environment had the event.
    pub(crate) used: Used,
}

/// What one request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// From the event to the answer: what Lambda bills.
    pub(crate) time: Duration,
    /// CPU time of the process, where the system tells.
    pub(crate) cpu: Option<Duration>,
    /// KiB that the process had resident at most, since it started.
    pub(crate) peak_memory: Option<u64>,
}

impl Invocation {
    /// What was measured, as headers of the answer. Of the local stack only: the demo and the tests read them.
    pub(crate) fn headers(&self) -> HeaderMap {
        let ms = |took: Duration| format!("{:.3}", took.as_secs_f64() * 1000.0);
        let units = self.counts.units;
        let units = (units != Units::default()).then(|| format!("read={} write={}", units.read, units.write));
        let measured = [
            ("x-local-engine-calls", Some(self.counts.to_string())),
            ("x-local-engine-units", units),
            ("x-local-cold-start-ms", self.cold_start.map(ms)),
            ("x-local-time-ms", Some(ms(self.used.time))),
            ("x-local-cpu-ms", self.used.cpu.map(ms)),
            ("x-local-peak-memory-kib", self.used.peak_memory.map(|kib| kib.to_string())),
        ];
        let valid = |(name, value): (_, Option<String>)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?))
        };
        measured.into_iter().filter_map(valid).collect()
    }
}

/// A request that no function answered.
#[derive(Debug)]
pub(crate) enum InvokeError {
    /// The event is over [`PAYLOAD_LIMIT`].
    TooLarge,
    /// As many requests run as may.
    Throttled,
    /// The process failed to start, died, or ran into its timeout. Tells why.
    Crashed(String),
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the event is over 6 MB"),
            Self::Throttled => f.write_str("Rate Exceeded."),
            Self::Crashed(reason) => f.write_str(reason),
        }
    }
}

/// Every function of the template.
#[derive(Debug)]
pub(crate) struct Lambda {
    settings: Arc<Settings>,
    functions: BTreeMap<String, Pool>,
    running: Arc<Semaphore>,
}

/// One function and its environments that wait for work.
#[derive(Debug)]
struct Pool {
    function: Arc<Function>,
    idle: Mutex<Vec<Environment>>,
    reserved: Option<Arc<Semaphore>>,
}

impl Lambda {
    pub(crate) fn new(functions: &[Function], settings: Settings) -> Self {
        let pool = |function: &Function| Pool {
            function: Arc::new(function.clone()),
            idle: Mutex::default(),
            reserved: function.reserved_concurrency.map(|limit| Arc::new(Semaphore::new(limit))),
        };
        Self {
            functions: functions.iter().map(|f| (f.package.clone(), pool(f))).collect(),
            running: Arc::new(Semaphore::new(settings.concurrency)),
            settings: Arc::new(settings),
        }
    }

    /// The package of a function by its package, physical name or ARN.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let name = name.rsplit(':').next().unwrap_or(name);
        let found = self.functions.values().find(|pool| pool.function.package == name || pool.function.name == name);
        found.map(|pool| pool.function.package.as_str())
    }

    /// Runs a function once, to its end also when the caller stops waiting.
    pub(crate) async fn invoke(self: &Arc<Self>, package: &str, event: Bytes) -> Result<Invocation, InvokeError> {
        let (lambda, package) = (Arc::clone(self), package.to_owned());
        let run = tokio::spawn(async move { lambda.run(&package, event).await });
        run.await.unwrap_or_else(|ended| Err(InvokeError::Crashed(ended.to_string())))
    }

    async fn run(&self, package: &str, event: Bytes) -> Result<Invocation, InvokeError> {
        let Some(pool) = self.functions.get(package) else {
            return Err(InvokeError::Crashed(format!("there is no function {package}")));
        };
        if event.len() > PAYLOAD_LIMIT {
            return Err(InvokeError::TooLarge);
        }
        let permits = async {
            let reserved = match &pool.reserved {
                Some(reserved) => Some(permit(reserved).await?),
                None => None,
            };
            Some((reserved, permit(&self.running).await?))
        };
        let permits = tokio::time::timeout(self.settings.queue_time, permits).await;
        let permits = permits.ok().flatten().ok_or(InvokeError::Throttled)?;

        let idle = pool.take_idle();
        let (mut environment, cold_start) = match idle {
            Some(environment) => (environment, None),
            None => {
                let environment = Environment::start(&pool.function, &self.settings).await.map_err(crashed)?;
                let init = environment.init_time();
                (environment, Some(init))
            }
        };
        let (outcome, used) = environment.invoke(event).await.map_err(crashed)?;
        let counts = environment.take_counts();
        pool.put_back(environment);
        drop(permits);
        Ok(Invocation { outcome, counts, cold_start, used })
    }

    /// The file that is a function's program.
    pub(crate) fn binary(&self, package: &str) -> Option<PathBuf> {
        Some(self.settings.binaries.of(&self.functions.get(package)?.function))
    }

    /// Ends every environment that waits for work: the next request of each function finds none.
    pub(crate) fn reclaim(&self) {
        for pool in self.functions.values() {
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Starts every function once and lets it go: a function that can't start is told before the first request.
    pub(crate) async fn check(&self) -> Result<()> {
        let starts = self.functions.values().map(|pool| async {
            let started = Environment::start(&pool.function, &self.settings).await;
            started.map(drop).with_context(|| format!("the function {} does not start", pool.function.package))
        });
        futures_util::future::try_join_all(starts).await.map(drop)
    }
}

impl Pool {
    /// The environment that served last: the others may be reclaimed.
    fn take_idle(&self) -> Option<Environment> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Environment::is_alive);
        idle.pop()
    }

    fn put_back(&self, environment: Environment) {
        if environment.is_alive() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
        }
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(semaphore).acquire_owned().await.ok()
}

fn crashed(error: anyhow::Error) -> InvokeError {
    InvokeError::Crashed(format!("{error:#}"))
}
