//! How far each function has come in each stream: the sequence number of the last record that it is done with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

use crate::disk;

/// Positions by event source and lane. Sequence numbers are of one length, so that text has their order.
type Known = BTreeMap<String, BTreeMap<usize, Option<String>>>;

/// Every position, kept in a file if there is a folder for it.
#[derive(Debug)]
pub(super) struct Positions {
    known: Mutex<Known>,
    file: Option<PathBuf>,
}

impl Positions {
    /// Those of these event sources. One that the template has no more is forgotten: if it comes back, it is a new one.
    pub(super) fn open(folder: Option<&Path>, sources: &BTreeSet<&str>) -> Result<Self> {
        let file = folder.map(|folder| folder.join("streams.json"));
        let mut known = match &file {
            Some(file) if file.exists() => {
                let text = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("can't use {}", file.display()))?
            }
            _ => Known::new(),
        };
        known.retain(|source, _| sources.contains(source.as_str()));
        Ok(Self { known: Mutex::new(known), file })
    }

    /// Where an event source goes on, if it was there before: where its slowest lane was, however many it has now.
    pub(super) fn of(&self, source: &str) -> Option<Option<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(source)?.values().min().cloned()
    }

    /// Begins anew with this many lanes, all at one position.
    pub(super) fn begin(&self, source: &str, lanes: usize, position: Option<&str>) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(source.to_owned(), (0..lanes).map(|lane| (lane, position.map(str::to_owned))).collect());
        self.save(&known)
    }

    /// A lane is done with everything up to this record.
    pub(super) fn reached(&self, source: &str, lane: usize, position: &str) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(source.to_owned()).or_default().insert(lane, Some(position.to_owned()));
        self.save(&known)
    }

    fn save(&self, known: &Known) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec(known).context("can't write positions")?;
        disk::replace(file, &text).with_context(|| format!("can't write {}", file.display()))
    }
}
