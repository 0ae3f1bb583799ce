//! What comes of one request.

use std::{fmt, time::Duration};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{calls::Counts, capacity::Units};

/// The most that a request's event or a response may be ("Lambda quotas": 6 MB).
pub(crate) const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

/// A request that a function answered, or an error that it reported itself.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The answer; `Err` is the error document of the function.
    pub(crate) outcome: Result<Bytes, Bytes>,
    /// Engine calls that the function made.
    pub(crate) counts: Counts,
    /// How long the environment took to start, when this request started it.
    pub(crate) cold_start: Option<Duration>,
    /// What it took once the environment had the event.
    pub(crate) used: Used,
}

/// What one request took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// From the event to the answer: what Lambda bills.
    pub(crate) time: Duration,
    /// CPU time of the process, where the system tells.
    pub(crate) cpu: Option<Duration>,
    /// KiB that the process had resident at most, since it started.
    pub(crate) peak_memory: Option<u64>,
}

impl Invocation {
    /// What was measured, as headers of the answer. Of the local stack only: the demo and the tests read them.
    pub(crate) fn headers(&self) -> HeaderMap {
        let ms = |took: Duration| format!("{:.3}", took.as_secs_f64() * 1000.0);
        let units = self.counts.units;
        let units = (units != Units::default()).then(|| format!("read={} write={}", units.read, units.write));
        let measured = [
            ("x-local-engine-calls", Some(self.counts.to_string())),
            ("x-local-engine-units", units),
            ("x-local-cold-start-ms", self.cold_start.map(ms)),
            ("x-local-time-ms", Some(ms(self.used.time))),
            ("x-local-cpu-ms", self.used.cpu.map(ms)),
            ("x-local-peak-memory-kib", self.used.peak_memory.map(|kib| kib.to_string())),
        ];
        let valid = |(name, value): (_, Option<String>)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?))
        };
        measured.into_iter().filter_map(valid).collect()
    }
}

/// A request that no function answered.
#[derive(Debug)]
pub(crate) enum InvokeError {
    /// The event is over [`PAYLOAD_LIMIT`].
    TooLarge,
    /// As many requests run as may.
    Throttled,
    /// The process failed to start, died, or ran into its timeout. Tells why.
    Crashed(String),
}

impl fmt::Display for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the event is over 6 MB"),
            Self::Throttled => f.write_str("Rate Exceeded."),
            Self::Crashed(reason) => f.write_str(reason),
        }
    }
}
