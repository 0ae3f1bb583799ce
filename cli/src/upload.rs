//! Uploads straight to S3, in one PUT or in parts, with a progress bar.

use std::{collections::HashMap, fs::File, io, sync::Arc, time::Duration};

use anyhow::{Context, Error, Result, bail};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream::try_unfold};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    api::{Api, time},
    file::{Stamp, read_exact_at, stamp},
    pace,
    refusal::{Refusal, StoreRefusal, refused, wait},
    screen::BAR,
};

/// How often a file may fail without a part of it being done in between. Its URLs are renewed each time.
pub(crate) const TRIES: u32 = 5;
/// How long S3 may take nothing and answer nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;

/// Where a file goes.
#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) filename: String,
    /// None when it goes in parts.
    url: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    expires_at: Option<String>,
    /// Those that are still missing.
    parts: Option<Vec<Part>>,
}

#[derive(Deserialize)]
struct Part {
    offset: u64,
    size: u64,
    url: String,
}

impl Target {
    /// Whether the file goes in parts.
    pub(crate) fn is_in_parts(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether its URLs end in less than a minute.
    fn ends(&self) -> bool {
        let end = self.expires_at.as_deref().and_then(time);
        end.is_some_and(|end| end - OffsetDateTime::now_utc() < Duration::from_secs(60))
    }
}

/// A file that is sent.
pub(crate) struct Source {
    file: File,
    /// What it was like when it was hashed, where it has to be that.
    hashed: Option<Stamp>,
}

impl Source {
    /// One that is sent as it is then.
    pub(crate) fn new(file: File) -> Self {
        Self { file, hashed: None }
    }

    /// One that is sent only while it is as it is now: it is about to be hashed.
    pub(crate) fn unchanging(file: File) -> io::Result<Self> {
        let hashed = Some(stamp(&file)?);
        Ok(Self { file, hashed })
    }

