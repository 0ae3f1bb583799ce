//! `jobchute create`, `list`, `cancel`, `retry` and `delete`.

use std::{
    fs::File,
    io::{Read, stdin},
    time::Duration,
};

use anyhow::{Context, Error, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{task::spawn_blocking, time::sleep};
use uuid::Uuid;

use crate::{
    api::{Api, Once},
    arguments::{Create, Which},
    exit::{GoesOn, MayExist, Stopped},
    inputs::{LARGEST_ARGUMENTS, in_place},
    pace::{self, late},
    refusal::{refused, refused_with},
    screen,
    signals::Signals,
};

/// How long the answer to a create that was sent is waited for when this command has to end: it says which job goes on.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// An earlier one with the same key may have.
const NOTHING_DONE: &str = "this command has created no job";

#[derive(Deserialize)]
struct Created {
    job_id: Uuid,
}

/// Creates a job, with its inputs in its arguments, and prints its id.
pub(crate) async fn create(api: &Api, order: &Create) -> Result<()> {
    let (job, answer) = created(api, &Signals::take()?, order, late(None)).await?;
    // Whoever does not see the id would create another one.
    show(&answer, |Created { job_id }| job_id.to_string()).context(GoesOn(job))
}

/// Creates a job, with its inputs in its arguments: its id, and the API's answer. Where a signal or the time ends it before, or no answer comes, the error
/// says whether there may be a job, and how to have it without a second one.
pub(crate) async fn created(
    api: &Api,
    signals: &Signals,
    order: &Create,
    late: impl AsyncFn(),
) -> Result<(Uuid, Box<RawValue>)> {
    let ended = async || {
        tokio::select! {
            () = signals.first() => Error::new(Stopped::Signal(signals.exit_code().unwrap_or_default())),
            () = late() => Stopped::Late.into(),
        }
    };
    let arguments = tokio::select! {
        arguments = arguments(api, order) => arguments?,
        ended = ended() => return Err(ended.context(NOTHING_DONE)),
    };
    let once = Once::new(order.idempotency_key.clone().unwrap_or_else(|| Uuid::new_v4().to_string()));
    let last = async {
        let ended = ended().await;
        let by_signal = signals.exit_code().is_some();
        let asked = async { if by_signal { signals.second().await } else { signals.first().await } };
        if once.is_open() {
            tokio::select! { () = sleep(pace::here(LAST_ANSWER)) => {}, () = asked => {} }
        }
        ended
    };
    let created = tokio::select! {
        created = post(api, order, &once, &arguments) => created,
        ended = last => Err(ended),
    };
    created.map_err(|error| match once.is_open() {
        true => error.context(MayExist(once.key().to_owned())),
        // A refusal says it itself.
        false if refused(&error).is_some() => error,
        false => error.context(NOTHING_DONE),
    })
}

/// The arguments of a job that is to be created, after its inputs were uploaded.
async fn arguments(api: &Api, order: &Create) -> Result<String> {
    let arguments = match order.arguments.strip_prefix('@') {
        // A pipe may be silent for as long as it likes: a signal ends the waiting for it.
        Some("-") => spawn_blocking(|| content("standard input", stdin())).await??,
        Some(file) => {
            let file = file.to_owned();
            let open = move || content(&file, File::open(&file).with_context(|| format!("{file} can't be opened"))?);
            spawn_blocking(open).await??
        }
        None => order.arguments.clone(),
    };
    match &order.inputs[..] {
        [] => Ok(arguments),
        inputs => in_place(api, &arguments, inputs).await,
    }
}

async fn post(api: &Api, order: &Create, once: &Once, arguments: &str) -> Result<(Uuid, Box<RawValue>)> {
    let (chute, method) = (order.chute, utf8_percent_encode(&order.method, NON_ALPHANUMERIC));
    let cancel_after = order.cancel_after.iter().map(|time| ("cancel_after", time));
    let query = query(order.labels.iter().map(|label| ("label", label)).chain(cancel_after));
    let answer: Box<RawValue> =
        api.once(once, Method::POST, &format!("/jobs/{chute}/{method}?{query}"), Some(arguments)).await?;
    let Created { job_id } = serde_json::from_str(answer.get()).context("the answer is not a job")?;
    once.close();
    Ok((job_id, answer))
}

/// Prints an answer of the API's: as it is for scripts, or in these words.
fn show<'a, T: Deserialize<'a>>(answer: &'a RawValue, words: impl FnOnce(T) -> String) -> Result<()> {
    if screen::is_json() {
        return Ok(screen::json(answer)?);
    }
    Ok(screen::line(words(serde_json::from_str(answer.get())?))?)
}

fn query<'a>(parameters: impl Iterator<Item = (&'a str, &'a String)>) -> String {
    let encoded = parameters.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    encoded.collect::<Vec<_>>().join("&")
}

