//! The one error type. Every failure that a client can see is a variant here, and [`Error::into_response`] is the only
//! place where a failure becomes a status and a body.

use std::{borrow::Cow, fmt};

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::reply;

/// What an endpoint returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Entries of the longest 422 list, and bytes of the longest text in an error: what a client sent comes back in it, and the
/// answer has to fit.
const MOST_INVALID: usize = 100;
const LONGEST_TEXT: usize = 2000;

/// Why a request failed. Texts are `contract.md`'s; they reach the client as `{"detail": …}`.
#[derive(Debug)]
pub enum Error {
    /// 400: the request is well formed, and wrong for the state it meets.
    BadRequest(String),
    /// 401: the caller did not prove who they are.
    Unauthorized(Cow<'static, str>),
    /// 403: the caller is known, and may not do this.
    Forbidden(String),
    /// 404: there is no such thing, or it is not the caller's.
    NotFound(String),
    /// 409: somebody else was first.
    Conflict(String),
    /// 413: the body, or a part of it, is larger than its limit.
    TooLarge(String),
    /// 422 with one `detail` string: the request contradicts an earlier one or the job's own description.
    Unprocessable(String),
    /// 422 with a list in FastAPI's shape: every field that is wrong.
    Invalid(Vec<Invalid>),
    /// 429 with `Retry-After`: the day's quota is used up.
    QuotaExceeded {
        /// The sentence with the counts.
        detail: String,
        /// Seconds until the quota's next day begins.
        retry_after: i64,
    },
    /// 503 with `Retry-After`: an engine throttled, was out of reach, or the time ran out. Nothing is lost by repeating.
    Busy(Cause),
    /// 500: a fault of ours. The cause is logged and never rendered.
    Internal(Cause),
}

/// What was being done and how it failed: for the log only.
#[derive(Debug)]
pub struct Cause {
    /// The operation, such as `finish job: UpdateItem`.
    pub doing: Cow<'static, str>,
    /// The underlying error, with its sources.
    pub error: String,
}

/// One entry of a 422 list, as FastAPI words it.
#[derive(Debug, Clone, Serialize, PartialEq, ToSchema)]
pub struct Invalid {
    /// Pydantic's error type, such as `missing`.
    pub r#type: &'static str,
    /// Where: `["query", "token"]`, `["body", "path"]`, `["body", 17]`.
    pub loc: Vec<Value>,
    /// What is wrong with it.
    pub msg: Cow<'static, str>,
    /// What was there.
    pub input: Value,
    /// Details of the type, such as the JSON parser's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Value>,
}

impl Invalid {
    /// A required field that is not there.
    pub fn missing(place: &'static str, field: &str) -> Self {
        Self {
            r#type: "missing",
            loc: vec![place.into(), field.into()],
            msg: "Field required".into(),
            input: Value::Null,
            ctx: None,
        }
    }

    /// A field whose value is not acceptable.
    pub fn value(loc: Vec<Value>, msg: impl Into<Cow<'static, str>>, input: Value) -> Self {
        Self { r#type: "value_error", loc, msg: msg.into(), input, ctx: None }
    }

    /// A field of the wrong JSON type; `kind` is Pydantic's name for the right one.
    pub fn kind(kind: &'static str, loc: Vec<Value>, msg: &'static str, input: Value) -> Self {
        Self { r#type: kind, loc, msg: msg.into(), input, ctx: None }
    }

    /// A body that is not JSON; `offset` counts bytes.
    pub fn json(offset: usize, why: &str) -> Self {
        Self {
            r#type: "json_invalid",
            loc: vec!["body".into(), offset.into()],
            msg: "JSON decode error".into(),
            input: json!({}),
            ctx: Some(json!({ "error": why })),
        }
    }

    fn short(mut self) -> Self {
        if let Value::String(text) = self.input {
            self.input = short(text).into();
        }
        self
    }
}

fn short(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Invalid(vec![invalid])
    }
}

impl Error {
    /// 401 with this text.
    pub fn unauthorized(detail: &'static str) -> Self {
        Error::Unauthorized(Cow::Borrowed(detail))
    }

