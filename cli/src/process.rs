//! Processes: this one, and those that descend from it.

use std::{
    env, io,
    path::{Path, PathBuf},
};

/// This program, to be started again: also when its file was replaced meanwhile.
pub(crate) fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { env::current_exe() }
}

/// Makes orphans below this process its children, so that none of them gets away. (`PR_SET_CHILD_SUBREAPER` in prctl(2))
#[cfg(target_os = "linux")]
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Kills every process that descends from this one, whatever group or session it has moved to.
#[cfg(target_os = "linux")]
pub(crate) fn end_descendants() {
    use rustix::process::{Signal, WaitOptions, kill_process, wait};
    use std::{thread, time::Duration};

    // What a killed one leaves becomes a child of this process, and is found the next time.
    for _ in 0..500 {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            // One of another user cannot be killed by a miner that is not root.
            let _ = kill_process(child, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(2));
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

/// The processes whose parent is this one.
#[cfg(target_os = "linux")]
fn children() -> Vec<rustix::process::Pid> {
    use std::fs;

    let parent = format!("PPid:\t{}", std::process::id());
    let is_child = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).filter_map(rustix::process::Pid::from_raw).collect()
}

/// Elsewhere a process that leaves its group gets away.
#[cfg(not(target_os = "linux"))]
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Elsewhere a process that leaves its group gets away.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_descendants() {}
