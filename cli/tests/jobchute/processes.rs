//! Waiting for what other processes do.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A shell script that starts a process which would outlive it, writes its id to a file, and waits.
pub(crate) fn starts(start: &str, pid: &Path) -> String {
    format!("{start} & echo $! >{0}.new; mv {0}.new {0}; wait", pid.display())
}

/// Waits until something is the case.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.with_context(|| what.to_owned())
}

/// Waits until a file is there.
pub(crate) async fn appears(file: &Path) -> Result<()> {
    until("the file does not appear", || file.exists()).await
}

/// The state of each process of a session, as proc(5) has it.
fn states(session: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let fields =
        stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect::<Vec<_>>()));
    fields.filter(|fields| fields[3] == session).map(|mut fields| fields.swap_remove(0)).collect()
}

/// Waits until nothing runs in the session whose id is in the file.
pub(crate) async fn session_ends(pid: &Path) -> Result<()> {
    let session = std::fs::read_to_string(pid)?.trim().to_owned();
    until("the session goes on", || states(&session).iter().all(|state| state == "Z")).await
}

/// Waits until the process whose id is in the file has ended, and nobody has waited for it.
pub(crate) async fn is_zombie(pid: &Path) -> Result<()> {
    let stat = format!("/proc/{}/stat", std::fs::read_to_string(pid)?.trim());
    until("it does not end", || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "))).await
}

/// Waits until the process whose id is in the file is dead, or a zombie that nobody waits for.
pub(crate) async fn ends(pid: &Path) -> Result<()> {
    let stat = format!("/proc/{}/stat", std::fs::read_to_string(pid)?.trim());
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    until("the process goes on", || !runs()).await
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    anyhow::ensure!(sent.success(), "there is no process {pid}");
    Ok(())
}
