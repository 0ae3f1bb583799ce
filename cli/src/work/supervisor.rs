//! The process between the miner and the command of a job. Nothing of the command outlives it, and it does not outlive the miner:
//! its standard input is a pipe from there, which ends with the miner, however that ends.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::{process, work::state};

/// On the supervisor's standard input: asks the command to end.
pub(crate) const TERMINATE: u8 = b'T';

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

/// Runs a command with a file as its standard input, and writes to the file `end` how it ended.
pub(crate) fn run(input: &Path, end: &Path, command: &[OsString]) -> ExitCode {
    let (ended, code) = match start(input, command) {
        Ok(mut child) => {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let deserted = Arc::new(AtomicBool::new(false));
            let obeying = Arc::clone(&deserted);
            thread::spawn(move || obey(group, &obeying));
            let ended = child.wait();
            let (false, Ok(status)) = (deserted.load(Ordering::SeqCst), ended) else {
                // It did not end by itself. The other thread ends this process.
                loop {
                    thread::park();
                }
            };
            // What it left running would hold the miner's pipes open.
            signal(group, Signal::KILL);
            (End::Ended(status.into_raw()), ExitCode::SUCCESS)
        }
        Err(why) => (End::CannotRun(why.to_string()), ExitCode::FAILURE),
    };
    if state::write(end, &ended).is_err() {
        return ExitCode::FAILURE;
    }
    process::end_descendants();
    code
}

fn start(input: &Path, command: &[OsString]) -> io::Result<Child> {
    process::adopt_orphans()?;
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // In a group of its own, which a terminal's Ctrl-C does not reach.
    Command::new(program).args(arguments).stdin(File::open(input)?).process_group(0).spawn()
}

/// Does what the miner says, until it is gone.
fn obey(group: Option<Pid>, deserted: &AtomicBool) {
    let mut word = [0];
    while let Ok(1) = io::stdin().read(&mut word) {
        if word == [TERMINATE] {
            signal(group, Signal::TERM);
        }
    }
    deserted.store(true, Ordering::SeqCst);
    signal(group, Signal::KILL);
    process::end_descendants();
    std::process::exit(1);
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // An error says that none of them runs any more.
        let _ = kill_process_group(group, signal);
    }
}
