//! `jobchute work`: a miner that runs a command for every job of a chute.

use std::{
    collections::HashSet,
    env, fmt, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStderr, Command},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    api::{Api, refused},
    upload::{self, Output},
};

/// Time between two looks for work.
const POLL: Duration = Duration::from_secs(2);
/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a heartbeat holds a job at least.
const LEASE: Duration = Duration::from_secs(90);
/// How long a report is tried again while the API can't take it.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Bytes of the command's error output that are reported when it fails.
const DETAIL: usize = 8 << 10;

/// The command does not start, for this job as for any other.
#[derive(Debug)]
struct CannotRun(String);

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't run {}", self.0)
    }
}

/// Claims and runs one job after the other; with `once`, one, and is as successful as that.
pub(crate) async fn work(api: &Api, chute: &str, once: bool, command: &[String]) -> Result<ExitCode> {
    let program = command.first().context("no command")?;
    ensure!(is_program(program), CannotRun(format!("{program}: no such program")));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // The command is in a group of its own, which a terminal's Ctrl-C does not reach: dropping the work ends it.
    tokio::select! {
        done = every(api, chute, once, command) => done,
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

/// Whether a shell would find and run it.
fn is_program(program: &str) -> bool {
    let runs = |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return runs(Path::new(program));
    }
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| runs(&folder.join(program)))
}

