//! What functions write to stdout and stderr.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Lines kept in memory.
const KEPT: usize = 20_000;

/// One line that a function wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// The function's package.
    pub function: String,
    /// The line, usually a JSON document.
    pub text: String,
}

/// The newest lines of every function, and on stderr when asked for.
#[derive(Debug)]
pub(crate) struct Logs {
    lines: Mutex<VecDeque<LogLine>>,
    echo: bool,
}

impl Logs {
    pub(crate) fn new(echo: bool) -> Self {
        Self { lines: Mutex::default(), echo }
    }

    pub(crate) fn push(&self, function: &str, text: String) {
        if self.echo {
            eprintln!("{function}: {text}");
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(LogLine { function: function.to_owned(), text });
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
