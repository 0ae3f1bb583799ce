//! Failures as answers: status, headers and `{"detail": …}`, as FastAPI words them.

use lambda_http::{Body, Response};
use serde_json::{Value, json};

use super::reply;
use crate::error::{Error, Invalid};

/// Entries of the longest 422 list, and bytes of the longest text in an error: what a client sent comes back in it, and the
/// answer has to fit.
const MOST_INVALID: usize = 100;
const LONGEST_TEXT: usize = 2000;
/// What every 503 says: why is for the log.
const BUSY: &str = "Service busy, please try again";

/// Renders status, headers and body.
pub fn refusal(error: Error) -> Response<Body> {
    let (status, detail, retry_after) = match error {
        Error::BadRequest(detail) => (400, short(detail).into(), None),
        Error::Unauthorized(detail) => (401, Value::from(detail), None),
        Error::Forbidden(detail) => (403, Value::from(detail), None),
        Error::NotFound(detail) => (404, short(detail).into(), None),
        Error::Conflict(detail) => (409, Value::from(detail), None),
        Error::TooLarge(detail) => (413, Value::from(detail), None),
        Error::Unprocessable(detail) => (422, Value::from(detail), None),
        Error::Invalid(list) => {
            let list: Vec<_> = list.into_iter().take(MOST_INVALID).map(shortened).collect();
            (422, json!(list), None)
        }
        Error::QuotaExceeded { detail, retry_after } => (429, Value::from(detail), Some(retry_after)),
        Error::Busy { retry_after } => (503, Value::from(BUSY), Some(retry_after)),
        Error::Unavailable(_) => (503, Value::from(BUSY), Some(1)),
        Error::Internal(_) => (500, Value::from("Internal server error"), None),
    };
    let mut response = reply::json(status, &json!({ "detail": detail }));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn shortened(mut invalid: Invalid) -> Invalid {
    if let Value::String(text) = invalid.input {
        invalid.input = short(text).into();
    }
    invalid
}

fn short(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text
}
