//! Files on their way from a miner to their owner: what spans routes and S3. Every test ends with the bytes that come out.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod allowance;
mod busy;
mod credentials;
mod deadline;
mod declared;
mod envelopes;
mod inputs;
mod killed;
mod many;
mod memory;
mod parts;
mod sdk;
mod unversioned;
mod wall;

use serde_json::Value;
use tests::{Answer, Client, Envelope, text};

const MIB: usize = 1 << 20;

/// Bytes that differ from place to place, so that none can be missing, doubled or moved.
fn content(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64).flat_map(|at| (at ^ 0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(length).collect()
}

/// PUTs a file as the SDK does.
async fn put_envelope(envelope: &Envelope<'_>, answer: &Value, filename: &str, content: &[u8]) {
    let url = text(&answer["output_storage_urls"][filename]);
    let stored = put(&url, envelope.of(filename, content), &envelope.header()).await;
    assert_eq!(stored.status, 200, "{}", stored.body);
}

async fn put(url: &str, body: Vec<u8>, content_type: &str) -> Answer {
    Client::nobody().send(reqwest::Method::PUT, url, body, &[("content-type", content_type)]).await
}

/// The file of that name in a job.
fn file<'a>(job: &'a Value, filename: &str) -> &'a Value {
    let files = job["output_files"].as_object().expect("files");
    files.values().find(|file| file["filename"] == filename).expect("the file")
}

/// The file of that name in a list of upload targets.
fn target<'a>(answer: &'a Value, filename: &str) -> &'a Value {
    let targets = answer["uploads"].as_array().expect("targets");
    targets.iter().find(|target| target["filename"] == filename).expect("a target for the file")
}
