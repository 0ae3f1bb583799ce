//! Requests to the API.

use std::{env, fmt, time::Duration};

use anyhow::{Context, Error, Result, anyhow};
use bytes::Bytes;
use jobchute::{Hotkey, Identity};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

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
    pub(crate) http: reqwest::Client,
}

impl Api {
    /// As the environment says: `JOBCHUTE_KEY` or `JOBCHUTE_HOTKEY`.
    pub(crate) fn of_user() -> Result<Self> {
        let identity = identity("")?.context("set JOBCHUTE_KEY or JOBCHUTE_HOTKEY; see --help")?;
        Self::new(identity)
    }

    /// The same for a miner, who may have its own.
    pub(crate) fn of_miner() -> Result<Self> {
        match identity("MINER_")? {
            Some(identity) => Self::new(identity),
            None => Self::of_user(),
        }
    }

    fn new(identity: Identity) -> Result<Self> {
        let url = env::var("JOBCHUTE_URL").unwrap_or_else(|_| "http://127.0.0.1:3000".to_owned());
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), identity, http })
    }

    /// Sends a request of the caller's and reads the answer's JSON; any other status than 200 is an error with the API's own
    /// words.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.ask(method, &format!("{}{path}", self.url), Some(path), body).await
    }

    /// The same, to an address that carries a job token.
    pub(crate) async fn with_token(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Value> {
        self.ask(method, url, None, body).await
    }

    async fn ask(&self, method: Method, url: &str, signed: Option<&str>, body: Option<&Value>) -> Result<Value> {
        let text = body.map(Value::to_string).unwrap_or_default();
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
            if body.is_some() {
                request = request.header("content-type", "application/json").body(text.clone());
            }
            if let Some(path) = signed {
                for (name, value) in self.identity.headers(method.as_str(), path, text.as_bytes()) {
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

fn identity(who: &str) -> Result<Option<Identity>> {
    let variable = |name: &str| env::var(format!("JOBCHUTE_{who}{name}")).ok().filter(|value| !value.is_empty());
    if let Some(key) = variable("KEY") {
        return Ok(Some(Identity::Key(key)));
    }
    let Some(seed) = variable("HOTKEY") else { return Ok(None) };
    let hotkey = Hotkey::from_seed(&seed);
    let hotkey = hotkey.ok_or_else(|| anyhow!("JOBCHUTE_{who}HOTKEY is not a seed of 32 bytes in hex"))?;
    Ok(Some(Identity::Hotkey(Box::new(hotkey))))
}

/// An answer that is no success, in the API's own words.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    pub(crate) async fn of(answer: Response) -> Self {
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        let words = match (&body["detail"], &body["message"]) {
            (Value::String(text), _) | (_, Value::String(text)) => format!("{status}: {text}"),
            (Value::Null, _) => status.to_string(),
            (errors, _) => format!("{status}: {errors}"),
        };
        Self { status, words }
    }

    /// The same request may succeed later.
    fn may_pass(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}

/// The status with which the API decided against a request. None when it may decide otherwise later, or was not reached.
pub(crate) fn refused(error: &Error) -> Option<StatusCode> {
    error.downcast_ref::<Refusal>().filter(|refusal| !refusal.may_pass()).map(|refusal| refusal.status)
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

/// Whether a time that the API tells is less than a minute away.
pub(crate) fn is_near(time: &Value) -> bool {
    let time = time.as_str().and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    time.is_some_and(|time| time - OffsetDateTime::now_utc() < Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_near_in_its_last_minute_and_ever_after() -> Result<()> {
        let within = |seconds| {
            let time = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
            anyhow::Ok(Value::String(time.format(&Rfc3339)?))
        };
        assert!(is_near(&"2020-01-01T00:00:00.000Z".into()) && is_near(&within(50)?));
        assert!(!is_near(&within(70)?) && !is_near(&Value::Null));
        Ok(())
    }
}
