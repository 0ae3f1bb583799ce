//! Size and hash of a file.

use std::{
    fs::File,
    io::{self, Read},
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest, Sha256};

/// Bytes of the largest file that S3 stores: 5 TiB.
pub(crate) const LARGEST_FILE: u64 = 5 << 40;

/// Size and SHA-256 of a file, as large as it is now.
pub(crate) fn digest(file: File) -> io::Result<(u64, String)> {
    digest_unless(&AtomicBool::new(false), file)
}

/// The same, until somebody says that nobody wants it any more.
pub(crate) fn digest_unless(is_stopped: &AtomicBool, file: File) -> io::Result<(u64, String)> {
    let size = file.metadata()?.len();
    if size > LARGEST_FILE {
        return Err(io::Error::other("larger than 5 TiB"));
    }
    let (mut file, mut hash, mut buffer) = (file.take(size), Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            _ if is_stopped.load(Ordering::Relaxed) => return Err(io::Error::other("nobody wants it any more")),
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    if file.limit() > 0 {
        return Err(io::Error::other("it is being written to"));
    }
    Ok((size, hex::encode(hash.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_any_more_is_not_read_on() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        // Hours of it.
        file.set_len(4 << 40)?;
        let stopped = digest_unless(&AtomicBool::new(true), file).map_err(|error| error.to_string());
        assert_eq!(stopped, Err("nobody wants it any more".to_owned()));
        Ok(())
    }
}
