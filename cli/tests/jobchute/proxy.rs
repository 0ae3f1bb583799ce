//! Between the command and the stack.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use local::Stack;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::run::Variables;

/// What becomes of a request on its way.
pub(crate) enum Way {
    Pass,
    /// The API does not see it.
    Refuse(u16),
    /// The API serves it, and this part of the answer's bytes arrives.
    Cut(f64),
}

/// A request that has come by.
pub(crate) struct Request {
    /// Method, and path without the query.
    line: String,
    range: Option<String>,
    body: String,
}

pub(crate) type Seen = Arc<Mutex<Vec<Request>>>;

struct Proxy<W> {
    api: String,
    s3: String,
    url: String,
    way: W,
    seen: Seen,
}

/// Lets the command reach the API, and S3, only through here. `way` is asked with every request's method and path, without the query.
pub(crate) async fn through(
    stack: &Stack,
    variables: &mut Variables,
    way: impl Fn(&str) -> Way + Send + Sync + 'static,
) -> Result<Seen> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    variables.insert("JOBCHUTE_URL".to_owned(), url.clone());
    let seen = Seen::default();
    let (api, s3) = (stack.url().to_owned(), stack.aws_url().to_owned());
    let proxy = Arc::new(Proxy { api, s3, url, way, seen: seen.clone() });
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.relay(connection).await });
        }
    });
    Ok(seen)
}

impl<W: Fn(&str) -> Way> Proxy<W> {
    async fn relay(&self, mut connection: TcpStream) -> Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        let (first, headers) = head.split_once("\r\n").context("a request")?;
        let [method, path, _] = first.split(' ').collect::<Vec<_>>()[..] else { anyhow::bail!("{first}") };
        // A second job is on a second page.
        let path = path.replace("/claimable?", "/claimable?limit=1&");
        let headers: Vec<_> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let mut body = vec![0; length.map_or(Ok(0), |(_, length)| length.parse())?];
        connection.read_exact(&mut body).await?;

        let request = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let range = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("range"));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Request {
            line: request.clone(),
            range: range.map(|(_, range)| (*range).to_owned()),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        let (status, more, content, part) = match (self.way)(&request) {
            Way::Refuse(status) => (status, String::new(), br#"{"detail":"not now"}"#.to_vec(), 1.0),
            pass => {
                let is_api = path.starts_with("/jobs");
                let to = if is_api { &self.api } else { &self.s3 };
                let client = jobchute::plain_http().build()?;
                let mut request = client.request(Method::from_bytes(method.as_bytes())?, format!("{to}{path}"));
                for (name, value) in headers.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
                    request = request.header(name, value);
                }
                let answer = request.body(body).send().await?;
                let status = answer.status().as_u16();
                let header = |name: &str| {
                    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                    value.map(|value| format!("{name}: {value}\r\n")).unwrap_or_default()
                };
                let more = header("content-range") + &header("etag");
                let mut content = answer.bytes().await?.to_vec();
                if is_api {
                    let text = String::from_utf8(content)?;
                    content = text.replace(&self.api, &self.url).replace(&self.s3, &self.url).into_bytes();
                }
                (status, more, content, if let Way::Cut(part) = pass { part } else { 1.0 })
            }
        };
        let length = content.len();
        let head = format!("HTTP/1.1 {status} .\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n");
        let answer = [head.into_bytes(), content].concat();
        let arrives = (answer.len() as f64 * part) as usize;
        connection.write_all(&answer[..arrives]).await?;
        Ok(())
    }
}

/// Picks the first `times` requests that are `what`.
pub(crate) fn first(
    times: usize,
    what: impl Fn(&str) -> bool + Send + Sync,
) -> impl Fn(&str) -> Option<usize> + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |request| {
        let number = what(request).then(|| seen.fetch_add(1, Ordering::Relaxed))?;
        (number < times).then_some(number)
    }
}

/// What was sent with the requests of a kind.
pub(crate) fn bodies(seen: &Seen, what: impl Fn(&str) -> bool) -> Vec<String> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter().filter(|request| what(&request.line)).map(|request| request.body.clone()).collect()
}

/// The parts of files that were asked for.
pub(crate) fn ranges(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter().filter_map(|request| request.range.clone()).collect()
}
