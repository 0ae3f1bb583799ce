//! One job, from its claim to its delivery.

use std::{convert::Infallible, ffi::OsString, sync::Arc};

use anyhow::{Context, Error, Result};
use reqwest::{Method, StatusCode};
use rustix::process::Pid;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::{
    api::Api,
    refusal::{Refusal, refused},
    screen::tell,
    signals::Signals,
    work::{
        command::Running,
        delivery::{Delivered, deliver},
        events::{self, Event},
        fault::OwnFault,
        folder::{Assignment, Folder},
        lease::{self, Lease, Over},
        log::Log,
        room,
        supervisor::End,
    },
};

/// How one job ended here.
pub(crate) enum Outcome {
    /// With this status of the job.
    Ended(String),
    /// A signal came before the command's end, or a second one.
    Stopped,
}

/// Runs one job to its end, while heartbeats hold it. Also says which processes of it do not end.
pub(crate) async fn run(
    api: &Api,
    signals: &Signals,
    assignment: &Assignment,
    lease: Lease,
    folder: Folder,
    command: &[OsString],
) -> (Result<Outcome>, Vec<Pid>) {
    let (cancelled, log) = (Notify::new(), Arc::new(Log::new(&folder.private())));
    let job = Job { api, signals, assignment, folder: &folder, log: &log };
    let mut running = None;
    let done = tokio::select! {
        done = job.attempt(command, &cancelled, &mut running) => done,
        lost = lease::hold(api, assignment, &folder, lease, &log, &cancelled) => Err(lost),
        () = signals.second() => Ok(None),
    };
    // The next job has this machine for itself, and nobody writes to the folder any more.
    let left = match &mut running {
        Some(running) => running.kill(signals).await,
        None => Vec::new(),
    };
    let outcome = tokio::select! {
        // What can be told at once is told also after a second signal.
        biased;
        outcome = settle(api, assignment, &log, done, folder) => outcome,
        () = signals.second() => Ok(Outcome::Stopped),
    };
    (outcome, left)
}

/// Delivers what another process has left of a job whose command has ended.
pub(crate) async fn resume(api: &Api, signals: &Signals, assignment: &Assignment, folder: Folder) -> Result<Outcome> {
    // Its command has ended: there is nothing left to stop.
    let (cancelled, log) = (Notify::new(), Log::left());
    let done = tokio::select! {
        done = deliver(api, assignment, &folder, &log, "the command", "") => done.map(Some),
        never = announce(signals) => match never {},
        lost = lease::hold(api, assignment, &folder, Lease::left(assignment), &log, &cancelled) => Err(lost),
        () = signals.second() => Ok(None),
    };
    settle(api, assignment, &log, done, folder).await
}

/// Removes the folder when nothing in it is wanted any more, as when the API has confirmed all that is in it. Otherwise it is left, and
/// its words say so.
async fn settle(
    api: &Api,
    assignment: &Assignment,
    log: &Log,
    done: Result<Option<Delivered>>,
    folder: Folder,
) -> Result<Outcome> {
    let fault = done.as_ref().err().and_then(|error| error.downcast_ref::<OwnFault>());
    if let Some(fault) = fault {
        lease::give_back(api, assignment, &fault.to_string(), log.was_sent()).await;
    }
    let is_whole = matches!(&done, Ok(Some(delivered)) if delivered.confirmed && !delivered.lacks);
    // A job that goes back begins anew elsewhere, and the room is needed here.
    if fault.is_some() || is_whole {
        folder.remove().await;
    } else {
        if is_over(&done) {
            folder.set_delivered();
        }
        folder.leave().await;
    }
    done.map(|done| done.map_or(Outcome::Stopped, |delivered| Outcome::Ended(delivered.status)))
}

/// Whether the API takes no more of this attempt: the job is over, somebody else's, or gone.
fn is_over(done: &Result<Option<Delivered>>) -> bool {
    match done {
        Ok(delivered) => delivered.is_some(),
        Err(error) => {
            let says_so = |refusal: &Refusal| {
                matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND)
                    || refusal.is_about("Job already finished")
            };
            error.is::<Over>() || refused(error).is_some_and(says_so)
        }
    }
}

/// A job that is run.
struct Job<'a> {
    api: &'a Api,
    signals: &'a Signals,
    assignment: &'a Assignment,
    folder: &'a Folder,
    log: &'a Arc<Log>,
}

