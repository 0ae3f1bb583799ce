//! Objects' bytes: one file each, never changed once written, streamed in and out.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use s3s::{
    S3Result,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Md5},
    dto::{Checksum, StreamingBlob},
    s3_error,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::index::Content;
use crate::disk;

/// Sees to it that a file that was written is there after a power cut.
pub(super) type Settle = Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// The folder of the files.
#[derive(Clone)]
pub(super) struct Blobs {
    folder: PathBuf,
    /// None where nothing is kept.
    settle: Option<Settle>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blobs").field(&self.folder).finish()
    }
}

/// A file that goes away again unless it is kept.
struct Draft {
    name: String,
    path: PathBuf,
    settle: Option<Settle>,
    kept: bool,
}

impl Draft {
    /// From now on its name may be told: what is told to be there has to stay.
    fn keep(mut self) -> io::Result<String> {
        if let Some(settle) = &self.settle {
            settle(&self.path)?;
        }
        self.kept = true;
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // It may not exist yet.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Blobs {
    pub(super) fn open(folder: &Path, settle: Option<Settle>) -> Result<Self> {
        disk::make_folder(folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), settle })
    }

    /// Removes the files that nothing names: of requests that were under way when the last stack was killed.
    pub(super) fn sweep(&self, named: &HashSet<String>) -> io::Result<()> {
        for entry in self.folder.read_dir()? {
            let name = entry?.file_name();
            if !name.to_str().is_some_and(|name| named.contains(name)) {
                std::fs::remove_file(self.folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Writes what arrives. `accept` sees the sums of the whole before anything is kept. On a disk without room the rest is read all the
    /// same: who sends it would else see a broken connection instead of the answer.
    pub(super) async fn write(
        &self,
        mut body: StreamingBlob,
        mut sums: ChecksumHasher,
        accept: impl FnOnce(&[u8], &Checksum) -> S3Result<()>,
    ) -> S3Result<(Content, Checksum)> {
        let draft = self.draft();
        let file = tokio::fs::File::create(&draft.path).await.map_err(internal)?;
        let mut file = BufWriter::with_capacity(256 * 1024, file);
        let (mut md5, mut size) = (Md5::new(), 0);
        let mut written = Ok(());
        while let Some(chunk) = body.next().await {
            let chunk: Bytes = chunk.map_err(|error| s3_error!(IncompleteBody, "{error}"))?;
            md5.update(&chunk);
            sums.update(&chunk);
            size += chunk.len() as u64;
            if written.is_ok() {
                written = file.write_all(&chunk).await;
            }
        }
        written.map_err(internal)?;
        file.flush().await.map_err(internal)?;
        let (md5, sums) = (md5.finalize(), sums.finalize());
        accept(md5.as_ref(), &sums)?;
        let blob = match draft.settle {
            Some(_) => blocking(move || draft.keep()).await?,
            None => draft.keep().map_err(internal)?,
        };
        Ok((Content { blob, size, etag: hex::encode(md5) }, sums))
    }

    /// Streams a range.
    pub(super) async fn read(&self, blob: &str, range: Range<u64>) -> S3Result<StreamingBlob> {
        let mut file = tokio::fs::File::open(self.folder.join(blob)).await.map_err(internal)?;
        file.seek(SeekFrom::Start(range.start)).await.map_err(internal)?;
        Ok(StreamingBlob::wrap(ReaderStream::with_capacity(file.take(range.end - range.start), 256 * 1024)))
    }

    /// Copies a range.
    pub(super) async fn copy(&self, blob: &str, range: Range<u64>) -> S3Result<Content> {
        let (draft, source) = (self.draft(), self.folder.join(blob));
        blocking(move || {
            let mut source = File::open(source)?;
            source.seek(SeekFrom::Start(range.start))?;
            let mut source = source.take(range.end - range.start);
            let mut target = File::create(&draft.path)?;
            let mut buffer = vec![0; 1 << 20];
            let mut md5 = Md5::new();
            loop {
                let read = source.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                md5.update(&buffer[..read]);
                io::Write::write_all(&mut target, &buffer[..read])?;
            }
            let size = range.end - range.start;
            Ok(Content { blob: draft.keep()?, size, etag: hex::encode(md5.finalize()) })
        })
        .await
    }

    /// A second name for the same bytes.
    pub(super) async fn link(&self, blob: &str) -> S3Result<String> {
        let (draft, source) = (self.draft(), self.folder.join(blob));
        blocking(move || {
            std::fs::hard_link(source, &draft.path)?;
            draft.keep()
        })
        .await
    }

    /// Joins parts to one object, whose ETag is made of the parts' ("Checking object integrity").
    pub(super) async fn join(&self, parts: Vec<Content>) -> S3Result<Content> {
        let draft = self.draft();
        let folder = self.folder.clone();
        blocking(move || {
            let mut target = File::create(&draft.path)?;
            let (mut md5, mut size) = (Md5::new(), 0);
            for part in &parts {
                size += io::copy(&mut File::open(folder.join(&part.blob))?, &mut target)?;
                md5.update(&hex::decode(&part.etag).map_err(io::Error::other)?);
            }
            let etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
            Ok(Content { blob: draft.keep()?, size, etag })
        })
        .await
    }

    /// Removes files that no version names any more. Readers that have one open go on.
    pub(super) fn remove(&self, blobs: impl IntoIterator<Item = String>) {
        for blob in blobs {
            // One that is gone already, or stays for ever, is only disk space.
            let _ = std::fs::remove_file(self.folder.join(blob));
        }
    }

    fn draft(&self) -> Draft {
        let name = Uuid::new_v4().simple().to_string();
        Draft { path: self.folder.join(&name), name, settle: self.settle.clone(), kept: false }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> S3Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten().map_err(internal)
}

fn internal(error: io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError)
}
