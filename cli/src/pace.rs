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

/// Nor longer after a failure whose answer says nothing.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

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

/// Waits after so many failures in a row: as long as the last answer says, or longer each time.
pub(crate) async fn retry(said: Option<Duration>, failures: u32) {
    match said {
        Some(said) => pause(said).await,
        None => sleep(here(backoff(failures))).await,
    }
}

/// Up to a second, then up to twice as long each time, up to a minute: those who fail at once come back at different times, and seldom while
/// that goes on.
fn backoff(failures: u32) -> Duration {
    let most = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_BACKOFF);
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
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
    fn failures_make_waits_longer_up_to_a_minute() {
        for (failures, most) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)] {
            let most = Duration::from_secs(most);
            assert!((most / 2..=most).contains(&backoff(failures)), "{failures}");
        }
    }

    #[test]
    fn a_wait_is_never_shorter_than_was_said_and_never_much_longer() {
        assert_eq!(spread(SHORTEST), SHORTEST);
        for _ in 0..100 {
            assert!((LONGEST..=LONGEST.mul_f64(1.2)).contains(&spread(LONGEST)));
        }
    }
}
