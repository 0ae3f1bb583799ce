//! What a stack has on disk while it runs, and only then.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Waits until whoever has the other end of its input is gone, however that ended, and removes a folder. A terminal's Ctrl-C reaches it, too.
const JANITOR: &str = r#"trap "" HUP INT TERM; cat; exec rm -rf -- "$1""#;

/// A folder that goes when this is dropped, and also when the process ends without a word: the process of a test that shares a stack
/// does, and one that is killed.
#[derive(Debug)]
pub(crate) struct Temporary {
    folder: TempDir,
    janitor: Child,
}

impl Temporary {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("jobchute-").context("can't make a temporary folder")?;
        let mut janitor = Command::new("/bin/sh");
        janitor.args(["-c", JANITOR, "sh"]).arg(folder.path());
        let janitor = janitor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { folder, janitor: janitor.context("can't start /bin/sh")? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<std::path::PathBuf> {
        let folder = self.path().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(folder)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Its input ends, and it removes the folder. What it can't remove, the folder's own end tries again.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
