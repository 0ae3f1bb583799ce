//! What a job's command prints, on its way to the job's owner: with the heartbeats, and what is left at the end.
//!
//! It waits in a file without a name, in the miner's part of the job's folder, of bounded size: the first half of what the owner may get, and
//! of the rest the last half. What was printed in between is cut out, and a line says so. Whatever goes wrong with it costs the log, and
//! never the job.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::{sync::Mutex as Turn, time::timeout};

use crate::{
    api::Api,
    refusal::{Refusal, StoreRefusal},
    screen::tell,
};

/// Bytes of the largest chunk: what the API takes.
const CHUNK: u64 = 1 << 20;
/// The same on a line on which larger ones do not arrive in time.
const SMALL_CHUNK: u64 = 64 << 10;
/// Bytes from the beginning that the owner gets while the command runs: 50 MiB.
const HEAD: u64 = 50 << 20;
/// Bytes from the end. Of the 100 MiB that the API takes of an attempt, some are left for chunks that have to be sent again.
const TAIL: u64 = 45 << 20;
/// How long a chunk may take: heartbeats wait for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where to put a chunk, as the API answers a heartbeat.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    url: String,
    headers: HashMap<String, String>,
}

/// The log of one attempt.
pub(crate) struct Log {
    spool: Mutex<Spool>,
    /// Chunks go one after the other.
    turn: Turn<()>,
}

/// What was printed and is not sent.
struct Spool {
    /// None: it could not be made, or written.
    file: Option<File>,
    head: u64,
    tail: u64,
    /// Bytes of the next chunk at most.
    chunk: u64,
    /// Bytes that were printed.
    printed: u64,
    /// Bytes of them that are sent, or cut out.
    done: u64,
    /// How many bytes are cut out that the owner is to be told of.
    gap: u64,
    /// The API was asked for a place.
    asked: bool,
    /// The API takes no more.
    refused: bool,
    /// The disk took no more.
    is_cut: bool,
}

