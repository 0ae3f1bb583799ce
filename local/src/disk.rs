//! What a power cut leaves: a file whose bytes were synced, under a name whose folder was synced after it.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// How often something is tried that a stack may hold which was killed a moment ago, and how long after one another: a function that it was
/// about to start has its lock and its sockets, too, until it is another program.
pub(crate) const TRIES: u32 = 20;
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A file that is locked until this is dropped. To close it is not enough: a process that is just being started has it open, too, until it
/// is another program.
#[derive(Debug)]
pub(crate) struct Lock(pub(crate) File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Sees to it that a file is there after a power cut, with all that was written to it.
pub(crate) fn settle(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    settle_name(file)
}

/// Sees to it that a file's name, or a folder's, is there after a power cut.
pub(crate) fn settle_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives a file this content; only this user can open it. Whatever ends the process, it has the former content or this one, and after a success this one.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    const OURS: u32 = 0o600;
    let part = part_of(file);
    let mut writing = File::options().write(true).create(true).truncate(true).mode(OURS).open(&part)?;
    // One may be left of a process that was killed, with another mode.
    writing.set_permissions(fs::Permissions::from_mode(OURS))?;
    writing.write_all(content)?;
    writing.sync_all()?;
    fs::rename(&part, file)?;
    settle_name(file)
}

/// Where a file's next content is until it is whole.
fn part_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file.file_name().unwrap_or_default());
    name.push(".part");
    file.with_file_name(name)
}

/// Makes a folder that only this user can open, unless it is there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    settle_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_gone_with_its_holder_whoever_else_has_the_file_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || File::options().create(true).append(true).open(folder.path().join("lock")).expect("a file");
        let lock = Lock(open());
        lock.0.try_lock().expect("nobody else");
        let inherited = lock.0.try_clone().expect("a copy");
        assert!(open().try_lock().is_err());
        drop(lock);
        open().try_lock().expect("nobody else");
        drop(inherited);
    }

    #[test]
    fn only_this_user_can_open_what_was_replaced() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        for former in [&file, &part_of(&file)] {
            fs::write(former, b"first").expect("room");
            fs::set_permissions(former, fs::Permissions::from_mode(0o644)).expect("a mode");
        }
        replace(&file, b"second").expect("room");
        assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&file).expect("the file"), b"second");
    }

    #[test]
    fn a_disk_that_is_full_leaves_the_former_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        replace(&file, b"first").expect("room");
        // What can't be written to, as a disk without room.
        fs::create_dir(part_of(&file)).expect("a folder");
        assert!(replace(&file, b"second").is_err());
        assert_eq!(fs::read(&file).expect("the file"), b"first");
    }
}
