//! SIGINT, SIGTERM and SIGHUP.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Asked {
    interrupt: Signal,
    terminate: Signal,
    /// None where `nohup` has it ignored.
    hangup: Option<Signal>,
}

impl Asked {
    pub(super) fn listen() -> io::Result<Self> {
        // Where whoever has started this program ignores the ends of its children, nobody could wait for one here. A handler stays, and what
        // is started from here has neither. (SIGCHLD in wait(2), execve(2))
        let _ = signal(SignalKind::child())?;
        let hangup = if is_ignored(1) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            Some(_) = async { self.hangup.as_mut()?.recv().await } => 1,
        }
    }
}

/// Whether this process was started with a signal ignored. Linux tells.
pub(crate) fn is_ignored(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}
