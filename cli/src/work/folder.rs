//! A job's folder on the miner's disk.
//!
//! `private/` is the miner's: it says what is to be done about the job, so that another process can go on from there. `job/` is
//! the command's. A command that runs as another user can read the second when its wrapper gives it to that user, and never the
//! first.
//!
//! A file in `private/` with a name of its own says that a miner made the folder: nothing else is ever taken for one, or removed.

use std::{
    env,
    ffi::OsStr,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;

use crate::{
    screen::tell,
    work::{
        events::{self, Event},
        removal::{self, FOLDER},
        report::Report,
        state,
        supervisor::End,
    },
};

/// How the names of jobs' folders begin.
const PREFIX: &str = "jobchute-";
/// How they begin until they are locked.
const UNREADY: &str = "new-jobchute-";
/// The file in `private/` by which a miner's folder is known. Whoever works in the folder has it locked.
const MARKER: &str = "jobchute-work";
/// Its name from the time on when the folder is removed: what is left then is no job.
const REMOVED: &str = "jobchute-work-removed";
/// How a folder may be used: by everybody on the way to `job/`.
const OPEN_TO_PASS: Mode = Mode::RWXU.union(Mode::XGRP).union(Mode::XOTH);
/// The file that says that nothing is left to be delivered.
const DELIVERED: &str = "private/delivered.json";
/// The file that says that the job is another miner's to run.
const GIVEN_BACK: &str = "private/given_back.json";

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

/// The folder. Whoever has it either removes it or leaves it, which says what is kept in it.
pub(crate) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
    private: OwnedFd,
    is_given_back: AtomicBool,
    /// The API has the report, and waits for the files.
    is_reported: AtomicBool,
    /// The marker, locked as long as a process works in it.
    _lock: Lock,
}

