//! What AWS would bill: every invocation with what it used, and what clients ask of S3 through presigned URLs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// How S3 bills a request. ("Amazon S3 pricing", "Requests & data retrievals")
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// PUT, COPY, POST and LIST, also of parts and of uploads: at the higher price.
    Put,
    /// GET and all others, HEAD among them.
    Get,
    /// DELETE and the abort of an upload.
    Free,
}

impl Kind {
    pub(crate) fn of(operation: &str) -> Self {
        match operation {
            "GetObject" | "HeadObject" | "HeadBucket" | "Preflight" => Self::Get,
            "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => Self::Free,
            _ => Self::Put,
        }
    }
}

/// Requests to S3, by what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct S3Calls {
    /// At the price of a PUT.
    pub puts: u64,
    /// At the price of a GET.
    pub gets: u64,
    /// For nothing.
    pub free: u64,
}

impl S3Calls {
    pub(crate) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Put => self.puts += 1,
            Kind::Get => self.gets += 1,
            Kind::Free => self.free += 1,
        }
    }
}

/// Something that AWS bills.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Billed {
    /// The function that ran, by its package; none where a client reached S3 by itself.
    pub function: Option<String>,
    /// Milliseconds that it ran.
    pub time_ms: f64,
    /// Calls to DynamoDB.
    pub dynamodb: u64,
    /// Read units that those consumed.
    pub read_units: f64,
    /// Write units that those consumed.
    pub write_units: f64,
    /// Requests to S3.
    pub s3: S3Calls,
    /// Bytes of the event or of the answer, whichever are more: API Gateway meters them.
    pub bytes: usize,
}

/// Everything since somebody began to ask.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    kept: AtomicBool,
    entries: Mutex<Vec<Billed>>,
}

impl Ledger {
    /// Writes it down, if anybody will ask.
    pub(crate) fn add(&self, billed: impl FnOnce() -> Billed) {
        if self.kept.load(Ordering::Relaxed) {
            self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(billed());
        }
    }

    /// What was written down since the last time; from now on, everything is.
    pub(crate) fn take(&self) -> Vec<Billed> {
        self.kept.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_is_not_billed_as_a_list() {
        let kinds = ["ListObjectVersions", "UploadPartCopy", "HeadObject", "DeleteObjects"].map(Kind::of);
        assert_eq!(kinds, [Kind::Put, Kind::Put, Kind::Get, Kind::Free]);
    }

    #[test]
    fn nothing_is_kept_until_somebody_asks() {
        let ledger = Ledger::default();
        ledger.add(Billed::default);
        assert_eq!(ledger.take(), []);
        ledger.add(Billed::default);
        assert_eq!(ledger.take().len(), 1);
    }
}
