//! `jobchute download`: a job's output files.

use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{fs, io::AsyncWriteExt};

use crate::api::{Api, refusal};

/// Fetches every file that was uploaded into `to`, under its own relative path. One of another size or hash is an error, and
/// stays as `….part`.
pub(crate) async fn all_files(api: &Api, job: &str, to: &Path) -> Result<()> {
    let files = api.json(Method::GET, &format!("/jobs/{job}"), None).await?["output_files"].take();
    for (file_id, file) in files.as_object().into_iter().flatten().filter(|(_, file)| file["uploaded"] == true) {
        let place = api.json(Method::GET, &format!("/jobs/{job}/download/{file_id}"), None).await?;
        let name = file["filename"].as_str().context("a file without a name")?;
        fetch(api, &place, name, to).await.with_context(|| name.to_owned())?;
        println!("{name}");
    }
    Ok(())
}

async fn fetch(api: &Api, place: &Value, name: &str, to: &Path) -> Result<()> {
    let name = Path::new(name);
    // The API promises it; a file outside of the folder would be somebody's trap.
    ensure!(name.components().all(|part| matches!(part, Component::Normal(_))), "not a relative path");
    let (path, part) = (to.join(name), to.join(format!("{}.part", name.display())));
    fs::create_dir_all(path.parent().unwrap_or(to)).await?;

    let answer = api.http.get(place["url"].as_str().context("no URL")?).send().await;
    let answer = answer.map_err(reqwest::Error::without_url)?;
    if !answer.status().is_success() {
        bail!("S3: {}", refusal(answer).await);
    }
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let bar = ProgressBar::new(answer.content_length().unwrap_or_default());
    let bar = bar.with_style(ProgressStyle::with_template(style)?).with_message(name.display().to_string());
    let (mut file, mut hash, mut size) = (fs::File::create(&part).await?, Sha256::new(), 0);
    let mut stream = answer.bytes_stream();
    while let Some(bytes) = stream.next().await {
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
    fs::rename(part, path).await?;
    Ok(())
}
