//! Signals that ask a process to end.

#[cfg(any(windows, portable))]
mod portable;
#[cfg(all(unix, not(portable)))]
mod unix;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;

#[cfg(any(windows, portable))]
use portable::Asked;
#[cfg(all(unix, not(portable)))]
use unix::Asked;
#[cfg(all(unix, not(portable)))]
pub(crate) use unix::is_ignored;

/// How long after the first one a further signal tells of the same event: systemd ends a session with SIGTERM and, at once, SIGHUP; a wrapper
/// passes a Ctrl-C on that the terminal has sent to both; a shell and the kernel send a SIGHUP each when a terminal is gone.
const ONE_EVENT: Duration = Duration::from_secs(1);

/// What was asked so far. Clones see the same.
#[derive(Clone)]
pub(crate) struct Signals(watch::Receiver<Vec<u8>>);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on, or what Windows has instead.
    pub(crate) fn take() -> Result<Self> {
        let mut asked = Asked::listen()?;
        let (tell, told) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut first: Option<Instant> = None;
            loop {
                let number = asked.next().await;
                if first.is_none_or(|first| first.elapsed() >= ONE_EVENT) {
                    tell.send_modify(|all| all.push(number));
                }
                first.get_or_insert_with(Instant::now);
            }
        });
        Ok(Self(told))
    }

    /// Ends at the first signal.
    pub(crate) async fn first(&self) {
        self.nth(1).await;
    }

    /// Ends at the second signal: the next one that tells of another event than the first.
    pub(crate) async fn second(&self) {
        self.nth(2).await;
    }

    /// Whether there were two.
    pub(crate) fn are_two(&self) -> bool {
        self.0.borrow().len() >= 2
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
