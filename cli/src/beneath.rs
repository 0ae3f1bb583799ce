//! Opening files in a folder that somebody else fills: nothing outside of it, nothing that blocks, nothing without an end.
//!
//! Every step is relative to the handle of the folder before it, and follows no link by itself: what is put in its place meanwhile
//! leads nowhere else.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat},
    io::Errno,
};

/// Links that a name may lead through: as many as Linux follows.
const LINKS: u32 = 40;

/// An open folder, out of which no name leads.
pub(crate) struct Root {
    handle: OwnedFd,
    /// Without links: what an absolute link into it begins with.
    path: PathBuf,
}

/// Why something is not opened.
#[derive(Debug)]
pub(crate) enum Unusable {
    LinkOut,
    LinkToFolder,
    LinkToNothing,
    /// What it is, if not a regular file.
    Kind(&'static str),
    Failed(io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkOut => f.write_str("a link out of the folder"),
            Self::LinkToFolder => f.write_str("a link to a folder"),
            Self::LinkToNothing => f.write_str("a link to nothing"),
            Self::Kind(kind) => f.write_str(kind),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP => Self::Failed(io::Error::other("too many links")),
            error => Self::Failed(error.into()),
        }
    }
}

/// What a folder holds under a name.
pub(crate) enum Entry {
    Folder,
    /// Anything else: [`Root::file`] says what can be opened.
    Other,
}

impl Root {
    /// Opens the folder itself.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { handle, path })
    }

    /// A folder in it.
    pub(crate) fn below(&self, name: &str) -> Result<Self, Unusable> {
        let handle = openat(&self.handle, name, FOLDER, Mode::empty())?;
        Ok(Self { handle, path: self.path.join(name) })
    }

    /// Opens a regular file. A link counts as the regular file in the folder that it leads to.
    pub(crate) fn file(&self, name: &Path) -> Result<File, Unusable> {
        let mut ahead: VecDeque<OsString> = parts(name);
        // The way from the root to here.
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                way.pop().ok_or(Unusable::LinkOut)?;
                continue;
            }
            let here = way.last().unwrap_or(&self.handle);
            let kind = match statat(here, &part, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) if links > 0 => return Err(Unusable::LinkToNothing),
                Err(error) => return Err(error.into()),
            };
            match kind {
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = readlinkat(here, &part, Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    let inside = if target.is_absolute() {
                        way.clear();
                        target.strip_prefix(&self.path).map_err(|_| Unusable::LinkOut)?
                    } else {
                        target
                    };
                    let rest = std::mem::replace(&mut ahead, parts(inside));
                    ahead.extend(rest);
                }
                FileType::Directory => {
                    let folder = openat(here, &part, FOLDER, Mode::empty())?;
                    way.push(folder);
                }
                FileType::RegularFile if ahead.is_empty() => {
                    // Neither waits for a writer nor follows, if it is something else by now.
                    let file = openat(here, &part, FILE, Mode::empty())?;
                    return match FileType::from_raw_mode(fstat(&file)?.st_mode) {
                        FileType::RegularFile => Ok(file.into()),
                        other => Err(Unusable::Kind(kind_of(other))),
                    };
                }
                _ if !ahead.is_empty() => return Err(Errno::NOTDIR.into()),
                other => return Err(Unusable::Kind(kind_of(other))),
            }
        }
        Err(if links > 0 { Unusable::LinkToFolder } else { Unusable::Kind("a folder") })
    }

    /// The content of a regular file, if it is at most `limit` bytes. None when there is no such name.
    pub(crate) fn content(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Unusable> {
        let file = match self.file(Path::new(name)) {
            Err(Unusable::Failed(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content).map_err(Unusable::Failed)?;
        if content.len() as u64 > limit {
            return Err(Unusable::Failed(io::Error::other(format!("larger than {limit} bytes"))));
        }
        Ok(Some(content))
    }

    /// What is in a folder, which is named from the root and may not be behind a link.
    pub(crate) fn entries(
        &self,
        folder: &Path,
    ) -> Result<impl Iterator<Item = Result<(OsString, Entry), Unusable>>, Unusable> {
        let mut way = openat(&self.handle, ".", FOLDER, Mode::empty())?;
        for part in parts(folder) {
            way = openat(&way, &part, FOLDER, Mode::empty())?;
        }
        let entries = Dir::read_from(&way)?;
        let named = entries.map(move |entry| {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            let kind = match entry.file_type() {
                FileType::Unknown => FileType::from_raw_mode(statat(&way, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
                kind => kind,
            };
            Ok((name, if kind == FileType::Directory { Entry::Folder } else { Entry::Other }))
        });
        Ok(named.filter(|entry| !matches!(entry, Ok((name, _)) if name == "." || name == "..")))
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The steps that a path takes; `.` is none.
fn parts(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    steps.map(|part| part.as_os_str().to_owned()).collect()
}

fn kind_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a link",
        FileType::Directory => "a folder",
        _ => "not a regular file",
    }
}
