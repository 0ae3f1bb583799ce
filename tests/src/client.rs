//! An HTTP client that signs as somebody, and answers that tests can read.

use std::io::Read;

use flate2::read::GzDecoder;
use jobchute::{Hotkey, Identity};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

use crate::{description, stack};

/// A client of the API.
#[derive(Clone)]
pub struct Client {
    identity: Identity,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed: JSON where it is JSON, a string otherwise.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Client {
    fn new(identity: Identity) -> Self {
        let redirects = reqwest::redirect::Policy::none();
        Self { identity, http: jobchute::plain_http().redirect(redirects).build().unwrap() }
    }

    /// Without credentials: a miner with a job token, or a stranger.
    pub fn nobody() -> Self {
        Self::new(Identity::Nobody)
    }

    /// With an API key.
    pub fn with_key(key: impl Into<String>) -> Self {
        Self::new(Identity::Key(key.into()))
    }

    /// That signs with a hotkey.
    pub fn with_hotkey(hotkey: Hotkey) -> Self {
        Self::new(Identity::Hotkey(Box::new(hotkey)))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Vec::new(), &[]).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, Vec::new(), &[]).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body.to_string().into_bytes(), &[("content-type", "application/json")]).await
    }

    /// PUT with a JSON body; `Value::Null` is an empty one.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(Method::PUT, path, body, &[("content-type", "application/json")]).await
    }

    /// Any request to the API, or to an absolute URL, with this identity's headers and `headers`. The answer has to be as
    /// the API's description says.
    pub async fn send(&self, method: Method, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
        self.try_send(method, path, body, headers).await.expect("the stack answers")
    }

    /// The same where the connection may be cut.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", stack().url()) };
        let mut request = self.http.request(method.clone(), url);
        for (name, value) in self.identity.headers(method.as_str(), path, &body) {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await?;
        let url = response.url().clone();
        let answer = Answer::read(response).await?;
        description::check(&method, &url, &answer);
        Ok(answer)
    }
}

impl Answer {
    /// Reads it to its end.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let mut text = bytes.clone();
        if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
            text.clear();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).expect("gzip");
        }
        let body = serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into());
        Ok(Self { status, headers, body, bytes })
    }

    /// The body of an answer that has to be a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// An error's status and its `detail`.
    #[track_caller]
    pub fn error(&self) -> (u16, Value) {
        let object = self.body.as_object().unwrap_or_else(|| panic!("no error document: {}", self.body));
        assert!(object.len() == 1 && object.contains_key("detail"), "{}", self.body);
        (self.status, self.body["detail"].clone())
    }

    /// Asserts an error with one sentence.
    #[track_caller]
    pub fn is_error(&self, status: u16, detail: &str) {
        assert_eq!(self.error(), (status, Value::from(detail)));
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Engine calls that the request took: DynamoDB and S3.
    pub fn engine_calls(&self) -> (u32, u32) {
        let header = self.header("x-local-engine-calls").expect("the local stack counts");
        let count = |name: &str| -> u32 {
            let pair = header.split_whitespace().find_map(|pair| pair.strip_prefix(name)).expect("every engine");
            pair.trim_start_matches('=').parse().expect("a number")
        };
        (count("dynamodb"), count("s3"))
    }
}
