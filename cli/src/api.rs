//! Requests to the API, repeated while they may succeed.

use std::{
    io::{self, Write},
    sync::{
        self,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use jobchute::Identity;
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    body::body,
    pace,
    refusal::{Refusal, date, refused, retry_after, wait},
    screen,
};

/// How often a request is sent before its failure counts.
const TRIES: u32 = 6;
/// The same of one that its sender repeats anyway.
const FEW_TRIES: u32 = 2;
/// How long the API may take: what API Gateway gives a function.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes a second that a line sends at least: a body of 4 MiB may take two minutes.
const SLOWEST: u64 = 32 << 10;
/// The header that tells when the API key ends.
const KEY_END: &str = "x-api-key-expires-at";
/// From when before its end on a key is told of: 14 days.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// The longest wait that an answer may ask for: a daily quota is told at once.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a body from which on it is sent in gzip. A function gets a body as a string in JSON, of at most 6 MB: one of 4 MiB that
/// is full of quotes is longer than that.
const COMPRESSED_FROM: usize = 64 << 10;

/// The API, and who calls it.
pub(crate) struct Api {
    url: String,
    identity: Identity,
    /// For what carries the caller's credentials: no answer leads them elsewhere, or makes a `GET` of a `POST`.
    own: reqwest::Client,
    /// For S3.
    pub(crate) http: reqwest::Client,
}

/// A success.
pub(crate) struct Answer<T> {
    pub(crate) body: T,
    /// How long to wait before the same is asked again.
    pub(crate) wait: Option<Duration>,
    /// What the API's clock says. This machine's may be wrong.
    pub(crate) at: Option<OffsetDateTime>,
}

/// A request that is made once, however often it is sent.
pub(crate) struct Once {
    key: String,
    /// It was sent, and nobody knows what has become of it.
    is_open: AtomicBool,
    /// That was so once.
    was_open: AtomicBool,
}

impl Once {
    /// One of this `Idempotency-Key`.
    pub(crate) fn new(key: String) -> Self {
        Self { key, is_open: AtomicBool::new(false), was_open: AtomicBool::new(false) }
    }

    /// What of it can be repeated.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the API may have done it although nobody has heard so.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Whether an answer to a copy of it was lost: the API may have decided about the next one as it did because of that one.
    pub(crate) fn was_open(&self) -> bool {
        self.was_open.load(Ordering::Relaxed)
    }

    /// It is on its way; whether it was open before.
    fn send(&self) -> bool {
        self.is_open.swap(true, Ordering::Relaxed)
    }

    /// It was done, and is heard of.
    pub(crate) fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// What an answer, or none, says of it.
    fn hear<T>(&self, answer: &Result<T>, was_open: bool) {
        let is_open = match answer {
            // Whether it is an answer of this API's, the caller tells.
            Ok(_) => true,
            Err(error) if is_decided(error) => false,
            Err(error) if is_unheard(error) => was_open,
            Err(_) => true,
        };
        self.is_open.store(is_open, Ordering::Relaxed);
        self.was_open.fetch_or(is_open, Ordering::Relaxed);
    }
}

/// Whether the API has decided against the request itself, and so against each copy of it.
fn is_decided(error: &Error) -> bool {
    refused(error).is_some_and(|refusal| !is_at_the_door(refusal.status))
}

/// Whether this copy of a request has certainly done nothing. That says nothing of the copies before it.
fn is_unheard(error: &Error) -> bool {
    let is_at_the_door = || error.downcast_ref::<Refusal>().is_some_and(|refusal| is_at_the_door(refusal.status));
    error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect) || is_at_the_door()
}

/// Whether the caller was turned away before the request was looked at.
fn is_at_the_door(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
}

impl Api {
    /// The API at an address, for a caller.
    pub(crate) fn new(url: String, identity: Identity) -> Result<Self> {
        let http = || jobchute::http().connect_timeout(Duration::from_secs(10));
        Ok(Self { url, identity, own: http().redirect(Policy::none()).build()?, http: http().build()? })
    }

