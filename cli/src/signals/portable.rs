//! Ctrl-C, and on Windows Ctrl-Break and the end of the console.

use std::io;

#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

/// What Unix calls SIGINT.
const INTERRUPT: u8 = 2;

#[cfg(windows)]
pub(super) struct Asked(CtrlC, CtrlBreak, CtrlClose);

#[cfg(windows)]
impl Asked {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self(ctrl_c()?, ctrl_break()?, ctrl_close()?))
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
            _ = self.2.recv() => {}
        }
        INTERRUPT
    }
}

#[cfg(not(windows))]
pub(super) struct Asked;

#[cfg(not(windows))]
impl Asked {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
        INTERRUPT
    }
}
