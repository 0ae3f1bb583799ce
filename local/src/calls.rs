//! Who calls the engines: every execution environment has its own access key, and serves one request at a time, so
//! each call belongs to exactly one request.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio_util::sync::CancellationToken;

use crate::{
    capacity::Units,
    faults::Service,
    ledger::{Kind, S3Calls},
};

/// Engine calls of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) dynamodb: u64,
    pub(crate) s3: S3Calls,
    pub(crate) secretsmanager: u64,
    pub(crate) lambda: u64,
    pub(crate) events: u64,
    /// What DynamoDB's calls consumed, when that is asked for.
    pub(crate) units: Units,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Calls { puts, gets, free } = self.s3;
        let s3 = puts + gets + free;
        write!(f, "dynamodb={} s3={s3} secretsmanager={}", self.dynamodb, self.secretsmanager)?;
        if s3 > 0 {
            write!(f, " s3-put={puts} s3-get={gets}")?;
        }
        let rare = [("lambda", self.lambda), ("events", self.events)];
        rare.iter().filter(|(_, calls)| *calls > 0).try_for_each(|(engine, calls)| write!(f, " {engine}={calls}"))
    }
}

/// One execution environment, as the engines know it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The function's package.
    pub(crate) function: String,
    /// Kills the process.
    pub(crate) kill: CancellationToken,
    counts: Mutex<Counts>,
}

impl Caller {
    pub(crate) fn count(&self, service: Service, operation: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match service {
            Service::DynamoDb => counts.dynamodb += 1,
            Service::S3 => counts.s3.add(Kind::of(operation)),
            Service::SecretsManager => counts.secretsmanager += 1,
            Service::Lambda => counts.lambda += 1,
            Service::Events => counts.events += 1,
        }
    }

    pub(crate) fn consume(&self, units: Units) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.units.read += units.read;
        counts.units.write += units.write;
    }

    /// The calls since the last time, which are those of one request.
    pub(crate) fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whose a key is, and until when it is good.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) function: String,
    pub(crate) until: SystemTime,
}

/// The callers by access key.
#[derive(Debug)]
pub(crate) struct Callers {
    by_key: Mutex<HashMap<String, Arc<Caller>>>,
    /// Every key there ever was.
    issued: Mutex<HashMap<String, Issued>>,
    /// How long a key is good for.
    life: Duration,
    next: AtomicU64,
}

impl Callers {
    /// None so far. What they presign ends with their keys, which are numbered from `first` on.
    pub(crate) fn new(life: Duration, first: u64) -> Self {
        Self { by_key: Mutex::default(), issued: Mutex::default(), life, next: first.into() }
    }

    /// A new environment's access key, as long as a temporary one of AWS.
    pub(crate) fn register(&self, function: &str, kill: CancellationToken) -> (String, Arc<Caller>) {
        let key = format!("ASIALOCAL{:011}", self.next.fetch_add(1, Ordering::Relaxed));
        let caller = Arc::new(Caller { function: function.to_owned(), kill, counts: Mutex::default() });
        self.lock().insert(key.clone(), Arc::clone(&caller));
        let issued = Issued { function: function.to_owned(), until: SystemTime::now() + self.life };
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), issued);
        (key, caller)
    }

    /// Forgets an environment that is gone. What it presigned stays valid as long as its key.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// How long a key is good for.
    pub(crate) fn life(&self) -> Duration {
        self.life
    }

    pub(crate) fn find(&self, key: &str) -> Option<Arc<Caller>> {
        self.lock().get(key).cloned()
    }

    /// Whose this key is, or was: who signed a presigned URL.
    pub(crate) fn issued(&self, key: &str) -> Option<Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Caller>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
