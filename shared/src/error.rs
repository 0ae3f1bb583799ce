//! The one error type. Every failure that a client can see is a variant here; [`crate::http::refusal`] is the only place where a
//! failure becomes a status and a body.

use std::{borrow::Cow, fmt};

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What an endpoint returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed. The texts reach the client as `{"detail": …}`. There is no `From<SdkError>`: a call that fails says
/// what it was doing ([`Context`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request is well formed, and wrong for the state it meets.
    #[error("{0}")]
    BadRequest(String),
    /// 401: the caller did not prove who they are.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// 403: the caller is known, and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// 404: there is no such thing, or it is not the caller's.
    #[error("{0}")]
    NotFound(String),
    /// 409: somebody else was first.
    #[error("{0}")]
    Conflict(String),
    /// 413: the body, or a part of it, is larger than its limit.
    #[error("{0}")]
    TooLarge(String),
    /// 422 with one `detail` string: the request contradicts an earlier one or the job's own description.
    #[error("{0}")]
    Unprocessable(String),
    /// 422 with a list in FastAPI's shape: every field that is wrong.
    #[error("{} values are not acceptable", .0.len())]
    Invalid(Vec<Invalid>),
    /// 429 with `Retry-After`: the day's quota is used up.
    #[error("{detail}")]
    QuotaExceeded {
        /// The sentence with the counts.
        detail: String,
        /// Seconds until the quota's next day begins.
        retry_after: i64,
    },
    /// 503 with `Retry-After`: somebody else is at the same work.
    #[error("somebody else is at it")]
    Busy {
        /// Seconds after which to look again.
        retry_after: i64,
    },
    /// 503 with `Retry-After`: an engine throttled, was out of reach, or the time ran out. Nothing is lost by repeating.
    #[error("{0}")]
    Unavailable(Cause),
    /// 500: a fault of ours. The cause is logged and never rendered.
    #[error("{0}")]
    Internal(Cause),
}

/// What was being done and how it failed: for the log only.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {error}")]
pub struct Cause {
    /// The operation, such as `finish job: UpdateItem`.
    pub doing: Cow<'static, str>,
    /// The underlying error, with its sources.
    pub error: String,
    /// The write was certainly not made: the engine has said so.
    pub unwritten: bool,
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

    /// 401 for every bad job token: which check failed is nobody's business.
    pub fn bad_job_token() -> Self {
        Self::unauthorized("Missing or invalid JWT")
    }

    /// 401 for a hotkey's signature that was accepted before.
    pub fn replayed() -> Self {
        Self::unauthorized("This signature has been used already")
    }

    /// 400 for what a miner asks of a job that is over, or that was reported with other content.
    pub fn already_finished() -> Self {
        Error::BadRequest("Job already finished".to_owned())
    }

    /// 404 on a miner's routes.
    pub fn no_job(job_id: impl fmt::Display) -> Self {
        Error::NotFound(format!("job_id='{job_id}' not found!"))
    }

    /// 404 on an owner's routes: whether the job exists is nobody else's business.
    pub fn not_own_job(job_id: &str) -> Self {
        Error::NotFound(format!("Job {job_id} not found or does not belong to you"))
    }

    /// 404 for a chute that does not exist, or that is not open to the caller.
    pub fn no_chute(chute_id: impl fmt::Display) -> Self {
        Error::NotFound(format!("Chute {chute_id} not found"))
    }

    /// 404 for a chute that has no job of that name.
    pub fn no_method(chute_id: impl fmt::Display, method: &str) -> Self {
        Error::NotFound(format!("Chute {chute_id} has no job named '{method}'"))
    }

    /// 422 for a cursor that is not of the administrator's list that it is given to.
    pub fn no_cursor(cursor: &str) -> Self {
        Error::Unprocessable(format!("{cursor:?} is no cursor of this list"))
    }

    /// 404 for an account that does not exist.
    pub fn no_user(user_id: impl fmt::Display) -> Self {
        Error::NotFound(format!("User {user_id} not found"))
    }

    /// 500 whose cause is not an engine's answer.
    pub fn internal(doing: impl Into<Cow<'static, str>>, error: impl fmt::Display) -> Self {
        Error::Internal(Cause { doing: doing.into(), error: error.to_string(), unwritten: false })
    }

    /// 503 whose cause is not an engine's answer.
    pub fn unavailable(doing: impl Into<Cow<'static, str>>, error: impl fmt::Display) -> Self {
        Error::Unavailable(Cause { doing: doing.into(), error: error.to_string(), unwritten: false })
    }

    /// The same of a write that was certainly not made.
    pub fn unwritten(mut self) -> Self {
        if let Error::Unavailable(cause) | Error::Internal(cause) = &mut self {
            cause.unwritten = true;
        }
        self
    }

    /// Whether the request was refused: nothing of it has happened. After any other error it may have, and the answer was lost.
    pub fn is_refusal(&self) -> bool {
        self.cause().is_none_or(|cause| cause.unwritten)
    }

    /// The cause that belongs in the log, when there is one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Error::Unavailable(cause) | Error::Internal(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Says what an engine call was doing when it failed. There is no `From<SdkError>`, so that no call can leave it out.
pub trait Context<T> {
    /// Turns an engine's failure into [`Error::Unavailable`] when repeating may help, and into [`Error::Internal`] otherwise.
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
const TRANSIENT: [&str; 19] = [
    "ConditionalRequestConflict",
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
    if transient { Error::unavailable(doing, error) } else { Error::internal(doing, error) }
}

/// The error and what it comes from, without the answer's bytes: they may hold tokens, or what a user wrote.
fn told<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    let mut told = error.to_string();
    if let Some(service) = error.as_service_error()
        && let Some(code) = service.code()
    {
        return format!("{told}: {code}: {}", service.message().unwrap_or("no message"));
    }
    // Without a code, the answer is none of the service's: what could not be read of it is in the sources.
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told.push_str(": ");
        told.push_str(&error.to_string());
        source = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_smithy_runtime_api::{client::orchestrator::HttpResponse, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    fn answered(error: GetItemError) -> Error {
        let status = StatusCode::try_from(502).expect("a status");
        let response = HttpResponse::new(status, SdkBody::from("<html>what a user wrote</html>"));
        engine_error("get job: GetItem", &SdkError::service_error(error, response))
    }

    #[test]
    fn an_answer_that_cannot_be_parsed_is_logged_with_what_was_wrong_with_it() {
        let error = answered(GetItemError::unhandled("expected value at line 1 column 1"));
        assert!(matches!(error, Error::Unavailable(_)), "another try may be answered better");
        let told = &error.cause().expect("a cause").error;
        assert!(told.contains("expected value at line 1 column 1"), "{told}");
        assert!(!told.contains("no code") && !told.contains("what a user wrote"), "{told}");
    }

    #[test]
    fn a_services_own_error_is_logged_by_its_code_and_message() {
        let metadata = ErrorMetadata::builder().code("AccessDeniedException").message("not this table").build();
        let error = answered(GetItemError::generic(metadata));
        assert!(matches!(error, Error::Internal(_)));
        assert!(error.cause().expect("a cause").error.ends_with(": AccessDeniedException: not this table"));
    }
}
