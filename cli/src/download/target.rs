//! The folder that a download fills: nothing outside of it is written, and nothing in it is replaced unless that is asked for.
//!
//! Every step is relative to the handle of the folder before it and follows no link, whoever has put one there.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, linkat, mkdirat, openat, renameat, renameat_with, unlinkat},
    io::Errno,
};
use uuid::Uuid;

use super::other_name::other_name;
use crate::digest::digest;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The target folder.
pub(crate) struct Target(OwnedFd);

/// Where a file goes.
pub(crate) struct Place {
    folder: OwnedFd,
    name: String,
    /// From the target folder on, as it is shown.
    pub(crate) shown: String,
}

/// A file that is not whole yet. Dropped, it is gone.
pub(crate) struct Draft<'a> {
    place: &'a Place,
    name: String,
    is_placed: bool,
}

impl Target {
    /// Opens it, and makes it if it is not there. It may itself be a link: the user has named it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        fs::create_dir_all(path).with_context(shown)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty()).with_context(shown)?))
    }

    /// The place of the file of a name; the folders on the way are made. `folders` are names that others of the job's files need for
    /// their folders. A name that cannot be had becomes another one, which is always the same for this file.
    pub(crate) fn place(&self, name: &str, file_id: &str, folders: &HashSet<String>) -> Result<Place> {
        if !folders.contains(name) {
            match self.try_place(name) {
                Err(Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => bail!("a folder on its way is a link or a file"),
                placed => return Ok(placed?),
            }
        }
        Ok(self.try_place(&other_name(name, file_id, ".-_"))?)
    }

    fn try_place(&self, name: &str) -> rustix::io::Result<Place> {
        let (way, last) = name.rsplit_once('/').map_or(("", name), |(way, last)| (way, last));
        let mut folder = self.0.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for part in way.split('/').filter(|part| !part.is_empty()) {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            folder = openat(&folder, part, FOLDER, Mode::empty())?;
        }
        // Whether the file system can hold the name.
        match rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        Ok(Place { folder, name: last.to_owned(), shown: name.to_owned() })
    }
}

impl Place {
    /// Whether something is there, whatever it is.
    pub(crate) fn is_taken(&self) -> bool {
        rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether a regular file of this size and hash is there.
    pub(crate) fn holds(&self, size: u64, sha256: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = openat(&self.folder, &self.name, flags, Mode::empty()) else { return false };
        let file = File::from(file);
        let may_be = file.metadata().is_ok_and(|it| it.is_file() && it.len() == size);
        may_be && digest(file).is_ok_and(|found| found == (size, sha256.to_owned()))
    }

    /// A new file beside it, under a name that nobody can foresee.
    pub(crate) fn draft(&self) -> io::Result<(Draft<'_>, File)> {
        let name = format!(".jobchute-{}", Uuid::new_v4());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Its mode is any new file's, not a secret's.
        let file = openat(&self.folder, &name, flags, Mode::from_raw_mode(0o666))?;
        Ok((Draft { place: self, name, is_placed: false }, file.into()))
    }
}

impl Draft<'_> {
    /// Gives it its name. An error of the kind `AlreadyExists` when something has that and may not be replaced.
    pub(crate) fn place(mut self, replace: bool) -> io::Result<()> {
        let (folder, from, to) = (self.place.folder.as_fd(), self.name.as_str(), self.place.name.as_str());
        let placed = if replace {
            renameat(folder, from, folder, to)
        } else {
            match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
                // The file system does not know how. A second name is not taken from another file either.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    linkat(folder, from, folder, to, AtFlags::empty())
                        .and_then(|()| unlinkat(folder, from, AtFlags::empty()))
                }
                renamed => renamed,
            }
        };
        self.is_placed = placed.is_ok();
        Ok(placed?)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = unlinkat(&self.place.folder, &self.name, AtFlags::empty());
        }
    }
}
