//! What an open file is asked differently on Unix and on Windows.

use std::{fs::File, io};

/// What the file system says of a file, and says otherwise once that was written to: its size, and when it was changed.
pub(crate) type Stamp = (u64, [i64; 4]);

/// Reads at an offset, whatever else reads the same handle.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, piece, offset)
}

/// Reads at an offset, whatever else reads the same handle.
#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut piece: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !piece.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, piece, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        piece = &mut piece[read..];
    }
    Ok(())
}

/// Its size, and when its content and its state changed.
#[cfg(all(unix, not(portable)))]
pub(crate) fn stamp(file: &File) -> io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt as _;

    let found = file.metadata()?;
    Ok((found.len(), [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()]))
}

/// Its size, and when its content changed.
#[cfg(any(windows, portable))]
pub(crate) fn stamp(file: &File) -> io::Result<Stamp> {
    let found = file.metadata()?;
    let modified = found.modified()?.duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    let seconds = i64::try_from(modified.as_secs()).map_err(io::Error::other)?;
    Ok((found.len(), [seconds, modified.subsec_nanos().into(), 0, 0]))
}
