//! What goes wrong around a job's command and is this machine's fault: the job goes back to the queue, and nobody's attempt is spent.

use anyhow::{Error, Result};

/// So many in a row, and the miner takes no more jobs.
const MOST: u32 = 3;

/// The job is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("{why:#}")]
pub(crate) struct OwnFault {
    why: Error,
    /// It is the same for every job.
    lasts: bool,
}

impl OwnFault {
    /// It may be another one with the next job.
    pub(crate) fn passing(why: Error) -> Self {
        Self { why, lasts: false }
    }

    /// No other job would do better.
    pub(crate) fn lasting(why: Error) -> Self {
        Self { why, lasts: true }
    }
}

/// Faults in a row.
#[derive(Default)]
pub(crate) struct Faults(u32);

impl Faults {
    /// A job was no fault of this machine's.
    pub(crate) fn forget(&mut self) {
        self.0 = 0;
    }

    /// One more. An error, when the miner should take no more jobs.
    pub(crate) fn count(&mut self, fault: OwnFault) -> Result<()> {
        self.0 += 1;
        match fault.lasts {
            true => Err(Error::msg(format!("jobs can't be run here: {fault}"))),
            false if self.0 == MOST => {
                Err(Error::msg(format!("jobs can't be run here, {MOST} were given back in a row: {fault}")))
            }
            false => Ok(()),
        }
    }
}
