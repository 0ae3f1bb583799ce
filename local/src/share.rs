//! A share of a core, as Lambda gives to a function with little memory: 1,769 MB are one vCPU ("Configure Lambda function
//! memory"). Linux's control groups, version 1 or 2; making one needs root.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::process::Command;
use uuid::Uuid;

/// Microseconds over which the share is kept. Lambda's scheduler, too, gives out whole slices.
const PERIOD: u64 = 20_000;

/// A control group that is gone with this value.
#[derive(Debug)]
pub(crate) struct CpuShare {
    folder: PathBuf,
    members: PathBuf,
}

impl CpuShare {
    /// A group with this share of a core, over all that runs in it.
    pub(crate) fn new(share: f64) -> Result<Self> {
        let quota = (PERIOD as f64 * share).max(1000.0) as u64;
        let name = format!("jobchute-{}", Uuid::new_v4().simple());
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (root, members, settings) = match first.exists() {
            true => (
                first,
                "tasks",
                vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())],
            ),
            false => (Path::new("/sys/fs/cgroup"), "cgroup.procs", vec![("cpu.max", format!("{quota} {PERIOD}"))]),
        };
        let folder = root.join(name);
        fs::create_dir(&folder).context("can't make a control group; this needs Linux and root")?;
        let group = Self { members: folder.join(members), folder };
        for (file, value) in settings {
            fs::write(group.folder.join(file), value)
                .with_context(|| format!("can't set {file} of a control group"))?;
        }
        Ok(group)
    }

    /// A command that enters the group before it becomes the binary: not even its start has more.
    pub(crate) fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg("echo $$ > \"$0\" && exec \"$1\"").arg(&self.members).arg(binary);
        command
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        // The last process may not have left yet; an empty group costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}
