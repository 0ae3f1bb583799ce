//! What requests took, as the local stack tells with each answer.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use serde::Serialize;

/// One request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// From the process's start to its first question for work, where this request started it.
    pub(super) init_ms: Option<f64>,
    pub(super) time_ms: f64,
    pub(super) cpu_ms: f64,
    pub(super) peak_mib: f64,
    pub(super) dynamodb: f64,
    pub(super) s3: f64,
    /// Of those, at the price of a PUT, and at that of a GET.
    pub(super) s3_puts: f64,
    pub(super) s3_gets: f64,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
    /// Bytes of the answer, or of the request when those are more.
    pub(super) bytes: usize,
}

impl Sample {
    pub(super) fn read(headers: &HeaderMap, bytes: usize) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let number = |name: &str| text(name).parse::<f64>().ok();
        let part = |name: &str, key: &str| {
            let pair = text(name).split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            pair.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Self {
            init_ms: number("x-local-cold-start-ms"),
            time_ms: number("x-local-time-ms").unwrap_or(0.0),
            cpu_ms: number("x-local-cpu-ms").unwrap_or(0.0),
            peak_mib: number("x-local-peak-memory-kib").unwrap_or(0.0) / 1024.0,
            dynamodb: part("x-local-engine-calls", "dynamodb"),
            s3: part("x-local-engine-calls", "s3"),
            s3_puts: part("x-local-engine-calls", "s3-put"),
            s3_gets: part("x-local-engine-calls", "s3-get"),
            read_units: part("x-local-engine-units", "read"),
            write_units: part("x-local-engine-units", "write"),
            bytes,
        }
    }
}

/// Requests by function.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, Vec<Sample>>);

/// A function's figures: medians, but for the two that say otherwise.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) init_ms: f64,
    pub(super) first_ms: f64,
    pub(super) warm_ms: f64,
    pub(super) warm_p99_ms: f64,
    pub(super) cpu_ms: f64,
    /// The most that any of its processes had.
    pub(super) peak_mib: f64,
    pub(super) dynamodb_calls: f64,
    pub(super) s3_calls: f64,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
    pub(super) requests: usize,
}

impl Samples {
    pub(super) fn add(&mut self, function: &str, sample: Sample) {
        self.0.entry(function.to_owned()).or_default().push(sample);
    }

    /// The figures of a function that ran cold and warm.
    pub(super) fn figures(&self, function: &str) -> Option<Figures> {
        let samples = self.0.get(function)?;
        let (cold, warm): (Vec<Sample>, Vec<Sample>) = samples.iter().partition(|sample| sample.init_ms.is_some());
        let of = |samples: &[Sample], figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<_>>();
        Some(Figures {
            init_ms: quantile(of(&cold, |sample| sample.init_ms.unwrap_or(0.0)), 0.5),
            first_ms: quantile(of(&cold, |sample| sample.time_ms), 0.5),
            warm_ms: quantile(of(&warm, |sample| sample.time_ms), 0.5),
            warm_p99_ms: quantile(of(&warm, |sample| sample.time_ms), 0.99),
            cpu_ms: quantile(of(&warm, |sample| sample.cpu_ms), 0.5),
            peak_mib: quantile(of(samples, |sample| sample.peak_mib), 1.0),
            dynamodb_calls: quantile(of(&warm, |sample| sample.dynamodb), 0.5),
            s3_calls: quantile(of(&warm, |sample| sample.s3), 0.5),
            read_units: quantile(of(&warm, |sample| sample.read_units), 0.5),
            write_units: quantile(of(&warm, |sample| sample.write_units), 0.5),
            requests: samples.len(),
        })
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The value that this share of all values is not above; zero of none.
pub(super) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = || (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(values(), 0.5), quantile(values(), 0.99), quantile(values(), 1.0)), (50.0, 99.0, 100.0));
        assert_eq!((quantile(vec![7.0], 0.5), quantile(Vec::new(), 0.5)), (7.0, 0.0));
    }

    #[test]
    fn an_answers_headers_are_read() {
        let headers = [
            ("x-local-engine-calls", "dynamodb=2 s3=3 secretsmanager=0 s3-put=1 s3-get=2"),
            ("x-local-engine-units", "read=2.5 write=8"),
            ("x-local-time-ms", "1.250"),
            ("x-local-peak-memory-kib", "2048"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let sample = Sample::read(&HeaderMap::from_iter(headers), 10);
        assert_eq!((sample.init_ms, sample.time_ms, sample.peak_mib), (None, 1.25, 2.0));
        assert_eq!((sample.dynamodb, sample.read_units, sample.write_units), (2.0, 2.5, 8.0));
        assert_eq!((sample.s3, sample.s3_puts, sample.s3_gets), (3.0, 1.0, 2.0));
    }
}
