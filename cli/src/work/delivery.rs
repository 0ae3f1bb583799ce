//! What a command has left, on its way to the job's owner: the report, the files, and the API's confirmation.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::task::spawn_blocking;

use crate::{
    api::Api,
    beneath::{Root, Unusable},
    digest::Unwanted,
    pace::{self, here},
    refusal::{refused, wait},
    screen::tell,
    upload::Target,
    work::{
        folder::{Assignment, Folder},
        lease::{self, LAST_LOG},
        log::Log,
        outputs::{self, Output},
        report::{LARGEST_RESULT, Report},
        upload,
    },
};

/// How long a report is tried again while the API can't take it, and files while none arrives.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A job as the API tells of it after a report.
#[derive(Deserialize)]
struct Reported {
    status: String,
    terminal: bool,
    output_files: Option<HashMap<String, File>>,
    #[serde(default)]
    uploads: Vec<Target>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    uploaded: bool,
}

impl Reported {
    /// Whether the API says of each file that it has it.
    fn confirms(&self, files: &[Output]) -> bool {
        let has = |file: &Output| {
            let mut known = self.output_files.iter().flat_map(HashMap::values);
            known.any(|known| known.filename == file.filename && known.uploaded)
        };
        self.terminal && files.iter().all(has)
    }
}

/// A job's end.
pub(crate) struct Delivered {
    pub(crate) status: String,
    /// The API has confirmed every file of the report.
    pub(crate) confirmed: bool,
    /// Something of the job is not in the report.
    pub(crate) lacks: bool,
}

/// Delivers what a command has left that has ended. Can be repeated, also by another process: the report is the same then.
pub(crate) async fn deliver(
    api: &Api,
    assignment: &Assignment,
    folder: &Folder,
    log: &Log,
    program: &str,
    last_words: &str,
) -> Result<Delivered> {
    let report = match folder.report()? {
        Some(report) => report,
        None => {
            // Before the report: with it the job may be over.
            lease::send_log(api, assignment, log, LAST_LOG).await;
            let mut report = made(folder, program, last_words).await?;
            report.logs = log.was_sent();
            report
        }
    };
    send(api, assignment, folder, report).await
}

/// The report of a command that has ended.
async fn made(folder: &Folder, program: &str, last_words: &str) -> Result<Report> {
    let end = folder.end()?.context("its command did not end")?;
    let (job, unwanted) = (folder.job(), Unwanted::default());
    let is_stopped = Arc::clone(&unwanted.0);
    let (files, skipped) = spawn_blocking(move || outputs::find(&job, &is_stopped)).await?;
    Ok(match end.failure(program) {
        Some(why) => Report::failure(&format!("{why}\n{last_words}"), files, &skipped),
        None => {
            let root = Root::open(&folder.job()).map_err(Unusable::Failed);
            Report::success(root.and_then(|root| root.content("result.json", LARGEST_RESULT)), files, &skipped)
        }
    })
}

async fn send(api: &Api, assignment: &Assignment, folder: &Folder, mut report: Report) -> Result<Delivered> {
    let url = assignment.job_status_url.as_str();
    let reported: Reported = loop {
        if let Err(error) = folder.write_report(&report) {
            tell(format_args!("the report can't be kept: {error:#}"));
        }
        match decided(api, Method::POST, url, Some(&report.body())).await {
            Ok(reported) => break reported,
            Err(error) => match refused(&error) {
                Some(refusal) if report.leave_out(refusal) => tell(format_args!("{error:#}")),
                _ => return Err(error),
            },
        }
    };
    if reported.status == "pending" {
        // The command has failed, and the job is tried again: nothing of this attempt is wanted.
        return Ok(Delivered { confirmed: true, lacks: false, status: reported.status });
    }
    let reported = if reported.terminal {
        reported
    } else {
        folder.set_reported();
        upload::all(api, url, reported.uploads, &folder.job(), &report.files, here(PATIENCE)).await;
        decided(api, Method::PUT, url, None).await?
    };
    Ok(Delivered { confirmed: reported.confirms(&report.files), lacks: report.lacks, status: reported.status })
}

/// Asks until the API decides. Who holds the job ends it earlier.
async fn decided<T: DeserializeOwned>(api: &Api, method: Method, url: &str, body: Option<&str>) -> Result<T> {
    let (begun, mut failures) = (Instant::now(), 0);
    loop {
        match api.at(method.clone(), url, body).await {
            Err(error) if refused(&error).is_none() && begun.elapsed() < here(PATIENCE) => {
                tell(format_args!("{error:#}"));
                // Each of them is several tries.
                failures += 1;
                pace::retry(wait(&error), failures + 2).await;
            }
            decided => return decided.map(|answer| answer.body),
        }
    }
}
