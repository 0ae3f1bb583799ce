//! The Lambda side: a function's event loop, its deadline and its log line.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use lambda_http::{Body, IntoResponse, Request, RequestExt, Response, service_fn};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    app::App,
    audit,
    config::Environment,
    error::{Cause, Error, Result},
    http::{
        Cors, Origin, Route,
        compress::compressed,
        refusal,
        request::{header, path_uuid},
        routed,
    },
    time::Timestamp,
};

/// Time that remains for the answer when a request is given up, before Lambda would end it without one.
const RESERVE: Duration = Duration::from_millis(500);

/// The header that tells when the API key ends that a request has shown.
const KEY_END: &str = "x-api-key-expires-at";

/// An endpoint: what its function does with each request.
type Endpoint = dyn Fn(&'static App, Request) -> BoxFuture<'static, Result<Response<Body>>> + Sync;

/// Serves an endpoint until Lambda ends the process.
pub async fn serve<F, Fut>(app: App, handle: F) -> Result<(), lambda_http::Error>
where
    F: Fn(&'static App, Request) -> Fut + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    run(app, Box::new(move |app, request| Box::pin(handle(app, request)))).await
}

/// Boxed on both sides, so that the event loop is compiled here, for speed, and not in every function, for size.
fn run(app: App, endpoint: Box<Endpoint>) -> LocalBoxFuture<'static, Result<(), lambda_http::Error>> {
    log_json();
    // One for the life of the process: requests borrow it.
    let app: &'static App = Box::leak(Box::new(app));
    let endpoint: &'static Endpoint = Box::leak(endpoint);
    let env = Environment::of_process();
    let origin: &'static Origin = Box::leak(Box::new(Origin::read(&env)));
    let cors: &'static Cors = match Cors::read(&env) {
        Ok(cors) => Box::leak(Box::new(cors)),
        Err(error) => return Box::pin(ready(Err(error.into()))),
    };
    Box::pin(lambda_http::run(service_fn(move |request: Request| async move {
        if let Some(answer) = cors.preflight(&request) {
            return Ok(AsItIs(answer));
        }
        let opened = cors.headers(&request);
        let started = Instant::now();
        let request = routed(request);
        let route = request.extensions().get::<Route>().map_or("", |route| route.key);
        let job_id = path_uuid(&request, "job_id");
        // Only what is an id: a client may put anything into a path, a token too.
        let job_id = job_id.map(|id| id.to_string()).unwrap_or_default();
        let accepted = header(&request, "accept-encoding").map(str::to_owned);
        let context = request.lambda_context();
        let answer = match origin.admit(&request) {
            Ok(()) => before_deadline(&context, endpoint(app, request)).await,
            Err(refusal) => Err(refusal),
        };
        let (response, cause) = match answer {
            Ok(response) => (response, None),
            Err(mut error) => {
                let cause = take_cause(&mut error);
                (refusal(error), cause)
            }
        };
        let mut response = compressed(response, accepted.as_deref());
        if let Some(end) = app.key_end.take()
            && let Ok(end) = end.to_string().parse()
        {
            response.headers_mut().insert(KEY_END, end);
        }
        response.headers_mut().extend(opened);
        log(app, &context.request_id, route, &job_id, response.status().as_u16(), started, cause.as_ref());
        Ok::<_, lambda_http::Error>(AsItIs(response))
    })))
}

/// Serves pages, which need nothing that an [`App`] has and leave no line in the log.
pub async fn serve_pages<F, Fut>(handle: F) -> Result<(), lambda_http::Error>
where
    F: Fn(Request) -> Fut + Sync,
    Fut: Future<Output = Result<Response<Body>, lambda_http::Error>> + Send,
{
    let env = Environment::of_process();
    let (handle, origin, cors) = (&handle, &Origin::read(&env), &Cors::read(&env)?);
    lambda_http::run(service_fn(move |request: Request| async move {
        if let Some(answer) = cors.preflight(&request) {
            return Ok(answer);
        }
        let opened = cors.headers(&request);
        let mut answer = match origin.admit(&request) {
            Ok(()) => handle(routed(request)).await?,
            Err(error) => refusal(error),
        };
        answer.headers_mut().extend(opened);
        Ok::<_, lambda_http::Error>(answer)
    }))
    .await
}

/// An answer whose body is text or bytes as it should travel. `lambda_http` would find that out by its media type, read a text
/// once more and copy it.
struct AsItIs(Response<Body>);

