//! What a job prints, as its owner reads it.

use std::{collections::HashSet, io, time::Duration};

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
    refusal::{Refusal, StoreRefusal, is_refused_by_store, wait},
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
    /// The addresses of chunks after `next` that are printed. One that was long on its way may be listed before them.
    done: HashSet<String>,
    /// The last time it could not be printed what there was.
    is_behind: bool,
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
        let (done, printed) = (HashSet::new(), Printed::default());
        Self { job, next: None, done, is_behind: false, attempt: 0, printed }
    }

    /// Whether the last look has failed.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Prints what has come since.
    pub(crate) async fn catch_up(&mut self, api: &Api, print: impl Fn(&str) -> io::Result<()>) -> Result<()> {
        self.is_behind = true;
        self.read(api, print).await?;
        self.is_behind = false;
        Ok(())
    }

    async fn read(&mut self, api: &Api, print: impl Fn(&str) -> io::Result<()>) -> Result<()> {
        'pages: loop {
            let after = self.next.as_ref().map(|next| format!("?after={next}")).unwrap_or_default();
            let page: Page = api.json(Method::GET, &format!("/jobs/{}/logs{after}", self.job), None).await?;
            if page.chunks.is_empty() {
                return Ok(());
            }
            let mut is_fresh = true;
            for Chunk { attempt, at, url } in page.chunks {
                let address = url.split('?').next().unwrap_or_default().to_owned();
                if self.done.contains(&address) {
                    continue;
                }
                let bytes = match fetch(api, &url).await {
                    // A reader who stops, as a pager does, has the URLs of the page end.
                    Err(error) if !is_fresh && is_refused_by_store(&error) => continue 'pages,
                    fetched => fetched.context("what the job printed can't be fetched")?,
                };
                is_fresh = false;
                self.done.insert(address);
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
            self.next = page.next;
            self.done.clear();
        }
    }
}

async fn fetch(api: &Api, url: &str) -> Result<Vec<u8>> {
    for try_ in 1.. {
        match timeout(PATIENCE, get(api, url)).await.context("S3 is silent").flatten() {
            Err(error) if !is_refused_by_store(&error) && try_ < TRIES => pace::retry(wait(&error), try_).await,
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