    /// Sends a request of the caller's, with a JSON text as its body, and reads the answer's JSON; 204 is null. Any other status than 200
    /// is an error with the API's own words. What passes through should be a `RawValue` of the answer's type: that keeps every digit, and
    /// can be nested as deep as it likes.
    pub(crate) async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&str>) -> Result<T> {
        self.answer(method, path, body).await.map(|answer| answer.body)
    }

    /// The same, with what the answer says about time.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<Answer<T>> {
        // A lost answer must not make a second one.
        let once = (method == Method::POST).then(|| Once::new(Uuid::new_v4().to_string()));
        self.ask(method, &format!("{}{path}", self.url), Some(path), body, once.as_ref(), TRIES).await
    }

    /// The same, which tells afterwards whether the API may have obeyed. The caller closes it.
    pub(crate) async fn once<T: DeserializeOwned>(
        &self,
        once: &Once,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> Result<T> {
        let answer = self.ask(method, &format!("{}{path}", self.url), Some(path), body, Some(once), TRIES).await;
        answer.map(|answer| answer.body)
    }

    /// The same, to an address that says itself what may be done with it: it carries a job token, or S3's signature. The caller's own
    /// secrets do not go there.
    pub(crate) async fn at<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&str>,
    ) -> Result<Answer<T>> {
        self.ask(method, url, None, body, None, TRIES).await
    }

    /// The same for what is sent again before long, whatever becomes of it.
    pub(crate) async fn briefly_at<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&str>,
    ) -> Result<Answer<T>> {
        self.ask(method, url, None, body, None, FEW_TRIES).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        signed: Option<&str>,
        body: Option<&str>,
        once: Option<&Once>,
        tries: u32,
    ) -> Result<Answer<T>> {
        // A URL may hold a token, which is nobody's business.
        let shown = format!("{method} {}", url.split('?').next().unwrap_or_default());
        let is_compressed = body.is_some_and(|body| body.len() > COMPRESSED_FROM);
        let sent = match body {
            Some(body) if is_compressed => compressed(body)?,
            body => Bytes::from(body.unwrap_or_default().to_owned()),
        };
        for try_ in 1.. {
            // A redirect would have another request made of it, and told to somebody else.
            let http = if signed.is_some() || method != Method::GET { &self.own } else { &self.http };
            let mut request = http.request(method.clone(), url).header(ACCEPT, "application/json");
            // The largest job's answer comes in gzip, or not at all.
            request = request.header(ACCEPT_ENCODING, "gzip");
            if let Some(once) = once {
                request = request.header("idempotency-key", once.key());
            }
            if body.is_some() {
                request = request.header(CONTENT_TYPE, "application/json").body(sent.clone());
            }
            if is_compressed {
                request = request.header(CONTENT_ENCODING, "gzip");
            }
            if let Some(path) = signed {
                for (name, value) in self.identity.headers(method.as_str(), path, &sent) {
                    request = request.header(name, value);
                }
            }
            let patience = ANSWER + Duration::from_secs(sent.len() as u64 / SLOWEST);
            let was_open = once.is_some_and(Once::send);
            let answered = answer(request, patience).await;
            if let Some(once) = once {
                once.hear(&answered, was_open);
            }
            match answered {
                Ok(Answer { body, wait, at }) => {
                    return Ok(Answer { body: serde_json::from_slice(&body).context(shown)?, wait, at });
                }
                Err(error) if refused(&error).is_some() || wait(&error) > Some(LONGEST_WAIT) || try_ == tries => {
                    return Err(error.context(shown));
                }
                Err(error) => pace::retry(wait(&error), try_).await,
            }
        }
        unreachable!("the last try returns")
    }
}

fn compressed(body: &str) -> io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.as_bytes())?;
    gzip.finish().map(Bytes::from)
}

/// A success; a [`Refusal`] is an error. An answer that is cut is as good as none.
async fn answer(request: RequestBuilder, patience: Duration) -> Result<Answer<Vec<u8>>> {
    let sent = timeout(patience, request.send()).await.context("no answer")?;
    let answer = sent.map_err(reqwest::Error::without_url)?;
    let there = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    // Without the token that it may repeat.
    let there = there.and_then(|there| there.split('?').next()).map(str::to_owned);
    if let Some(there) = there.filter(|_| answer.status().is_redirection()) {
        let refusal = Error::new(Refusal::of(answer).await);
        return Err(refusal.context(format!("JOBCHUTE_URL is not where the API is, which answers: {there}")));
    }
    let is_nothing = answer.status() == StatusCode::NO_CONTENT;
    if !is_nothing && answer.status() != StatusCode::OK {
        return Err(Error::new(Refusal::of(answer).await));
    }
    // It has whole seconds: as likely as not, half of one has passed since.
    let at = date(answer.headers()).map(|date| OffsetDateTime::from(date) + Duration::from_millis(500));
    let end = answer.headers().get(KEY_END).and_then(|end| time(end.to_str().ok()?));
    if let Some((end, at)) = end.zip(at) {
        tell_of_key(end, at);
    }
    let wait = retry_after(answer.headers());
    let body = if is_nothing { b"null".to_vec() } else { body(answer).await? };
    Ok(Answer { body, wait, at })
}

/// Says once that the API key is about to end, by the API's clock.
fn tell_of_key(end: OffsetDateTime, at: OffsetDateTime) {
    static TOLD: sync::Once = sync::Once::new();
    if end - at < SOON {
        TOLD.call_once(|| {
            let message = format!("the API key ends on {}: ask for another", shown(end));
            if screen::is_json() {
                screen::complain(json!({"warning": {"message": message}}));
            } else {
                screen::complain(format!("jobchute: {message}"));
            }
        });
    }
}

/// To the second: what a person reads.
fn shown(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// A time that the API tells.
pub(crate) fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