    fn is_unchanged(&self) -> bool {
        self.hashed.as_ref().is_none_or(|hashed| stamp(&self.file).is_ok_and(|now| now == *hashed))
    }
}

/// Why a file is sent no more: it is not there as it was reported.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Lost(pub(crate) String);

/// Why its content can't be had.
#[derive(Debug, thiserror::Error)]
#[error("it can't be read: {0}")]
struct Unreadable(#[source] io::Error);

/// Whether a file that has failed so may arrive yet: nobody has decided against it, and it is there.
pub(crate) fn may_arrive(error: &Error) -> bool {
    let is_lost = error.is::<Lost>() || error.chain().any(|cause| cause.is::<Unreadable>());
    !is_lost && refused(error).is_none()
}

/// The progress bar of a file.
pub(crate) fn bar(shown: String, size: u64) -> ProgressBar {
    let bar = ProgressBar::new(size).with_message(shown);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Sends a file, and again after failures.
pub(crate) async fn file<F: Future<Output = Result<Option<Target>>>>(
    api: &Api,
    source: &Arc<Source>,
    size: u64,
    mut first: Option<Target>,
    renew: impl Fn() -> F,
    bar: &ProgressBar,
) -> Result<()> {
    let mut failures = 0;
    loop {
        let mut proceeded = false;
        match once(api, source, size, first.take(), &renew, bar, &mut proceeded).await {
            Err(error) if may_arrive(&error) && (proceeded || failures + 1 < TRIES) => {
                failures = if proceeded { 1 } else { failures + 1 };
                pace::retry(wait(&error), failures).await;
            }
            done => return done,
        }
    }
}

/// Sends a file where its target says; where there is none, or its URLs end, where `renew` says, which answers None when the file is there.
/// `proceeded` tells of an error whether a part has arrived before.
pub(crate) async fn once<F: Future<Output = Result<Option<Target>>>>(
    api: &Api,
    source: &Arc<Source>,
    size: u64,
    first: Option<Target>,
    renew: impl Fn() -> F,
    bar: &ProgressBar,
    proceeded: &mut bool,
) -> Result<()> {
    // An answer that would be too long leaves the targets out.
    let mut target = first.filter(|target| !target.ends());
    loop {
        bar.set_position(0);
        let now = match target.take() {
            Some(target) => Some(target),
            None => renew().await?,
        };
        let Some(now) = now else { return Ok(()) };
        match send(api, &now, source, size, bar, proceeded).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_) if !source.is_unchanged() => bail!(Lost("it has changed while it was sent".to_owned())),
            Err(error) => return Err(error),
        }
    }
}

/// One PUT, or one per part that is still missing. False: the URLs end before all parts are sent.
async fn send(
    api: &Api,
    target: &Target,
    source: &Arc<Source>,
    size: u64,
    bar: &ProgressBar,
    proceeded: &mut bool,
) -> Result<bool> {
    let Some(parts) = &target.parts else {
        let url = target.url.as_deref().context("no URL")?;
        put(api, url, &target.headers, source, (0, size), bar).await?;
        return Ok(true);
    };
    let missing: u64 = parts.iter().map(|part| part.size).sum();
    bar.set_position(size.saturating_sub(missing));
    for (index, part) in parts.iter().enumerate() {
        // Never before the first, so that every renewal is some progress.
        if index > 0 && target.ends() {
            return Ok(false);
        }
        put(api, &part.url, &HashMap::new(), source, (part.offset, part.size), bar).await?;
        *proceeded = true;
    }
    Ok(true)
}

/// So many bytes from an offset on, whatever else reads the same handle. The last of them only if all were read of the file as it was
/// hashed: S3 keeps nothing of a request that was cut short.
fn content(source: Arc<Source>, offset: u64, size: u64) -> impl Stream<Item = Result<Bytes, Unreadable>> {
    try_unfold((offset, size), move |(offset, left)| {
        let source = Arc::clone(&source);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let piece = spawn_blocking(move || {
                let mut piece = vec![0; left.min(PIECE) as usize];
                read_exact_at(&source.file, &mut piece, offset)?;
                match left > PIECE || source.is_unchanged() {
                    true => Ok(piece),
                    false => Err(io::Error::other("the file has changed")),
                }
            });
            let piece = piece.await.map_err(io::Error::from).flatten().map_err(Unreadable)?;
            let read = piece.len() as u64;
            Ok(Some((Bytes::from(piece), (offset + read, left - read))))
        }
    })
}

/// Sends so many bytes from an offset on.
async fn put(
    api: &Api,
    url: &str,
    headers: &HashMap<String, String>,
    source: &Arc<Source>,
    (offset, size): (u64, u64),
    bar: &ProgressBar,
) -> Result<()> {
    let bar = bar.clone();
    let (moved, mut moves) = watch::channel(());
    let stream = content(Arc::clone(source), offset, size).inspect_ok(move |bytes| {
        bar.inc(bytes.len() as u64);
        moved.send_replace(());
    });
    let mut request = api.http.put(url).body(Body::wrap_stream(stream)).header("content-length", size);
    for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(name, value);
    }
    let silence = async {
        while let Ok(moved) = timeout(SILENCE, moves.changed()).await {
            if moved.is_err() {
                // All is sent.
                return sleep(SILENCE).await;
            }
        }
    };
    let answer = tokio::select! {
        answer = request.send() => answer.map_err(reqwest::Error::without_url)?,
        () = silence => bail!("S3 is silent"),
    };
    if answer.status() != StatusCode::OK {
        bail!(StoreRefusal(Refusal::of(answer).await));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn urls_end_in_their_last_minute_and_ever_after() -> Result<()> {
        let ends = |expires_at: Option<String>| {
            Target { filename: String::new(), url: None, headers: HashMap::new(), expires_at, parts: None }.ends()
        };
        let within = |seconds| {
            let time = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
            anyhow::Ok(Some(time.format(&Rfc3339)?))
        };
        assert!(ends(Some("2020-01-01T00:00:00.000Z".to_owned())) && ends(within(50)?));
        assert!(!ends(within(70)?) && !ends(None));
        Ok(())
    }
}
