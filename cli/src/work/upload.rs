//! A miner's uploads.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Error, Result, ensure};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;

use crate::{
    api::Api,
    screen::{self, tell},
    upload::{self, Source, Target},
    work::{
        bars,
        outputs::{self, Output},
    },
};

/// Sends every file where finish's answer says. One that fails does not keep the others: whether all arrived, the API knows.
pub(crate) async fn all(api: &Api, job_url: &str, targets: Vec<Target>, job: &Path, files: &[Output]) {
    let mut targets: HashMap<_, _> = targets.into_iter().map(|target| (target.filename.clone(), target)).collect();
    for file in files {
        let shown = screen::name(&file.filename);
        let bar = upload::bar(shown.clone(), file.size);
        bar.set_draw_target(bars::target());
        let sent = one(api, job_url, targets.remove(&file.filename), job, file, &bar).await;
        bar.finish_and_clear();
        match sent {
            Ok(()) => tell(format_args!("{shown} {} bytes", file.size)),
            Err(error) => tell(format_args!("{shown}: {error:#}")),
        }
    }
}

async fn one(
    api: &Api,
    job_url: &str,
    first: Option<Target>,
    job: &Path,
    file: &Output,
    bar: &ProgressBar,
) -> Result<()> {
    // Opened by the same rules as when it was found, and then used for all of its parts.
    let source = outputs::open(job).and_then(|folder| folder.file(Path::new(&file.filename)));
    let source = source.map_err(|why| Error::msg(why.to_string()))?;
    ensure!(source.metadata()?.len() == file.size, "it has changed since it was reported");
    let source = Arc::new(Source::new(source));
    let renew = async || {
        let url = job_url.replacen("?token=", "/upload?token=", 1);
        let body = json!({ "path": file.filename }).to_string();
        api.at(Method::PUT, &url, Some(&body)).await.map(|answer| Some(answer.body))
    };
    upload::file(api, &source, file.size, first, renew, bar).await
}
