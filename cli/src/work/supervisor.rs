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
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal::SIGTTIN, Signal::SIGTTOU};
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal as SignalStream, SignalKind, signal},
};

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
    /// It did not start, for want of a process, a thread or memory, which may be there for the next one.
    NotNow(String),
    /// Its supervisor was killed, and so was it: by the miner.
    Lost,
    /// Its owner had cancelled the job, and it did not end: the miner has killed it.
    Unwilling,
}

impl End {
    /// It did not start.
    fn without_a_start(why: &io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => Self::NotNow(why.to_string()),
            _ => Self::CannotRun(why.to_string()),
        }
    }

    /// Whether it may be a signal's doing that the miner got, too: by its death, or by the code with which a shell tells of one.
    pub(crate) fn is_of_a_stop(&self) -> bool {
        const ASK: [i32; 3] = [1, 2, 15];
        let Self::Ended(status) = self else { return false };
        let status = ExitStatus::from_raw(*status);
        status.signal().is_some_and(|signal| ASK.contains(&signal))
            || status.code().is_some_and(|code| ASK.contains(&(code - 128)))
    }

    /// Why it failed, in one line; None when it succeeded.
    pub(crate) fn failure(&self, program: &str) -> Option<String> {
        match self {
            Self::Ended(0) => None,
            Self::Ended(status) => Some(ExitStatus::from_raw(*status).to_string()),
            Self::CannotRun(why) | Self::NotNow(why) => Some(format!("can't run {program}: {why}")),
            Self::Lost => Some("its supervisor was killed".to_owned()),
            Self::Unwilling => Some("it did not end when the job was cancelled, and was killed".to_owned()),
        }
    }
}

/// Runs a command with a file as its standard input, and writes to the file `end` how it ended by itself.
pub(crate) fn run(input: &Path, end: &Path, command: &[OsString]) -> ExitCode {
    let watched = Arc::new(OnceLock::new());
    let (ended, code) = match watch(&watched).and_then(|()| start(input, command)) {
        Ok(mut child) => {
            let watched =
                watched.get_or_init(|| Watched { pid: Pid::from_child(&child), fate: Mutex::new(Fate::Runs) });
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
        Err(why) => (End::without_a_start(&why), ExitCode::FAILURE),
    };
    if state::write(end, &ended).is_err() {
        return ExitCode::FAILURE;
    }
    process::end_descendants(None, PATIENCE);
    code
}

/// Signals that do not end this process. Linux sends SIGHUP, with SIGCONT, to a process that the job has stopped when the miner dies: this one
/// then ends the job. Who stops all of a machine, or of a unit of systemd, sends SIGTERM to all of it: what the command ends with is then
/// not an end by itself.
struct Asked {
    runtime: Runtime,
    child: SignalStream,
    terminate: SignalStream,
    interrupt: SignalStream,
}

impl Asked {
    /// From now on. Once there is a handler, it stays.
    fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        // Where `nohup` has it ignored, the command has it so, too; a handler would end that.
        if !is_ignored(1) {
            let _ = signal(SignalKind::hangup())?;
        }
        let child = signal(SignalKind::child())?;
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok(Self { runtime, child, terminate, interrupt })
    }

    /// Passes each request to end on to the command, and waits for what that has left to this process.
    fn pass_on(mut self, watched: &Watched) {
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = self.child.recv() => {
                        process::bury_children(watched.pid);
                        continue;
                    }
                    _ = self.terminate.recv() => {}
                    _ = self.interrupt.recv() => {}
                }
                watched.stop(Signal::TERM);
            }
        });
    }
}

/// Starts what is done beside a command before there is one: it may leave no thread to this machine.
fn watch(watched: &Arc<OnceLock<Watched>>) -> io::Result<()> {
    let (asked, asking, obeying) = (Asked::listen(), Arc::clone(watched), Arc::clone(watched));
    thread::Builder::new().spawn(move || obey(obeying.wait()))?;
    thread::Builder::new().spawn(move || asked.map(|asked| asked.pass_on(asking.wait())))?;
    Ok(())
}

fn start(input: &Path, command: &[OsString]) -> io::Result<Child> {
    process::adopt_orphans()?;
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // It has these blocked, too. Its group is in the background of a terminal that it may have: who reads there is refused at once, where a stop
    // would last as long as the job may take. (POSIX, "Terminal Access Control")
    SigSet::from_iter([SIGTTIN, SIGTTOU]).thread_block()?;
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
