//! A miner's uploads.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Error, Result, ensure};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;

use crate::{
    api::Api,
    pace,
    refusal::{is_refused_by_store, wait},
    screen::{self, tell},
    upload::{self, Lost, Source, TRIES, Target, may_arrive},
    work::{
        bars,
        outputs::{self, Output},
    },
};

/// A file on its way.
struct Waiting<'a> {
    file: &'a Output,
    target: Option<Target>,
    /// How often S3 has refused it since a part of it has arrived.
    refusals: u32,
}

/// Sends every file where finish's answer says. One that fails does not keep the others, and is sent again while it may arrive, until all has
/// failed for so long: whoever holds the job ends this earlier. Whether all arrived, the API knows.
pub(crate) async fn all(
    api: &Api,
    job_url: &str,
    targets: Vec<Target>,
    job: &Path,
    files: &[Output],
    patience: Duration,
) {
    let mut targets: HashMap<_, _> = targets.into_iter().map(|target| (target.filename.clone(), target)).collect();
    let waiting = |file| Waiting { file, target: targets.remove(&file.filename), refusals: 0 };
    let mut left: VecDeque<_> = files.iter().map(waiting).collect();
    let (mut failures, mut failing_since) = (0, None);
    while let Some(mut next) = left.pop_front() {
        let (file, mut proceeded) = (next.file, false);
        let shown = screen::name(&file.filename);
        let bar = upload::bar(shown.clone(), file.size);
        bar.set_draw_target(bars::target());
        let sent = one(api, job_url, next.target.take(), job, file, &bar, &mut proceeded).await;
        bar.finish_and_clear();
        if proceeded || sent.is_ok() {
            (failures, next.refusals, failing_since) = (0, 0, None);
        }
        let error = match sent {
            Ok(()) => {
                tell(format_args!("{shown} {} bytes", file.size));
                continue;
            }
            Err(error) => error,
        };
        tell(format_args!("{shown}: {error:#}"));
        next.refusals += u32::from(is_refused_by_store(&error));
        if !may_arrive(&error) || next.refusals == TRIES {
            continue;
        }
        if failing_since.get_or_insert_with(Instant::now).elapsed() > patience {
            return tell(format_args!("{} files are given up", left.len() + 1));
        }
        left.push_back(next);
        failures += 1;
        pace::retry(wait(&error), failures).await;
    }
}

async fn one(
    api: &Api,
    job_url: &str,
    first: Option<Target>,
    job: &Path,
    file: &Output,
    bar: &ProgressBar,
    proceeded: &mut bool,
) -> Result<()> {
    // Opened by the same rules as when it was found, and then used for all of its parts.
    let source = outputs::open(job).and_then(|folder| folder.file(Path::new(&file.filename)));
    let source = source.map_err(|why| Error::new(Lost(why.to_string())))?;
    let is_whole = source.metadata().is_ok_and(|now| now.len() == file.size);
    ensure!(is_whole, Lost("it has changed since it was reported".to_owned()));
    let source = Arc::new(Source::new(source));
    let renew = async || {
        let url = job_url.replacen("?token=", "/upload?token=", 1);
        let body = json!({ "path": file.filename }).to_string();
        api.at(Method::PUT, &url, Some(&body)).await.map(|answer| Some(answer.body))
    };
    upload::once(api, &source, file.size, first, renew, bar, proceeded).await
}
