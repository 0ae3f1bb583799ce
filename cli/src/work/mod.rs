//! `jobchute work`: a miner that runs a command for every job of some chutes.

mod aside;
mod attempt;
mod bars;
mod claim;
pub(crate) mod command;
mod delivery;
mod events;
mod fault;
mod folder;
mod lease;
mod log;
mod outputs;
mod removal;
mod report;
mod room;
mod state;
pub(crate) mod supervisor;
mod upload;

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::StatusCode;
use rustix::process::Pid;
use tokio::{task::spawn_blocking, time::sleep};
use uuid::Uuid;

use crate::{
    api::Api,
    pace::{self, here},
    process,
    refusal::{refused, refused_with, wait},
    screen::tell,
    signals::Signals,
};

use attempt::Outcome;
use claim::{Found, SOON, Search};
use events::Event;
use fault::{Faults, OwnFault};
use folder::{Assignment, Folder};
use lease::Lease;

/// How long a claim that was sent is waited for after a signal.
const LAST_CLAIM: Duration = Duration::from_secs(5);

/// How long a miner that once was welcome goes on while nothing but refusals comes: its key may have ended.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Threads for what blocks that are there before the first job, whose processes may take all that this machine has for more. So many, that a name
/// is looked up also while files are hashed.
const THREADS: usize = 4;

/// Claims and runs one job after the other; with `once`, one, and is as successful as that.
pub(crate) async fn work(
    api: &Api,
    signals: &Signals,
    chutes: &[Uuid],
    once: bool,
    command: &[OsString],
) -> Result<ExitCode> {
    let program = command.first().context("no command")?;
    ensure!(is_program(program), "can't run {}: no such program", program.display());
    // What a job has started would not be found, or a stranger would be taken for it.
    ensure!(
        process::is_proc_own(),
        "no jobs can be run here: /proc is of another PID namespace. Mount this one's (mount -t proc proc /proc; unshare --mount-proc)"
    );
    process::adopt_orphans()?;
    process::spare_children();
    take_threads().await?;
    tokio::select! {
        () = Folder::tell_of_left_behind() => {}
        () = signals.second() => return Ok(stopped(signals)),
    }
    every(api, signals, chutes, once, command).await
}

/// Has the runtime start [`THREADS`], which it keeps.
async fn take_threads() -> Result<()> {
    let gate = Arc::new(OnceLock::new());
    // None of them is idle before the last one is asked for.
    let wait = |gate: Arc<OnceLock<()>>| move || *gate.wait();
    let threads = [(); THREADS].map(|()| spawn_blocking(wait(Arc::clone(&gate))));
    gate.get_or_init(|| ());
    for thread in threads {
        thread.await?;
    }
    Ok(())
}

/// Delivers what another process has left of a job whose command has ended.
pub(crate) async fn resume(api: &Api, signals: &Signals, path: &Path) -> Result<ExitCode> {
    let folder = Folder::open(path)?;
    let assignment = folder.assignment()?;
    if !folder.has_ended() {
        bail!(
            "the job's command did not end, so there is nothing to report; its files are in {}",
            folder.output().display()
        );
    }
    let outcome = attempt::resume(api, signals, &assignment, folder).await;
    if let Ok(Outcome::Stopped) = outcome {
        return Ok(stopped(signals));
    }
    Ok(if told(&assignment, outcome) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stopped(signals: &Signals) -> ExitCode {
    signals.exit_code().map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether a shell would find and run it.
fn is_program(program: &OsStr) -> bool {
    let runs = |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if program.as_encoded_bytes().contains(&b'/') {
        return runs(Path::new(program));
    }
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| runs(&folder.join(program)))
}

async fn every(api: &Api, signals: &Signals, chutes: &[Uuid], once: bool, command: &[OsString]) -> Result<ExitCode> {
    let (mut search, mut faults) = (Search::new(api, chutes), Faults::default());
    loop {
        // Before there is a job that it could fail.
        let folder = Folder::create()?;
        let found = tokio::select! {
            found = next(&mut search, api, signals) => found,
            () = signals.second() => Ok(None),
        };
        let (assignment, lease) = match found {
            Ok(Some(found)) => found,
            nothing => {
                folder.leave().await;
                return nothing.map(|_| stopped(signals));
            }
        };
        let job_id = &assignment.job_id;
        events::tell(&Event::Claimed { job_id }, format_args!("claimed {job_id}"));
        let (outcome, left) = attempt::run(api, signals, &assignment, lease, folder, command).await;
        let complete = match outcome {
            Err(error) if error.is::<OwnFault>() => {
                faults.count(error.downcast()?)?;
                false
            }
            outcome => {
                faults.forget();
                told(&assignment, outcome)
            }
        };
        if !left.is_empty() {
            let why = outlived(job_id, &left);
            match signals.exit_code() {
                Some(_) => tell(why),
                None => bail!("no more jobs can be run here: {why}"),
            }
        }
        if once && signals.exit_code().is_none_or(|_| complete) {
            return Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if signals.exit_code().is_some() {
            return Ok(stopped(signals));
        }
    }
}

/// Whom the next job would have to share this machine with.
fn outlived(job_id: &str, left: &[Pid]) -> String {
    let left: Vec<_> = left.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
    format!("what {job_id} has started can't be ended: {}", left.join(", "))
}

/// Says how a job ended; whether it is complete.
fn told(assignment: &Assignment, outcome: Result<Outcome>) -> bool {
    let job_id = &assignment.job_id;
    match outcome {
        Ok(Outcome::Ended(status)) => {
            events::tell(&Event::Ended { job_id, status: &status }, format_args!("{job_id}: {status}"));
            status == "complete"
        }
        Ok(Outcome::Stopped) => false,
        Err(error) => {
            let reason = &format!("{error:#}");
            events::tell(&Event::GivenUp { job_id, reason }, format_args!("{job_id}: given up: {reason}"));
            false
        }
    }
}

/// The next job that this miner gets; None after a signal.
async fn next(search: &mut Search<'_>, api: &Api, signals: &Signals) -> Result<Option<(Assignment, Lease)>> {
    let (mut pause, mut failures, mut refused_since) = (SOON, 0, None);
    loop {
        let claimed = tokio::select! {
            claimed = search.claim() => claimed,
            () = async { signals.first().await; sleep(LAST_CLAIM).await } => return Ok(None),
        };
        let again = match claimed {
            Ok(Found::Job(assignment, _)) if signals.exit_code().is_some() => {
                lease::give_back(api, &assignment, lease::STOPPED, false).await;
                return Ok(None);
            }
            Ok(Found::Job(assignment, lease)) => return Ok(Some((assignment, lease))),
            Ok(Found::Nothing(again)) => {
                (pause, failures, refused_since) = (again, 0, None);
                again
            }
            // A chute is gone.
            Err(error) if refused_with(&error) == Some(StatusCode::NOT_FOUND) => return Err(error),
            Err(error) if !search.succeeded && refused(&error).is_some() => return Err(error),
            Err(error) => {
                refused_since = refused(&error).map(|_| refused_since.unwrap_or_else(Instant::now));
                if refused_since.is_some_and(|since| since.elapsed() > here(PATIENCE)) {
                    return Err(error);
                }
                tell(format_args!("{error:#}"));
                failures += 1;
                // In trouble no more often than when all is well.
                wait(&error).unwrap_or(pause * 2_u32.pow(failures.min(10)))
            }
        };
        tokio::select! {
            () = pace::pause(again) => {}
            () = signals.first() => return Ok(None),
        }
    }
}
