//! How much a run does, and for how long.

use std::time::Duration;

/// Jobs looked after at the same time.
pub(crate) const AT_ONCE: usize = 8;
/// The same of what can wait: those are a few short calls each.
pub(crate) const LATER_AT_ONCE: usize = 32;
/// Time after which a run begins with no further job; the next run goes on.
pub(crate) const RUN: Duration = Duration::from_secs(15);
/// Time after which a run gives up the jobs that it is at, so that it can put them off before Lambda ends it.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(25);
/// The part of that which is left to the check of a job's files to say that it has failed, and to write down what was found if it has not.
pub(crate) const RECORDING: Duration = Duration::from_secs(3);
