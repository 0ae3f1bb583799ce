//! A job's life: every change of state, with the conditions that DynamoDB checks in the same write.
//!
//! ```text
//!                                 finish: complete, with files
//!            claim               ┌────────────────────────────▶ complete_pending_uploads ─┬─ complete: all there ──────▶ complete
//!  pending ────────▶ running ────┤                                                        └─ complete: some missing ───▶ partial_failure
//!     ▲                 │        ├─ finish: complete, no files ────────────────────────────────────────────────────────▶ complete
//!     │                 │        ├─ finish: error | cancelled, no files ───────────────────────────────────────────────▶ error | cancelled
//!     │                 │        └─ finish: error | cancelled, with files ──▶ the same, not yet terminal ── complete ──▶ terminal
//!     │                 │
//!     └── requeue ──────┤  the lease ran out, attempts are left: the miner is fenced off
//!                       └─ time_out: no attempt is left ───────────────────────────────────────────────────────────────▶ timeout
//!
//!  cancel, by an administrator, before the report: pending | running ──────────────────────────────────────────────────▶ cancelled
//!  the owner was disabled: cancel_pending ends what waits; last_attempt lets what runs end, and be tried no more
//!  heartbeat: extends the lease of a running job, and of one whose uploads are under way, in a row beside the job ([`lease`]);
//!  fresh upload URLs extend it in the job itself
//!  check: before complete, where many files have to be opened: its miner or the reaper is at it, one at a time
//!  the lease of a reported job ran out: complete, with the uploads that arrived
//!  delete, from any state, by the owner: gone for everyone; what is left of it expires when nothing of it can arrive any more
//! ```
//!
//! Nothing reads, decides and then writes blindly: a refused write returns the job as it was, and the answer follows from that.
//! A miner's condition names its attempt, so that one whose attempt was lost can change nothing. The reaper's condition names the lease
//! that ran out, so that a heartbeat in between wins; and it closes the row of heartbeats in the same transaction, so that one after
//! it is refused.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use uuid::Uuid;

use super::{
    job::{Instance, Job},
    lease::{self, Lease},
    output_file::OutputFile,
    pace,
    payload::{Payload, PayloadKind, Stored},
    status::Status,
};
use crate::{
    error::{Error, Result},
    item::{Condition, keys, number, schema, text},
    time::{DAY, Timestamp},
};

pub use crate::item::Transition;

/// Seconds after the last upload URL's end until which an upload that began in time may still arrive.
const LATE_ARRIVALS: i64 = 3600;
/// Seconds for which whoever begins to check many files is left alone with it: a request's longest. Who died is waited for no longer.
/// Should two be at it for all that, nothing breaks: they do the same.
const CHECK_TIME: i64 = 30;
/// Seconds after a report, or fresh upload URLs, in which more of them cost no further write.
const URLS_GIVEN: i64 = 300;
/// Seconds that a delete may take before the reaper goes on with it.
const DELETE_TIME: i64 = 60;
/// Seconds after which the reaper tries again what it could not do.
const POSTPONED: i64 = 60;

/// Seconds for which a job that was lost is withheld from whoever lost it. Others come first; a lone miner's job goes on.
pub const WITHHELD: i64 = 300;

/// A claim's details.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Who claims.
    pub miner: &'a str,
    /// Whose account that is.
    pub account: Uuid,
    /// Which of the miner's processes, when it said so.
    pub worker: Option<&'a str>,
    /// The hotkey, when the claim was signed.
    pub hotkey: Option<&'a str>,
    /// What the miner says about where it runs.
    pub instance: Option<Instance>,
    /// Where the arguments are from now on, if they were put anew.
    pub arguments: Option<&'a Stored>,
    /// When.
    pub now: Timestamp,
    /// When the attempt is over.
    pub deadline: Timestamp,
}

