//! A job's folder on the miner's disk.
//!
//! `private/` is the miner's: it says what is to be done about the job, so that another process can go on from there. `job/` is
//! the command's. A command that runs as another user can read the second when its wrapper gives it to that user, and never the
//! first.

use std::{
    env,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{FlockOperation, flock},
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    screen::tell,
    work::{
        events::{self, Event},
        report::Report,
        state,
        supervisor::End,
    },
};

/// How the names of jobs' folders begin.
const PREFIX: &str = "jobchute-";
/// How they begin until they are locked.
const UNREADY: &str = "new-jobchute-";
/// The file that says that nothing is left to be delivered.
const DELIVERED: &str = "private/delivered.json";

/// What a miner's client needs to run a job, as the API answers a claim.
#[derive(Deserialize, Serialize)]
pub(crate) struct Assignment {
    pub(crate) job_id: String,
    pub(crate) job_method: String,
    /// The job's arguments, as they were written.
    pub(crate) job_data: Box<RawValue>,
    /// Where they are when they would make the answer too long.
    pub(crate) job_data_url: Option<String>,
    /// Where the job's own routes begin. It holds the job token.
    pub(crate) job_status_url: String,
    pub(crate) lease_expires_at: Option<String>,
    pub(crate) next_heartbeat_at: Option<String>,
}

/// The folder. Unless it is removed, its end says what is kept in it.
pub(crate) struct Folder {
    path: PathBuf,
    /// Held as long as a process works in it.
    _lock: File,
}

