//! How environments are started.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{binaries::Binaries, calls::Callers, ledger::Ledger, logs::Logs, share::CpuShare, temporary::Temporary};

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
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) callers: Arc<Callers>,
    /// The secret of their access keys.
    pub(crate) secret: String,
    /// Where each has its own `/tmp`.
    pub(crate) temporary: Arc<Temporary>,
    /// Ends every process.
    pub(crate) stop: CancellationToken,
    /// Every process's task, so that a shutdown can wait for the last.
    pub(crate) tasks: TaskTracker,
}