/// The arguments that a file holds. Whether they are good, the API decides.
fn content(name: &str, file: impl Read) -> Result<String> {
    let mut content = Vec::new();
    file.take(LARGEST_ARGUMENTS + 1).read_to_end(&mut content).with_context(|| format!("{name} can't be read"))?;
    ensure!(
        content.len() as u64 <= LARGEST_ARGUMENTS,
        "{name} is larger than 4 MiB, as much as a job's arguments may be"
    );
    String::from_utf8(content).with_context(|| format!("{name} is not UTF-8"))
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// All pages, for scripts.
#[derive(Serialize)]
struct Jobs {
    jobs: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Listed {
    job_id: String,
    created_at: String,
    status: String,
    method: String,
}

#[derive(Deserialize)]
struct State {
    status: String,
    terminal: bool,
}

/// These jobs of the caller's, in a list's query.
pub(crate) fn filter(which: &Which) -> String {
    let chute = which.chute.map(|chute| chute.to_string());
    query(which.labels.iter().map(|label| ("label", label)).chain(chute.iter().map(|chute| ("chute_id", chute))))
}

/// Prints these jobs of the caller's, a line each; for scripts all of them together.
pub(crate) async fn list(api: &Api, which: &Which) -> Result<()> {
    let (filter, mut from, mut all) = (filter(which), String::new(), Vec::new());
    loop {
        let page: Page = api.json(Method::GET, &format!("/jobs?limit=100&{filter}{from}"), None).await?;
        match screen::is_json() {
            true => all.extend(page.jobs),
            false => page.jobs.iter().try_for_each(|job| lined(job))?,
        }
        match page.next_cursor {
            Some(cursor) => from = format!("&cursor={cursor}"),
            None if screen::is_json() => return Ok(screen::json(&Jobs { jobs: all })?),
            None => return Ok(()),
        }
    }
}

fn lined(job: &RawValue) -> Result<()> {
    let Listed { job_id, created_at, status, method } = serde_json::from_str(job.get())?;
    Ok(screen::line(format_args!("{job_id}  {created_at}  {status:<24} {}", screen::name(&method)))?)
}

/// Cancels a job.
pub(crate) async fn cancel(api: &Api, job: Uuid) -> Result<()> {
    let answer: Box<RawValue> = api.json(Method::PUT, &format!("/jobs/{job}/cancel"), None).await?;
    show(&answer, |State { status, terminal }| match terminal {
        true => status,
        // A miner has it, which is told with its next heartbeat.
        false => format!("{status}, and its miner is told to stop"),
    })
}

/// Has a job tried again.
pub(crate) async fn retry(api: &Api, job: Uuid) -> Result<()> {
    let once = Once::new(Uuid::new_v4().to_string());
    let retried = api.once(&once, Method::PUT, &format!("/jobs/{job}/retry"), None).await;
    let answer: Box<RawValue> = match retried {
        // The copy whose answer was lost may be why there is nothing to retry any more.
        Err(error) if once.was_open() && refused_with(&error) == Some(StatusCode::CONFLICT) => {
            let found: Box<RawValue> = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
            let State { terminal, .. } = serde_json::from_str(found.get())?;
            if terminal { Err(error) } else { Ok(found) }
        }
        retried => retried,
    }?;
    show(&answer, |State { status, .. }| status)
}

/// Deletes a job, without a word.
pub(crate) async fn delete(api: &Api, job: Uuid) -> Result<()> {
    let answer: Box<RawValue> = api.json(Method::DELETE, &format!("/jobs/{job}"), None).await?;
    if screen::is_json() { Ok(screen::json(&answer)?) } else { Ok(()) }
}
