//! `jobchute download`: a job's output files.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Component, Path},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::Builder;
use tokio::{fs, io::AsyncWriteExt, time::timeout};

use crate::api::{Api, Refusal};

/// Longest wait for the next bytes of a file.
const SILENCE: Duration = Duration::from_secs(60);

/// Fetches every file that was uploaded into `to`, under its own relative path. One of another size or hash is an error, and
/// is not kept. Success when there were files, and all of them.
pub(crate) async fn all_files(api: &Api, job: &str, to: &Path) -> Result<ExitCode> {
    let files = api.json(Method::GET, &format!("/jobs/{job}"), None).await?["output_files"].take();
    let files: Vec<_> = files.as_object().into_iter().flatten().collect();
    if files.is_empty() {
        eprintln!("the job has no output files");
    }
    let mut all = !files.is_empty();
    for (file_id, file) in files {
        let name = file["filename"].as_str().context("a file without a name")?;
        if file["uploaded"] != true {
            eprintln!("{name} is not uploaded");
            all = false;
            continue;
        }
        let place = api.json(Method::GET, &format!("/jobs/{job}/download/{file_id}"), None).await?;
        fetch(api, &place, name, to).await.with_context(|| name.to_owned())?;
        println!("{name}");
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn fetch(api: &Api, place: &Value, name: &str, to: &Path) -> Result<()> {
    let name = Path::new(name);
    // The API promises it; a file outside of the folder would be somebody's trap.
    ensure!(name.components().all(|part| matches!(part, Component::Normal(_))), "not a relative path");
    let path = to.join(name);
    let folder = path.parent().unwrap_or(to);
    fs::create_dir_all(folder).await?;

    let answer = api.http.get(place["url"].as_str().context("no URL")?).send();
    let answer = timeout(SILENCE, answer).await.context("S3 is silent")?.map_err(reqwest::Error::without_url)?;
    if !answer.status().is_success() {
        bail!("S3: {}", Refusal::of(answer).await);
    }
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let bar = ProgressBar::new(answer.content_length().unwrap_or_default());
    let bar = bar.with_style(ProgressStyle::with_template(style)?).with_message(name.display().to_string());
    // A name that no output has. Its mode is any new file's, not a secret's.
    let part = Builder::new().prefix(".jobchute-").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    let (mut file, mut hash, mut size) = (fs::File::from_std(part.reopen()?), Sha256::new(), 0);
    let mut stream = answer.bytes_stream();
    while let Some(bytes) = timeout(SILENCE, stream.next()).await.context("S3 is silent")? {
        let bytes = bytes.map_err(reqwest::Error::without_url)?;
        file.write_all(&bytes).await?;
        hash.update(&bytes);
        size += bytes.len() as u64;
        bar.inc(bytes.len() as u64);
    }
    file.flush().await?;
    bar.finish_and_clear();
    let expected = place["size"].as_u64().unwrap_or(size);
    ensure!(size == expected, "{size} bytes arrived instead of {expected}");
    if let Some(sha256) = place["sha256"].as_str() {
        ensure!(hex::encode(hash.finalize()) == sha256, "its SHA-256 is not {sha256}");
    }
    part.persist(path)?;
    Ok(())
}
