//! The folder that a download fills: nothing outside of it is written, and nothing in it is replaced unless that is asked for.
//!
//! Every step is relative to the handle of the folder before it and follows no link, whoever has put one there.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{
        AtFlags, Dev, FileType, Mode, OFlags, RenameFlags, Stat, fstat, linkat, mkdirat, openat, renameat,
        renameat_with, statat, unlinkat,
    },
    io::Errno,
};
use uuid::Uuid;

use super::other_name::other_name;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a name stands for, whatever other names that has: device and inode.
type Node = (Dev, u64);

/// What the job's files have so far: their own places, and the folders on their ways. Some file systems take `A` and `a`, or `é` in one
/// character and in two, for one name.
type Ours = Rc<RefCell<HashSet<Node>>>;

/// A way to give a file a name that nothing has. No file system knows all of them.
type Way = fn(BorrowedFd<'_>, &str, &str) -> rustix::io::Result<()>;

/// The target folder.
pub(crate) struct Target {
    folder: OwnedFd,
    ours: Ours,
}

/// Where a file goes.
pub(crate) struct Place {
    folder: OwnedFd,
    name: String,
    ours: Ours,
    /// From the target folder on, as it is shown.
    pub(crate) shown: String,
}

/// A file that is not whole yet. Dropped, it is gone.
pub(crate) struct Draft<'a> {
    place: &'a Place,
    name: String,
}

impl Target {
    /// Opens it, and makes it if it is not there. It may itself be a link: the user has named it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        fs::create_dir_all(path).with_context(shown)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).with_context(shown)?;
        Ok(Self { folder, ours: Ours::default() })
    }

    /// The place of the file of a name; the folders on the way are made. `folders` are names that others of the job's files need for
    /// their folders. A name that cannot be had becomes another one, which is always the same for this file.
    pub(crate) fn place(&self, name: &str, file_id: &str, folders: &HashSet<String>) -> Result<Place> {
        if !folders.contains(name) {
            match self.try_place(name) {
                Err(Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ | Errno::EXIST) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => bail!("a folder on its way is a link or a file"),
                placed => return Ok(placed?),
            }
        }
        Ok(self.try_place(&other_name(name, file_id, ".-_"))?)
    }

    /// Another place for the file, where another of the job's files has that one.
    pub(crate) fn instead_of(&self, place: &Place, file_id: &str) -> Result<Option<Place>> {
        let is_ours = place.found().is_ok_and(|found| self.has(&found));
        let other = is_ours.then(|| self.try_place(&other_name(&place.shown, file_id, ".-_")));
        Ok(other.transpose()?)
    }

    /// An error of `EXIST` says that a file of the job's is where a folder has to be, or the reverse.
    fn try_place(&self, name: &str) -> rustix::io::Result<Place> {
        let (way, last) = name.rsplit_once('/').map_or(("", name), |(way, last)| (way, last));
        let mut folder = self.folder.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for part in way.split('/').filter(|part| !part.is_empty()) {
            match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            let is_ours = || statat(&folder, part, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| self.has(&found));
            let next = openat(&folder, part, FOLDER, Mode::empty());
            folder = next.map_err(|error| if is_ours() { Errno::EXIST } else { error })?;
            self.ours.borrow_mut().insert(node(&fstat(&folder)?));
        }
        let place = Place { folder, name: last.to_owned(), ours: Rc::clone(&self.ours), shown: name.to_owned() };
        // Whether the file system can hold the name.
        match place.found() {
            Ok(found) if is_folder(&found) && self.has(&found) => Err(Errno::EXIST),
            Ok(_) | Err(Errno::NOENT) => Ok(place),
            Err(error) => Err(error),
        }
    }

    fn has(&self, found: &Stat) -> bool {
        self.ours.borrow().contains(&node(found))
    }
}

fn node(found: &Stat) -> Node {
    (found.st_dev, found.st_ino)
}

fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

