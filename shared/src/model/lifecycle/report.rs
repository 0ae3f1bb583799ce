//! What the miner reports, and the files that it brings.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::{
    condition::{as_listed, attempt_of, attribute, reported_by},
    revocation::wait_again,
};
use crate::{
    error::Result,
    item::{Condition, Transition, number, text},
    model::{
        job::Job,
        log::logged,
        output_file::OutputFile,
        payload::{Payload, Stored},
        place::Place,
        status::Status,
    },
    time::Timestamp,
};

/// Seconds after a report, or fresh upload URLs, in which more of them cost no further write.
const URLS_GIVEN: i64 = 300;

/// A miner's report.
#[derive(Debug)]
pub struct Report<'a> {
    /// Of which job.
    pub job_id: Uuid,
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
    /// Whether the attempt has sent a log.
    pub logs: bool,
    /// It was [begun](begin_report).
    pub is_begun: bool,
    /// Tells one report from another.
    pub digest: &'a str,
    /// When.
    pub now: Timestamp,
}

/// The attribute that counts reports that were begun.
pub(super) const UNSETTLED: &str = "unsettled";

/// A large report begins: what it puts is removed with the job, also where it does not come to the write that refers to it. An error of a
/// job that is tried again after one does not begin so unless it is certain that it is kept.
pub fn begin_report(attempt: u32, status: Status, is_kept: bool) -> Transition {
    let change = attempt_of(attempt)
        .when(Condition::Is("status", text(Status::Running.as_str())))
        .when(Condition::Absent("report"))
        .set_sum(UNSETTLED, 1, UNSETTLED, 0);
    match status == Status::Error && !is_kept {
        true => change.when(Condition::Absent("retry_errors")),
        false => change,
    }
}

/// `running` → what the miner reports. Terminal at once when no files are to come; else a miner that sends no heartbeats has until the
/// attempt's deadline to bring them, and at least as long as the URLs work. The job's place in the reaper's queue stays
/// as it was, which saves two write units: the reaper looks into the job when it comes to it.
pub fn finish(attempt: u32, deadline: Timestamp, upload_window: i64, report: Report<'_>) -> Result<Transition> {
    let is_error = report.status == Status::Error;
    let change = reported(attempt, deadline, upload_window, report)?;
    // Of one that its owner has cancelled, `finish_cancelled` is right.
    let change = change.when(Condition::Absent("cancel_requested_at"));
    // Of one that may be tried again, `try_again` or `finish_last`.
    Ok(if is_error { change.when(Condition::Absent("retry_errors")) } else { change })
}

/// The same of an error of a job that is tried again after one: it was the last attempt.
pub fn finish_last(attempt: u32, deadline: Timestamp, upload_window: i64, report: Report<'_>) -> Result<Transition> {
    let change = reported(attempt, deadline, upload_window, report)?;
    let change = change.when(Condition::Absent("cancel_requested_at"));
    Ok(change.when(Condition::Is("max_attempts", number(attempt.into()))))
}

/// Seconds between an error and the next attempt, by how many there were before.
const PAUSES: [i64; 3] = [10, 60, 600];

/// `running` → `pending`: the miner reports an error, and another attempt is left. The report goes but for its detail, and the miner may
/// repeat it. The row of heartbeats stays as it is: the miner knows.
pub fn try_again(job: &Job, report: &Report<'_>) -> Transition {
    let pause = PAUSES[(job.errors as usize).min(PAUSES.len() - 1)];
    logged(wait_again(job, Place::at(report.now.plus_seconds(pause)), report.now), report.logs)
        .when(Condition::Absent("report"))
        .set("errors", number(i64::from(job.errors) + 1))
        .set("failure", text(report.digest))
        .set_option("error_detail", report.detail.map(text))
}

/// The same, whether or not its owner has cancelled the job.
pub(super) fn reported(
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
    let change = logged(change, report.logs);
    let change = if report.is_begun { change.set_sum(UNSETTLED, -1, UNSETTLED, 0) } else { change };
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
        }
        false => change.terminal(report.job_id, report.now),
    })
}

/// The miner is given fresh upload URLs. It holds the job until they have ended, and those that it is given in the next minutes. The reaper
/// finds that out when the job is due.
pub fn hold_while_uploading(attempt: u32, now: Timestamp, upload_window: i64) -> Transition {
    reported_by(attempt).set("uploads_until", number(urls_end(now, upload_window).millis()))
}

fn urls_end(now: Timestamp, upload_window: i64) -> Timestamp {
    now.plus_seconds(upload_window + URLS_GIVEN)
}

/// One file arrived through the API.
pub fn file_arrived(attempt: u32, file_id: &str, now: Timestamp) -> Transition {
    reported_by(attempt)
        .when(Condition::Exists(format!("files.{file_id}")))
        .set(format!("files.{file_id}.{}", OutputFile::UPLOADED), AttributeValue::Bool(true))
        .changing_files(now)
}

/// The same, of a file whose list is stored apart, and is not written again for that: S3 knows what has arrived, and completing looks.
pub fn file_arrived_in_list(attempt: u32, now: Timestamp) -> Transition {
    reported_by(attempt).when(Condition::Exists("file_list".to_owned())).changing_files(now)
}

/// The miner declares, or declares anew, what one file will be. It is still as it was `before`: what another request declares at the same
/// moment is not lost.
pub fn file_declared(
    attempt: u32,
    file_id: &str,
    before: &OutputFile,
    file: &OutputFile,
    now: Timestamp,
) -> Result<Transition> {
    let path = format!("files.{file_id}");
    Ok(reported_by(attempt)
        .when(Condition::IsAt(path.clone(), attribute(before)?))
        .set(path, attribute(file)?)
        .changing_files(now))
}

/// The same, of a file whose list is stored apart, or is from now on: the new list of `listed` takes the place of the one that was read, if
/// that is still there.
pub fn list_replaced(listed: &Job, read: &Job, now: Timestamp) -> Result<Transition> {
    let change = reported_by(read.attempt).changing_files(now).listing(listed)?;
    match &read.file_list {
        Some(stored) => Ok(change.when(Condition::Is("file_list", attribute(stored)?))),
        // In the item, each file changes by itself.
        None => as_listed(change, read),
    }
}
