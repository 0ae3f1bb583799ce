//! What may block, so that nobody waits for it for long.

use std::time::Duration;

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// Something that is done on a thread of its own, again and again, but never twice at once.
pub(super) struct Aside<T>(Option<JoinHandle<T>>);

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Aside<T> {
    /// What it comes to, if that is known in time. Otherwise it goes on, and the next call waits for the same.
    pub(super) async fn get(&mut self, patience: Duration, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let acting = self.0.get_or_insert_with(|| spawn_blocking(act));
        let done = timeout(patience, acting).await.ok()?;
        self.0 = None;
        done.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use anyhow::Result;

    use super::*;

    #[tokio::test]
    async fn what_blocks_is_waited_for_in_bounds_and_never_done_twice_at_once() -> Result<()> {
        let ((go, gate), mut aside) = (channel(), Aside::default());
        assert_eq!(aside.get(Duration::ZERO, move || gate.recv()).await, None);
        let never = || unreachable!("the first one still blocks");
        assert_eq!(aside.get(Duration::ZERO, never).await, None);
        go.send(1)?;
        assert_eq!(aside.get(Duration::from_secs(60), never).await, Some(Ok(1)));
        assert_eq!(aside.get(Duration::from_secs(60), || Ok(2)).await, Some(Ok(2)));
        Ok(())
    }
}
