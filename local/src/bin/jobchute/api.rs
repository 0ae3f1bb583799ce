//! Requests to the API.

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};
use local::Hotkey;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

/// How often a request is sent before its failure counts.
const TRIES: u32 = 6;

/// The API, and who calls it.
pub(crate) struct Api {
    url: String,
    identity: Identity,
    pub(crate) http: reqwest::Client,
}

enum Identity {
    Key(String),
    Hotkey(Box<Hotkey>),
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
        // A URL may hold a token, which is nobody's business.
        let shown = format!("{method} {}", url.split('?').next().unwrap_or_default());
        for try_ in 1.. {
            let mut request = self.http.request(method.clone(), url).header("accept", "application/json");
            if body.is_some() {
                request = request.header("content-type", "application/json").body(text.clone());
            }
            if let Some(path) = signed {
                for (name, value) in self.headers(&method, path, &text)? {
                    request = request.header(name, value);
                }
            }
            let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(|| shown.clone());
            match answer {
                Ok(answer) if answer.status() == StatusCode::OK => return Ok(answer.json().await?),
                Ok(answer) if answer.status().is_server_error() && try_ < TRIES => pause(Some(&answer), try_).await,
                Ok(answer) => bail!("{shown}: {}", refusal(answer).await),
                Err(_) if try_ < TRIES => pause(None, try_).await,
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last try returns")
    }

    fn headers(&self, method: &Method, path: &str, body: &str) -> Result<Vec<(String, String)>> {
        let hotkey = match &self.identity {
            Identity::Key(key) => return Ok(vec![("authorization".to_owned(), format!("Bearer {key}"))]),
            Identity::Hotkey(hotkey) => hotkey,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(match *method {
            Method::POST | Method::PUT => hotkey.sign_body(body.as_bytes(), now),
            _ => hotkey.sign_path(method.as_str(), path.split('?').next().unwrap_or_default(), now),
        }
        .to_vec())
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

/// Waits as the answer says, or longer each time.
pub(crate) async fn pause(answer: Option<&Response>, tries: u32) {
    let said = answer.and_then(|answer| answer.headers().get("retry-after")?.to_str().ok()?.parse().ok());
    tokio::time::sleep(Duration::from_secs(said.unwrap_or(u64::from(tries)).min(30))).await;
}

/// Status and words of an answer that is no success.
pub(crate) async fn refusal(answer: Response) -> String {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    match (&body["detail"], &body["message"]) {
        (Value::String(detail), _) => format!("{status}: {detail}"),
        (_, Value::String(message)) => format!("{status}: {message}"),
        (Value::Null, _) => status.to_string(),
        (errors, _) => format!("{status}: {errors}"),
    }
}
