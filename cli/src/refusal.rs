//! An answer that is no success, in the API's own words.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use anyhow::Error;
use httpdate::parse_http_date;
use reqwest::{
    Response, StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::body::body;

/// What the API, or S3, answered instead of a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    detail: Option<Detail>,
    /// How long it asks to wait.
    wait: Option<Duration>,
}

/// `detail` of the API's errors, or `message` of API Gateway's.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    Text(String),
    /// One for every field that is wrong.
    Fields(Vec<Wrong>),
    Other(Value),
}

/// A field of a request that is wrong.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Wrong {
    /// Where it stands: `["body", "output_files", 3, "filename"]`.
    pub(crate) loc: Vec<Value>,
    pub(crate) msg: String,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(alias = "message")]
    detail: Option<Detail>,
}

impl Refusal {
    /// Reads the answer's body.
    pub(crate) async fn of(answer: Response) -> Self {
        let (status, wait) = (answer.status(), retry_after(answer.headers()));
        let body = body(answer).await.unwrap_or_default();
        let Body { detail } = serde_json::from_slice(&body).unwrap_or_default();
        Self { status, detail, wait }
    }

    /// The same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// What it says.
    pub(crate) fn detail(&self) -> Option<&Detail> {
        self.detail.as_ref()
    }

    /// Whether the API's sentence begins so.
    pub(crate) fn is_about(&self, beginning: &str) -> bool {
        matches!(&self.detail, Some(Detail::Text(text)) if text.starts_with(beginning))
    }

    /// The number that follows these words in the API's sentence.
    pub(crate) fn number_after(&self, words: &str) -> Option<u64> {
        let Some(Detail::Text(text)) = &self.detail else { return None };
        let (_, rest) = text.split_once(words)?;
        rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
    }

    /// The fields of the request that are wrong.
    pub(crate) fn wrong(&self) -> &[Wrong] {
        match &self.detail {
            Some(Detail::Fields(fields)) => fields,
            _ => &[],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match &self.detail {
            None => Ok(()),
            Some(Detail::Text(text)) => write!(f, ": {text}"),
            Some(Detail::Other(value)) => write!(f, ": {value}"),
            Some(Detail::Fields(fields)) => {
                for (number, Wrong { loc, msg }) in fields.iter().enumerate() {
                    let at: Vec<_> =
                        loc.iter().map(|part| part.as_str().map_or(part.to_string(), str::to_owned)).collect();
                    write!(f, "{} {}: {msg}", if number == 0 { ":" } else { ";" }, at.join("."))?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// What S3 answered instead of a success. With a fresh URL the same may succeed.
#[derive(Debug, thiserror::Error)]
#[error("S3: {0}")]
pub(crate) struct StoreRefusal(pub(crate) Refusal);

/// Whether S3 has decided so: the same URL gets the same answer. With a fresh one it may decide otherwise, but hardly each time.
pub(crate) fn is_refused_by_store(error: &Error) -> bool {
    error.downcast_ref().is_some_and(|StoreRefusal(refusal)| !refusal.may_pass())
}

/// How long an answer says to wait: in seconds, or until a time by the clock that dated the answer (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = parse_http_date(said).ok()?;
    Some(until.duration_since(date(headers).unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

/// When an answer was given, by the clock of who gave it.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// How long to wait before the request that failed so is sent again, when its answer said that.
pub(crate) fn wait(error: &Error) -> Option<Duration> {
    let of_store = || error.downcast_ref().map(|StoreRefusal(refusal)| refusal);
    error.downcast_ref::<Refusal>().or_else(of_store)?.wait
}

/// How the API decided against a request. None when it may decide otherwise later, or was not reached.
pub(crate) fn refused(error: &Error) -> Option<&Refusal> {
    error.downcast_ref::<Refusal>().filter(|refusal| !refusal.may_pass())
}

/// The status of such a decision.
pub(crate) fn refused_with(error: &Error) -> Option<StatusCode> {
    refused(error).map(|refusal| refusal.status)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn dated(more: Option<&'static str>) -> HeaderMap {
        let more = more.map(|wait| (RETRY_AFTER, HeaderValue::from_static(wait)));
        [(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"))].into_iter().chain(more).collect()
    }

    fn said(wait: &'static str) -> Option<u64> {
        Some(retry_after(&dated(Some(wait)))?.as_secs())
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(date(&dated(None)), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)));
        assert_eq!(retry_after(&dated(None)), None);
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date_by_the_clock_of_who_tells_it() {
        assert_eq!(said("120"), Some(120));
        // The three forms of RFC 9110, 5.6.7.
        assert_eq!(said("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        assert_eq!(said("Sunday, 06-Nov-94 08:51:37 GMT"), Some(120));
        assert_eq!(said("Sun Nov  6 08:51:37 1994"), Some(120));
        assert_eq!(said("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(said("soon"), None);
        assert_eq!(said("-1"), None);
    }
}
