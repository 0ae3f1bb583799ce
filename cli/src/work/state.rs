//! What a miner knows of a job, in files that another process can go on from.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// The file that takes room, and its bytes.
const RESERVE: &str = "reserve";
const ROOM: usize = 64 << 10;

/// Takes room for [`write`] on a disk that the command may fill.
pub(crate) fn reserve(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(RESERVE), [b'.'; ROOM])
}

/// Writes a file, which only this user may read, as a whole or not at all.
pub(crate) fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let text = serde_json::to_vec(content)?;
    match try_write(folder, path, &text) {
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            fs::remove_file(folder.join(RESERVE))?;
            try_write(folder, path, &text)
        }
        written => written,
    }
}

fn try_write(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Reads what [`write`] has written; None when it has not.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
