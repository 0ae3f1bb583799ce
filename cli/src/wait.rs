//! `jobchute create --wait`: a job from its creation to its result.

use std::{future::pending, process::ExitCode, time::Duration};

use anyhow::{Context, Error, Result};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep_until};

use crate::{
    api::Api,
    arguments::Create,
    exit::{self, GoesOn, Stopped},
    jobs, pace,
    refusal::refused_with,
    screen,
    signals::Signals,
    watch,
};

/// Ends when this time is over, counted from the call; never without one.
pub(crate) fn late(timeout: Option<Duration>) -> impl AsyncFn() {
    let deadline = timeout.map(|time| Instant::now() + pace::here(time));
    async move || match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

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
