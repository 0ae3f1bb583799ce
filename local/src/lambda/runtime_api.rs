//! The Lambda Runtime API ("Using the Lambda runtime API for custom runtimes"), one per environment.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, Response, body::Incoming};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::invocation::PAYLOAD_LIMIT;
use crate::{
    account, loopback,
    server::{self, Body},
    template::Function,
};

const PREFIX: &str = "/2018-06-01/runtime/";

/// One event for the function.
#[derive(Debug)]
pub(super) struct Event {
    request_id: String,
    payload: Bytes,
    timeout: Duration,
}

impl Event {
    pub(super) fn new(payload: Bytes, timeout: Duration) -> Self {
        Self { request_id: Uuid::new_v4().to_string(), payload, timeout }
    }
}

/// The answer; `Err` is an error document.
type Answer = Result<Bytes, Bytes>;

#[derive(Debug)]
struct Pending {
    event: Event,
    answer: oneshot::Sender<Answer>,
}

/// How far the function's initialisation got.
#[derive(Clone, Debug)]
enum Init {
    Starting,
    Done,
    Failed(String),
}

/// What the process of one environment talks to.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    function_arn: String,
    push: mpsc::Sender<Pending>,
    next: tokio::sync::Mutex<mpsc::Receiver<Pending>>,
    current: Mutex<Option<(String, oneshot::Sender<Answer>)>>,
    init: watch::Sender<Init>,
}

