//! Who calls the engines: every execution environment has its own access key, and serves one request at a time, so
//! each call belongs to exactly one request.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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
    /// What DynamoDB's calls consumed, when that is asked for.
    pub(crate) units: Units,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Calls { puts, gets, free } = self.s3;
        let s3 = puts + gets + free;
        write!(f, "dynamodb={} s3={s3} secretsmanager={}", self.dynamodb, self.secretsmanager)?;
        if s3 > 0 { write!(f, " s3-put={puts} s3-get={gets}") } else { Ok(()) }
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

/// The callers by access key.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    by_key: Mutex<HashMap<String, Arc<Caller>>>,
    /// The function behind every key there ever was.
    functions: Mutex<HashMap<String, String>>,
    next: AtomicU64,
}

impl Callers {
    /// A new environment's access key, as long as a temporary one of AWS.
    pub(crate) fn register(&self, function: &str, kill: CancellationToken) -> (String, Arc<Caller>) {
        let key = format!("ASIALOCAL{:011}", self.next.fetch_add(1, Ordering::Relaxed));
        let caller = Arc::new(Caller { function: function.to_owned(), kill, counts: Mutex::default() });
        self.lock().insert(key.clone(), Arc::clone(&caller));
        self.functions.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), function.to_owned());
        (key, caller)
    }

    /// Forgets an environment that is gone. What it presigned stays valid.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    pub(crate) fn find(&self, key: &str) -> Option<Arc<Caller>> {
        self.lock().get(key).cloned()
    }

    /// The function that has, or had, this key: who signed a presigned URL.
    pub(crate) fn function(&self, key: &str) -> Option<String> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Caller>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
