//! An HTTP client that signs as somebody.

use jobchute::{Hotkey, Identity};
use reqwest::Method;
use serde_json::Value;

use crate::{answer::Answer, description, stack::stack};

/// A client of the API.
#[derive(Clone)]
pub struct Client {
    identity: Identity,
    http: reqwest::Client,
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
        if method == Method::PUT && body.is_empty() {
            // S3 wants it; hyper leaves it out.
            request = request.header("content-length", "0");
        }
        let response = request.body(body).send().await?;
        let url = response.url().clone();
        let answer = Answer::read(response).await?;
        description::check(&method, &url, &answer);
        Ok(answer)
    }
}
