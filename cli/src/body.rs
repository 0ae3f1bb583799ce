//! The body of an answer.

use std::{io::Read, time::Duration};

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use reqwest::{Response, header::CONTENT_ENCODING};
use tokio::time::timeout;

/// How long the next bytes of an answer may take.
const NEXT: Duration = Duration::from_secs(30);
/// Bytes of the longest answer when it is no longer in gzip: several times arguments, result and list of files of the largest job.
const LONGEST: u64 = 64 << 20;

/// All of it, out of gzip if it is in gzip. One that is cut is an error.
pub(crate) async fn body(mut answer: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = timeout(NEXT, answer.chunk())
        .await
        .context("the answer ends too early")?
        .map_err(reqwest::Error::without_url)?
    {
        body.extend_from_slice(&piece);
    }
    if answer.headers().get(CONTENT_ENCODING).is_none_or(|coding| coding != "gzip") {
        return Ok(body);
    }
    let mut inflated = Vec::new();
    GzDecoder::new(&body[..]).take(LONGEST).read_to_end(&mut inflated).context("the answer is no gzip")?;
    Ok(inflated)
}
