//! Removing what a command has left, however it is nested.
//!
//! What is nested is moved up first: no depth needs more than three open folders, a path that the system takes, or a stack. No link is
//! followed, so that nothing outside of the folder is reached.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, renameat, statat, unlinkat},
    io::Errno,
    process::geteuid,
};

/// Opens a folder, and nothing behind a link.
pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What the owner of a folder needs to empty it.
const ALL: Mode = Mode::RWXU;

/// Removes what a folder has under a name, with all that is in it. Where there is nothing, nothing is to be done.
pub(crate) fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            empty(&open(parent, name)?)?;
            unlinkat(parent, name, AtFlags::REMOVEDIR)?;
        }
        found => {
            found?;
            unlinkat(parent, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Removes everything in a folder: level by level, each of which is moved into it when the one above is gone.
fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut number = 0;
    loop {
        let (folders, _) = remove_files(top)?;
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let folder = open(top, &name)?;
            let (inner, files) = remove_files(&folder)?;
            for name in &inner {
                number = move_up(&folder, name, top, number)?;
            }
            match unlinkat(top, &name, AtFlags::REMOVEDIR) {
                // Reading a folder that changes may pass over some: they come the next time.
                Err(Errno::NOTEMPTY | Errno::EXIST) if files > 0 || !inner.is_empty() => {}
                removed => removed?,
            }
        }
    }
}

/// Removes what is no folder: the names of the folders, and how many others there were.
fn remove_files(folder: &OwnedFd) -> io::Result<(Vec<OsString>, usize)> {
    let (mut folders, mut removed) = (Vec::new(), 0);
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        match kind {
            _ if name == "." || name == ".." => {}
            FileType::Directory => folders.push(name.to_owned()),
            _ => {
                unlinkat(folder, name, AtFlags::empty())?;
                removed += 1;
            }
        }
    }
    Ok((folders, removed))
}

/// Moves a folder to the top, under the first number from `number` on that is free there: the number after it.
fn move_up(from: &OwnedFd, name: &OsStr, top: &OwnedFd, mut number: u64) -> io::Result<u64> {
    let mut is_allowed = false;
    loop {
        match renameat(from, name, top, number.to_string()) {
            Ok(()) => return Ok(number + 1),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => number += 1,
            // Whoever moves a folder writes to it, too: its parent is another one.
            Err(Errno::ACCESS) if !is_allowed => {
                allow(from, name)?;
                is_allowed = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a folder to empty it. The command may have made it as it likes.
fn open(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let parent = parent.as_fd();
    let folder = match openat(parent, name, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            allow(parent, name)?;
            openat(parent, name, FOLDER, Mode::empty())?
        }
        folder => folder?,
    };
    let stat = fstat(&folder)?;
    if stat.st_uid == geteuid().as_raw() && !Mode::from_raw_mode(stat.st_mode).contains(ALL) {
        fchmod(&folder, ALL)?;
    }
    Ok(folder)
}

/// Lets this user into a folder of its own that it may not even open.
#[cfg(target_os = "linux")]
fn allow(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let folder = openat(parent, name, OFlags::PATH.union(FOLDER.difference(OFlags::RDONLY)), Mode::empty())?;
    // Older kernels change no mode without following links, but by such a handle.
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), ALL)?)
}

/// Lets this user into a folder of its own that it may not even open.
#[cfg(not(target_os = "linux"))]
fn allow(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::chmodat(parent, name, ALL, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use super::*;

    fn remove_in(folder: &Path, name: &str) -> io::Result<()> {
        remove(File::open(folder)?, OsStr::new(name))
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes_with_few_open_folders() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        let mut here: OwnedFd = File::open(outer.path())?.into();
        for name in std::iter::once("job").chain(std::iter::repeat_n("d", 5_000)) {
            rustix::fs::mkdirat(&here, name, Mode::RWXU)?;
            here = openat(&here, name, FOLDER, Mode::empty())?;
        }
        // A name that what is moved up would have.
        fs::create_dir_all(outer.path().join("job/0/0/1"))?;
        fs::write(outer.path().join("job/1"), "")?;
        remove_in(outer.path(), "job")?;
        assert_eq!(outer.path().read_dir()?.count(), 0);
        remove_in(outer.path(), "job")
    }

    #[test]
    fn what_links_lead_to_stays() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        fs::create_dir_all(outer.path().join("job/sub"))?;
        fs::create_dir(outer.path().join("other"))?;
        fs::write(outer.path().join("other/file"), "")?;
        symlink("../../other", outer.path().join("job/sub/link"))?;
        remove_in(outer.path(), "job")?;
        symlink("other", outer.path().join("job"))?;
        remove_in(outer.path(), "job")?;
        let left: Vec<_> = outer.path().read_dir()?.flatten().map(|entry| entry.file_name()).collect();
        assert!(left == ["other"] && outer.path().join("other/file").exists(), "{left:?}");
        Ok(())
    }

    #[test]
    fn a_folder_that_nobody_may_enter_goes_too() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        fs::create_dir_all(outer.path().join("job/sub/locked/inner/most"))?;
        for (folder, mode) in [("job/sub/locked/inner", 0o000), ("job/sub/locked", 0o500), ("job", 0o500)] {
            fs::set_permissions(outer.path().join(folder), Permissions::from_mode(mode))?;
        }
        // Root may do anything: it is as another user that this can fail.
        remove_in(outer.path(), "job")?;
        assert_eq!(outer.path().read_dir()?.count(), 0);
        Ok(())
    }
}