    /// 404 on an owner's routes: whether the job exists is nobody else's business.
    pub fn not_own_job(job_id: &str) -> Self {
        Error::NotFound(format!("Job {job_id} not found or does not belong to you"))
    }

    /// 500 whose cause is not an engine's answer.
    pub fn internal(doing: impl Into<Cow<'static, str>>, error: impl fmt::Display) -> Self {
        Error::Internal(Cause { doing: doing.into(), error: error.to_string() })
    }

    /// 503 whose cause is not an engine's answer.
    pub fn busy(doing: impl Into<Cow<'static, str>>, error: impl fmt::Display) -> Self {
        Error::Busy(Cause { doing: doing.into(), error: error.to_string() })
    }

    /// The cause that belongs in the log, when there is one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Error::Busy(cause) | Error::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// Renders status, headers and body.
    pub fn into_response(self) -> Response<Body> {
        let (status, detail, retry_after) = match self {
            Error::BadRequest(detail) => (400, short(detail).into(), None),
            Error::Unauthorized(detail) => (401, Value::from(detail), None),
            Error::Forbidden(detail) => (403, Value::from(detail), None),
            Error::NotFound(detail) => (404, short(detail).into(), None),
            Error::Conflict(detail) => (409, Value::from(detail), None),
            Error::TooLarge(detail) => (413, Value::from(detail), None),
            Error::Unprocessable(detail) => (422, Value::from(detail), None),
            Error::Invalid(list) => {
                let list: Vec<_> = list.into_iter().take(MOST_INVALID).map(Invalid::short).collect();
                (422, json!(list), None)
            }
            Error::QuotaExceeded { detail, retry_after } => (429, Value::from(detail), Some(retry_after)),
            Error::Busy(_) => (503, Value::from("Service busy, please try again"), Some(1)),
            Error::Internal(_) => (500, Value::from("Internal server error"), None),
        };
        let mut response = reply::json(status, &json!({ "detail": detail }));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}

/// Says what an engine call was doing when it failed. There is no `From<SdkError>`, so that no call can leave it out.
pub trait Context<T> {
    /// Turns an engine's failure into [`Error::Busy`] when repeating may help, and into [`Error::Internal`] otherwise.
    fn context(self, doing: &'static str) -> Result<T>;
}

impl<T, E, R> Context<T> for std::result::Result<T, SdkError<E, R>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    fn context(self, doing: &'static str) -> Result<T> {
        self.map_err(|error| engine_error(doing, &error))
    }
}

/// DynamoDB's and S3's codes for "later, please", and for an object or upload that was there a moment ago: somebody else was
/// faster, and the next look tells. (AWS: "Error handling with DynamoDB", "Error responses" of S3.)
const TRANSIENT: [&str; 18] = [
    "InternalError",
    "InternalServerError",
    "InternalServiceError",
    "InternalServiceErrorException",
    "InvalidPart",
    "LimitExceededException",
    "NoSuchKey",
    "NoSuchUpload",
    "NoSuchVersion",
    "PreconditionFailed",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Classifies an engine's failure.
pub fn engine_error<E, R>(doing: &'static str, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    let transient = match error {
        SdkError::ServiceError(service) => service.err().code().is_none_or(|code| TRANSIENT.contains(&code)),
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    };
    let error = told(error);
    if transient { Error::busy(doing, error) } else { Error::internal(doing, error) }
}

/// The error and what it comes from, without the answer's bytes: they may hold tokens, or what a user wrote.
fn told<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    let mut told = error.to_string();
    if let Some(service) = error.as_service_error() {
        let (code, message) = (service.code().unwrap_or("no code"), service.message().unwrap_or("no message"));
        return format!("{told}: {code}: {message}");
    }
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told.push_str(": ");
        told.push_str(&error.to_string());
        source = error.source();
    }
    told
}
