//! Size and hash of a file.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

/// Bytes of the largest file that S3 stores: 5 TiB.
const LARGEST_FILE: u64 = 5 << 40;

/// Size and SHA-256 of a file, as large as it is now.
pub(crate) fn digest(file: File) -> io::Result<(u64, String)> {
    let size = file.metadata()?.len();
    if size > LARGEST_FILE {
        return Err(io::Error::other("larger than 5 TiB"));
    }
    let (mut file, mut hash, mut buffer) = (file.take(size), Sha256::new(), vec![0; 1 << 16]);
    loop {
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