impl RuntimeApi {
    pub(super) fn new(function: &Function) -> Self {
        let (push, next) = mpsc::channel(1);
        Self {
            function_arn: account::function_arn(&function.name),
            push,
            next: tokio::sync::Mutex::new(next),
            current: Mutex::default(),
            init: watch::Sender::new(Init::Starting),
        }
    }

    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let handle = move |request, _| {
            let api = Arc::clone(&self);
            async move { Ok(api.handle(request).await) }
        };
        server::serve(listener, stop, handle).await;
    }

    /// Resolves when the function asks for its first event or reports that it can't.
    pub(super) async fn initialised(&self) -> Result<(), String> {
        let mut init = self.init.subscribe();
        let state = init.wait_for(|init| !matches!(init, Init::Starting)).await.map(|init| init.clone());
        match state {
            Ok(Init::Failed(message)) => Err(message),
            _ => Ok(()),
        }
    }

    /// Queues an event; the receiver gets its answer.
    pub(super) async fn push(&self, event: Event) -> Result<oneshot::Receiver<Answer>> {
        let (answer, receiver) = oneshot::channel();
        self.push.send(Pending { event, answer }).await.map_err(|_| anyhow!("the Runtime API went away"))?;
        Ok(receiver)
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        if !loopback::has_loopback_host(&request) || loopback::comes_from_a_page(&request) {
            return refused(403, "Forbidden");
        }
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => match body(request).await {
                Some(body) => self.finish(id, Ok(body)),
                None => {
                    let message =
                        format!("Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes).");
                    let error = json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message});
                    self.finish(id, Err(error.to_string().into()));
                    refused(413, "RequestEntityTooLarge")
                }
            },
            (&Method::POST, ["invocation", id, "error"]) => {
                self.finish(id, Err(body(request).await.unwrap_or_default()))
            }
            (&Method::POST, ["init", "error"]) => {
                let document: Value =
                    serde_json::from_slice(&body(request).await.unwrap_or_default()).unwrap_or_default();
                let message = document["errorMessage"].as_str().unwrap_or("initialisation failed").to_owned();
                self.init.send_replace(Init::Failed(message));
                accepted()
            }
            _ => refused(404, "UnknownPath"),
        }
    }

    async fn next(&self) -> Response<Body> {
        self.init.send_if_modified(|init| {
            let starting = matches!(init, Init::Starting);
            if starting {
                *init = Init::Done;
            }
            starting
        });
        let Some(Pending { event, answer }) = self.next.lock().await.recv().await else {
            return refused(410, "Gone");
        };
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + event.timeout;
        let id = event.request_id;
        *self.current() = Some((id.clone(), answer));
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header("lambda-runtime-invoked-function-arn", &self.function_arn)
            .header(
                "lambda-runtime-trace-id",
                format!("Root=1-{:08x}-{}", deadline.as_secs(), &id.replace('-', "")[..24]),
            )
            .body(server::full(event.payload))
            .expect("ids and numbers are valid headers")
    }

    fn finish(&self, id: &str, answer: Answer) -> Response<Body> {
        match self.current().take_if(|(current, _)| current == id) {
            Some((_, waiting)) => {
                // A request that gave up waiting wants no answer.
                let _ = waiting.send(answer);
                accepted()
            }
            None => refused(400, "InvalidRequestID"),
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<(String, oneshot::Sender<Answer>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body, unless it is over the limit or breaks off.
async fn body(request: Request<Incoming>) -> Option<Bytes> {
    Limited::new(request.into_body(), PAYLOAD_LIMIT).collect().await.ok().map(|body| body.to_bytes())
}

fn accepted() -> Response<Body> {
    server::json(202, &json!({"status": "OK"}))
}

fn refused(status: u16, kind: &str) -> Response<Body> {
    server::json(status, &json!({"errorType": kind, "errorMessage": kind}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reqwest::Client;

    use super::*;

    fn client() -> Client {
        jobchute::plain_http().build().expect("a client")
    }

    /// A Runtime API, and the address that its function has.
    async fn start() -> (Arc<RuntimeApi>, String, CancellationToken) {
        let function = Function {
            id: "GetJobFunction".into(),
            package: "get-job".into(),
            name: "jobchute-GetJobFunction".into(),
            environment: BTreeMap::new(),
            memory_mb: 128,
            timeout: Duration::from_secs(3),
            reserved_concurrency: None,
            asynchronous: Default::default(),
            rights: Default::default(),
            routes: Vec::new(),
            schedules: Vec::new(),
            event_sources: Vec::new(),
        };
        let (api, stop) = (Arc::new(RuntimeApi::new(&function)), CancellationToken::new());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}{PREFIX}", listener.local_addr().expect("an address"));
        tokio::spawn(Arc::clone(&api).serve(listener, stop.clone()));
        (api, url, stop)
    }

    #[tokio::test]
    async fn an_event_goes_to_the_function_and_its_answer_comes_back() {
        let (api, url, _stop) = start().await;
        let answer = api.push(Event::new("{\"a\":1}".into(), Duration::from_secs(3))).await.expect("queued");
        let next = client().get(format!("{url}invocation/next")).send().await.expect("an event");
        api.initialised().await.expect("it asked for an event");
        let id = next.headers()["lambda-runtime-aws-request-id"].to_str().expect("an id").to_owned();
        assert!(
            next.headers()["lambda-runtime-invoked-function-arn"].to_str().expect("text").ends_with("GetJobFunction")
        );
        assert_eq!(next.text().await.expect("a body"), "{\"a\":1}");

        let respond = async |id: &str| {
            let post = client().post(format!("{url}invocation/{id}/response")).body("done");
            post.send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(respond("another-id").await, 400);
        assert_eq!(respond(&id).await, 202);
        assert_eq!(respond(&id).await, 400);
        assert_eq!(answer.await.expect("answered").expect("no error"), "done");
    }

    #[tokio::test]
    async fn a_response_over_the_limit_is_an_error() {
        let (api, url, _stop) = start().await;
        let answer = api.push(Event::new("{}".into(), Duration::from_secs(3))).await.expect("queued");
        let next = client().get(format!("{url}invocation/next")).send().await.expect("an event");
        let id = next.headers()["lambda-runtime-aws-request-id"].to_str().expect("an id").to_owned();
        let large = client().post(format!("{url}invocation/{id}/response")).body(vec![b'x'; PAYLOAD_LIMIT + 1]);
        // The connection may break before all of it is sent.
        if let Ok(refused) = large.send().await {
            assert_eq!(refused.status().as_u16(), 413);
        }
        let error = answer.await.expect("answered").expect_err("too large");
        assert!(String::from_utf8_lossy(&error).contains("Function.ResponseSizeTooLarge"));
    }

    #[tokio::test]
    async fn a_function_that_can_not_start_says_why() {
        let (api, url, _stop) = start().await;
        let report = client().post(format!("{url}init/error")).body("{\"errorMessage\":\"no JOBS_TABLE\"}");
        report.send().await.expect("accepted");
        assert_eq!(api.initialised().await, Err("no JOBS_TABLE".to_owned()));
    }
}
