//! `jobchute watch`: a job until it is over.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    api::{Answer, Api},
    pace, screen,
};

/// Time between two looks at the job where the API does not say.
const EVERY: Duration = Duration::from_secs(1);

/// A job without what it carries.
#[derive(Deserialize)]
struct State {
    status: String,
    terminal: bool,
    progress: Option<f64>,
}

/// A job that is over.
#[derive(Deserialize)]
struct Job {
    status: String,
    error_detail: Option<String>,
    /// As the miner has written it.
    result: Option<Box<RawValue>>,
    /// Where it is when it would make the answer too long.
    result_url: Option<String>,
}

/// Shows status and progress as they change. Success when the job is complete.
pub(crate) async fn until_over(api: &Api, job: Uuid) -> Result<ExitCode> {
    let bar = ProgressBar::new(1000).with_style(ProgressStyle::with_template("{elapsed} {wide_bar} {msg}")?);
    let mut seen = String::new();
    loop {
        let Answer { body: state, wait, .. } =
            api.answer::<State>(Method::GET, &format!("/jobs/{job}?view=status"), None).await?;
        bar.set_position((state.progress.unwrap_or_default() * 1000.0) as u64);
        bar.set_message(screen::name(&state.status));
        if state.status != seen {
            bar.suspend(|| screen::line(&state.status))?;
            seen = state.status;
        }
        if state.terminal {
            break;
        }
        pace::pause(wait.unwrap_or(EVERY)).await;
    }
    bar.finish_and_clear();
    let job: Job = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
    if let Some(detail) = &job.error_detail {
        screen::line(detail)?;
    }
    let result = match (job.result, &job.result_url) {
        (None, Some(url)) => Some(api.at(Method::GET, url, None).await?.body),
        (result, _) => result,
    };
    if let Some(result) = result {
        screen::line(result.get())?;
    }
    Ok(if job.status == "complete" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_however_deep_its_arguments_and_its_result_are() -> Result<()> {
        let deep = "[".repeat(50_000) + "18446744073709551616" + &"]".repeat(50_000);
        let answer = format!(
            r#"{{"job_args":{{"a":{deep}}},"status":"complete","terminal":true,"progress":null,"error_detail":null,"result":{deep}}}"#
        );
        let State { terminal, .. } = serde_json::from_str(&answer)?;
        assert!(terminal);
        let job: Job = serde_json::from_str(&answer)?;
        assert_eq!(job.result.map(|result| result.get().to_owned()), Some(deep));
        Ok(())
    }
}