impl Folder {
    /// A new one, among the temporary files.
    pub(crate) fn create() -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(UNREADY).permissions(Permissions::from_mode(0o711)).tempdir();
        // Without links, as a link into it will be read.
        let made = made.context("no temporary folder")?.keep().canonicalize()?;
        for name in ["private", "job"] {
            DirBuilder::new().mode(0o700).create(made.join(name)).context("no temporary folder")?;
        }
        fs::create_dir(made.join("job/output")).context("no temporary folder")?;
        let lock = lock(&made)?;
        // Nobody takes it for one that was left behind.
        let name =
            made.file_name().and_then(|name| name.to_str()?.strip_prefix(UNREADY)).context("no temporary folder")?;
        let path = made.with_file_name(format!("{PREFIX}{name}"));
        fs::rename(&made, &path).context("no temporary folder")?;
        Ok(Self { _lock: lock, path })
    }

    /// One that another process has left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("{} can't be opened", path.display()))?;
        // Whoever wrote it says where the files go.
        ensure!(is_own(&path), "{} is not a job's folder of this user's", path.display());
        Ok(Self { _lock: lock(&path)?, path })
    }

    /// Says what former processes have left among the temporary files and can still be delivered, and removes what they have left that
    /// is nothing.
    pub(crate) fn tell_of_left_behind() {
        let all = env::temp_dir().read_dir().into_iter().flatten().flatten();
        let named = all.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let undelivered = named.map(|entry| entry.path()).filter(|path| !path.join(DELIVERED).exists());
        for left in undelivered.filter_map(|path| Self::open(&path).ok()) {
            if left.is_worth_keeping() {
                tell("a former process has left a job:");
            }
        }
    }

    /// The part of it that is the miner's.
    pub(crate) fn private(&self) -> PathBuf {
        self.path.join("private")
    }

    /// The part of it that is the command's.
    pub(crate) fn job(&self) -> PathBuf {
        self.path.join("job")
    }

    /// Where the command leaves its files.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("job/output")
    }

    /// The file with the job's arguments.
    pub(crate) fn arguments(&self) -> PathBuf {
        self.path.join("job/arguments.json")
    }

    /// The file that says how the command ended.
    pub(crate) fn end_file(&self) -> PathBuf {
        self.path.join("private/end.json")
    }

    /// Whether there is something to report, or was reported.
    pub(crate) fn has_ended(&self) -> bool {
        self.end_file().exists() || self.path.join("private/report.json").exists()
    }

    /// Remembers what is to be done, before it is begun.
    pub(crate) fn begin(&self, assignment: &Assignment, arguments: &RawValue) -> Result<()> {
        state::write(&self.path.join("private/assignment.json"), assignment)?;
        fs::write(self.arguments(), arguments.get())?;
        state::reserve(&self.path.join("private"))?;
        Ok(())
    }

    pub(crate) fn assignment(&self) -> Result<Assignment> {
        let assignment = state::read(&self.path.join("private/assignment.json"))?;
        assignment.with_context(|| format!("{} has no job", self.path.display()))
    }

    /// Remembers how the command ended, for its supervisor.
    pub(crate) fn set_end(&self, end: &End) -> Result<()> {
        Ok(state::write(&self.end_file(), end)?)
    }

    /// How the command ended; None while it has not.
    pub(crate) fn end(&self) -> Result<Option<End>> {
        Ok(state::read(&self.end_file())?)
    }

    /// Remembers what is reported of the job, before it is sent.
    pub(crate) fn write_report(&self, report: &Report) -> Result<()> {
        Ok(state::write(&self.path.join("private/report.json"), report)?)
    }

    pub(crate) fn report(&self) -> Result<Option<Report>> {
        Ok(state::read(&self.path.join("private/report.json"))?)
    }

    /// Remembers that nothing is left to be delivered, although not all that is in it was.
    pub(crate) fn set_delivered(&self) {
        if let Err(error) = state::write(&self.path.join(DELIVERED), &()) {
            tell(format_args!("{} can't be written: {error}", self.path.display()));
        }
    }

    /// Removes it with all that is in it: the API has confirmed that it has everything.
    pub(crate) fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tell(format_args!("{} can't be removed: {error}", self.path.display()));
        }
    }

    /// Whether there is something in it that may be nowhere else.
    fn is_worth_keeping(&self) -> bool {
        let has_files = match self.output().read_dir() {
            Ok(mut files) => files.next().is_some(),
            // It may be the command's own.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        self.has_ended() || has_files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.path.exists() {
            return;
        }
        if !self.is_worth_keeping() {
            // Nothing of the job is in it.
            let _ = fs::remove_dir_all(&self.path);
            return;
        }
        if self.path.join(DELIVERED).exists() {
            let folder = &self.job().display().to_string();
            let words = format_args!("what its owner does not get is kept in {folder}");
            return events::tell(&Event::Kept { folder, resume: None }, words);
        }
        let folder = &self.output().display().to_string();
        let path = self.path.display().to_string();
        let resume = self.has_ended().then_some(path.as_str());
        let home = resume.map(|_| format!("\nbring them home: jobchute work --resume {}", quoted(&self.path)));
        let words = format_args!("its files are kept in {folder}{}", home.unwrap_or_default());
        events::tell(&Event::Kept { folder, resume }, words);
    }
}

/// As a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Whether this user's miner made it.
fn is_own(folder: &Path) -> bool {
    let private = fs::symlink_metadata(folder.join("private"));
    private.is_ok_and(|it| it.is_dir() && it.uid() == geteuid().as_raw() && it.mode() & 0o077 == 0)
}

/// Makes sure that no other process works in the folder.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path.join("private/lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => {
            bail!("another process works in {}", path.display())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_kept_as_they_are_written_however_deep() -> Result<()> {
        let deep = "[".repeat(50_000) + "18446744073709551616" + &"]".repeat(50_000);
        let answer = format!(
            r#"{{"job_id":"j","job_method":"m","job_data":{{"a" : {deep}}},"job_status_url":"u","attempt":1,"lease_expires_at":null}}"#
        );
        let assignment: Assignment = serde_json::from_str(&answer)?;
        let kept: Assignment = serde_json::from_slice(&serde_json::to_vec(&assignment)?)?;
        assert_eq!(kept.job_data.get(), format!("{{\"a\" : {deep}}}"));
        Ok(())
    }

    #[test]
    fn a_command_to_be_copied_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quoted(Path::new("/tmp/jobchute-x")), "/tmp/jobchute-x");
        assert_eq!(quoted(Path::new("/tmp/it's mine")), r"'/tmp/it'\''s mine'");
    }
}
