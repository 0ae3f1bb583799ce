//! One job until it is over.

use std::{io, time::Duration};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    api::{Answer, Api},
    exit,
    logs::Logs,
    pace,
    refusal::{Refusal, StoreRefusal},
    screen,
};

/// Time between two looks at the job where the API does not say.
const EVERY: Duration = Duration::from_secs(1);

/// A job without what it carries.
#[derive(Deserialize)]
pub(crate) struct State {
    pub(crate) status: String,
    terminal: bool,
    progress: Option<f64>,
}

/// A job that is over.
#[derive(Deserialize)]
pub(crate) struct Job {
    pub(crate) status: String,
    pub(crate) error_detail: Option<String>,
    /// As the miner has written it.
    result: Option<Box<RawValue>>,
    /// Where it is when it would make the answer too long.
    result_url: Option<String>,
}

/// Shows a job's status and progress as they change, and at the end its result. Returns the exit code.
pub(crate) async fn until_over(api: &Api, job: Uuid, with_logs: bool) -> Result<u8> {
    let (mut seen, mut logs) = (None, with_logs.then(|| Logs::new(job)));
    let answer = follow(api, job, logs.as_mut(), |state, answer| {
        // In words the progress is the bar's. The end comes with the whole job.
        let progress = state.progress.filter(|_| screen::is_json());
        if seen.replace((state.status.clone(), progress)) == Some((state.status.clone(), progress)) {
            return Ok(());
        }
        match screen::is_json() {
            true if state.terminal => Ok(()),
            true => screen::json(answer),
            false => screen::line(&state.status),
        }
    })
    .await?;
    let job: Job = serde_json::from_str(answer.get())?;
    let code = exit::of_status(&job.status);
    if screen::is_json() {
        screen::json(&answer)?;
        return Ok(code);
    }
    if let Some(detail) = &job.error_detail {
        screen::line(detail)?;
    }
    if let Some(result) = result(api, &job).await? {
        screen::json_text(result.get())?;
    }
    Ok(code)
}

/// Prints what a job has printed so far, or until it is over.
pub(crate) async fn logs(api: &Api, job: Uuid, is_followed: bool) -> Result<()> {
    let mut logs = Logs::new(job);
    if is_followed {
        follow(api, job, Some(&mut logs), |_, _| Ok(())).await?;
    }
    if !is_followed || logs.is_behind() {
        logs.catch_up(api, |text| screen::raw(text.as_bytes())).await?;
    }
    Ok(())
}

/// Looks at a job as often as the API says, until it is over: the whole job. Each look is shown, and what it has printed by then.
pub(crate) async fn follow(
    api: &Api,
    job: Uuid,
    mut logs: Option<&mut Logs>,
    mut show: impl FnMut(&State, &RawValue) -> io::Result<()>,
) -> Result<Box<RawValue>> {
    let bar = ProgressBar::new(1000).with_style(ProgressStyle::with_template("{elapsed} {wide_bar} {msg}")?);
    loop {
        let Answer { body: answer, wait, .. } =
            api.answer::<Box<RawValue>>(Method::GET, &format!("/jobs/{job}?view=status"), None).await?;
        let state: State = serde_json::from_str(answer.get())?;
        bar.set_position((state.progress.unwrap_or_default() * 1000.0) as u64);
        bar.set_message(screen::name(&state.status));
        bar.suspend(|| show(&state, &answer))?;
        if let Some(logs) = &mut logs {
            match logs.catch_up(api, |text| bar.suspend(|| screen::raw(text.as_bytes()))).await {
                // Nobody reads any more.
                Err(error) if error.is::<io::Error>() => return Err(error),
                // How the job ends is worth more than what it has printed.
                Err(error) => bar.suspend(|| screen::complain(format_args!("jobchute: {error:#}"))),
                Ok(()) => {}
            }
        }
        if state.terminal {
            let whole: Box<RawValue> = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
            // It may have been tried again meanwhile.
            if serde_json::from_str::<State>(whole.get())?.terminal {
                bar.finish_and_clear();
                return Ok(whole);
            }
        }
        pace::pause(wait.unwrap_or(EVERY)).await;
    }
}

/// The result of a job that is over, if it has one.
pub(crate) async fn result(api: &Api, job: &Job) -> Result<Option<Box<RawValue>>> {
    match (&job.result, &job.result_url) {
        // It is S3 that refuses there, and nobody's key.
        (None, Some(url)) => match api.at(Method::GET, url, None).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(error) => {
                Err(error.downcast::<Refusal>().map_or_else(|error| error, |refusal| StoreRefusal(refusal).into()))
            }
        },
        (result, _) => Ok(result.clone()),
    }
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
        let answer: Box<RawValue> = serde_json::from_str(&answer)?;
        let State { terminal, .. } = serde_json::from_str(answer.get())?;
        assert!(terminal);
        let job: Job = serde_json::from_str(answer.get())?;
        assert_eq!(job.result.map(|result| result.get().to_owned()), Some(deep));
        Ok(())
    }
}