/// An attempt is taken from its miner, which does not know: the job changes, and its heartbeats are refused from then on. Both
/// happen, or neither does.
#[derive(Debug)]
pub struct Revocation {
    /// What becomes of the job.
    pub job: Transition,
    /// What becomes of the row of its heartbeats. None when no attempt was ever begun.
    pub lease: Option<Transition>,
}

/// A miner's report.
#[derive(Debug)]
pub struct Report<'a> {
    /// `complete`, `error` or `cancelled`.
    pub status: Status,
    /// Any JSON.
    pub result: Option<&'a Payload>,
    /// What went wrong.
    pub detail: Option<&'a str>,
    /// The files to come, by file id.
    pub files: &'a BTreeMap<Uuid, OutputFile>,
    /// Where their list is, unless it is short enough for the item.
    pub file_list: Option<&'a Stored>,
    /// Tells one report from another.
    pub digest: &'a str,
    /// When.
    pub now: Timestamp,
}

/// `pending` → `running`: the attempt after the one that was read begins. One winner: the condition names that attempt.
pub fn claim(job: &Job, claim: &Claim<'_>) -> Result<Transition> {
    let instance = claim.instance.as_ref().map(Instance::to_attribute).transpose()?;
    let change = match claim.arguments {
        Some(stored) => live_job().set("job_args", attribute(stored)?),
        None => live_job(),
    };
    Ok(change
        .when(Condition::Is("status", text(Status::Pending.as_str())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .set("status", text(Status::Running.as_str()))
        .set("attempt", number(i64::from(job.attempt) + 1))
        .set("miner", text(claim.miner))
        .set("miner_account", text(claim.account.to_string()))
        .set_option("worker", claim.worker.map(text))
        .set("started_at", number(claim.now.millis()))
        .set("updated_at", number(claim.now.millis()))
        .set("deadline_at", number(claim.deadline.millis()))
        .set_option("miner_hotkey", claim.hotkey.map(text))
        .set_option("instance", instance)
        // Whoever sends no heartbeat holds it until the deadline. Whether this miner does, the reaper sees after the first lease.
        .set("queue", text(keys::due(job.job_id)))
        .set("due_at", number(claim.now.plus_seconds(pace::FIRST_LEASE).min(claim.deadline).millis())))
}

/// The miner is given fresh upload URLs: it holds the job for as long as they work, and for as long as URLs do that it is given in the next
/// minutes. The reaper finds that out when the job is due.
pub fn hold_while_uploading(attempt: u32, now: Timestamp, upload_window: i64) -> Transition {
    reported_by(attempt).set("uploads_until", number(urls_end(now, upload_window).millis()))
}

fn urls_end(now: Timestamp, upload_window: i64) -> Timestamp {
    now.plus_seconds(upload_window + URLS_GIVEN)
}

/// The lease goes on longer than was known: the reaper looks again then.
pub fn rearm(job: &Job, due_at: Timestamp, then: Timestamp) -> Transition {
    attempt_of(job.attempt).when(Condition::Is("due_at", number(due_at.millis()))).set("due_at", number(then.millis()))
}

/// `running` → what the miner reports. Terminal at once when no files are to come; else a miner that sends no heartbeats has until the
/// attempt's deadline to bring them, and at least as long as the URLs work.
pub fn finish(
    job_id: Uuid,
    attempt: u32,
    deadline: Timestamp,
    upload_window: i64,
    report: Report<'_>,
) -> Result<Transition> {
    let with_files = !report.files.is_empty();
    let status = match report.status {
        Status::Complete if with_files => Status::CompletePendingUploads,
        status => status,
    };
    let change = attempt_of(attempt)
        .when(Condition::Is("status", text(Status::Running.as_str())))
        .when(Condition::Absent("report"))
        .set("status", text(status.as_str()))
        .set("report", text(report.digest))
        .set("finished_at", number(report.now.millis()))
        .set("updated_at", number(report.now.millis()))
        .set_option("result", report.result.map(attribute).transpose()?)
        .set_option("error_detail", report.detail.map(text));
    let change = match report.file_list {
        Some(stored) => change.set("file_list", attribute(stored)?),
        None => change.set("files", attribute(report.files)?),
    };
    Ok(match with_files {
        true => {
            let until = urls_end(report.now, upload_window);
            change
                .set("lease_expires_at", number(deadline.max(until).millis()))
                .set("uploads_until", number(until.millis()))
                .set("queue", text(keys::due(job_id)))
                .set("due_at", number(until.millis()))
        }
        false => change.terminal(report.now),
    })
}

/// One file arrived through the API.
pub fn file_arrived(attempt: u32, file_id: &str, now: Timestamp) -> Transition {
    reported_by(attempt)
        .when(Condition::Exists(format!("files.{file_id}")))
        .set(format!("files.{file_id}.{}", OutputFile::UPLOADED), AttributeValue::Bool(true))
        .set("updated_at", number(now.millis()))
}

/// The same, of a file whose list is stored apart, and is not written again for that: S3 knows what has arrived, and completing looks.
pub fn file_arrived_in_list(attempt: u32, now: Timestamp) -> Transition {
    reported_by(attempt).when(Condition::Exists("file_list".to_owned())).set("updated_at", number(now.millis()))
}

/// The miner declares, or declares anew, what one file will be.
pub fn file_declared(attempt: u32, file_id: &str, file: &OutputFile, now: Timestamp) -> Result<Transition> {
    Ok(reported_by(attempt)
        .when(Condition::Exists(format!("files.{file_id}")))
        .set(format!("files.{file_id}"), attribute(file)?)
        .set("updated_at", number(now.millis())))
}

/// The check of a reported job's many files begins, and nobody else's for a while. One winner: the condition names the check before
/// it, which is over. `job` is the job as it was read.
pub fn begin_check(job: &Job, now: Timestamp) -> Transition {
    let before = match job.checking_until {
        Some(until) => Condition::Is("checking_until", number(until.millis())),
        None => Condition::Absent("checking_until"),
    };
    reported_by(job.attempt).when(before).set("checking_until", number(now.plus_seconds(CHECK_TIME).millis()))
}

/// The same, by the reaper: the miner's lease has run out.
pub fn begin_check_for_lost_miner(job: &Job, now: Timestamp) -> Transition {
    as_held(begin_check(job, now), job)
}

/// The check that has begun so, of the job as it is now, has failed: another may begin at once.
pub fn give_up_check(job: &Job, now: Timestamp) -> Transition {
    let begun = number(job.checking_until.map_or(0, Timestamp::millis));
    let over = number(now.millis());
    reported_by(job.attempt).when(Condition::Is("checking_until", begun)).set("checking_until", over)
}

/// The same, of a file whose list is stored apart: the job's list now takes the place of the one that was read, if that is still there.
pub fn list_replaced(job: &Job, before: &Stored, now: Timestamp) -> Result<Transition> {
    reported_by(job.attempt)
        .when(Condition::Is("file_list", attribute(before)?))
        .set("updated_at", number(now.millis()))
        .listing(job)
}

/// Reported → terminal: the files were checked. `job` is the job as it was when they were, with what was found, and with where the new
/// list is.
pub fn complete(job: &Job, now: Timestamp) -> Result<Transition> {
    Ok(reported_by(job.attempt)
        .remove("room")
        .remove("checking_until")
        .set("status", text(job.status.as_str()))
        .set_option("error_detail", job.error_detail.as_deref().map(text))
        .set("updated_at", number(now.millis()))
        .listing(job)?
        .terminal(now))
}

/// The same, only if the list of files, which was at `list` or in the item, is still as it was read: a declaration in between is not lost.
/// Of a list in the item, the time of the last change tells: every change of a file is one.
pub fn as_listed(change: Transition, job: &Job, list: Option<&Stored>) -> Result<Transition> {
    Ok(change.when(match list {
        Some(stored) => Condition::Is("file_list", attribute(stored)?),
        None => Condition::Is("updated_at", number(job.updated_at.millis())),
    }))
}

/// The same, by the reaper: the miner's lease has run out, so what has arrived is all there will be.
pub fn complete_for_lost_miner(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Result<Revocation> {
    Ok(lost(as_held(complete(job, now)?, job), job, lease, now))
}

/// `running` → `pending`: the lease ran out, and an attempt is left. The miner's account may not have it for a while.
pub fn requeue(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let still = job.lost.iter().filter(|(_, at)| is_withheld_since(**at, now));
    let mut losers: HashMap<_, _> = still.map(|(loser, at)| (loser.clone(), number(at.millis()))).collect();
    // A claim of an earlier release has not left the account.
    let loser = job.miner_account.map(|account| account.to_string()).or_else(|| job.miner.clone());
    losers.extend(loser.map(|loser| (loser, number(now.millis()))));
    let change = lost_attempt(job)
        // That an attempt is left is as it was read: it may have become the last one.
        .when(Condition::Is("max_attempts", number(job.max_attempts.into())))
        .set("status", text(Status::Pending.as_str()))
        .set("lost", AttributeValue::M(losers))
        .set("updated_at", number(now.millis()))
        .set("queue", text(keys::claimable(job.chute_id, job.shard)))
        .set("due_at", number(job.created_at.millis()))
        .remove("lost_by")
        .remove("lease_expires_at")
        .remove("deadline_at")
        .remove("started_at")
        .remove("miner")
        .remove("miner_account")
        .remove("miner_hotkey")
        .remove("worker")
        .remove("instance")
        .remove("progress");
    lost(change, job, lease, now)
}

/// Whether the account has lost the job so lately that it is withheld from it, whichever of its keys and hotkeys asks.
pub fn is_withheld(job: &Job, account: Uuid, miner: &str, now: Timestamp) -> bool {
    let lost = [account.to_string().as_str(), miner].into_iter().find_map(|loser| job.lost.get(loser)).copied();
    // An earlier release has left no times. What waits has not changed since it was requeued.
    let before = job.lost_by.iter().any(|loser| loser == miner || *loser == account.to_string());
    lost.or(before.then_some(job.updated_at)).is_some_and(|at| is_withheld_since(at, now))
}

fn is_withheld_since(lost_at: Timestamp, now: Timestamp) -> bool {
    now < lost_at.plus_seconds(WITHHELD)
}

/// `running` → `timeout`: the lease ran out, and no attempt is left.
pub fn time_out(job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    let change = lost_attempt(job)
        .set("status", text(Status::Timeout.as_str()))
        .set("error_detail", text(format!("No result after {} of {} attempts", job.attempt, job.max_attempts)))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(now);
    lost(change, job, lease, now)
}

/// `pending` | `running` → `cancelled`, by an administrator. A miner that runs it is fenced off by the end: it can report nothing,
/// and its next heartbeat tells it to stop. What was reported is finished work, and ends as it would have.
pub fn cancel(job: &Job, detail: &str, now: Timestamp) -> Revocation {
    let change = cancelled(detail, now).when(Condition::Is("attempt", number(job.attempt.into())));
    let claimed = job.attempt > 0;
    Revocation { job: change, lease: claimed.then(|| lease::close(job, tokens_end(job, now))) }
}

/// The same, only while no miner has it.
pub fn cancel_pending(detail: &str, now: Timestamp) -> Transition {
    cancelled(detail, now).when(Condition::Is("status", text(Status::Pending.as_str())))
}

fn cancelled(detail: &str, now: Timestamp) -> Transition {
    live_job()
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
        .when(Condition::Absent("report"))
        .set("status", text(Status::Cancelled.as_str()))
        .set("error_detail", text(detail))
        .set("finished_at", number(now.millis()))
        .set("updated_at", number(now.millis()))
        .terminal(now)
}

/// The attempt that runs is the job's last: when it is lost, the job times out.
pub fn last_attempt(attempt: u32, now: Timestamp) -> Transition {
    attempt_of(attempt)
        .when(Condition::Is("status", text(Status::Running.as_str())))
        .set("max_attempts", number(attempt.into()))
        .set("updated_at", number(now.millis()))
}

/// Running or reported → `error`: what the job needs is gone from the bucket, where nobody but the operator can have removed it. Without
/// its arguments nobody can run it; without its result or list of files nobody can answer it.
pub fn end_without(job: &Job, gone: PayloadKind, now: Timestamp) -> Result<Revocation> {
    let job_ends = without(job, gone, now)?;
    Ok(Revocation { job: job_ends, lease: Some(lease::close(job, tokens_end(job, now))) })
}

/// The same, by the reaper: the miner's lease has run out.
pub fn end_lost_without(job: &Job, gone: PayloadKind, lease: Option<&Lease>, now: Timestamp) -> Result<Revocation> {
    Ok(lost(as_held(without(job, gone, now)?, job), job, lease, now))
}

fn without(job: &Job, gone: PayloadKind, now: Timestamp) -> Result<Transition> {
    let before = job.error_detail.as_ref().map(|detail| format!("{detail}\n")).unwrap_or_default();
    let marked =
        |stored: Option<&Stored>| stored.map(|stored| attribute(&Stored { lost: true, ..stored.clone() })).transpose();
    let change = attempt_of(job.attempt)
        .when(Condition::Is("status", text(job.status.as_str())))
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
        .set("status", text(Status::Error.as_str()))
        .set(
            "error_detail",
            text(format!("{before}What the job needs is no longer in the bucket of outputs: its {gone}")),
        )
        .set("finished_at", number(job.finished_at.unwrap_or(now).millis()))
        .set("updated_at", number(now.millis()));
    let change = match gone {
        PayloadKind::Arguments => change.set_option("job_args", marked(job.job_args.stored())?),
        PayloadKind::Result => change.set_option("result", marked(job.result.as_ref().and_then(Payload::stored))?),
        // Another may have taken its place since it was read.
        PayloadKind::Files => as_listed(change, job, job.file_list.as_ref())?.remove("file_list"),
    };
    Ok(change.terminal(now))
}

/// Gone for everyone, from this write on, and without what it held. When the job had reported, upload URLs were given out: the
/// reaper sweeps until the last of them has ended. When something of it is stored apart, the reaper makes sure that it goes. Else no
/// object can ever come. What is left expires when no token can be
/// valid any more: an `Idempotency-Key` may then give its id to another job.
pub fn delete(job: &Job, now: Timestamp, upload_window: i64) -> Revocation {
    let gone = now.plus_seconds(upload_window + LATE_ARRIVALS);
    let change = live_job()
        .when(Condition::Is("user_id", text(job.user_id.to_string())))
        .when(Condition::Is("attempt", number(job.attempt.into())))
        .set("deleted_at", number(now.millis()))
        .set("gone_at", number(gone.millis()))
        .set("job_args", text("{}"))
        .remove("result")
        .remove("error_detail")
        .remove("files")
        .remove("file_list")
        .remove("instance")
        .remove("lease_expires_at")
        .remove("uploads_until")
        .remove("room")
        .remove("checking_until")
        .remove("owner");
    let change = match &job.report {
        Some(report) => change.when(Condition::Is("report", text(report))),
        None => change.when(Condition::Absent("report")),
    };
    let change = match job.has_objects() {
        true => change
            .set("queue", text(keys::due(job.job_id)))
            .set("due_at", number(now.plus_seconds(DELETE_TIME).millis()))
            .remove("expires_at"),
        false => change.set("expires_at", number(tokens_end(job, now).seconds())).remove("queue").remove("due_at"),
    };
    let claimed = job.attempt > 0;
    Revocation { job: change, lease: claimed.then(|| lease::close(job, tokens_end(job, now))) }
}

/// The files of a deleted job were removed once more. When nothing can arrive any more, that was the last time.
pub fn swept(job: &Job, gone: Timestamp, now: Timestamp) -> Transition {
    let change = Transition::default().when(Condition::Exists("deleted_at".to_owned()));
    match now >= gone {
        true => change.set("expires_at", number(tokens_end(job, now).seconds())).remove("queue").remove("due_at"),
        false => change.set("due_at", number(gone.millis())),
    }
}

/// When the last token that a miner may have for the job has ended, whatever the upload window (12 hours at most, twice).
fn tokens_end(job: &Job, now: Timestamp) -> Timestamp {
    now.plus_seconds(job.longest_run() + DAY)
}

/// The reaper could not look after a job: others that are due come first, and this one again after a while.
pub fn postpone(due_at: i64, now: Timestamp) -> Transition {
    Transition::default()
        .when(Condition::Is("due_at", number(due_at)))
        .set("due_at", number(now.plus_seconds(POSTPONED).millis()))
}

/// A job that this release understands, and that is not being deleted.
///
/// What this release changes is its own from then on: an earlier one would be wrong about it.
fn live_job() -> Transition {
    Transition::default()
        .when(Condition::AtMost(schema::ATTRIBUTE, schema::VERSION))
        .when(Condition::Absent("deleted_at"))
        .set(schema::ATTRIBUTE, number(schema::VERSION))
}

fn attribute(value: &impl Serialize) -> Result<AttributeValue> {
    serde_dynamo::to_attribute_value(value).map_err(|error| Error::internal("write: attribute", error))
}

/// What only the miner that holds the job may do: an earlier attempt is fenced off.
fn attempt_of(attempt: u32) -> Transition {
    live_job().when(Condition::Is("attempt", number(attempt.into())))
}

/// What that miner may do between its report and the job's end.
fn reported_by(attempt: u32) -> Transition {
    attempt_of(attempt)
        .when(Condition::Exists("report".to_owned()))
        .when(Condition::Is("terminal", AttributeValue::Bool(false)))
}

/// What the reaper may do with an attempt whose lease ran out, as it was read.
fn lost_attempt(job: &Job) -> Transition {
    as_held(attempt_of(job.attempt).when(Condition::Is("status", text(Status::Running.as_str()))), job)
}

/// What became of an attempt whose lease ran out, unless a heartbeat has come since.
fn lost(change: Transition, job: &Job, lease: Option<&Lease>, now: Timestamp) -> Revocation {
    Revocation { job: change, lease: Some(lease::close_as_read(job, lease, tokens_end(job, now))) }
}

/// If it is held as it was read, as far as the job itself tells: fresh upload URLs extend that, and heartbeats of an earlier release.
fn as_held(change: Transition, job: &Job) -> Transition {
    let as_read = |attribute, time: Option<Timestamp>| match time {
        Some(until) => Condition::Is(attribute, number(until.millis())),
        None => Condition::Absent(attribute),
    };
    change.when(as_read("lease_expires_at", job.lease_expires_at)).when(as_read("uploads_until", job.uploads_until))
}

impl Transition {
    /// With the job's list of files, in the item or apart from it.
    fn listing(self, job: &Job) -> Result<Self> {
        Ok(match (&job.file_list, &job.files) {
            (Some(stored), _) => self.set("file_list", attribute(stored)?).remove("files"),
            (None, Some(files)) => self.set("files", attribute(files)?).remove("file_list"),
            (None, None) => return Err(Error::internal("write: list of files", "it was not loaded")),
        })
    }

    /// It will never change again, and expires with its files.
    fn terminal(self, now: Timestamp) -> Self {
        self.set("terminal", AttributeValue::Bool(true))
            .set("expires_at", number(now.plus_seconds(Job::RETENTION).seconds()))
            .remove("lease_expires_at")
            .remove("uploads_until")
            .remove("queue")
            .remove("due_at")
    }
}
