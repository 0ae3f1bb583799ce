//! `jobchute create --wait`: a job from its creation to its result.

use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use reqwest::StatusCode;

use crate::{
    api::Api,
    arguments::Create,
    exit::{self, GoesOn, Stopped},
    jobs,
    pace::late,
    refusal::refused_with,
    screen,
    signals::Signals,
    watch,
};

/// Creates a job, waits until it is over, and prints its result; for scripts the whole job.
pub(crate) async fn create(api: &Api, signals: &Signals, order: &Create) -> Result<ExitCode> {
    let stopped = || Error::new(Stopped::Signal(signals.exit_code().unwrap_or_default()));
    let late = late(order.timeout);
    let (job, _) = jobs::created(api, signals, order, &late).await?;
    if !screen::is_json() {
        screen::complain(format_args!("created {job}"));
    }
    let followed = tokio::select! {
        followed = watch::follow(api, job, None, |_, _| Ok(())) => followed,
        () = signals.first() => Err(stopped()),
        () = late() => Err(Stopped::Late.into()),
    };
    let is_gone = |error: &Error| refused_with(error) == Some(StatusCode::NOT_FOUND);
    let answer = followed.map_err(|error| if is_gone(&error) { error } else { error.context(GoesOn(job)) })?;
    let over: watch::Job = serde_json::from_str(answer.get())?;
    let unseen = || format!("job {job} is over, and `jobchute watch {job}` shows it");
    if screen::is_json() {
        screen::json(&answer).with_context(unseen)?;
    } else {
        if let Some(detail) = &over.error_detail {
            screen::complain(detail);
        }
        let result = tokio::select! {
            result = watch::result(api, &over) => result,
            () = signals.first() => Err(stopped()),
        };
        if let Some(result) = result.with_context(|| format!("the result of job {job}"))? {
            screen::json_text(result.get()).with_context(unseen)?;
        }
    }
    Ok(exit::of_status(&over.status).into())
}
