//! `jobchute watch`: a job until it is over.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{api::Api, screen};

/// Time between two looks at the job.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Job {
    status: String,
    terminal: bool,
    progress: Option<f64>,
    error_detail: Option<String>,
    /// As the miner has written it.
    result: Option<Box<RawValue>>,
}

/// Shows status and progress as they change. Success when the job is complete.
pub(crate) async fn until_over(api: &Api, job: Uuid) -> Result<ExitCode> {
    let bar = ProgressBar::new(1000).with_style(ProgressStyle::with_template("{elapsed} {wide_bar} {msg}")?);
    let mut seen = String::new();
    let job = loop {
        let job: Job = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
        bar.set_position((job.progress.unwrap_or_default() * 1000.0) as u64);
        bar.set_message(screen::name(&job.status));
        if job.status != seen {
            bar.suspend(|| screen::line(&job.status))?;
            seen.clone_from(&job.status);
        }
        if job.terminal {
            break job;
        }
        tokio::time::sleep(EVERY).await;
    };
    bar.finish_and_clear();
    if let Some(detail) = &job.error_detail {
        screen::line(detail)?;
    }
    if let Some(result) = &job.result {
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
        let job: Job = serde_json::from_str(&answer)?;
        assert_eq!(job.result.map(|result| result.get().to_owned()), Some(deep));
        Ok(())
    }
}
