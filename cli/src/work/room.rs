//! Whose fault a full disk is. A job says how much room it needs, as `_disk_gb` of its arguments; a miner that has taken it has promised that.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Bytes: a disk that has no more left is full. What a miner keeps for itself is not the command's to use.
const FULL: u64 = 128 << 10;
/// What a job has asked for that does not say.
const DEFAULT_GB: f64 = 10.0;

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "_disk_gb")]
    disk_gb: Option<f64>,
}

/// Whether the disk is full that this folder is on, though the job has less in the folder than it has asked for.
pub(crate) fn is_short(folder: &Path, arguments: &RawValue) -> bool {
    // One without blocks does not tell how large it is.
    let is_full =
        statvfs(folder).is_ok_and(|disk| disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) <= FULL);
    is_full && (used(folder) as f64) < wanted(arguments)
}

/// Bytes that the job has asked for.
fn wanted(arguments: &RawValue) -> f64 {
    let wanted: Option<Wanted> = serde_json::from_str(arguments.get()).ok();
    wanted.and_then(|wanted| wanted.disk_gb).unwrap_or(DEFAULT_GB) * 1e9
}

/// Bytes that the files in and below a folder take on the disk. What cannot be read counts for nothing.
fn used(folder: &Path) -> u64 {
    let (mut folders, mut bytes) = (vec![PathBuf::from(folder)], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_the_room_that_it_asked_for() -> anyhow::Result<()> {
        for (arguments, bytes) in
            [("{}", 10e9), (r#"{"_disk_gb":50}"#, 50e9), (r#"{"_disk_gb":null}"#, 10e9), (r#"{"_disk_gb":"x"}"#, 10e9)]
        {
            assert_eq!(wanted(serde_json::from_str(arguments)?), bytes, "{arguments}");
        }
        Ok(())
    }

    #[test]
    fn what_a_folder_takes_is_all_that_is_below_it() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir_all(folder.path().join("a/b"))?;
        fs::write(folder.path().join("a/b/file"), vec![1; 1 << 20])?;
        assert!((1 << 20..2 << 20).contains(&used(folder.path())));
        assert!(!is_short(folder.path(), serde_json::from_str("{}")?), "this disk is not full");
        Ok(())
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_system_that_tells_no_size_is_not_full() -> anyhow::Result<()> {
        assert!(!is_short(Path::new("/proc/self/fdinfo"), serde_json::from_str("{}")?));
        Ok(())
    }
}