/// A file that is locked until this is dropped. To close it is not enough: a command that is just being started has it open, too, until it is
/// another program.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Folder {
    /// A new one, among the temporary files.
    pub(crate) fn create() -> Result<Self> {
        Self::make().context("no temporary folder")
    }

    fn make() -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(UNREADY).permissions(Permissions::from_mode(0o711)).tempdir()?;
        // That was less the umask, and the command's user may be another one.
        fs::set_permissions(made.path(), Permissions::from_mode(0o711))?;
        // Without links, as a link into it will be read.
        let made = made.keep().canonicalize()?;
        for name in ["private", "job"] {
            DirBuilder::new().mode(0o700).create(made.join(name))?;
        }
        fs::create_dir(made.join("job/output"))?;
        File::create_new(made.join("private").join(MARKER))?;
        let mut folder = Self::known(made, MARKER)?;
        // Nobody takes it for one that was left behind.
        let name = folder.path.file_name().and_then(|name| name.to_str()?.strip_prefix(UNREADY)).context("its name")?;
        let path = folder.path.with_file_name(format!("{PREFIX}{name}"));
        fs::rename(&folder.path, &path)?;
        folder.path = path;
        Ok(folder)
    }

    /// One that another process has left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let real = path.canonicalize().with_context(|| format!("{} can't be opened", path.display()))?;
        Self::known(real, MARKER)
    }

    /// One that a miner of this user's has made, which alone has this marker in it. Whoever wrote it says where the files go.
    fn known(path: PathBuf, marker: &str) -> Result<Self> {
        let opened = || -> rustix::io::Result<_> {
            let handle = rustix::fs::open(&path, FOLDER, Mode::empty())?;
            let private = openat(&handle, "private", FOLDER, Mode::empty())?;
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let lock = openat(&private, marker, flags, Mode::empty())?;
            let is_ours = is_own(&fstat(&handle)?, FileType::Directory)
                && is_own(&fstat(&private)?, FileType::Directory)
                && permissions(&fstat(&private)?) == Mode::RWXU
                && is_own(&fstat(&lock)?, FileType::RegularFile);
            Ok(is_ours.then_some((handle, private, File::from(lock))))
        };
        let Ok(Some((handle, private, lock))) = opened() else {
            bail!("{} is not a job's folder of this user's", path.display());
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => bail!("another process works in {}", path.display()),
            locked => locked?,
        }
        let lock = Lock(lock);
        // For systemd-tmpfiles, which lets what is locked grow old. ("Age" in tmpfiles.d(5))
        let _ = flock(&handle, FlockOperation::NonBlockingLockExclusive);
        // Who had it locked may have removed it.
        ensure!(fstat(&lock.0)?.st_nlink > 0, "{} is not there any more", path.display());
        Ok(Self {
            path,
            handle,
            private,
            is_given_back: AtomicBool::new(false),
            is_reported: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Says what former processes have left among the temporary files and can still be delivered, and removes what they have left that
    /// is nothing.
    pub(crate) async fn tell_of_left_behind() {
        let all = env::temp_dir().read_dir().into_iter().flatten().flatten();
        let named = all.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        // What another user's link leads to was never left here.
        for entry in named.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            if let Ok(left) = Self::open(&path) {
                left.leave_again().await;
            } else if let Ok(removed) = Self::known(path.clone(), REMOVED) {
                removed.remove().await;
            } else {
                remove_empty(&path);
            }
        }
    }

    /// Leaves what a former process has left.
    async fn leave_again(self) {
        if self.path.join(DELIVERED).exists() {
            return;
        }
        if self.is_worth_keeping() {
            tell("a former process has left a job:");
        }
        self.leave().await;
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
        let is_given_back = self.is_given_back.load(Ordering::Relaxed) || self.path.join(GIVEN_BACK).exists();
        !is_given_back && (self.end_file().exists() || self.path.join("private/report.json").exists())
    }

    /// Remembers that the job was given back while its command ran: how that ends says nothing.
    pub(crate) fn set_given_back(&self) {
        self.is_given_back.store(true, Ordering::Relaxed);
        if let Err(error) = state::write(&self.path.join(GIVEN_BACK), &()) {
            tell(format_args!("{} can't be written: {error}", self.path.display()));
        }
    }

    /// From now on the API waits for the files alone.
    pub(crate) fn set_reported(&self) {
        self.is_reported.store(true, Ordering::Relaxed);
    }

    /// Whether it does. Another process may know more.
    pub(crate) fn is_reported(&self) -> bool {
        self.is_reported.load(Ordering::Relaxed)
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
    pub(crate) async fn remove(self) {
        let path = self.path.display().to_string();
        // A command may have left a million files.
        let removed = spawn_blocking(move || self.try_remove()).await;
        if let Err(error) = removed.map_err(io::Error::other).flatten() {
            tell(format_args!("{path} can't be removed: {error}"));
        }
    }

    /// What a miner has not put into it stays.
    fn try_remove(&self) -> io::Result<()> {
        // From here on it is no job, so that the rest of one is never delivered: who finds it goes on with this.
        unless_gone(renameat(&self.private, MARKER, &self.private, REMOVED))?;
        removal::remove(&self.handle, OsStr::new("job"))?;
        self.empty_private()?;
        unless_gone(unlinkat(&self.private, REMOVED, AtFlags::empty()))?;
        unless_gone(unlinkat(&self.handle, "private", AtFlags::REMOVEDIR))?;
        match rustix::fs::rmdir(&self.path) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            removed => Ok(unless_gone(removed)?),
        }
    }

    /// Removes all but the marker.
    fn empty_private(&self) -> io::Result<()> {
        let names = Dir::read_from(&self.private)?.map(|entry| Ok(entry?.file_name().to_bytes().to_owned()));
        for name in names.collect::<io::Result<Vec<_>>>()? {
            let name = OsStr::from_bytes(&name);
            if ![".", "..", REMOVED].iter().any(|stays| name == *stays) {
                removal::remove(&self.private, name)?;
            }
        }
        Ok(())
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

    /// Ends the work in it: says what is kept in it, and removes it where nothing of a job is.
    pub(crate) async fn leave(self) {
        if !self.is_worth_keeping() {
            return self.remove().await;
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

/// Whether it is this user's, and of this kind.
fn is_own(stat: &Stat, kind: FileType) -> bool {
    stat.st_uid == geteuid().as_raw() && FileType::from_raw_mode(stat.st_mode) == kind
}

/// What its owner, its group and all others may do.
fn permissions(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode).intersection(Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO))
}

/// What is gone is removed.
fn unless_gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    removed.or_else(|error| if error == Errno::NOENT { Ok(()) } else { Err(error) })
}

/// Removes what a removal has left that was interrupted before its very end: an empty folder, perhaps with an empty `private/`.
fn remove_empty(path: &Path) {
    let Ok(handle) = rustix::fs::open(path, FOLDER, Mode::empty()) else { return };
    if fstat(&handle).is_ok_and(|it| is_own(&it, FileType::Directory) && permissions(&it) == OPEN_TO_PASS) {
        // What is not empty stays, and so does what another process has just made.
        let _ = unlinkat(handle.as_fd(), "private", AtFlags::REMOVEDIR);
        let _ = rustix::fs::rmdir(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_free_when_its_miner_leaves_it_whoever_else_has_its_marker_open() -> Result<()> {
        let folder = Folder::create()?;
        folder.set_end(&End::Lost)?;
        let (path, inherited) = (folder.path.clone(), folder._lock.0.try_clone()?);
        assert!(Folder::open(&path).is_err());
        folder.leave().await;
        Folder::open(&path)?.remove().await;
        drop(inherited);
        Ok(())
    }

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
