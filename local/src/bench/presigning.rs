//! What it takes to presign the uploads of a large report. It needs no engine, so it is measured in this process.

use std::{hint::black_box, sync::LazyLock, time::Instant};

use anyhow::{Result, anyhow};
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use local::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN};
use shared::{
    metrics::Metrics,
    model::OutputFile,
    outputs::{Bucket, Signer},
};

use super::{life::filename, samples::quantile};

/// Reports that the figure is the median of.
const REPORTS: usize = 21;

/// Milliseconds of a core for a thousand URLs, declared as the bench's files are.
pub(super) async fn measure() -> Result<f64> {
    let credentials = Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, Some(SESSION_TOKEN.clone()));
    let region = Region::new("us-east-1");
    let config = aws_sdk_s3::Config::builder().behavior_version_latest().region(region.clone());
    let config = config.credentials_provider(SharedCredentialsProvider::new(credentials.clone())).build();
    let client = LazyLock::new(Box::new(move || aws_sdk_s3::Client::from_conf(config)) as Box<_>);
    let signer = Signer::new(credentials, region.to_string());
    let outputs = Bucket::new(client, "jobchute-outputs".to_owned(), signer, Metrics::default());

    let folder = format!("jobs/{0}/2026-11-27/{0}/outputs", uuid::Uuid::nil());
    let file = |n| OutputFile { filename: filename(n), size: Some(1024), ..OutputFile::default() };
    let files: Vec<_> = (0..1000).map(file).collect();
    let failed = |error| anyhow!("presigning: {error:?}");
    let mut took = Vec::new();
    for _ in 0..REPORTS {
        let started = Instant::now();
        let presigner = outputs.presigner(3600).await.map_err(failed)?;
        for file in &files {
            let put = presigner.put(&format!("{folder}/{}", file.filename), black_box(file), false);
            black_box(put.map_err(failed)?);
        }
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(quantile(took, 0.5))
}
