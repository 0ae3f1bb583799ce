//! `jobchute work`: a miner that runs a command for every job of a chute.

use std::{collections::HashSet, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{fs, io::AsyncWriteExt, process::Command, time::sleep};

use crate::{api::Api, upload};

/// Time between two looks for work.
const POLL: Duration = Duration::from_secs(2);
/// Time between two heartbeats; the lease ends 90 seconds after each.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Bytes of the command's error output that are reported when it fails.
const DETAIL: usize = 8 << 10;

/// Claims and runs one job after the other; with `once`, one.
pub(crate) async fn work(api: &Api, chute: &str, once: bool, command: &[String]) -> Result<()> {
    // Another miner was faster, or this one lost the job before.
    let mut refused = HashSet::new();
    loop {
        let page = api.json(Method::GET, &format!("/jobs/claimable?chute_id={chute}"), None).await?;
        let jobs = page["jobs"].as_array().context("the answer has no jobs")?;
        for job_id in jobs.iter().filter_map(|job| job["job_id"].as_str()) {
            if refused.contains(job_id) {
                continue;
            }
            let assignment = match api.json(Method::PUT, &format!("/jobs/{job_id}/claim"), Some(&json!({}))).await {
                Ok(assignment) => assignment,
                Err(error) => {
                    println!("{error:#}");
                    refused.insert(job_id.to_owned());
                    continue;
                }
            };
            println!("claimed {job_id}");
            match run(api, &assignment, command).await {
                Ok(status) => println!("{job_id}: {status}"),
                Err(error) => println!("{job_id}: given up: {error:#}"),
            }
            if once {
                return Ok(());
            }
        }
        sleep(POLL).await;
    }
}

/// Runs one job to its end, while heartbeats hold it. The job's status at the end.
async fn run(api: &Api, assignment: &Value, command: &[String]) -> Result<String> {
    let job_url = assignment["job_status_url"].as_str().context("no job_status_url")?;
    let folder = TempDir::with_prefix("jobchute-")?;
    tokio::select! {
        done = attempt(api, assignment, job_url, folder.path(), command) => done,
        // Dropping the attempt kills its command.
        lost = hold(api, job_url, folder.path()) => Err(lost),
    }
}

/// Sends heartbeats until the job is no longer this miner's; tells why.
async fn hold(api: &Api, job_url: &str, folder: &Path) -> anyhow::Error {
    let url = job_url.replacen("?token=", "/heartbeat?token=", 1);
    loop {
        let progress = fs::read_to_string(folder.join("progress")).await.unwrap_or_default();
        let progress = progress.trim().parse::<f64>().ok().filter(|progress| (0.0..=1.0).contains(progress));
        match api.with_token(Method::PUT, &url, Some(&json!({ "progress": progress }))).await {
            Ok(lease) if lease["cancelled"] == true => return anyhow::anyhow!("cancelled"),
            Ok(_) => sleep(HEARTBEAT).await,
            Err(error) if error.to_string().contains("Job already finished") => sleep(HEARTBEAT).await,
            Err(error) => return error,
        }
    }
}

async fn attempt(api: &Api, assignment: &Value, job_url: &str, folder: &Path, command: &[String]) -> Result<String> {
    let output = folder.join("output");
    fs::create_dir(&output).await?;
    let arguments = assignment["job_data"].to_string();
    fs::write(folder.join("arguments.json"), &arguments).await?;
    let (program, rest) = command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(rest)
        .env("JOBCHUTE_JOB_ID", assignment["job_id"].as_str().unwrap_or_default())
        .env("JOBCHUTE_METHOD", assignment["job_method"].as_str().unwrap_or_default())
        .env("JOBCHUTE_ARGUMENTS", folder.join("arguments.json"))
        .env("JOBCHUTE_OUTPUT", &output)
        .env("JOBCHUTE_RESULT", folder.join("result.json"))
        .env("JOBCHUTE_PROGRESS", folder.join("progress"))
        .env_remove("JOBCHUTE_KEY")
        .env_remove("JOBCHUTE_HOTKEY")
        .env_remove("JOBCHUTE_MINER_KEY")
        .env_remove("JOBCHUTE_MINER_HOTKEY")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("can't run {program}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let give = async move {
        // A command that does not read its input is none the worse.
        let _ = input.write_all(arguments.as_bytes()).await;
    };
    let ((), ended) = tokio::join!(give, child.wait_with_output());
    let ended = ended?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    eprint!("{errors}");

    let files = upload::outputs(&output).await?;
    let declared: Vec<_> = files.iter().map(upload::Output::declaration).collect();
    let mut report = json!({"status": "complete", "output_files": declared});
    if ended.status.success() {
        let result = fs::read_to_string(folder.join("result.json")).await.unwrap_or_else(|_| "null".to_owned());
        report["result"] = serde_json::from_str(&result).context("JOBCHUTE_RESULT is no JSON")?;
    } else {
        let tail = errors.ceil_char_boundary(errors.len().saturating_sub(DETAIL));
        report["status"] = "error".into();
        report["detail"] = format!("{}\n{}", ended.status, &errors[tail..]).into();
    }
    let finished = api.with_token(Method::POST, job_url, Some(&report)).await?;
    upload::all(api, job_url, &finished, &files).await?;
    let job = api.with_token(Method::PUT, job_url, None).await?;
    Ok(job["status"].as_str().unwrap_or_default().to_owned())
}