async fn every(api: &Api, chute: &str, once: bool, command: &[String]) -> Result<ExitCode> {
    let mut looks = Looks::default();
    loop {
        // Before there is a job that it could fail.
        let folder = TempDir::with_prefix("jobchute-").context("no temporary folder")?;
        let assignment = loop {
            match claim(api, chute, &mut looks).await {
                Ok(Some(assignment)) => break assignment,
                Ok(None) => {}
                Err(error) if !looks.succeeded && refused(&error).is_some() => return Err(error),
                Err(error) => println!("{error:#}"),
            }
            sleep(POLL).await;
        };
        let job_id = assignment["job_id"].as_str().unwrap_or_default();
        println!("claimed {job_id}");
        let complete = match run(api, &assignment, folder, command).await {
            Ok(status) => {
                println!("{job_id}: {status}");
                status == "complete"
            }
            Err(error) if error.is::<CannotRun>() => return Err(error),
            Err(error) => {
                println!("{job_id}: given up: {error:#}");
                false
            }
        };
        if once {
            return Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

/// What looking for work has shown.
#[derive(Default)]
struct Looks {
    /// The key and the chute are right: what is refused later may pass.
    succeeded: bool,
    /// Jobs that this miner never gets.
    hopeless: HashSet<String>,
}

/// The first job that this miner gets, if there is one.
async fn claim(api: &Api, chute: &str, looks: &mut Looks) -> Result<Option<Value>> {
    let mut from = String::new();
    loop {
        let page = api.json(Method::GET, &format!("/jobs/claimable?chute_id={chute}{from}"), None).await?;
        let jobs = page["jobs"].as_array().context("the answer has no jobs")?;
        looks.succeeded = true;
        for job_id in jobs.iter().filter_map(|job| job["job_id"].as_str()) {
            if looks.hopeless.contains(job_id) {
                continue;
            }
            match api.json(Method::PUT, &format!("/jobs/{job_id}/claim"), Some(&json!({}))).await {
                Ok(assignment) => return Ok(Some(assignment)),
                Err(error) => {
                    println!("{error:#}");
                    // It lost the job before, or the job asks for ports, which this miner has not.
                    if let Some(StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY) = refused(&error) {
                        looks.hopeless.insert(job_id.to_owned());
                    }
                }
            }
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => from = format!("&cursor={cursor}"),
            None => return Ok(None),
        }
    }
}

/// Runs one job to its end, while heartbeats hold it. The job's status at the end. What the job left and could not be uploaded
/// is kept, unless the job is gone.
async fn run(api: &Api, assignment: &Value, folder: TempDir, command: &[String]) -> Result<String> {
    let job_url = assignment["job_status_url"].as_str().context("no job_status_url")?;
    let done = tokio::select! {
        done = attempt(api, assignment, job_url, folder.path(), command) => done,
        // Dropping the attempt kills its command.
        lost = hold(api, assignment, job_url, folder.path()) => Err(lost),
    };
    let uploaded = matches!(done, Ok((_, true)));
    let gone = done.as_ref().is_err_and(|error| refused(error) == Some(StatusCode::NOT_FOUND));
    let output = folder.path().join("output");
    if !uploaded && !gone && output.read_dir().is_ok_and(|mut files| files.next().is_some()) {
        println!("its files are kept in {}", folder.keep().join("output").display());
    }
    done.map(|(status, _)| status)
}

/// Sends heartbeats until the job is no longer this miner's; tells why.
async fn hold(api: &Api, assignment: &Value, job_url: &str, folder: &Path) -> Error {
    let url = job_url.replacen("?token=", "/heartbeat?token=", 1);
    let mut held_until = lease(assignment);
    loop {
        let progress = fs::read_to_string(folder.join("progress")).await.unwrap_or_default();
        let progress = progress.trim().parse::<f64>().ok().filter(|progress| (0.0..=1.0).contains(progress));
        match api.with_token(Method::PUT, &url, Some(&json!({ "progress": progress }))).await {
            Ok(lease) if lease["cancelled"] == true => return Error::msg("cancelled"),
            Ok(answer) => held_until = lease(&answer),
            Err(error) => match refused(&error) {
                Some(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => return error,
                _ if Instant::now() > held_until => return error.context("the lease has ended"),
                _ => println!("{error:#}"),
            },
        }
        sleep(HEARTBEAT).await;
    }
}

/// Until when an answer gives the job to this miner. Never less than a heartbeat gives: this clock may be wrong.
fn lease(answer: &Value) -> Instant {
    let until = answer["lease_expires_at"].as_str().and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    let left = until.and_then(|until| Duration::try_from(until - OffsetDateTime::now_utc()).ok());
    Instant::now() + left.unwrap_or(LEASE).max(LEASE)
}

/// The job's status at the end, and whether everything is uploaded.
async fn attempt(
    api: &Api,
    assignment: &Value,
    job_url: &str,
    folder: &Path,
    command: &[String],
) -> Result<(String, bool)> {
    let finished = async {
        let (report, files) = execute(assignment, folder, command).await?;
        Ok::<_, Error>((decided(api, Method::POST, job_url, Some(&report)).await?, files))
    };
    let (finished, files) = match finished.await {
        Ok(finished) => finished,
        Err(error) => {
            let report = json!({"status": "error", "detail": format!("{error:#}")});
            if let Err(error) = decided(api, Method::POST, job_url, Some(&report)).await {
                println!("{error:#}");
            }
            return Err(error);
        }
    };
    let uploaded = upload::all(api, job_url, &finished, &files).await?;
    let job = decided(api, Method::PUT, job_url, None).await?;
    Ok((job["status"].as_str().unwrap_or_default().to_owned(), uploaded))
}

/// Asks until the API decides. Who holds the job ends it earlier.
async fn decided(api: &Api, method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
    let begun = Instant::now();
    loop {
        match api.with_token(method.clone(), url, body).await {
            Err(error) if refused(&error).is_none() && begun.elapsed() < PATIENCE => {
                println!("{error:#}");
                sleep(HEARTBEAT).await;
            }
            decided => return decided,
        }
    }
}

/// Runs the command to its end: what to report of it, and its files.
async fn execute(assignment: &Value, folder: &Path, command: &[String]) -> Result<(Value, Vec<Output>)> {
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
        .process_group(0)
        .spawn()
        .with_context(|| CannotRun(program.clone()))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let mut input = child.stdin.take().context("no standard input")?;
    let errors = child.stderr.take().context("no standard error")?;
    let give = async move {
        // A command that does not read its input is none the worse.
        let _ = input.write_all(arguments.as_bytes()).await;
    };
    let end = async move {
        let ended = child.wait().await;
        // What it left running would hold the pipes open.
        drop(group);
        ended
    };
    let ((), ended, errors) = tokio::join!(give, end, pass_on(errors));
    let ended = ended?;

    let files = upload::outputs(&output).await?;
    let declared: Vec<_> = files.iter().map(Output::declaration).collect();
    let mut report = json!({"status": "complete", "output_files": declared});
    if ended.success() {
        report["result"] = match fs::read_to_string(folder.join("result.json")).await {
            Ok(text) => serde_json::from_str(&text).context("JOBCHUTE_RESULT is no JSON")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Null,
            Err(error) => bail!("JOBCHUTE_RESULT can't be read: {error}"),
        };
    } else {
        report["status"] = "error".into();
        report["detail"] = format!("{ended}\n{}", errors?).into();
    }
    Ok((report, files))
}

/// A command and all that it started: killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error says that none of them runs any more.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes the command's errors where its own go. The last of them.
async fn pass_on(mut errors: ChildStderr) -> io::Result<String> {
    let (mut last, mut buffer) = (Vec::new(), vec![0; DETAIL]);
    loop {
        let read = errors.read(&mut buffer).await?;
        if read == 0 {
            let cut = last.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            return Ok(String::from_utf8_lossy(&last[cut..]).into_owned());
        }
        // Nobody may read them.
        let _ = tokio::io::stderr().write_all(&buffer[..read]).await;
        last.extend_from_slice(&buffer[..read]);
        last.drain(..last.len().saturating_sub(DETAIL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_long_as_told_and_never_shorter_than_a_heartbeat_gives() {
        let left = |until: Value| lease(&json!({"lease_expires_at": until})) - Instant::now();
        let in_an_hour = (OffsetDateTime::now_utc() + PATIENCE).format(&Rfc3339).unwrap_or_default();
        assert!(left(in_an_hour.into()) > PATIENCE - HEARTBEAT);
        for until in [Value::Null, "2020-01-01T00:00:00.000Z".into()] {
            assert!((LEASE - HEARTBEAT..=LEASE).contains(&left(until)));
        }
    }
}
