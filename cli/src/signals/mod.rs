//! Signals that ask a process to end.

#[cfg(any(windows, portable))]
mod portable;
#[cfg(all(unix, not(portable)))]
mod unix;

use anyhow::Result;
use tokio::sync::watch;

#[cfg(any(windows, portable))]
use portable::Asked;
#[cfg(all(unix, not(portable)))]
use unix::Asked;
#[cfg(all(unix, not(portable)))]
pub(crate) use unix::is_ignored;

/// What was asked so far. Clones see the same.
#[derive(Clone)]
pub(crate) struct Signals(watch::Receiver<Vec<u8>>);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on, or what Windows has instead.
    pub(crate) fn take() -> Result<Self> {
        let mut asked = Asked::listen()?;
        let (tell, told) = watch::channel(Vec::new());
        tokio::spawn(async move {
            loop {
                let number = asked.next().await;
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
