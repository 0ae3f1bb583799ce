//! The stack's clock: what `timeEpoch` of an event says, and with it every `now` of a function.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A clock that follows the system's until it is set. Clones share one time. Presigned URLs are checked against the
/// system's clock regardless.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    state: Arc<Mutex<State>>,
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
        self.lock().now()
    }

    /// Stops the clock at this time, in milliseconds since the Unix epoch.
    pub fn set(&self, millis: i64) {
        *self.lock() = State::Stopped(millis);
    }

    /// Moves the clock forward; it stands still from there on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        *state = State::Stopped(state.now().saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)));
    }

    /// Lets the clock follow the system's again.
    pub fn follow_system(&self) {
        *self.lock() = State::System;
    }

    /// Lets the clock run this many times as fast as the system's, from now on: an hour is over in a minute at 60.
    pub fn run_fast(&self, rate: u32) {
        *self.lock() = State::Fast { rate: rate.into(), since: system_millis() };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
}
