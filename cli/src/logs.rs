//! What a job prints, as its owner reads it.

use std::{io, time::Duration};

use anstream::adapter::StripBytes;
use anyhow::{Context, Error, Result, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    api::Api,
    body::body,
    pace,
    refusal::{Refusal, StoreRefusal, refused, wait},
    screen::{self, Filter},
};

/// How long S3 may take for a chunk, which has 1 MiB at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a chunk is fetched before its failure counts.
const TRIES: u32 = 5;

/// A page of chunks.
#[derive(Deserialize)]
struct Page {
    chunks: Vec<Chunk>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Chunk {
    attempt: u32,
    at: String,
    url: String,
}

/// The logs of a job, read as they come.
pub(crate) struct Logs {
    job: Uuid,
    next: Option<String>,
    /// Chunks after `next` that are printed.
    done: usize,
    /// The attempt that is printed, and what of it stands.
    attempt: u32,
    printed: Printed,
}

/// Makes what was printed harmless: sequences that steer a terminal are left out, and so is what is no UTF-8; what is left of control
/// characters is shown as escapes.
#[derive(Default)]
struct Printed {
    strip: StripBytes,
    filter: Filter,
}

impl Printed {
    fn pass(&mut self, bytes: &[u8]) -> String {
        let plain: Vec<u8> = self.strip.strip_next(bytes).flatten().copied().collect();
        self.filter.pass(&plain)
    }
}

impl Logs {
    pub(crate) fn new(job: Uuid) -> Self {
        Self { job, next: None, done: 0, attempt: 0, printed: Printed::default() }
    }

    /// Prints what has come since.
    pub(crate) async fn catch_up(&mut self, api: &Api, print: impl Fn(&str) -> io::Result<()>) -> Result<()> {
        loop {
            let after = self.next.as_ref().map(|next| format!("?after={next}")).unwrap_or_default();
            let page: Page = api.json(Method::GET, &format!("/jobs/{}/logs{after}", self.job), None).await?;
            if page.chunks.is_empty() {
                return Ok(());
            }
            for Chunk { attempt, at, url } in page.chunks.into_iter().skip(self.done) {
                let bytes = fetch(api, &url).await.context("what the job printed can't be fetched")?;
                self.done += 1;
                // What one attempt has left unfinished hides nothing of the next.
                if attempt != self.attempt {
                    (self.attempt, self.printed) = (attempt, Printed::default());
                }
                let text = self.printed.pass(&bytes);
                match screen::is_json() {
                    true => screen::json(&json!({"attempt": attempt, "at": at, "log": text}))?,
                    false => print(&text)?,
                }
            }
            (self.next, self.done) = (page.next, 0);
        }
    }
}

async fn fetch(api: &Api, url: &str) -> Result<Vec<u8>> {
    for try_ in 1.. {
        match timeout(PATIENCE, get(api, url)).await.context("S3 is silent").flatten() {
            Err(error) if refused(&error).is_none() && try_ < TRIES => pace::retry(wait(&error), try_).await,
            done => return done,
        }
    }
    unreachable!("the last try returns")
}

async fn get(api: &Api, url: &str) -> Result<Vec<u8>> {
    let answer = api.http.get(url).send().await.map_err(reqwest::Error::without_url)?;
    if answer.status() != StatusCode::OK {
        bail!(Error::new(StoreRefusal(Refusal::of(answer).await)));
    }
    body(answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_steers_no_terminal_wherever_it_is_cut() {
        let text = "é \x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\t1 %\n\u{1f600}\u{202e}x".as_bytes();
        for first in 0..=text.len() {
            let mut printed = Printed::default();
            let shown = printed.pass(&text[..first]) + &printed.pass(&text[first..]);
            assert_eq!(shown, "é red\t1 %\n\u{1f600}\\u{202e}x", "{first}");
        }
        assert_eq!(Printed::default().pass(b"\xffx"), "x");
    }
}
