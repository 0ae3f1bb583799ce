//! Size and hash of a file.

use std::{
    fs::File,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

/// Bytes of the largest file that S3 stores: 5 TiB.
pub(crate) const LARGEST_FILE: u64 = 5 << 40;

/// Size and SHA-256 of a file, as large as it is now, as long as nobody says to stop: that is an error, within as little time as it takes to
/// read 64 KiB.
pub(crate) fn digest(file: File, stop: &AtomicBool) -> io::Result<(u64, String)> {
    let size = file.metadata()?.len();
    if size > LARGEST_FILE {
        return Err(io::Error::other("larger than 5 TiB"));
    }
    let (mut file, mut hash, mut buffer) = (file.take(size), Sha256::new(), vec![0; 1 << 16]);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for its hash"));
        }
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    if file.limit() > 0 {
        return Err(io::Error::other("it is being written to"));
    }
    Ok((size, hex::encode(hash.finalize())))
}

/// The same on a thread that keeps nobody waiting: it stops when what this returns is dropped.
pub(crate) async fn digest_aside(file: File) -> io::Result<(u64, String)> {
    let unwanted = Unwanted::default();
    let stop = Arc::clone(&unwanted.0);
    spawn_blocking(move || digest(file, &stop)).await?
}

/// Says, when it is dropped, that nobody waits any more: a thread goes on by itself.
#[derive(Default)]
pub(crate) struct Unwanted(pub(crate) Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Seek, sync::mpsc, thread, time::Duration};

    use anyhow::{Context, Result};
    use tokio::runtime::Builder;

    use super::*;

    /// A file that takes hours to hash, and no room.
    fn endless() -> io::Result<File> {
        let file = tempfile::tempfile()?;
        file.set_len(1 << 40).map(|()| file)
    }

    #[test]
    fn a_hash_that_nobody_waits_for_is_not_computed_to_its_end() -> Result<()> {
        assert!(digest(endless()?, &AtomicBool::new(true)).is_err());
        let file = endless()?;
        let mut same = file.try_clone()?;
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            let begins = async {
                // Both handles have one position.
                while same.stream_position().expect("a file") == 0 {
                    tokio::task::yield_now().await;
                }
            };
            runtime.block_on(async {
                tokio::select! { _ = digest_aside(file) => {}, () = begins => {} }
            });
            // Waits for its threads.
            drop(runtime);
            send.send(())
        });
        receive.recv_timeout(Duration::from_secs(60)).context("it goes on")
    }
}
