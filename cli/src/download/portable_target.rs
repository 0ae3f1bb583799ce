//! The folder that a download fills, where no step can be relative to the handle of the folder before it: on Windows. Nothing outside of the
//! folder is written unless somebody replaces a folder by a link at the very moment; nothing in it is replaced unless that is asked for.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::other_name::other_name;

/// Characters that no name has on Windows.
const FORBIDDEN: &str = "<>:\"|?*\\";
/// Names that are devices, with any extension. ("Naming Files, Paths, and Namespaces")
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The target folder.
pub(crate) struct Target {
    folder: PathBuf,
    /// The names of the files so far, as Windows compares them.
    taken: RefCell<HashSet<String>>,
}

/// Where a file goes.
pub(crate) struct Place {
    path: PathBuf,
    /// From the target folder on, as it is shown.
    pub(crate) shown: String,
}

/// A file that is not whole yet. Dropped, it is gone.
pub(crate) struct Draft<'a> {
    place: &'a Place,
    path: PathBuf,
    is_placed: bool,
}

impl Target {
    /// Opens it, and makes it if it is not there. It may itself be a link: the user has named it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        fs::create_dir_all(path).with_context(shown)?;
        // With its drive, so that names may be long.
        Ok(Self { folder: path.canonicalize().with_context(shown)?, taken: RefCell::default() })
    }

    /// The place of the file of a name; the folders on the way are made. `folders` are names that others of the job's files need for
    /// their folders. A name that cannot be had becomes another one, which is always the same for this file.
    pub(crate) fn place(&self, name: &str, file_id: &str, folders: &HashSet<String>) -> Result<Place> {
        let key = name.to_lowercase();
        let is_folder = folders.iter().any(|folder| folder.to_lowercase() == key);
        if !is_folder && name.split('/').all(is_possible) && self.taken.borrow_mut().insert(key) {
            return self.try_place(name);
        }
        self.try_place(&other_name(name, file_id, "-_"))
    }

    /// Another place for the file, where another of the job's files has that one. None has: names that Windows takes for one have become
    /// others by now.
    pub(crate) fn instead_of(&self, _: &Place, _: &str) -> Result<Option<Place>> {
        Ok(None)
    }

    fn try_place(&self, name: &str) -> Result<Place> {
        let (way, last) = name.rsplit_once('/').map_or(("", name), |(way, last)| (way, last));
        let mut path = self.folder.clone();
        for part in way.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
            if !fs::symlink_metadata(&path)?.is_dir() {
                bail!("a folder on its way is a link or a file");
            }
        }
        path.push(last);
        Ok(Place { path, shown: name.to_owned() })
    }
}

/// Whether Windows takes a name as it is.
fn is_possible(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let is_port =
        ["COM", "LPT"].iter().any(|kind| stem.strip_prefix(kind).is_some_and(|rest| rest.chars().count() == 1));
    name.encode_utf16().count() <= 255
        && !name.ends_with(['.', ' '])
        && !name.chars().any(|char| char.is_control() || FORBIDDEN.contains(char))
        && !is_port
        && !DEVICES.contains(&stem.as_str())
}

impl Place {
    /// Whether something is there, whatever it is.
    pub(crate) fn is_taken(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// What is there is this file. Its name is remembered already.
    pub(crate) fn keep(&self) {}

    /// Whether a folder is there, which no file replaces.
    pub(crate) fn is_folder(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|it| it.is_dir())
    }

    /// The regular file of this size that is there.
    pub(crate) fn file(&self, size: u64) -> Option<File> {
        let may_be = fs::symlink_metadata(&self.path).is_ok_and(|it| it.is_file() && it.len() == size);
        File::open(&self.path).ok().filter(|_| may_be)
    }

    /// A new file beside it, under a name that nobody can foresee.
    pub(crate) fn draft(&self) -> io::Result<(Draft<'_>, File)> {
        let path = self.path.with_file_name(format!(".jobchute-{}", Uuid::new_v4()));
        let file = File::create_new(&path)?;
        Ok((Draft { place: self, path, is_placed: false }, file))
    }
}

impl Draft<'_> {
    /// Gives it its name. An error of the kind `AlreadyExists` when something has that and may not be replaced.
    pub(crate) fn place(mut self, replace: bool) -> io::Result<()> {
        let to = &self.place.path;
        let placed = if replace {
            fs::rename(&self.path, to)
        } else {
            match fs::hard_link(&self.path, to) {
                // A second name is not taken from another file.
                Ok(()) => fs::remove_file(&self.path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                // The file system has no second names.
                Err(_) if self.place.is_taken() => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(&self.path, to),
            }
        };
        self.is_placed = placed.is_ok();
        placed
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::atomic::AtomicBool};

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::digest::digest;

    fn put(target: &Target, name: &str, content: &[u8], replace: bool) -> Result<String> {
        let place = target.place(name, "id", &HashSet::from(["folder".to_owned()]))?;
        assert!(target.instead_of(&place, "id")?.is_none() && !place.is_folder());
        let (draft, mut file) = place.draft()?;
        file.write_all(content)?;
        draft.place(replace)?;
        place.keep();
        Ok(place.shown.clone())
    }

    #[test]
    fn names_that_windows_cannot_hold_become_others() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let target = Target::open(folder.path())?;
        for name in ["a/ü.txt", "CONSOLE", "com10", "a.con"] {
            assert_eq!(put(&target, name, b"x", false)?, name);
            assert_eq!(fs::read(folder.path().join(name))?, b"x");
        }
        for (name, other) in [
            ("con", "id-con"),
            ("x/NUL.txt", "id-NUL_txt"),
            ("lpt1", "id-lpt1"),
            ("a:b", "id-a_b"),
            ("a\\..\\b", "id-a____b"),
            ("end.", "id-end_"),
            ("A/Ü.TXT", "id-__TXT"),
            ("Folder", "id-Folder"),
        ] {
            assert_eq!(put(&target, name, b"y", false)?, other);
        }
        Ok(())
    }

    #[test]
    fn what_may_be_replaced_need_not_be_there() -> Result<()> {
        let folder = tempfile::tempdir()?;
        put(&Target::open(folder.path())?, "a", b"first", true)?;
        assert_eq!(fs::read(folder.path().join("a"))?, b"first");
        assert_eq!(folder.path().read_dir()?.count(), 1, "no draft is left");
        Ok(())
    }

    #[test]
    fn nothing_is_replaced_unless_that_is_asked_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        put(&Target::open(folder.path())?, "a", b"first", false)?;
        let refused = put(&Target::open(folder.path())?, "a", b"second", false).expect_err("it is there");
        assert!(refused.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(folder.path().join("a"))?, b"first");
        put(&Target::open(folder.path())?, "a", b"second", true)?;
        let place = Target::open(folder.path())?.place("a", "id", &HashSet::new())?;
        assert!(place.is_taken() && place.file(5).is_none());
        let found = digest(place.file(6).context("a file")?, &AtomicBool::new(false))?;
        assert_eq!(found, (6, hex::encode(Sha256::digest(b"second"))));
        assert_eq!(folder.path().read_dir()?.count(), 1, "no draft is left");
        Ok(())
    }
}
