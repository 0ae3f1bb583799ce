//! `jobchute download`: a job's output files.

mod other_name;
#[cfg(any(windows, portable, test))]
mod portable_target;
#[cfg(all(unix, not(portable)))]
mod target;

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Seek, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Error, Result, bail, ensure};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    api::Api,
    digest::digest_aside,
    pace,
    refusal::{Refusal, StoreRefusal, refused, wait},
    screen::{self, BAR, complain, tell},
    signals::Signals,
};

#[cfg(any(windows, portable))]
use portable_target::{Place, Target};
#[cfg(all(unix, not(portable)))]
use target::{Place, Target};

/// How often a file may fail without a byte of it arriving in between.
const TRIES: u32 = 5;
/// Longest wait for the next bytes of a file.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Job {
    output_files: Option<BTreeMap<String, Output>>,
}

#[derive(Deserialize)]
struct Output {
    filename: String,
    uploaded: bool,
    size: Option<u64>,
    sha256: Option<String>,
}

/// Where a file's bytes are, for a quarter of an hour.
#[derive(Deserialize)]
struct Source {
    url: String,
}

/// Fetches every file that was uploaded, under its own relative path, into `to` or a folder named after the job. One of another size
/// or hash is an error, and is not kept. Success when there were files, and all of them are there.
pub(crate) async fn all_files(
    api: &Api,
    signals: &Signals,
    job: Uuid,
    to: Option<PathBuf>,
    force: bool,
) -> Result<ExitCode> {
    tokio::select! {
        done = every(api, job, to, force) => done,
        // Dropping the download removes the file that is not whole.
        () = signals.first() => Ok(signals.exit_code().map_or(ExitCode::FAILURE, ExitCode::from)),
    }
}

async fn every(api: &Api, job: Uuid, to: Option<PathBuf>, force: bool) -> Result<ExitCode> {
    let found: Job = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
    let mut files: Vec<_> = found.output_files.unwrap_or_default().into_iter().collect();
    if files.is_empty() {
        bail!("the job has no output files");
    }
    files.sort_by(|(_, a), (_, b)| a.filename.cmp(&b.filename));
    let folders: HashSet<_> = files.iter().flat_map(|(_, file)| folders(&file.filename)).collect();
    let to = to.unwrap_or_else(|| job.to_string().into());
    let target = Target::open(&to)?;
    let mut told = Vec::new();
    for (file_id, file) in &files {
        let shown = screen::name(&file.filename);
        let done = async {
            if !file.uploaded {
                bail!("not uploaded");
            }
            // The API promises it; another one would be somebody's trap.
            ensure!(is_relative(&file.filename), "not a relative path");
            let (place, is_there) = find(&target, file_id, file, &folders).await?;
            if is_there {
                place.keep();
                return Ok((place, ", which was there"));
            }
            ensure!(!place.is_folder(), "a folder is there");
            ensure!(force || !place.is_taken(), "something else is there, which --force replaces");
            fetch(api, &format!("/jobs/{job}/download/{file_id}"), file, &place, force).await?;
            Ok((place, ""))
        };
        let done = done.await;
        if !screen::is_json() {
            match &done {
                Ok((place, how)) if place.shown == file.filename => tell(format_args!("{shown}{how}")),
                Ok((place, how)) => tell(format_args!("{shown} as {}{how}", place.shown)),
                Err(error) => complain(format_args!("{shown} is missing: {error:#}")),
            }
        }
        told.push(Told::of(file, done));
    }
    let missing = told.iter().filter(|file| file.error.is_some()).count();
    let folder = to.display().to_string();
    if screen::is_json() {
        // Whoever does not read it has the files.
        let _ = screen::json(&json!({"job_id": job, "folder": folder, "files": told}));
    }
    ensure!(missing == 0, "{missing} of {} files are missing in {folder}", files.len());
    Ok(ExitCode::SUCCESS)
}

/// What became of a file, for scripts.
#[derive(Serialize)]
struct Told<'a> {
    filename: &'a str,
    /// Where it is in the folder.
    path: Option<String>,
    /// It did not have to be fetched.
    was_there: bool,
    /// Why it is missing.
    error: Option<String>,
}

impl<'a> Told<'a> {
    fn of(file: &'a Output, done: Result<(Place, &str)>) -> Self {
        let filename = file.filename.as_str();
        match done {
            Ok((place, how)) => Self { filename, path: Some(place.shown), was_there: !how.is_empty(), error: None },
            Err(error) => Self { filename, path: None, was_there: false, error: Some(format!("{error:#}")) },
        }
    }
}

/// Whether a name stays below the folder that it is put in.
fn is_relative(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains('\0')
}

/// The folders that a file of this name needs.
fn folders(name: &str) -> impl Iterator<Item = String> {
    name.match_indices('/').map(|(at, _)| name[..at].to_owned())
}

/// Where a file goes, and whether it is there.
async fn find(target: &Target, file_id: &str, file: &Output, folders: &HashSet<String>) -> Result<(Place, bool)> {
    let place = target.place(&file.filename, file_id, folders)?;
    if is_there(&place, file).await {
        return Ok((place, true));
    }
    let Some(other) = target.instead_of(&place, file_id)? else { return Ok((place, false)) };
    let is_there = is_there(&other, file).await;
    Ok((other, is_there))
}

