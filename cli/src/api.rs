//! Requests to the API, repeated while they may succeed.

use std::time::Duration;

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use jobchute::Identity;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::refusal::Refusal;

/// How often a request is sent before its failure counts.
const TRIES: u32 = 6;
/// How long an answer may take: what API Gateway gives a function.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest wait that an answer may ask for: a daily quota is told at once.
const LONGEST_PAUSE: u64 = 30;

/// The API, and who calls it.
pub(crate) struct Api {
    url: String,
    identity: Identity,
    /// For S3, too.
    pub(crate) http: reqwest::Client,
}

impl Api {
    /// The API at an address, for a caller.
    pub(crate) fn new(url: String, identity: Identity) -> Result<Self> {
        let http = jobchute::http().connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { url, identity, http })
    }

    /// Sends a request of the caller's, with a JSON text as its body, and reads the answer's JSON. Any other status than 200 is an
    /// error with the API's own words. What passes through should be a `RawValue` of the answer's type: that keeps every digit, and
    /// can be nested as deep as it likes.
    pub(crate) async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&str>) -> Result<T> {
        self.ask(method, &format!("{}{path}", self.url), Some(path), body).await
    }

    /// The same, to an address that carries a job token.
    pub(crate) async fn with_token<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&str>,
    ) -> Result<T> {
        self.ask(method, url, None, body).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        signed: Option<&str>,
        body: Option<&str>,
    ) -> Result<T> {
        // A lost answer must not make a second job.
        let once = (method == Method::POST && signed.is_some()).then(|| Uuid::new_v4().to_string());
        // A URL may hold a token, which is nobody's business.
        let shown = format!("{method} {}", url.split('?').next().unwrap_or_default());
        for try_ in 1.. {
            let mut request =
                self.http.request(method.clone(), url).timeout(ANSWER).header("accept", "application/json");
            if let Some(once) = &once {
                request = request.header("idempotency-key", once);
            }
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_owned());
            }
            if let Some(path) = signed {
                for (name, value) in self.identity.headers(method.as_str(), path, body.unwrap_or_default().as_bytes()) {
                    request = request.header(name, value);
                }
            }
            match answer(request).await.with_context(|| shown.clone()) {
                Ok(Ok(body)) => return serde_json::from_slice(&body).context(shown),
                Ok(Err((refusal, wait))) if refusal.may_pass() && wait <= Some(LONGEST_PAUSE) && try_ < TRIES => {
                    pause(wait, try_).await
                }
                Ok(Err((refusal, _))) => return Err(Error::new(refusal).context(shown)),
                Err(_) if try_ < TRIES => pause(None, try_).await,
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last try returns")
    }
}

/// The body of a success; or the refusal, and how long it says to wait. An answer that is cut is as good as none.
async fn answer(request: RequestBuilder) -> reqwest::Result<Result<Bytes, (Refusal, Option<u64>)>> {
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    if answer.status() == StatusCode::OK {
        return answer.bytes().await.map(Ok).map_err(reqwest::Error::without_url);
    }
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Err((Refusal::of(answer).await, wait)))
}

/// Waits the seconds that an answer says, or longer each time.
pub(crate) async fn pause(said: Option<u64>, tries: u32) {
    tokio::time::sleep(Duration::from_secs(said.unwrap_or(u64::from(tries)))).await;
}

/// A time that the API tells.
pub(crate) fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
