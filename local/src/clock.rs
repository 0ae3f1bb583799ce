//! The stack's clock: what `timeEpoch` of an event says, and with it every `now` of a function.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

/// A clock that follows the system's until it is set. Clones share one time. Presigned URLs are checked against the
/// system's clock regardless.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    System,
    /// It stands still, at these milliseconds since the Unix epoch.
    Stopped(i64),
    /// It runs so many times as fast as the system's, since then.
    Fast { rate: i64, since: i64 },
}

impl State {
    fn now(self) -> i64 {
        match self {
            Self::System => system_millis(),
            Self::Stopped(at) => at,
            Self::Fast { rate, since } => since + (system_millis() - since) * rate,
        }
    }
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.state.borrow().now()
    }

    /// Stops the clock at this time, in milliseconds since the Unix epoch.
    pub fn set(&self, millis: i64) {
        self.state.send_replace(State::Stopped(millis));
    }

    /// Moves the clock forward; it stands still from there on.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.state.send_modify(|state| *state = State::Stopped(state.now().saturating_add(by)));
    }

    /// Lets the clock follow the system's again.
    pub fn follow_system(&self) {
        self.state.send_replace(State::System);
    }

    /// Lets the clock run this many times as fast as the system's, from now on: an hour is over in a minute at 60.
    pub fn run_fast(&self, rate: u32) {
        self.state.send_replace(State::Fast { rate: rate.into(), since: system_millis() });
    }

    /// Waits until it is this late, in milliseconds since the Unix epoch, whether time passes or the clock is set.
    pub(crate) async fn reaches(&self, millis: i64) {
        let mut states = self.state.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let left = u64::try_from(millis - state.now()).unwrap_or_default();
            if left == 0 {
                return;
            }
            let passes = match state {
                State::System => Some(Duration::from_millis(left)),
                State::Stopped(_) => None,
                State::Fast { rate, .. } => Some(Duration::from_millis(left) / u32::try_from(rate).unwrap_or(1).max(1)),
            };
            let passed = async {
                match passes {
                    // The system's clock may be a little slower than the timer.
                    Some(time) => tokio::time::sleep(time + Duration::from_millis(1)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => {}
                // The sender is this clock.
                _ = states.changed() => {}
            }
        }
    }
}

/// DynamoDB's TTL goes by the same clock.
impl dynoxide::storage_backend::Clock for Clock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from(self.now() / 1000).unwrap_or_default()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.now() as f64 / 1000.0
    }
}

fn system_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_moves_only_when_it_is_told_to() {
        let clock = Clock::default();
        clock.set(1_795_000_000_000);
        clock.clone().advance(Duration::from_millis(250));
        assert_eq!(clock.now(), 1_795_000_000_250);
        clock.follow_system();
        assert!((clock.now() - system_millis()).abs() < 60_000);
        clock.run_fast(1_000_000);
        let (system, fast) = (system_millis(), clock.now());
        while clock.now() < fast + 3_600_000 {}
        assert!(system_millis() < system + 60_000, "an hour takes less than a minute");
    }

    #[tokio::test]
    async fn who_waits_for_a_time_goes_on_when_the_clock_is_moved_there() {
        let clock = Clock::default();
        clock.set(1_000);
        clock.reaches(1_000).await;
        let waits = tokio::spawn({
            let clock = clock.clone();
            async move { clock.reaches(61_000).await }
        });
        clock.advance(Duration::from_millis(59_999));
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        clock.advance(Duration::from_millis(1));
        waits.await.expect("it went on");
        clock.run_fast(1_000_000);
        clock.reaches(clock.now() + 3_600_000).await;
    }
}