/// Whether a place has this file. A signal is not kept waiting by the hashing of a large one.
async fn is_there(place: &Place, file: &Output) -> bool {
    let (Some(size), Some(sha256)) = (file.size, &file.sha256) else { return false };
    let Some(found) = place.file(size) else { return false };
    digest_aside(found).await.is_ok_and(|found| found == (size, sha256.clone()))
}

/// A file that arrives, piece by piece.
struct Arriving {
    file: File,
    hash: Sha256,
    size: u64,
    /// What S3 calls the content that the bytes so far are of.
    etag: Option<String>,
}

impl Arriving {
    /// Forgets what has arrived.
    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.hash, self.size, self.etag) = (Sha256::new(), 0, None);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// This disk, and not the network, has failed: no other try does better.
#[derive(Debug, thiserror::Error)]
#[error("can't be written")]
struct Disk(#[from] io::Error);

/// All of a file has arrived, and is not what its uploader has said.
#[derive(Debug, thiserror::Error)]
#[error("its SHA-256 is not {0}")]
struct Another(String);

async fn fetch(api: &Api, path: &str, file: &Output, place: &Place, replace: bool) -> Result<()> {
    let (draft, handle) = place.draft().map_err(Disk)?;
    let mut arriving = Arriving { file: handle, hash: Sha256::new(), size: 0, etag: None };
    let bar = ProgressBar::new(file.size.unwrap_or_default()).with_style(ProgressStyle::with_template(BAR)?);
    let bar = bar.with_message(screen::name(&file.filename));
    let (mut failures, mut most, mut was_another) = (0, 0, false);
    loop {
        let arrived = async {
            // A fresh URL each time: they end.
            let source: Source = api.json(Method::GET, path, None).await?;
            receive(api, &source.url, file, &mut arriving, &bar).await
        };
        match arrived.await {
            Ok(()) => break,
            Err(error) if error.is::<Disk>() || refused(&error).is_some() => return Err(error),
            // Once may be this line's fault. A large file is not fetched five times for a wrong word of its uploader's.
            Err(error) if error.is::<Another>() && std::mem::replace(&mut was_another, true) => return Err(error),
            Err(error) => {
                // Nor is it progress to receive the same once more.
                failures = if arriving.size > most { 1 } else { failures + 1 };
                most = most.max(arriving.size);
                if failures == TRIES {
                    return Err(error);
                }
                pace::retry(wait(&error), failures).await;
            }
        }
    }
    bar.finish_and_clear();
    draft.place(replace).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::msg("something else is there, which --force replaces"),
        _ => Disk(error).into(),
    })
}

/// Receives what has not arrived yet, and checks the whole.
async fn receive(api: &Api, url: &str, file: &Output, arriving: &mut Arriving, bar: &ProgressBar) -> Result<()> {
    let is_whole = file.size == Some(arriving.size) && arriving.size > 0;
    if !is_whole {
        let mut request = api.http.get(url);
        if let Some(etag) = &arriving.etag {
            request = request.header(header::RANGE, format!("bytes={}-", arriving.size)).header(header::IF_MATCH, etag);
        }
        let answer = timeout(SILENCE, request.send()).await.context("S3 is silent")?;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        // What has arrived is of no use where the content is another one by now, or comes from its beginning. No other failure says so.
        if is_from_elsewhere(&answer, arriving.size) {
            arriving.restart().map_err(Disk)?;
            ensure!(status != StatusCode::PARTIAL_CONTENT, "S3 answers another part of it than it was asked for");
        }
        if !status.is_success() {
            bail!(StoreRefusal(Refusal::of(answer).await));
        }
        let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        arriving.etag = etag.filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let mut stream = answer.bytes_stream();
        while let Some(bytes) = timeout(SILENCE, stream.next()).await.context("S3 is silent")? {
            let bytes = bytes.map_err(reqwest::Error::without_url)?;
            arriving.add(&bytes).map_err(Disk)?;
            bar.set_position(arriving.size);
            if file.size.is_some_and(|size| arriving.size > size) {
                break;
            }
        }
    }
    let Output { size, sha256, .. } = file;
    let is_size = size.is_none_or(|size| size == arriving.size);
    let is_hash = sha256.as_ref().is_none_or(|sha256| hex::encode(arriving.hash.clone().finalize()) == *sha256);
    let (arrived, expected) = (arriving.size, size.unwrap_or(arriving.size));
    // One that ends too early goes on from there.
    let is_cut = size.is_some_and(|size| arrived < size);
    if !is_cut && (!is_size || !is_hash) {
        arriving.restart().map_err(Disk)?;
    }
    ensure!(is_size, "{arrived} bytes arrived instead of {expected}");
    if is_hash { Ok(()) } else { bail!(Another(sha256.clone().unwrap_or_default())) }
}

/// Whether an answer says that it cannot be put behind so many bytes.
fn is_from_elsewhere(answer: &Response, after: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => !range.is_some_and(|range| range.starts_with(&format!("bytes {after}-"))),
        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => true,
        status => status.is_success(),
    }
}
