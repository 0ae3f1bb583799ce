//! What a job carries beside its state: arguments, result, and the lists of its files and inputs. DynamoDB bills the whole item at every write, so
//! what is larger than a bound is an object of its own in the outputs bucket, written once, and the item refers to it.
//!
//! The bounds are where both cost the same by the list prices (`local/src/bench/prices.json`), per million jobs: a write of 1 KB $0.625, a
//! read of 4 KB $0.125, a PUT $5.00, a GET $0.40. An hour's job rewrites its item about 12 times and reads it about 85 times: create (a
//! transaction, which is two writes), claim, finish and complete, the reaper's looks at the lease, and the polls of whoever waits.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::time::{DAY, Timestamp};

/// Bytes of the largest arguments that are in the item. They are there from the beginning: a KB costs $1.25 at create, $0.625 at each of
/// some 10 writes after that, and $0.03 at each of some 85 reads, $10 in an hour's job, and $3 in one of a minute, which the reaper
/// never looks at. An object costs its PUT, the GETs of the claim and of one owner, and its reference $6 to $7: as much as 0.7 KB of
/// the first, and 2 KB of the second.
pub const ARGUMENTS_INLINE: usize = 1 << 10;
/// Bytes of the largest result that is in the item. It is written twice, at finish and at complete, and read a few times: $1.35 a KB. An
/// object costs its PUT and the GETs of its owner: $6, as much as 4.4 KB.
pub const RESULT_INLINE: usize = 4 << 10;
/// Bytes of the longest list of files that is in the item, some 60 files. It is written as often as a result, but as another one each
/// time, because completing records what has arrived: two PUTs and two GETs, $11, as much as 8 KB.
pub const FILES_INLINE: usize = 8 << 10;

/// Bytes of the longest list of inputs that is in the item, some five inputs: as arguments, it is there from the beginning.
pub const INPUTS_INLINE: usize = ARGUMENTS_INLINE;

/// Seconds that an object lives in the bucket beyond those for which jobs are kept (`OutputsBucket` in `template.yaml`): 64 days. What a report
/// brings, its job needs for the latter, and the time of its uploads. Arguments are needed for longer: their miner may run for 30 days, and lose
/// the job, which then waits again, for 30 days at most. A claim puts those anew that have waited before and would not outlive that.
pub const BEYOND: i64 = 64 * DAY;

/// JSON that only passes through. It is kept as the text that came: numbers of any size, the order of keys and the spelling come out as
/// they went in, and nobody parses it twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// In the item.
    Inline(String),
    /// In an object of its own.
    Stored(Stored),
}

/// A reference to an object that holds a payload. Each put has a key of its own, so that it is nobody else's to remove or to overwrite: the
/// bucket keeps what was overwritten for a shorter time. The version is named for whoever else can write to the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The last part of its key.
    #[serde(rename = "i")]
    pub id: Uuid,
    /// SHA-256 of the content, in hex.
    #[serde(rename = "h")]
    pub sha256: String,
    /// Bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// The object's version; `null` in a bucket that keeps none, or not yet.
    #[serde(rename = "v")]
    pub version_id: String,
    /// When it was put, where that was later than its job's creation.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub put_at: Option<Timestamp>,
    /// It was found to be gone, and the job has ended for it.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// The content, once it was loaded.
    #[serde(skip)]
    pub text: Option<String>,
}

/// Which of a job's payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// What the job was created with.
    Arguments,
    /// What the miner reported.
    Result,
    /// The files that the miner announced.
    Files,
    /// The inputs that the arguments name.
    Inputs,
}

impl PayloadKind {
    /// All that a job may carry.
    pub const ALL: &[Self] = &[Self::Arguments, Self::Result, Self::Files, Self::Inputs];

    /// Whether a job has it from its creation, and keeps it.
    pub fn is_given(self) -> bool {
        matches!(self, Self::Arguments | Self::Inputs)
    }

    /// The item's attribute that refers to it.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Arguments => "job_args",
            Self::Result => "result",
            Self::Files => "file_list",
            Self::Inputs => "inputs",
        }
    }
}

impl Payload {
    /// The JSON, if it is in the item or was loaded.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Inline(text) => Some(text),
            Self::Stored(stored) => stored.text.as_deref(),
        }
    }

    /// The object that holds it, when one does.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Inline(_) => None,
            Self::Stored(stored) => Some(stored),
        }
    }

    /// Loaded with its content.
    pub(super) fn set_loaded(&mut self, text: String) {
        if let Self::Stored(stored) = self {
            stored.text = Some(text);
        }
    }
}

impl Stored {
    /// Whether this is the content.
    pub fn is_of(&self, text: &str) -> bool {
        self.size == text.len() as u64 && self.sha256 == hex::encode(Sha256::digest(text))
    }

    /// Whether both are one object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
            Self::Files => "list of files",
            Self::Inputs => "list of inputs",
        })
    }
}