impl Job<'_> {
    /// Runs the command and delivers what it leaves. None: a signal came before its end, and the job was given back.
    async fn attempt(
        &self,
        command: &[OsString],
        cancelled: &Notify,
        running: &mut Option<Running>,
    ) -> Result<Option<Delivered>> {
        let Self { api, signals, assignment, folder, log } = *self;
        let stored = tokio::select! {
            stored = stored(api, assignment) => {
                stored.map_err(|error| OwnFault::passing(error.context("the job's arguments can't be had")))?
            }
            () = signals.first() => {
                lease::give_back(api, assignment, lease::STOPPED, false).await;
                return Ok(None);
            }
        };
        let arguments = stored.as_deref().unwrap_or(&assignment.job_data);
        let begun = folder.begin(assignment, arguments).context("the job's folder can't be written");
        begun.map_err(OwnFault::passing)?;
        let started = Running::start(folder, assignment, command, log).map_err(OwnFault::passing)?;
        let executed = self.execute(running.insert(started), cancelled).await;
        let Some(last_words) = executed.map_err(OwnFault::passing)? else { return Ok(None) };
        let program = command[0].to_string_lossy();
        if let Some(fault) = own_fault(folder, arguments, &program) {
            return Err(fault.into());
        }
        tokio::select! {
            delivered = deliver(api, assignment, folder, log, &program, &last_words) => delivered.map(Some),
            never = announce(signals) => match never {},
        }
    }

    /// Waits for the command's end: the last of its error output. None: a signal came before.
    async fn execute(&self, running: &mut Running, cancelled: &Notify) -> Result<Option<String>> {
        let Self { assignment, folder, .. } = *self;
        let mut end = End::Lost;
        tokio::select! {
            ended = running.ended() => ended?,
            () = cancelled.notified() => {
                end = End::Unwilling;
                let job_id = &assignment.job_id;
                let words = format_args!("{job_id}: cancelled by its owner; delivering what there is");
                events::tell(&Event::Cancelled { job_id }, words);
                running.cancel().await;
            }
            () = self.signals.first() => {
                if !running.has_ended_or_stops(folder).await {
                    self.give_back(running).await;
                    return Ok(None);
                }
                // It came before the signal, and is delivered.
                running.ended().await?;
            }
        }
        // Who stops a whole machine asks the command to end, and this program, and neither is first for sure.
        let is_stopped = |end: Option<End>| end.is_none_or(|end| end.is_of_a_stop());
        if self.signals.exit_code().is_some() && is_stopped(folder.end()?) {
            self.give_back(running).await;
            return Ok(None);
        }
        if !folder.has_ended() {
            running.kill(self.signals).await;
        }
        // It may have ended after all.
        if !folder.has_ended() {
            folder.set_end(&end)?;
        }
        Ok(Some(running.last_words()))
    }

    /// Gives the job back at once: whoever gets it next does not wait for this command's end.
    async fn give_back(&self, running: &mut Running) {
        let Self { api, assignment, log, .. } = *self;
        self.folder.set_given_back();
        tokio::join!(running.wait_patiently(), async {
            lease::send_log(api, assignment, log, lease::STOPPED_LOG).await;
            lease::give_back(api, assignment, lease::STOPPED, log.was_sent()).await;
        });
    }
}

/// What of a command's failure is this machine's fault.
fn own_fault(folder: &Folder, arguments: &RawValue, program: &str) -> Option<OwnFault> {
    let end = folder.end().ok()??;
    let why = end.failure(program)?;
    match end {
        End::CannotRun(_) => Some(OwnFault::lasting(Error::msg(why))),
        End::NotNow(_) => Some(OwnFault::passing(Error::msg(why))),
        End::Ended(_) | End::Lost | End::Unwilling => {
            room::is_short(&folder.job(), arguments).then(|| OwnFault::passing(Error::msg("the disk is full")))
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::fault::Faults;

    #[tokio::test]
    async fn a_command_that_gets_no_process_is_no_reason_to_take_no_more_jobs() -> Result<()> {
        let folder = Folder::create()?;
        for (end, lasts) in [(End::NotNow("busy".to_owned()), false), (End::CannotRun("gone".to_owned()), true)] {
            folder.set_end(&end)?;
            let fault = own_fault(&folder, serde_json::from_str("{}")?, "program").context("no fault")?;
            assert_eq!(Faults::default().count(fault).is_err(), lasts, "{end:?}");
        }
        folder.remove().await;
        Ok(())
    }
}
