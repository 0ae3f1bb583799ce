//! An outside client that prints a line per request.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use reqwest::{Method, Url, header::HeaderMap, redirect::Policy};
use serde_json::Value;

/// Name and value.
pub(super) type Header<'a> = (&'a str, String);

/// Speaks plain HTTP, as any client would.
pub(super) struct Client(reqwest::Client);

/// An answer with the status that was expected.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }
}

impl Client {
    pub(super) fn new() -> Result<Self> {
        // The demo shows redirects as steps of their own.
        Ok(Self(jobchute::plain_http().redirect(Policy::none()).build().context("no HTTP client")?))
    }

    /// Sends one request and prints its line; another status than `expected` is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[Header<'_>],
        body: impl Into<Bytes>,
        expected: u16,
    ) -> Result<Answer> {
        let url: Url = url.parse().with_context(|| format!("no URL: {url}"))?;
        let label = label(&url);
        let mut request = self.0.request(method.clone(), url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let sent = Instant::now();
        let answer = request.send().await.with_context(|| format!("{method} {label}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.with_context(|| format!("{method} {label}"))?;
        let milliseconds = sent.elapsed().as_secs_f64() * 1000.0;
        println!("{:<6} {label:<50} {status} {milliseconds:>8.1} ms{}", method.as_str(), measured(&headers));
        ensure!(status == expected, "expected {expected}, got {status}: {}", String::from_utf8_lossy(&body));
        Ok(Answer { headers, body })
    }
}

/// Path without query, ids shortened; what goes to S3 shows its host, and a command its name.
fn label(url: &Url) -> String {
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    let is_presigned = url.query().is_some_and(|query| query.contains("X-Amz-Signature"));
    if is_presigned {
        let name = path.split_once("/outputs/").map_or(&*path, |(_, name)| name);
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        return format!("S3 {}{port}/…/{name}", url.host_str().unwrap_or_default());
    }
    if let (Some(name), Some(command)) = (path.strip_prefix("/2015-03-31/functions/"), url.fragment()) {
        return format!("{}: {command}", name.trim_end_matches("/invocations"));
    }
    path.split('/').map(shorten).collect::<Vec<_>>().join("/")
}

fn shorten(segment: &str) -> String {
    match uuid::Uuid::try_parse(segment) {
        Ok(_) => format!("{}…", &segment[..8]),
        Err(_) => segment.to_owned(),
    }
}

/// The engine calls and the cold start that the local stack tells in its headers.
fn measured(headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(calls) = header("x-local-engine-calls") else { return String::new() };
    let count = |engine: &str| {
        let counted = calls.split(' ').find_map(|pair| pair.strip_prefix(engine)?.strip_prefix('='));
        counted.unwrap_or("?").to_owned()
    };
    let cold = header("x-local-cold-start-ms").map(|ms| format!("   cold start {ms} ms")).unwrap_or_default();
    format!("   DynamoDB {}   S3 {}{cold}", count("dynamodb"), count("s3"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_label_hides_tokens_and_shows_who_is_asked() {
        let label = |url: &str| super::label(&url.parse().expect("a URL"));
        let job = "http://127.0.0.1:3000/jobs/3f0a1f6e-0000-4000-8000-000000000001/upload?token=secret";
        assert_eq!(label(job), "/jobs/3f0a1f6e…/upload");
        let put = "http://127.0.0.1:4000/bucket/jobs/c/2026-01-01/j/outputs/r%C3%BCn/a.txt?X-Amz-Signature=secret";
        assert_eq!(label(put), "S3 127.0.0.1:4000/…/rün/a.txt");
    }
}
