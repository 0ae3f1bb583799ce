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
#[derive(Clone)]
pub(crate) enum Way {
    Pass,
    /// The API does not see it.
    Refuse(u16),
    /// Nor this one: it is busy for so many seconds.
    Busy(u64),
    /// Nor this one, which is to go elsewhere.
    Move(u16, String),
    /// Nor this one, whose answer is this text.
    Answer(String),
    /// The API serves it, and the answer says to wait so many seconds.
    Wait(u64),
    /// The API serves it, and another text arrives, made of the answer and the address here.
    Change(fn(&str, &str) -> String),
    /// The API serves it, and the answer has something else in the place of this.
    Replace(&'static str, &'static str),
    /// The API serves it, and this part of the answer's bytes arrives.
    Cut(f64),
    /// S3 serves it, and this part of the answer's body arrives, without a word of its length.
    End(f64),
}

/// A request that has come by.
pub(crate) struct Request {
    /// Method, and path without the query.
    line: String,
    pub(crate) query: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
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
        let headers: Vec<_> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
        let (path_only, query) = path.split_once('?').unwrap_or((path, ""));
        let line = format!("{method} {path_only}");
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut seen =
            Request { line: line.clone(), query: query.to_owned(), headers: owned.collect(), body: Vec::new() };
        seen.body.resize(seen.header("content-length").map_or(Ok(0), str::parse)?, 0);
        connection.read_exact(&mut seen.body).await?;
        let body = seen.body.clone();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);

        let wait = |seconds| format!("retry-after: {seconds}\r\n");
        let not_now = br#"{"detail":"not now"}"#.to_vec();
        let (status, more, content, part) = match (self.way)(&line) {
            Way::Refuse(status) => (status, String::new(), not_now, 1.0),
            Way::Busy(seconds) => (503, wait(seconds), not_now, 1.0),
            Way::Move(status, there) => (status, format!("location: {there}\r\n"), not_now, 1.0),
            Way::Answer(text) => (200, String::new(), text.into_bytes(), 1.0),
            pass => {
                let is_api = path.starts_with("/jobs");
                let to = if is_api { &self.api } else { &self.s3 };
                let client = jobchute::plain_http().build()?;
                let mut request = client.request(Method::from_bytes(method.as_bytes())?, format!("{to}{path}"));
                // The answer's addresses are changed below, so it must not be in gzip.
                let stays = |name: &str| ["host", "accept-encoding"].iter().any(|kept| name.eq_ignore_ascii_case(kept));
                for (name, value) in headers.into_iter().filter(|(name, _)| !stays(name)) {
                    request = request.header(name, value);
                }
                let answer = request.body(body).send().await?;
                let status = answer.status().as_u16();
                let header = |name: &str| {
                    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
                    value.map(|value| format!("{name}: {value}\r\n")).unwrap_or_default()
                };
                let said = if let Way::Wait(seconds) = pass { wait(seconds) } else { header("retry-after") };
                let more = header("content-range") + &header("etag") + &header("date") + &said;
                let mut content = answer.bytes().await?.to_vec();
                if is_api {
                    let text = String::from_utf8(content)?;
                    let text = text.replace(&self.api, &self.url).replace(&self.s3, &self.url);
                    let text = match pass {
                        Way::Change(change) => change(&text, &self.url),
                        Way::Replace(this, that) => text.replace(this, that),
                        _ => text,
                    };
                    content = text.into_bytes();
                }
                if let Way::End(part) = pass {
                    let head = format!("HTTP/1.1 {status} .\r\n{more}connection: close\r\n\r\n");
                    connection.write_all(head.as_bytes()).await?;
                    let arrives = (content.len() as f64 * part) as usize;
                    return Ok(connection.write_all(&content[..arrives]).await?);
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

/// The answer with a time of the next heartbeat that is past.
pub(crate) fn due(answer: &str, _: &str) -> String {
    const NAME: &str = r#""next_heartbeat_at":""#;
    const PAST: &str = "2020-01-01T00:00:00Z";
    match answer.split_once(NAME) {
        Some((before, after)) => {
            format!("{before}{NAME}{PAST}\"{}", after.split_once('"').map_or("", |(_, rest)| rest))
        }
        None => answer.replacen('{', &format!("{{{NAME}{PAST}\","), 1),
    }
}

/// What `look` reads of the requests of a kind.
pub(crate) fn all<T>(seen: &Seen, what: impl Fn(&str) -> bool, look: impl Fn(&Request) -> T) -> Vec<T> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter().filter(|request| what(&request.line)).map(look).collect()
}

/// What was sent with the requests of a kind.
pub(crate) fn bodies(seen: &Seen, what: impl Fn(&str) -> bool) -> Vec<String> {
    all(seen, what, |request| String::from_utf8_lossy(&request.body).into_owned())
}

/// The parts of files that were asked for.
pub(crate) fn ranges(seen: &Seen) -> Vec<String> {
    all(seen, |_| true, |request| request.header("range").map(str::to_owned)).into_iter().flatten().collect()
}
