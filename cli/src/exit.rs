//! What this command ends with: scripts tell by the exit code what has happened.

use anyhow::Error;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::error::Elapsed;
use uuid::Uuid;

use crate::{
    refusal::{Detail, Refusal, StoreRefusal},
    screen,
};

pub(crate) const USAGE: u8 = 2;
pub(crate) const NOBODY_READS: u8 = 141;
const FAILURE: u8 = 1;
pub(crate) const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const TOO_MUCH: u8 = 5;
const UNREACHABLE: u8 = 6;
const TIMEOUT: u8 = 124;

/// Every code, with what it says.
const CODES: [(&str, &str); 14] = [
    ("0", "success; of a job that was waited for: complete"),
    ("1", "a failure that has no other code"),
    ("2", "the command line is wrong"),
    ("3", "not found (404), or no job to watch"),
    ("4", "the key is not accepted (401), or may not do this (403)"),
    ("5", "a quota is used up, or too many requests (429)"),
    ("6", "the API or S3 cannot be reached, or cannot answer (5xx)"),
    ("10", "a job that was waited for ended: partial_failure"),
    ("11", "a job that was waited for ended: cancelled"),
    ("12", "a job that was waited for ended: timeout"),
    ("13", "a job that was waited for ended: error"),
    ("124", "the time of --timeout is over; a job that was created goes on"),
    ("128 + n", "signal n has ended it: 130 for Ctrl-C"),
    ("141", "nobody reads what is printed"),
];

/// The codes, as the help shows them.
pub(crate) fn table() -> String {
    let lines = CODES.map(|(code, meaning)| format!("  {code:<9}{meaning}\n"));
    lines.concat() + "\n`work` and `download` go on when nobody reads.\n"
}

/// The code for a job that has ended so. The larger, the less there is of the job.
pub(crate) fn of_status(status: &str) -> u8 {
    match status {
        "complete" => 0,
        "partial_failure" => 10,
        "cancelled" => 11,
        "timeout" => 12,
        "error" => 13,
        _ => FAILURE,
    }
}

/// Why this command has ended before what it has waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// With the exit code of the first signal.
    #[error("stopped by a signal")]
    Signal(u8),
    #[error("it is not over in the time of --timeout")]
    Late,
    #[error("no job is there to watch")]
    Nothing,
}

/// Context of an error: this job goes on.
#[derive(Debug, thiserror::Error)]
#[error("job {0} goes on, and `jobchute watch {0}` follows it")]
pub(crate) struct GoesOn(pub(crate) Uuid);

/// Context of an error: the API may have created a job, whose `Idempotency-Key` was this.
#[derive(Debug, thiserror::Error)]
#[error(
    "the job may have been created: `jobchute list` tells, and the same command with --idempotency-key={} creates no second one", shell(.0)
)]
pub(crate) struct MayExist(pub(crate) String);

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if word.bytes().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The code for an error.
pub(crate) fn of_error(error: &Error) -> u8 {
    match error.downcast_ref() {
        Some(Stopped::Signal(code)) => return *code,
        Some(Stopped::Late) => return TIMEOUT,
        Some(Stopped::Nothing) => return NOT_FOUND,
        None => {}
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return match refusal.status.as_u16() {
            401 | 403 => REFUSED,
            404 => NOT_FOUND,
            429 => TOO_MUCH,
            500.. => UNREACHABLE,
            _ => FAILURE,
        };
    }
    if let Some(StoreRefusal(refusal)) = error.downcast_ref() {
        return if matches!(refusal.status.as_u16(), 429 | 500..) { UNREACHABLE } else { FAILURE };
    }
    let is_lost = error.chain().any(|cause| cause.is::<reqwest::Error>() || cause.is::<Elapsed>());
    if is_lost { UNREACHABLE } else { FAILURE }
}

/// An error for scripts.
#[derive(Serialize)]
struct Told<'a> {
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    /// As the API says it, or the message.
    detail: Words<'a>,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Words<'a> {
    Detail(&'a Detail),
    Message(&'a str),
}

/// Says what was wrong: in words, or for scripts.
pub(crate) fn complain(error: &Error) {
    let message = format!("{error:#}");
    if !screen::is_json() {
        return screen::complain(format_args!("jobchute: {message}"));
    }
    let refusal = error.downcast_ref::<Refusal>();
    object(&Told {
        exit_code: of_error(error),
        status: refusal.map(|refusal| refusal.status.as_u16()),
        job_id: error.downcast_ref().map(|GoesOn(job)| *job),
        idempotency_key: error.downcast_ref().map(|MayExist(key)| key.as_str()),
        detail: refusal.and_then(Refusal::detail).map_or(Words::Message(&message), Words::Detail),
        message: &message,
    });
}

/// The same for a command line that is wrong.
pub(crate) fn refuse(usage: &str) {
    if !screen::is_json() {
        return screen::complain(usage);
    }
    let detail = Words::Message(usage);
    object(&Told { exit_code: USAGE, status: None, job_id: None, idempotency_key: None, detail, message: usage });
}

fn object(told: &Told<'_>) {
    #[derive(Serialize)]
    struct Object<'a> {
        error: &'a Told<'a>,
    }
    // Strings and numbers can always be written.
    if let Ok(text) = serde_json::to_string(&Object { error: told }).and_then(RawValue::from_string) {
        screen::complain(screen::one_line(text.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_as_a_shell_takes_it() {
        for (key, shown) in [("a-1_b.c", "a-1_b.c"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$(x)", "'$(x)'")] {
            assert_eq!(shell(key), shown);
        }
    }

    #[test]
    fn the_document_has_every_code() {
        let document = include_str!("../../docs/command.md");
        for (code, meaning) in CODES {
            assert!(document.contains(&format!("| {code} | {meaning} |\n")), "{code}");
        }
    }
}
