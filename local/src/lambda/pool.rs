//! Every function's execution environments: those that wait for work, and how many may run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    environment::Environment,
    invocation::{Invocation, InvokeError, PAYLOAD_LIMIT},
    settings::Settings,
};
use crate::{
    account::function_arn,
    ledger::Billed,
    template::{AsynchronousLimits, Function},
};

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
        let bytes = event.len();
        let (outcome, used) = environment.invoke(event).await.map_err(crashed)?;
        let counts = environment.take_counts();
        self.settings.ledger.add(|| Billed {
            function: Some(package.to_owned()),
            time_ms: used.time.as_secs_f64() * 1000.0,
            dynamodb: counts.dynamodb,
            read_units: counts.units.read,
            write_units: counts.units.write,
            s3: counts.s3,
            bytes: bytes.max(outcome.as_ref().map_or(0, Bytes::len)),
        });
        pool.put_back(environment);
        drop(permits);
        Ok(Invocation { outcome, counts, cold_start, used })
    }

    /// How events that nobody waits for are tried.
    pub(super) fn asynchronous_limits(&self, package: &str) -> AsynchronousLimits {
        self.functions.get(package).map(|pool| pool.function.asynchronous).unwrap_or_default()
    }

    /// Adds a line of the stack's own to a function's log.
    pub(crate) fn note(&self, package: &str, line: &str) {
        self.settings.logs.push(package, line.to_owned());
    }

    /// The ARN of a function by its package, physical name or ARN.
    pub(crate) fn arn(&self, name: &str) -> String {
        let name = name.rsplit(':').next().unwrap_or(name);
        let found = self.functions.values().find(|pool| pool.function.package == name || pool.function.name == name);
        function_arn(found.map_or(name, |pool| &pool.function.name))
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
        idle.retain(Environment::is_usable);
        idle.pop()
    }

    fn put_back(&self, environment: Environment) {
        if environment.is_usable() {
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
