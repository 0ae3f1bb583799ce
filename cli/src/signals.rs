//! Signals that ask a process to end.

use anyhow::Result;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// What was asked so far. Clones see the same.
#[derive(Clone)]
pub(crate) struct Signals(watch::Receiver<Vec<u8>>);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on.
    pub(crate) fn take() -> Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // `nohup` has it ignored.
        let mut hangup = if is_ignored(1) { None } else { Some(signal(SignalKind::hangup())?) };
        let (tell, told) = watch::channel(Vec::new());
        tokio::spawn(async move {
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => 2,
                    _ = terminate.recv() => 15,
                    Some(_) = async { hangup.as_mut()?.recv().await } => 1,
                };
                tell.send_modify(|all| all.push(number));
            }
        });
        Ok(Self(told))
    }

    /// Ends at the first signal.
    pub(crate) async fn first(&self) {
        self.nth(1).await;
    }

    /// Ends at the second signal.
    pub(crate) async fn second(&self) {
        self.nth(2).await;
    }

    async fn nth(&self, number: usize) {
        // The sender lives as long as the runtime.
        if self.0.clone().wait_for(|all| all.len() >= number).await.is_err() {
            std::future::pending().await
        }
    }

    /// The exit code of a process that ended because of the first signal, when there was one: 128 and its number.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.0.borrow().first().map(|number| 128 + number)
    }
}

/// Whether this process was started with a signal ignored. Linux tells.
fn is_ignored(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}
