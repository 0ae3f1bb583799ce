//! What requests cost in AWS, by list prices.

use local::Billed;
use serde::{Deserialize, Serialize};

use super::{life::Outputs, samples::Sample};

/// Dollars, each for one; and what no measurement here can tell.
#[derive(Debug, Deserialize)]
pub(super) struct Prices {
    pub(super) source: String,
    pub(super) date: String,
    api_request: f64,
    api_request_step_bytes: usize,
    lambda_request: f64,
    lambda_gb_second: f64,
    dynamodb_write_unit: f64,
    dynamodb_read_unit: f64,
    s3_put_or_list: f64,
    s3_get: f64,
    s3_gb_month: f64,
    /// How much longer a call takes between a function and its engines in AWS than on loopback.
    pub(super) assumed_ms_per_dynamodb_call: f64,
    pub(super) assumed_ms_per_s3_call: f64,
}

/// A job's whole life.
#[derive(Debug, Default, Serialize)]
pub(super) struct Life {
    pub(super) requests: usize,
    pub(super) dynamodb_calls: f64,
    pub(super) s3_calls: f64,
    pub(super) read_units: f64,
    pub(super) write_units: f64,
    pub(super) gb_seconds: f64,
    /// Dollars for a million such jobs, without storage and transfer.
    pub(super) per_million: f64,
    pub(super) api: f64,
    pub(super) lambda: f64,
    pub(super) dynamodb: f64,
    pub(super) s3: f64,
    /// Dollars for keeping a million jobs' outputs for 30 days.
    pub(super) storage: f64,
}

impl Prices {
    /// A life of these requests, with outputs that the miner PUT in `parts` requests and the owner fetched once. `memory` tells
    /// a function's megabytes.
    pub(super) fn life(
        &self,
        requests: &[(String, Sample)],
        outputs: Outputs,
        parts: f64,
        memory: impl Fn(&str) -> f64,
    ) -> Life {
        const MILLION: f64 = 1e6;
        let mut life = Life { requests: requests.len(), ..Life::default() };
        for (function, sample) in requests {
            life.dynamodb_calls += sample.dynamodb;
            life.s3_calls += sample.s3;
            life.s3 += MILLION * (self.s3_put_or_list * sample.s3_puts + self.s3_get * sample.s3_gets);
            life.read_units += sample.read_units;
            life.write_units += sample.write_units;
            let ms = sample.time_ms + self.wait_ms(sample.dynamodb, sample.s3);
            life.gb_seconds += gb_seconds(ms, memory(function));
            life.api += MILLION * self.api_request * self.steps(sample.bytes);
        }
        let files = outputs.files as f64;
        life.lambda = MILLION * (self.lambda_gb_second * life.gb_seconds + self.lambda_request * life.requests as f64);
        life.dynamodb = self.units(life.read_units, life.write_units);
        life.s3 += MILLION * (self.s3_put_or_list * parts + self.s3_get * files);
        life.storage = MILLION * self.s3_gb_month * files * outputs.size as f64 / f64::from(1 << 30);
        life.per_million = life.api + life.lambda + life.dynamodb + life.s3;
        life
    }

    /// Dollars for a million of what AWS bills once. What a client asks of S3 costs no more than that.
    pub(super) fn billed(&self, once: &Billed, memory: impl Fn(&str) -> f64) -> f64 {
        const MILLION: f64 = 1e6;
        let s3 = self.s3_put_or_list * once.s3.puts as f64 + self.s3_get * once.s3.gets as f64;
        let Some(function) = &once.function else { return MILLION * s3 };
        let s3_calls = once.s3.puts + once.s3.gets + once.s3.free;
        let ms = once.time_ms + self.wait_ms(once.dynamodb as f64, s3_calls as f64);
        let units = self.units(once.read_units, once.write_units);
        MILLION * (self.api_request * self.steps(once.bytes) + self.lambda(ms, memory(function)) + s3) + units
    }

    /// Dollars for a million times these units.
    pub(super) fn units(&self, read: f64, written: f64) -> f64 {
        1e6 * (self.dynamodb_read_unit * read + self.dynamodb_write_unit * written)
    }

    /// The same life at 512 MB, with every file through the API in pieces that fit into Lambda's 6 MB, each stored and fetched by
    /// a function that holds it for as long as 50 MB/s take.
    pub(super) fn life_through_lambda(&self, requests: &[(String, Sample)], outputs: Outputs) -> Life {
        const PIECE: usize = 4 << 20;
        let pieces = outputs.files * outputs.size.div_ceil(PIECE).max(1) * 2;
        let one = Sample {
            time_ms: PIECE as f64 / 50e3,
            s3: 1.0,
            s3_puts: 1.0,
            dynamodb: 1.0,
            read_units: 1.0,
            bytes: PIECE,
            ..Sample::default()
        };
        let mut all = requests.to_vec();
        all.extend(std::iter::repeat_n(("files".to_owned(), one), pieces));
        self.life(&all, outputs, 0.0, |_| 512.0)
    }

    /// How much longer these calls take in AWS.
    pub(super) fn wait_ms(&self, dynamodb: f64, s3: f64) -> f64 {
        dynamodb * self.assumed_ms_per_dynamodb_call + s3 * self.assumed_ms_per_s3_call
    }

    /// Lambda's price of one request.
    pub(super) fn lambda(&self, ms: f64, mb: f64) -> f64 {
        self.lambda_request + self.lambda_gb_second * gb_seconds(ms, mb)
    }

    fn steps(&self, bytes: usize) -> f64 {
        bytes.div_ceil(self.api_request_step_bytes).max(1) as f64
    }
}

/// Lambda bills whole milliseconds.
fn gb_seconds(ms: f64, mb: f64) -> f64 {
    ms.ceil() / 1000.0 * mb / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_the_sum_of_its_requests() {
        let prices: Prices = serde_json::from_str(include_str!("prices.json")).expect("prices");
        let sample = Sample { time_ms: 0.5, dynamodb: 2.0, read_units: 3.0, write_units: 4.0, ..Sample::default() };
        let requests = [
            ("create-job".to_owned(), sample),
            ("get-job".to_owned(), Sample { bytes: 600_000, s3: 2.0, s3_puts: 1.0, s3_gets: 1.0, ..sample }),
        ];
        let life = prices.life(&requests, Outputs { files: 1, size: 1 << 30 }, 64.0, |_| 1024.0);
        assert_eq!((life.requests, life.dynamodb_calls, life.read_units, life.write_units), (2, 4.0, 6.0, 8.0));
        // Two calls of 4 ms each and half a millisecond are nine; two more of 20 ms are 49.
        assert!((life.gb_seconds - 0.058).abs() < 1e-9);
        // The second answer is two steps of 512 KB.
        assert!((life.api - 3.0).abs() < 1e-9 && (life.storage - 23_000.0).abs() < 1e-6);
        // A function's PUT and GET, 64 PUTs of the miner and a GET of the owner.
        assert!((life.s3 - (5.0 + 0.4 + 320.0 + 0.4)).abs() < 1e-6, "{}", life.s3);
        assert!((life.per_million - life.api - life.lambda - life.dynamodb - life.s3).abs() < 1e-9);
    }
}
