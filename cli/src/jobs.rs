//! `jobchute create`, `list`, `cancel`, `retry` and `delete`.

use std::{
    fs::File,
    io::{Read, stdin},
};

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::{Deserialize, de::IgnoredAny};
use uuid::Uuid;

use crate::{
    api::Api,
    arguments::Options,
    inputs::{LARGEST_ARGUMENTS, Named, in_place},
    screen,
};

#[derive(Deserialize)]
struct Created {
    job_id: String,
}

/// Creates a job, with these inputs in its arguments, and prints its id.
pub(crate) async fn create(
    api: &Api,
    chute: Uuid,
    method: &str,
    arguments: &str,
    options: &Options,
    inputs: &[Named],
) -> Result<()> {
    let arguments = match arguments.strip_prefix('@') {
        Some("-") => &content("standard input", stdin())?,
        Some(file) => &content(file, File::open(file).with_context(|| format!("{file} can't be opened"))?)?,
        None => arguments,
    };
    let arguments = match inputs {
        [] => arguments,
        inputs => &in_place(api, arguments, inputs).await?,
    };
    let method = utf8_percent_encode(method, NON_ALPHANUMERIC);
    let cancel_after = options.cancel_after.iter().map(|time| ("cancel_after", time));
    let query = query(options.labels.iter().map(|label| ("label", label)).chain(cancel_after));
    let job: Created = api.json(Method::POST, &format!("/jobs/{chute}/{method}?{query}"), Some(arguments)).await?;
    Ok(screen::line(job.job_id)?)
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
    jobs: Vec<Listed>,
    next_cursor: Option<String>,
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

/// Prints the caller's jobs that have these labels, a line each.
pub(crate) async fn list(api: &Api, labels: &[String]) -> Result<()> {
    let labels = query(labels.iter().map(|label| ("label", label)));
    let mut from = String::new();
    loop {
        let page: Page = api.json(Method::GET, &format!("/jobs?limit=100&{labels}{from}"), None).await?;
        for Listed { job_id, created_at, status, method } in page.jobs {
            screen::line(format_args!("{job_id}  {created_at}  {status:<24} {}", screen::name(&method)))?;
        }
        match page.next_cursor {
            Some(cursor) => from = format!("&cursor={cursor}"),
            None => return Ok(()),
        }
    }
}

/// Cancels a job.
pub(crate) async fn cancel(api: &Api, job: Uuid) -> Result<()> {
    let State { status, terminal } = api.json(Method::PUT, &format!("/jobs/{job}/cancel"), None).await?;
    match terminal {
        true => screen::line(status)?,
        // A miner has it, which is told with its next heartbeat.
        false => screen::line(format_args!("{status}, and its miner is told to stop"))?,
    }
    Ok(())
}

/// Has a job tried again.
pub(crate) async fn retry(api: &Api, job: Uuid) -> Result<()> {
    let State { status, .. } = api.json(Method::PUT, &format!("/jobs/{job}/retry"), None).await?;
    Ok(screen::line(status)?)
}

/// Deletes a job.
pub(crate) async fn delete(api: &Api, job: Uuid) -> Result<()> {
    let IgnoredAny = api.json(Method::DELETE, &format!("/jobs/{job}"), None).await?;
    Ok(())
}
