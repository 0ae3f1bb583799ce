//! What a process has used, as Linux tells. Elsewhere nobody does.

use std::{fs, time::Duration};

/// CPU time of all threads that live. Nanoseconds, where `/proc/<pid>/stat` has hundredths of a second.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let of_thread = |thread: fs::DirEntry| -> Option<u64> {
        fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Some(Duration::from_nanos(threads.filter_map(of_thread).sum()))
}

/// The most memory that it ever had resident, in KiB.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_runs_has_used_something() {
        assert!(super::cpu(std::process::id()).is_some_and(|used| !used.is_zero()));
        assert!(super::peak_memory(std::process::id()).is_some_and(|peak| peak > 100));
        assert_eq!((super::cpu(u32::MAX), super::peak_memory(u32::MAX)), (None, None));
    }
}
