//! Processes: this one, and those that descend from it.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};
#[cfg(target_os = "linux")]
use std::{
    fs,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Instant,
};

use rustix::process::Pid;

/// This program, to be started again: also when its file was replaced meanwhile.
pub(crate) fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { env::current_exe() }
}

/// Whether `/proc` names processes as this one does, or is not there. It is of another PID namespace where that was not mounted anew.
/// (pid_namespaces(7))
#[cfg(target_os = "linux")]
pub(crate) fn is_proc_own() -> bool {
    let own = Path::new("/proc/self");
    !own.is_symlink() || own.read_link().is_ok_and(|id| id.as_os_str() == std::process::id().to_string().as_str())
}

/// Makes orphans below this process its children, so that none of them gets away. (`PR_SET_CHILD_SUBREAPER` in prctl(2))
#[cfg(target_os = "linux")]
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// What is a child of this process before there is a job is no job's: whoever started this program has started it, too. Each with its session,
/// which is not a job's either.
#[cfg(target_os = "linux")]
static SPARED: OnceLock<Vec<(Pid, Option<Pid>)>> = OnceLock::new();

/// From now on the children that this process has already are let alone, and what runs in sessions of theirs.
#[cfg(target_os = "linux")]
pub(crate) fn spare_children() {
    SPARED.get_or_init(|| children().into_iter().map(|pid| (pid, session_beside(pid))).collect());
}

/// A process's session, unless it is this one's, or is not known.
#[cfg(target_os = "linux")]
fn session_beside(pid: Pid) -> Option<Pid> {
    session(Some(pid)).filter(|beside| Some(*beside) != session(None))
}

/// A process's session, or this one's. None where its leader is outside of this process's PID namespace, as where a container was entered:
/// the kernel says 0, which rustix's `getsid` takes for an id. (pid_namespaces(7))
#[cfg(target_os = "linux")]
fn session(pid: Option<Pid>) -> Option<Pid> {
    Pid::from_raw(nix::unistd::getsid(pid.map(named)).ok()?.as_raw())
}

/// A process's group, unless that is of another PID namespace.
#[cfg(target_os = "linux")]
fn group(pid: Pid) -> Option<Pid> {
    Pid::from_raw(nix::unistd::getpgid(Some(named(pid))).ok()?.as_raw())
}

#[cfg(target_os = "linux")]
fn named(pid: Pid) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get())
}

#[cfg(target_os = "linux")]
fn is_spared(pid: Pid) -> bool {
    let session = session_beside(pid);
    let is_known = |(spared, of): &(Pid, Option<Pid>)| *spared == pid || of.is_some() && *of == session;
    SPARED.get().is_some_and(|all| all.iter().any(is_known))
}

/// Held from the time on when children are looked up until those are waited for that were meant: the id of one that another thread has waited
/// for meanwhile may be a stranger's.
#[cfg(target_os = "linux")]
fn known() -> MutexGuard<'static, ()> {
    static KNOWN: Mutex<()> = Mutex::new(());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for those children that have ended, but for `child`, whom somebody else waits for: until then each counts as a process.
#[cfg(target_os = "linux")]
pub(crate) fn bury_children(child: Pid) {
    use rustix::process::{WaitOptions, waitpid};

    let _known = known();
    for pid in children().into_iter().filter(|pid| *pid != child) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Kills every process that descends from this one, whatever group or session it has moved to, but for `child`, whom somebody else waits
/// for. Takes its time, and `most` when something does not end: what that is.
#[cfg(target_os = "linux")]
pub(crate) fn end_descendants(child: Option<Pid>, most: Duration) -> Vec<Pid> {
    use rustix::process::{Signal, WaitOptions, kill_process, kill_process_group, waitpid};

    let (end, mut last, mut empty) = (Instant::now() + most, Vec::new(), 0);
    loop {
        let known = known();
        let mut left = children();
        left.retain(|pid| Some(*pid) != child && !is_spared(*pid));
        // What a thread has that ends goes to another one, which may have been looked at before.
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if empty == 2 || Instant::now() > end {
            return left;
        }
        for pid in &left {
            // One of another user cannot be killed by a miner that is not root.
            let _ = kill_process(*pid, Signal::KILL);
            // A group is killed in one step, also one whose processes start one another and end. Another session is nobody's but the job's; but
            // below the first process of a container are also those that others have started in it.
            if std::process::id() != 1
                && session_beside(*pid).is_some()
                && let Some(group) = group(*pid)
            {
                let _ = kill_process_group(group, Signal::KILL);
            }
            // What it leaves becomes a child of this process, and is found the next time.
            let _ = waitpid(Some(*pid), WaitOptions::NOHANG);
        }
        drop(known);
        // Where each has a group of its own, only who is faster catches them.
        if left == last {
            thread::sleep(Duration::from_millis(1));
        }
        last = left;
    }
}

/// The processes whose parent is this one, also those that have ended and are not waited for.
#[cfg(target_os = "linux")]
fn children() -> Vec<Pid> {
    listed().unwrap_or_else(sought)
}

/// As the kernel lists them, if it does. (`CONFIG_PROC_CHILDREN`; `/proc/<pid>/task/<tid>/children` in proc(5))
#[cfg(target_os = "linux")]
fn listed() -> Option<Vec<Pid>> {
    let mut all = None;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // Whose thread has ended meanwhile is listed with another one.
        if let Ok(pids) = fs::read_to_string(thread.path().join("children")) {
            let pids = pids.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
            all.get_or_insert_with(Vec::new).extend(pids);
        }
    }
    all
}

/// The same, found among all processes.
#[cfg(target_os = "linux")]
fn sought() -> Vec<Pid> {
    let parent = format!("PPid:\t{}", std::process::id());
    let is_child = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == parent)
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).filter_map(Pid::from_raw).collect()
}

/// Elsewhere nothing is looked up there.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_proc_own() -> bool {
    true
}

/// Elsewhere a process that leaves its group gets away.
#[cfg(not(target_os = "linux"))]
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Elsewhere none are adopted.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bury_children(_: Pid) {}

/// Elsewhere none are ended.
#[cfg(not(target_os = "linux"))]
pub(crate) fn spare_children() {}

/// Elsewhere a process that leaves its group gets away.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_descendants(_: Option<Pid>, _: Duration) -> Vec<Pid> {
    Vec::new()
}