impl IntoResponse for AsItIs {
    fn into_response(self) -> BoxFuture<'static, Response<Body>> {
        Box::pin(ready(self.0))
    }
}

/// Serves direct invocations and schedules: JSON in, JSON out. A failure is the invocation's `FunctionError`.
pub async fn serve_event<F, Fut, I, O>(app: App, handle: F) -> Result<(), lambda_http::Error>
where
    F: Fn(&'static App, I) -> Fut + Sync,
    Fut: Future<Output = Result<O>> + Send,
    I: DeserializeOwned,
    O: Serialize,
{
    log_json();
    let app: &'static App = Box::leak(Box::new(app));
    let handle = &handle;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<I>| async move {
        let started = Instant::now();
        let answer = before_deadline(&event.context, handle(app, event.payload)).await;
        let (status, answer, cause) = match answer {
            Ok(output) => (200, Ok(output), None),
            Err(mut error) => {
                let cause = take_cause(&mut error);
                let response = refusal(error);
                let error_message = String::from_utf8_lossy(response.body()).into_owned();
                let error_type = response.status().to_string();
                (response.status().as_u16(), Err(Diagnostic { error_type, error_message }), cause)
            }
        };
        log(app, &event.context.request_id, "invoke", "", status, started, cause.as_ref());
        answer
    }))
    .await
}

/// Gives up in time to say so: 503, and the caller may repeat.
async fn before_deadline<T>(context: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
    match time_left(context.deadline, Timestamp::system()) {
        Some(left) => {
            let done = tokio::time::timeout(left, work).await;
            done.unwrap_or_else(|_| Err(Error::unavailable("request", "no time left")))
        }
        None => work.await,
    }
}

/// Time until a deadline, in milliseconds since 1970, but for what the answer needs. None when it is no such time: `cargo lambda
/// watch` (1.9.2) sends how long the function may run. No function of the past century is still running.
fn time_left(deadline: u64, now: Timestamp) -> Option<Duration> {
    const YEAR_2000: u64 = 946_684_800_000;
    let left = deadline.saturating_sub(now.millis().unsigned_abs());
    (deadline >= YEAR_2000).then(|| Duration::from_millis(left).saturating_sub(RESERVE))
}

fn take_cause(error: &mut Error) -> Option<Cause> {
    match error {
        Error::Unavailable(cause) | Error::Internal(cause) => Some(Cause {
            doing: cause.doing.clone(),
            error: std::mem::take(&mut cause.error),
            unwritten: cause.unwritten,
        }),
        _ => None,
    }
}

/// One line per request, with its metrics. No body, token, key or URL with a signature is ever in it.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    #[serde(rename = "request.id")]
    request_id: &'a str,
    route: &'a str,
    #[serde(rename = "job.id")]
    job_id: &'a str,
    status: u16,
    ms: f64,
    #[serde(rename = "calls.dynamodb")]
    dynamodb: u32,
    #[serde(rename = "calls.s3")]
    s3: u32,
    #[serde(rename = "calls.secrets")]
    secrets: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    audit: Option<audit::Entry>,
    #[serde(flatten)]
    metrics: Option<serde_json::Value>,
}

fn log(app: &App, id: &str, route: &str, job_id: &str, status: u16, started: Instant, cause: Option<&Cause>) {
    let (dynamodb, s3, secrets) = app.calls.take();
    let line = Line {
        timestamp: Timestamp::system().to_string(),
        level: match status {
            503 => "WARN",
            500.. => "ERROR",
            _ => "INFO",
        },
        request_id: id,
        route,
        job_id,
        status,
        ms: (started.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        dynamodb,
        s3,
        secrets,
        doing: cause.map(|cause| &*cause.doing),
        error: cause.map(|cause| &*cause.error),
        audit: app.audit.take(),
        metrics: app.metrics.take(&app.config.stack_name),
    };
    if let Ok(line) = serde_json::to_string(&line) {
        println!("{line}");
    }
}

/// Lines that are not a request's, such as the runtime's own.
fn log_json() {
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_current_span(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_leaves_time_for_the_answer_and_one_of_the_past_century_is_none() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        assert_eq!(time_left(1_795_000_010_000, now), Some(Duration::from_millis(9_500)));
        assert_eq!(time_left(1_795_000_000_100, now), Some(Duration::ZERO));
        assert_eq!(time_left(1_794_999_000_000, now), Some(Duration::ZERO), "it is over");
        for duration in [0, 1, 600_000, 900_000, 86_400_000] {
            assert_eq!(time_left(duration, now), None, "{duration} is a duration");
        }
    }
}