/// The next bytes to send.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk(Bytes);

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Log {
    /// An empty one, whose file is in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::of(Spool::new(folder, HEAD, TAIL))
    }

    /// Of an attempt that another process has left: what it printed is gone, but for what was sent.
    pub(crate) fn left() -> Self {
        Self::of(Spool { asked: true, ..Spool::without_file() })
    }

    fn of(spool: Spool) -> Self {
        Self { spool: Mutex::new(spool), turn: Turn::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Spool) -> T) -> T {
        act(&mut self.spool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what was printed.
    pub(crate) fn print(&self, bytes: &[u8]) {
        self.with(|spool| spool.print(bytes));
    }

    /// Whether there is something to be sent.
    pub(crate) fn has_more(&self) -> bool {
        self.with(|spool| spool.file.is_some() && !spool.refused && (spool.done < spool.printed || spool.gap > 0))
    }

    /// Whether the API may have some of it.
    pub(crate) fn was_sent(&self) -> bool {
        self.with(|spool| spool.asked)
    }

    /// Has a chunk sent by a heartbeat, if there is one: `beat` gets its number of bytes, and answers what the API answers and where to put
    /// it. That it could not be put is only told: it goes with the next heartbeat.
    pub(crate) async fn with_beat<T>(
        &self,
        api: &Api,
        is_last: bool,
        beat: impl AsyncFnOnce(Option<usize>) -> Result<(T, Option<Place>)>,
    ) -> Result<(T, bool)> {
        // Where the other side is sending, this heartbeat does without.
        let turn = if is_last { Some(self.turn.lock().await) } else { self.turn.try_lock().ok() };
        let chunk = turn.as_ref().and_then(|_| self.with(|spool| spool.next(is_last)));
        let (answer, place) = beat(chunk.as_ref().map(Chunk::len)).await?;
        let Some(chunk) = chunk else { return Ok((answer, false)) };
        let Some(place) = place else {
            self.with(|spool| spool.refused = true);
            return Ok((answer, false));
        };
        match timeout(PATIENCE, put(api, &place, &chunk)).await.context("S3 is silent").flatten() {
            Ok(()) => {
                self.with(|spool| spool.sent(&chunk));
                Ok((answer, true))
            }
            Err(error) => {
                tell(format_args!("what the command printed can't be sent now: {error:#}"));
                self.with(Spool::failed);
                Ok((answer, false))
            }
        }
    }
}

async fn put(api: &Api, place: &Place, chunk: &Chunk) -> Result<()> {
    let mut request = api.http.put(&place.url).body(chunk.0.clone());
    for (name, value) in place.headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    match answer.status() {
        StatusCode::OK => Ok(()),
        _ => bail!(StoreRefusal(Refusal::of(answer).await)),
    }
}

impl Spool {
    fn new(folder: &Path, head: u64, tail: u64) -> Self {
        Self { file: tempfile::tempfile_in(folder).ok(), head, tail, ..Self::without_file() }
    }

    fn without_file() -> Self {
        Self {
            file: None,
            head: 0,
            tail: 0,
            chunk: CHUNK,
            printed: 0,
            done: 0,
            gap: 0,
            asked: false,
            refused: false,
            is_cut: false,
        }
    }

    /// A full disk ends the log, and what is in it already is sent.
    fn print(&mut self, bytes: &[u8]) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_cut && !self.refused) else { return };
        match self.write(file, bytes) {
            Ok(()) => self.printed += bytes.len() as u64,
            Err(error) => {
                tell(format_args!("what the command prints can't be kept for its owner: {error}"));
                // Reading goes on.
                self.is_cut = true;
            }
        }
    }

    fn write(&self, file: &File, mut bytes: &[u8]) -> io::Result<()> {
        let mut at = self.printed;
        while !bytes.is_empty() {
            let (place, room) = self.place(at);
            let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            file.write_all_at(now, place)?;
            at += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Where in the file that byte of the output is, and how many follow it there.
    fn place(&self, at: u64) -> (u64, u64) {
        match at.checked_sub(self.head) {
            None => (at, self.head - at),
            Some(beyond) => (self.head + beyond % self.tail, self.tail - beyond % self.tail),
        }
    }

    /// The next chunk. Before the command's end, of the beginning only.
    fn next(&mut self, is_last: bool) -> Option<Chunk> {
        let file = self.file.as_ref().filter(|_| !self.refused)?;
        if self.done >= self.head {
            if !is_last {
                return None;
            }
            let kept_from = self.printed.saturating_sub(self.tail).max(self.head);
            self.gap += kept_from.saturating_sub(self.done);
            self.done = self.done.max(kept_from);
            if self.gap > 0 {
                self.asked = true;
                return Some(Chunk(format!("\n[{} bytes are left out here]\n", self.gap).into()));
            }
        }
        let end = if self.done < self.head { self.printed.min(self.head) } else { self.printed };
        let (place, room) = self.place(self.done);
        let length = (end - self.done).min(room).min(self.chunk);
        let mut bytes = vec![0; usize::try_from(length).ok().filter(|length| *length > 0)?];
        if let Err(error) = file.read_exact_at(&mut bytes, place) {
            tell(format_args!("what the command printed can't be read: {error}"));
            self.file = None;
            return None;
        }
        self.asked = true;
        Some(Chunk(bytes.into()))
    }

    /// A chunk has arrived.
    fn sent(&mut self, chunk: &Chunk) {
        match self.gap {
            0 => self.done += chunk.len() as u64,
            _ => self.gap = 0,
        }
        self.chunk = (self.chunk * 2).min(CHUNK);
    }

    /// A chunk has not arrived, as on a slow line.
    fn failed(&mut self) {
        self.chunk = (self.chunk / 2).max(SMALL_CHUNK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All chunks that there are now, as if each arrived.
    fn sent(spool: &mut Spool, is_last: bool) -> String {
        let mut all = String::new();
        while let Some(chunk) = spool.next(is_last) {
            assert_eq!(spool.next(is_last).as_ref(), Some(&chunk), "one that did not arrive comes again");
            all += &String::from_utf8_lossy(&chunk.0);
            spool.sent(&chunk);
        }
        all
    }

    #[test]
    fn what_is_printed_is_sent_in_order_and_nothing_where_nothing_is() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::new(folder.path(), 10, 10);
        assert_eq!((sent(&mut spool, false), spool.asked), (String::new(), false));
        spool.print(b"abc");
        spool.print(b"def");
        assert_eq!((sent(&mut spool, false), spool.asked), ("abcdef".to_owned(), true));
        // What is beyond the beginning waits for the end.
        spool.print(b"ghijklmno");
        assert_eq!(sent(&mut spool, false), "ghij");
        spool.print(b"pqrst");
        assert_eq!(sent(&mut spool, true), "klmnopqrst");
        assert_eq!(sent(&mut spool, true), "");
        Ok(())
    }

    #[test]
    fn chunks_get_smaller_until_they_arrive() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::new(folder.path(), HEAD, TAIL);
        spool.print(&vec![b'a'; 5 << 20]);
        let mut sizes = Vec::new();
        for arrives in [false, false, false, false, false, true, true] {
            let chunk = spool.next(false).context("a chunk")?;
            sizes.push(chunk.len() >> 10);
            if arrives { spool.sent(&chunk) } else { spool.failed() }
        }
        assert_eq!(sizes, [1024, 512, 256, 128, 64, 64, 128]);
        Ok(())
    }

    #[test]
    fn of_more_than_fits_the_middle_is_cut_out_and_its_bytes_are_told() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut spool = Spool::new(folder.path(), 10, 10);
        let all: String = ('a'..='z').chain('A'..='Z').collect();
        for piece in all.as_bytes().chunks(7) {
            spool.print(piece);
        }
        assert_eq!(sent(&mut spool, true), "abcdefghij\n[32 bytes are left out here]\nQRSTUVWXYZ");
        assert_eq!(spool.file.as_ref().map(File::metadata).transpose()?.map(|it| it.len()), Some(20));
        Ok(())
    }
}
