//! How long to wait: before a request is sent again, where what the API, or S3, says holds; and at most.

use std::{env, future::pending, sync::LazyLock, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

/// How many times as fast as usual time goes by for whoever waits: for a stack whose clock runs fast.
static SPEED: LazyLock<u32> =
    LazyLock::new(|| env::var("JOBCHUTE_SPEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1).max(1));

/// No answer makes this command ask more often.
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);
/// No answer makes it wait longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// Waits until it is time to look again.
pub(crate) async fn pause(said: Duration) {
    sleep(here(spread(said.clamp(SHORTEST, LONGEST)))).await;
}

/// As long as that takes here.
pub(crate) fn here(time: Duration) -> Duration {
    time / *SPEED
}

/// Ends when this time is over, counted from the call; never without one.
pub(crate) fn late(timeout: Option<Duration>) -> impl AsyncFn() {
    let deadline = timeout.map(|time| Instant::now() + here(time));
    async move || match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits after a failure: as long as its answer says, or longer each time.
pub(crate) async fn retry(said: Option<Duration>, tries: u32) {
    pause(said.unwrap_or(Duration::from_secs(tries.into()))).await;
}

/// Up to a fifth more, so that those who were told the same at once do not come back at once. A second stays one: somebody waits for
/// a short job.
fn spread(wait: Duration) -> Duration {
    wait + wait.saturating_sub(SHORTEST).mul_f64(fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_was_said_and_never_much_longer() {
        assert_eq!(spread(SHORTEST), SHORTEST);
        for _ in 0..100 {
            assert!((LONGEST..=LONGEST.mul_f64(1.2)).contains(&spread(LONGEST)));
        }
    }
}
