//! Lambda's `Invoke`, as `aws lambda invoke --endpoint-url` and the SDKs speak it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Response, header::HeaderValue, http::request::Parts};
use serde_json::json;

use super::refusals::lambda_error;
use crate::{
    lambda::{Asynchronous, EVENT_LIMIT, Invocation, InvokeError, Lambda, PAYLOAD_LIMIT},
    server::{self, Body},
};

/// Invokes a function, and waits for the answer unless the request says otherwise.
pub(super) async fn invoke(
    lambda: &Arc<Lambda>,
    asynchronous: &Arc<Asynchronous>,
    name: &str,
    parts: &Parts,
    body: Bytes,
) -> Response<Body> {
    let Some(package) = lambda.find(name) else {
        return lambda_error(404, "ResourceNotFoundException", &format!("Function not found: {name}"));
    };
    let event = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&event) {
        let message = format!("Could not parse request body into json: {error}");
        return lambda_error(400, "InvalidRequestContentException", &message);
    }
    match parts.headers.get("x-amz-invocation-type").map(HeaderValue::as_bytes) {
        Some(b"DryRun") => server::empty(204),
        Some(b"Event") if event.len() > EVENT_LIMIT => too_large(EVENT_LIMIT),
        Some(b"Event") => match asynchronous.accept(package, event) {
            Ok(()) => server::empty(202),
            Err(_) => lambda_error(500, "ServiceException", "The event could not be kept."),
        },
        None | Some(b"RequestResponse") => match lambda.invoke(package, event).await {
            Ok(invocation) => invoked(invocation),
            Err(InvokeError::TooLarge) => too_large(PAYLOAD_LIMIT),
            Err(InvokeError::Throttled) => lambda_error(429, "TooManyRequestsException", "Rate Exceeded."),
            Err(InvokeError::Crashed(reason)) => {
                function_error(json!({"errorType": "Runtime.ExitError", "errorMessage": reason}).to_string().into())
            }
        },
        Some(_) => {
            let message = "Member must satisfy enum value set: [RequestResponse, Event, DryRun]";
            lambda_error(400, "InvalidParameterValueException", message)
        }
    }
}

/// The refusal of an event that is larger than Lambda takes.
fn too_large(limit: usize) -> Response<Body> {
    lambda_error(413, "RequestTooLargeException", &format!("Request must be smaller than {limit} bytes"))
}

fn function_error(document: Bytes) -> Response<Body> {
    let mut answer = server::answer(200, "application/json", document);
    answer.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    answer
}

fn invoked(invocation: Invocation) -> Response<Body> {
    let measured = invocation.headers();
    let mut answer = match invocation.outcome {
        Ok(body) => server::answer(200, "application/json", body),
        Err(document) => function_error(document),
    };
    answer.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    answer.headers_mut().extend(measured);
    answer
}
