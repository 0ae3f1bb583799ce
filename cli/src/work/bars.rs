//! Progress bars beside a miner's words: drawn by the printer, so that a terminal that is held does not hold the miner.

use std::{
    env,
    io::{self, IsTerminal},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use indicatif::{ProgressDrawTarget, TermLike};
use rustix::termios::tcgetwinsize;

use crate::printer::{self, Stream};

/// How often a bar is drawn in a second.
const RATE: u8 = 20;
/// Columns of a terminal that says that it has fewer, or none, as one does that is not told.
const NARROWEST: u16 = 40;
/// Bytes before it that a reader has soon.
const FEW: usize = 4 << 10;

/// Where bars are drawn: standard error, if that is a terminal.
pub(crate) fn target() -> ProgressDrawTarget {
    let is_dumb = env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    if is_dumb || !io::stderr().is_terminal() {
        return ProgressDrawTarget::hidden();
    }
    ProgressDrawTarget::term_like_with_hz(Box::<Terminal>::default(), RATE)
}

/// A terminal whose obeying nobody waits for.
#[derive(Debug, Default)]
struct Terminal {
    drawn: Mutex<String>,
}

impl Terminal {
    fn drawn(&self) -> MutexGuard<'_, String> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, text: &str) -> io::Result<()> {
        self.drawn().push_str(text);
        Ok(())
    }

    /// A sequence of ECMA-48's, if it has something to do.
    fn step(&self, times: usize, direction: char) -> io::Result<()> {
        if times == 0 { Ok(()) } else { self.add(&format!("\x1b[{times}{direction}")) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col).max(NARROWEST)
    }

    fn height(&self) -> u16 {
        tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_row).max(1)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.add(text)?;
        self.add("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = mem::take(&mut *self.drawn());
        // A bar that is seen later is worth nothing.
        if let Some(printer) = printer::started().filter(|printer| printer.waiting(Stream::Error) < FEW) {
            printer.print(Stream::Error, drawn.into());
        }
        Ok(())
    }
}
