//! What `work` tells, in words or, for scripts, as an object a line.

use std::fmt::Display;

use serde::Serialize;
use uuid::Uuid;

use crate::screen;

/// A change of what it does.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// It looks for jobs of these chutes.
    Looking {
        chutes: &'a [Uuid],
    },
    Claimed {
        job_id: &'a str,
    },
    /// The job's owner has cancelled it: what it has left is delivered.
    Cancelled {
        job_id: &'a str,
    },
    /// The job has this status now.
    Ended {
        job_id: &'a str,
        status: &'a str,
    },
    /// Another miner gets the job.
    GivenBack {
        job_id: &'a str,
        reason: &'a str,
    },
    /// The job is lost, or what it has left is.
    GivenUp {
        job_id: &'a str,
        reason: &'a str,
    },
    /// Something stays in a folder, for `--resume` when it can be delivered.
    Kept {
        folder: &'a str,
        resume: Option<&'a str>,
    },
}

/// Tells of a change, in these words if nobody wants JSON.
pub(crate) fn tell(event: &Event<'_>, words: impl Display) {
    if screen::is_json() {
        // The work is worth more than the words about it.
        let _ = screen::json(event);
    } else {
        screen::tell(words);
    }
}
