//! A miner's uploads: straight to S3, in one PUT or in parts, with a progress bar.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
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
};
use tokio_util::io::ReaderStream;

use crate::api::{Api, pause, refusal};

/// How often a PUT is sent before its failure counts. A URL that has ended is renewed in between.
const TRIES: u32 = 5;

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

/// Sends every file where finish's answer says.
pub(crate) async fn all(api: &Api, job_url: &str, finished: &Value, files: &[Output]) -> Result<()> {
    let targets = finished["uploads"].as_array();
    for file in files {
        let mut target = targets.into_iter().flatten().find(|target| target["filename"] == file.name.as_str()).cloned();
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        let bar = ProgressBar::new(file.size).with_style(ProgressStyle::with_template(style)?);
        let bar = bar.with_message(file.name.clone());
        for tries in 1.. {
            // An answer that would be too long leaves the targets out; a URL that failed may have ended.
            let current = match target.take() {
                Some(target) => target,
                None => renew(api, job_url, &file.name).await?,
            };
            bar.set_position(0);
            match send(api, &current, file, &bar).await {
                Ok(()) => break,
                Err(error) if tries == TRIES => return Err(error.context(file.name.clone())),
                Err(_) => pause(None, tries).await,
            }
        }
        bar.finish_and_clear();
        println!("{} {} bytes", file.name, file.size);
    }
    Ok(())
}

async fn renew(api: &Api, job_url: &str, name: &str) -> Result<Value> {
    let url = job_url.replacen("?token=", "/upload?token=", 1);
    api.with_token(Method::PUT, &url, Some(&json!({ "path": name }))).await
}

/// One PUT, or one per part that is still missing.
async fn send(api: &Api, target: &Value, file: &Output, bar: &ProgressBar) -> Result<()> {
    let Some(parts) = target["parts"].as_array() else {
        let url = target["url"].as_str().context("no URL")?;
        return put(api, url, &target["headers"], file, 0, file.size, bar).await;
    };
    let missing: u64 = parts.iter().filter_map(|part| part["size"].as_u64()).sum();
    bar.set_position(file.size.saturating_sub(missing));
    for part in parts {
        let number = |field: &str| part[field].as_u64().with_context(|| format!("a part without {field}"));
        let url = part["url"].as_str().context("a part without a URL")?;
        put(api, url, &json!({}), file, number("offset")?, number("size")?, bar).await?;
    }
    Ok(())
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
    let stream = ReaderStream::new(source.take(size)).inspect_ok(move |bytes| bar.inc(bytes.len() as u64));
    let mut request = api.http.put(url).body(Body::wrap_stream(stream)).header("content-length", size);
    for (name, value) in headers.as_object().into_iter().flatten().filter(|(name, _)| *name != "content-length") {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    if answer.status() != StatusCode::OK {
        bail!("S3: {}", refusal(answer).await);
    }
    Ok(())
}
