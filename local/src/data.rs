//! The folder of `--data`: one stack at a time works in it, and its access keys have a secret of their own.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;
use uuid::Uuid;

use crate::disk::{self, Lock, PAUSE, TRIES};

/// Characters of a secret access key.
const SECRET_LENGTH: usize = 40;

/// The folder, as long as a stack works in it.
#[derive(Debug)]
pub(crate) struct DataFolder {
    pub(crate) path: PathBuf,
    /// The secret of every access key. It stays the same, so that a URL that was presigned before works after a restart.
    pub(crate) secret: String,
    _lock: Lock,
}

impl DataFolder {
    /// Takes the folder, and makes what it has not.
    pub(crate) async fn take(path: &Path) -> Result<Self> {
        disk::make_folder(path).with_context(|| format!("can't make {}", path.display()))?;
        let lock = path.join("lock");
        let file = File::options().create(true).append(true).open(&lock);
        let file = file.with_context(|| format!("can't open {}", lock.display()))?;
        let mut tries = 0..TRIES;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries.next().is_some() => sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => bail!("another stack works in {}", path.display()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("can't lock {}", lock.display()));
                }
            }
        }
        Ok(Self { path: path.to_owned(), secret: secret(&path.join("access-key-secret"))?, _lock: Lock(file) })
    }
}

/// The secret in this file, or a new one.
fn secret(file: &Path) -> Result<String> {
    if file.exists() {
        let secret = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        anyhow::ensure!(secret.len() == SECRET_LENGTH, "can't use {}", file.display());
        return Ok(secret);
    }
    // 244 bits of chance.
    let mut secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    secret.truncate(SECRET_LENGTH);
    disk::replace(file, secret.as_bytes()).with_context(|| format!("can't write {}", file.display()))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_left_in_a_moment_is_waited_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let first = DataFolder::take(folder.path()).await?;
        let (second, ()) = tokio::join!(DataFolder::take(folder.path()), async { drop(first) });
        second.map(drop)
    }
}
