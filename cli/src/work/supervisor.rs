//! The process between the miner and the command of a job. Nothing of the command outlives it, and it does not outlive the miner:
//! its standard input is a socket from there, which ends with the miner, however that ends.
//!
//! It alone decides whether the command has ended by itself, as the kernel sees it: a job of which that is not so is never reported.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Builder, signal::unix::SignalKind};

use crate::{process, signals::is_ignored, work::state};

/// A word of the miner's: the job's owner wants the command to end. How it ends counts.
pub(crate) const CANCEL: u8 = b'C';
/// A word of the miner's: the job goes back. Answered with one of the next two.
pub(crate) const STOP: u8 = b'S';
/// The command has ended by itself, and `end` will say how.
pub(crate) const HAS_ENDED: u8 = b'E';
/// The command is asked to end. However it ends, it did not by itself: `end` is never written.
const IS_STOPPED: u8 = b'S';
/// How long what a command has started may take to be gone. Then the miner sees to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a command ended, as the supervisor writes it to the job's folder.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// With the status that wait(2) tells.
    Ended(i32),
    /// It did not start.
    CannotRun(String),
    /// Its supervisor was killed, and so was it: by the miner.
    Lost,
}

impl End {
    /// Why it failed, in one line; None when it succeeded.
    pub(crate) fn failure(&self, program: &str) -> Option<String> {
        match self {
            Self::Ended(0) => None,
            Self::Ended(status) => Some(ExitStatus::from_raw(*status).to_string()),
            Self::CannotRun(why) => Some(format!("can't run {program}: {why}")),
            Self::Lost => Some("its supervisor was killed".to_owned()),
        }
    }
}

/// Runs a command with a file as its standard input, and writes to the file `end` how it ended by itself.
pub(crate) fn run(input: &Path, end: &Path, command: &[OsString]) -> ExitCode {
    outlive_the_miner();
    let (ended, code) = match start(input, command) {
        Ok(mut child) => {
            let watched = Arc::new(Watched { pid: Pid::from_child(&child), fate: Mutex::new(Fate::Runs) });
            let obeying = Arc::clone(&watched);
            thread::spawn(move || obey(&obeying));
            let is_its_own_end = watched.wait();
            // What it left running would hold the miner's pipes open.
            watched.signal(Signal::KILL);
            match child.wait() {
                Ok(status) if is_its_own_end => (End::Ended(status.into_raw()), ExitCode::SUCCESS),
                _ => {
                    process::end_descendants(None, PATIENCE);
                    return ExitCode::FAILURE;
                }
            }
        }
        Err(why) => (End::CannotRun(why.to_string()), ExitCode::FAILURE),
    };
    if state::write(end, &ended).is_err() {
        return ExitCode::FAILURE;
    }
    process::end_descendants(None, PATIENCE);
    code
}

/// Survives SIGHUP. Linux sends it, with SIGCONT, to a process that the job has stopped when the miner dies: this one then ends the job.
fn outlive_the_miner() {
    let runtime = Builder::new_current_thread().enable_io().build();
    // Where `nohup` has it ignored, the command has it so, too; a handler would end that.
    if let Some(runtime) = runtime.ok().filter(|_| !is_ignored(1)) {
        let _entered = runtime.enter();
        // Once there is a handler, it stays.
        let _ = tokio::signal::unix::signal(SignalKind::hangup());
    }
}

fn start(input: &Path, command: &[OsString]) -> io::Result<Child> {
    process::adopt_orphans()?;
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // In a group of its own, which a terminal's Ctrl-C does not reach.
    Command::new(program).args(arguments).stdin(File::open(input)?).process_group(0).spawn()
}

/// The command's process, which leads a group. Nobody waits for it before its fate is known, so that its id is its own.
struct Watched {
    pid: Pid,
    fate: Mutex<Fate>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Runs,
    /// By itself, or for its owner.
    Ended,
    /// It has to end, and was not at its end.
    Stopped,
}

impl Watched {
    /// Waits until it has ended: whether it did so by itself.
    fn wait(&self) -> bool {
        while let Err(Errno::INTR) = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
        let mut fate = self.fate();
        if *fate == Fate::Runs {
            *fate = Fate::Ended;
        }
        *fate == Fate::Ended
    }

    /// Makes it end, unless it has by itself: whether it has. The kernel knows, whoever is told of it first.
    fn stop(&self, how: Signal) -> bool {
        let mut fate = self.fate();
        if *fate == Fate::Runs && !self.is_over() {
            *fate = Fate::Stopped;
        }
        if *fate == Fate::Stopped {
            self.signal(how);
        }
        *fate != Fate::Stopped
    }

    /// Asks it to end.
    fn cancel(&self) {
        if *self.fate() == Fate::Runs {
            self.signal(Signal::TERM);
        }
    }

    fn is_over(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // An error says that none of them runs any more.
        let _ = kill_process_group(self.pid, signal);
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what the miner says, until it is gone.
fn obey(watched: &Watched) {
    if let Ok(control) = io::stdin().as_fd().try_clone_to_owned() {
        let (mut control, mut word) = (UnixStream::from(control), [0]);
        while control.read_exact(&mut word).is_ok() {
            match word {
                [CANCEL] => watched.cancel(),
                [STOP] => {
                    let answer = if watched.stop(Signal::TERM) { HAS_ENDED } else { IS_STOPPED };
                    // Who does not read it is gone, which is seen next.
                    let _ = control.write_all(&[answer]);
                }
                _ => {}
            }
        }
    }
    // Of a command that has ended by itself the other thread still writes how.
    if !watched.stop(Signal::KILL) {
        process::end_descendants(None, PATIENCE);
        std::process::exit(1);
    }
}
