//! A miner's uploads: straight to S3, in one PUT or in parts, with a progress bar.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::io::ReaderStream;

use crate::api::{Api, Refusal, is_near, pause, refused};

/// How often a file may fail without a byte of it being done in between. Its URLs are renewed each time.
const TRIES: u32 = 5;
/// How long S3 may take nothing and answer nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A file in the output folder.
pub(crate) struct Output {
    path: PathBuf,
    /// Its name for the API: relative, with slashes.
    name: String,
    size: u64,
    sha256: String,
}

impl Output {
    /// What the miner declares of it.
    pub(crate) fn declaration(&self) -> Value {
        json!({"filename": self.name, "size": self.size, "sha256": self.sha256})
    }
}

/// Every file in the folder and below.
pub(crate) async fn outputs(folder: &Path) -> Result<Vec<Output>> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        let mut entries = tokio::fs::read_dir(&next).await?;
        while let Some(entry) = entries.next_entry().await? {
            let path = entry.path();
            if entry.file_type().await?.is_dir() {
                folders.push(path);
                continue;
            }
            let parts: Option<Vec<_>> = path.strip_prefix(folder)?.iter().map(|part| part.to_str()).collect();
            let name = parts.with_context(|| format!("{} is not UTF-8", path.display()))?.join("/");
            let (size, sha256) = digest(&path).await?;
            found.push(Output { path, name, size, sha256 });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

async fn digest(path: &Path) -> Result<(u64, String)> {
    let (mut size, mut hash) = (0, Sha256::new());
    let mut stream = ReaderStream::new(File::open(path).await?);
    while let Some(bytes) = stream.try_next().await? {
        size += bytes.len() as u64;
        hash.update(&bytes);
    }
    Ok((size, hex::encode(hash.finalize())))
}

/// Sends every file where finish's answer says; whether all arrived. One that fails does not keep the others.
pub(crate) async fn all(api: &Api, job_url: &str, finished: &Value, files: &[Output]) -> Result<bool> {
    let targets = finished["uploads"].as_array();
    let mut done = true;
    for file in files {
        let target = targets.into_iter().flatten().find(|target| target["filename"] == file.name.as_str()).cloned();
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        let bar = ProgressBar::new(file.size).with_style(ProgressStyle::with_template(style)?);
        let bar = bar.with_message(file.name.clone());
        let sent = one(api, job_url, target, file, &bar).await;
        bar.finish_and_clear();
        match &sent {
            Ok(()) => println!("{} {} bytes", file.name, file.size),
            Err(error) => println!("{}: {error:#}", file.name),
        }
        done &= sent.is_ok();
    }
    Ok(done)
}

async fn one(api: &Api, job_url: &str, first: Option<Value>, file: &Output, bar: &ProgressBar) -> Result<()> {
    // An answer that would be too long leaves the targets out.
    let mut target = first.filter(|target| !is_near(&target["expires_at"]));
    let mut failures = 0;
    loop {
        bar.set_position(0);
        let sent = async {
            let target = match target.take() {
                Some(target) => target,
                None => renew(api, job_url, &file.name).await?,
            };
            send(api, &target, file, bar, &mut failures).await
        };
        match sent.await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if failures + 1 == TRIES || refused(&error).is_some() => return Err(error),
            Err(_) => {
                failures += 1;
                pause(None, failures).await;
            }
        }
    }
}

async fn renew(api: &Api, job_url: &str, name: &str) -> Result<Value> {
    let url = job_url.replacen("?token=", "/upload?token=", 1);
    api.with_token(Method::PUT, &url, Some(&json!({ "path": name }))).await
}

/// One PUT, or one per part that is still missing. False: the URLs end before all parts are sent.
async fn send(api: &Api, target: &Value, file: &Output, bar: &ProgressBar, failures: &mut u32) -> Result<bool> {
    let Some(parts) = target["parts"].as_array() else {
        let url = target["url"].as_str().context("no URL")?;
        put(api, url, &target["headers"], file, 0, file.size, bar).await?;
        return Ok(true);
    };
    let missing: u64 = parts.iter().filter_map(|part| part["size"].as_u64()).sum();
    bar.set_position(file.size.saturating_sub(missing));
    for (index, part) in parts.iter().enumerate() {
        // Never before the first, so that every renewal is some progress.
        if index > 0 && is_near(&target["expires_at"]) {
            return Ok(false);
        }
        let number = |field: &str| part[field].as_u64().with_context(|| format!("a part without {field}"));
        let url = part["url"].as_str().context("a part without a URL")?;
        put(api, url, &json!({}), file, number("offset")?, number("size")?, bar).await?;
        *failures = 0;
    }
    Ok(true)
}

async fn put(
    api: &Api,
    url: &str,
    headers: &Value,
    file: &Output,
    offset: u64,
    size: u64,
    bar: &ProgressBar,
) -> Result<()> {
    let mut source = File::open(&file.path).await?;
    source.seek(SeekFrom::Start(offset)).await?;
    let bar = bar.clone();
    let (moved, mut moves) = watch::channel(());
    let stream = ReaderStream::new(source.take(size)).inspect_ok(move |bytes| {
        bar.inc(bytes.len() as u64);
        moved.send_replace(());
    });
    let mut request = api.http.put(url).body(Body::wrap_stream(stream)).header("content-length", size);
    for (name, value) in headers.as_object().into_iter().flatten().filter(|(name, _)| *name != "content-length") {
        request = request.header(name, value.as_str().unwrap_or_default());
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
        bail!("S3: {}", Refusal::of(answer).await);
    }
    Ok(())
}