impl Place {
    fn found(&self) -> rustix::io::Result<Stat> {
        statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Whether something is there, whatever it is.
    pub(crate) fn is_taken(&self) -> bool {
        self.found().is_ok()
    }

    /// Whether a folder is there, which no file replaces.
    pub(crate) fn is_folder(&self) -> bool {
        self.found().is_ok_and(|found| is_folder(&found))
    }

    /// What is there is this file, and no other one of the job's takes its place.
    pub(crate) fn keep(&self) {
        self.ours.borrow_mut().extend(self.found().map(|found| node(&found)));
    }

    /// The regular file of this size that is there.
    pub(crate) fn file(&self, size: u64) -> Option<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.folder, &self.name, flags, Mode::empty()).ok()?);
        file.metadata().is_ok_and(|it| it.is_file() && it.len() == size).then_some(file)
    }

    /// A new file beside it, under a name that nobody can foresee.
    pub(crate) fn draft(&self) -> io::Result<(Draft<'_>, File)> {
        let name = format!(".jobchute-{}", Uuid::new_v4());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Its mode is any new file's, not a secret's.
        let file = openat(&self.folder, &name, flags, Mode::from_raw_mode(0o666))?;
        Ok((Draft { place: self, name }, file.into()))
    }
}

impl Draft<'_> {
    /// Gives it its name. An error of the kind `AlreadyExists` when something has that and may not be replaced.
    pub(crate) fn place(self, replace: bool) -> io::Result<()> {
        self.place_by(replace, &[rename_to_nothing, link_to])
    }

    fn place_by(self, replace: bool, ways: &[Way]) -> io::Result<()> {
        let (folder, from, to) = (self.place.folder.as_fd(), self.name.as_str(), self.place.name.as_str());
        let named = if replace { None } else { ways.iter().map(|way| way(folder, from, to)).find(is_settled) };
        match named {
            Some(named) => named?,
            None if !replace && self.place.is_taken() => return Err(io::ErrorKind::AlreadyExists.into()),
            None => renameat(folder, from, folder, to)?,
        }
        self.place.keep();
        Ok(())
    }
}

/// Any other error may only say that the file system does not know this way: what else is wrong, the next way meets, too.
fn is_settled(named: &rustix::io::Result<()>) -> bool {
    matches!(named, Ok(()) | Err(Errno::EXIST))
}

fn rename_to_nothing(folder: BorrowedFd<'_>, from: &str, to: &str) -> rustix::io::Result<()> {
    renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE)
}

/// A second name is not taken from another file either.
fn link_to(folder: BorrowedFd<'_>, from: &str, to: &str) -> rustix::io::Result<()> {
    linkat(folder, from, folder, to, AtFlags::empty())
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // It has this name no more, or one too many.
        let _ = unlinkat(&self.place.folder, &self.name, AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_folder_and_a_file_whose_names_are_taken_for_one_do_not_keep_each_other_away() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let target = Target::open(folder.path())?;
        let place = |name: &str| target.place(name, "id", &HashSet::new());
        place("folder/x")?;
        // As if it were spelt in another way.
        assert_eq!(place("folder")?.shown, "id-folder");
        fs::write(folder.path().join("file"), "")?;
        fs::hard_link(folder.path().join("file"), folder.path().join("twin"))?;
        assert!(place("twin/y").is_err());
        place("file")?.keep();
        assert_eq!(place("twin/y")?.shown, "id-y");
        Ok(())
    }

    #[test]
    fn a_file_gets_its_name_where_the_file_system_knows_no_way_that_replaces_nothing() -> Result<()> {
        let unknown: [Way; 2] = [|_, _, _| Err(Errno::NOTSUP), |_, _, _| Err(Errno::PERM)];
        let folder = tempfile::tempdir()?;
        let target = Target::open(folder.path())?;
        let put = |ways: &[Way], content: &str| {
            let place = target.place("a", "id", &HashSet::new())?;
            let (draft, mut file) = place.draft()?;
            file.write_all(content.as_bytes())?;
            anyhow::Ok(draft.place_by(false, ways).map_err(|error| error.kind()))
        };
        assert_eq!(put(&unknown, "first")?, Ok(()));
        for ways in [&unknown[..], &unknown[..1], &[link_to], &[rename_to_nothing], &[unknown[0], link_to]] {
            assert_eq!(put(ways, "second")?, Err(io::ErrorKind::AlreadyExists));
        }
        assert_eq!(fs::read_to_string(folder.path().join("a"))?, "first");
        for ways in [&[link_to as Way][..], &[unknown[0], link_to], &[rename_to_nothing]] {
            fs::remove_file(folder.path().join("a"))?;
            assert_eq!(put(ways, "third")?, Ok(()));
        }
        assert_eq!(folder.path().read_dir()?.count(), 1, "no draft is left");
        Ok(())
    }
}
