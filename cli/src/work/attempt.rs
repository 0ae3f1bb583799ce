//! One job, from its claim to its delivery.

use std::{convert::Infallible, ffi::OsString};

use anyhow::{Context, Error, Result};
use reqwest::Method;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::{
    api::Api,
    process,
    screen::tell,
    signals::Signals,
    work::{
        command::Running,
        delivery::{Delivered, deliver},
        folder::{Assignment, Folder},
        lease::{self, Lease},
        supervisor::End,
    },
};

/// How one job ended here.
pub(crate) enum Outcome {
    /// With this status of the job.
    Ended(String),
    /// The command does not start, for this job as for any other.
    CannotRun(String),
    /// A signal came before the command's end.
    Stopped,
}

/// This machine can't run a job: neither can it run the next one. The job is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("jobs can't be run here: {0:#}")]
pub(crate) struct Unfit(Error);

/// The job goes back: somebody else may reach its arguments.
#[derive(Debug, thiserror::Error)]
#[error("its arguments can't be had: {0:#}")]
struct OutOfReach(Error);

/// Runs one job to its end, while heartbeats hold it.
pub(crate) async fn run(
    api: &Api,
    signals: &Signals,
    assignment: &Assignment,
    lease: Lease,
    folder: Folder,
    command: &[OsString],
) -> Result<Outcome> {
    let cancelled = Notify::new();
    let done = tokio::select! {
        done = attempt(api, signals, assignment, &folder, command, &cancelled) => done,
        // Dropping the attempt kills its command.
        lost = lease::hold(api, assignment, &folder, lease, &cancelled) => Err(lost),
    };
    let cannot_run = match folder.end() {
        Ok(Some(end @ End::CannotRun(_))) => end.failure(&command[0].to_string_lossy()),
        _ => None,
    };
    match done {
        Ok(None) => {
            lease::give_back(api, assignment).await;
            Ok(Outcome::Stopped)
        }
        Ok(Some(delivered)) => {
            let ended = settle(delivered, folder);
            Ok(cannot_run.map_or(ended, Outcome::CannotRun))
        }
        Err(error) => {
            if error.is::<Unfit>() || error.is::<OutOfReach>() {
                lease::give_back(api, assignment).await;
            }
            Err(error)
        }
    }
}

/// Delivers what another process has left of a job whose command has ended.
pub(crate) async fn resume(api: &Api, signals: &Signals, assignment: &Assignment, folder: Folder) -> Result<Outcome> {
    // Its command has ended: there is nothing left to stop.
    let cancelled = Notify::new();
    let delivered = tokio::select! {
        done = deliver(api, assignment, &folder, "the command", "") => done?,
        never = announce(signals) => match never {},
        lost = lease::hold(api, assignment, &folder, Lease::left(assignment), &cancelled) => return Err(lost),
    };
    Ok(settle(delivered, folder))
}

/// Removes the folder when the API has confirmed all that is in it. Otherwise the folder says itself that it stays.
fn settle(delivered: Delivered, folder: Folder) -> Outcome {
    match (delivered.confirmed, delivered.lacks) {
        (true, false) => folder.remove(),
        (true, true) => folder.set_delivered(),
        (false, _) => {}
    }
    Outcome::Ended(delivered.status)
}

/// Runs the command and delivers what it leaves. None: a signal came before its end.
async fn attempt(
    api: &Api,
    signals: &Signals,
    assignment: &Assignment,
    folder: &Folder,
    command: &[OsString],
    cancelled: &Notify,
) -> Result<Option<Delivered>> {
    let stored = tokio::select! {
        stored = stored(api, assignment) => stored.map_err(OutOfReach)?,
        () = signals.first() => return Ok(None),
    };
    let arguments = stored.as_deref().unwrap_or(&assignment.job_data);
    let Some(last_words) = execute(signals, assignment, arguments, folder, command, cancelled).await.map_err(Unfit)?
    else {
        return Ok(None);
    };
    let program = command[0].to_string_lossy();
    tokio::select! {
        delivered = deliver(api, assignment, folder, &program, &last_words) => delivered.map(Some),
        never = announce(signals) => match never {},
    }
}

/// The arguments, when the assignment only says where they are.
async fn stored(api: &Api, assignment: &Assignment) -> Result<Option<Box<RawValue>>> {
    match &assignment.job_data_url {
        Some(url) => Ok(Some(api.at(Method::GET, url, None).await?.body)),
        None => Ok(None),
    }
}

/// Says what the first signal means while a job is delivered.
async fn announce(signals: &Signals) -> Infallible {
    signals.first().await;
    tell("delivering what was reported, and then no more; another signal stops at once");
    std::future::pending().await
}

/// Runs the command to its end: the last of its error output. None: a signal came before.
async fn execute(
    signals: &Signals,
    assignment: &Assignment,
    arguments: &RawValue,
    folder: &Folder,
    command: &[OsString],
    cancelled: &Notify,
) -> Result<Option<String>> {
    folder.begin(assignment, arguments).context("the job's folder can't be written")?;
    let mut running = Running::start(folder, assignment, command)?;
    tokio::select! {
        ended = running.ended() => ended?,
        () = cancelled.notified() => {
            tell(format_args!("{}: cancelled by its owner; delivering what there is", assignment.job_id));
            running.stop().await;
        }
        () = signals.first() => {
            running.stop().await;
            return Ok(None);
        }
    }
    if !folder.has_ended() {
        process::end_descendants();
        folder.set_end(&End::Lost)?;
    }
    Ok(Some(running.last_words()))
}
