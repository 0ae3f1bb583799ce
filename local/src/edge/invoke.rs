//! Lambda's `Invoke`, as `aws lambda invoke --endpoint-url` speaks it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Request, Response, body::Incoming, header::HeaderValue};
use serde_json::json;

use crate::{
    lambda::{Invocation, InvokeError, Lambda, PAYLOAD_LIMIT},
    server::{self, Body, Cut},
};

const PREFIX: &str = "/2015-03-31/functions/";

/// The function that a request wants invoked.
pub(super) fn function(request: &Request<Incoming>) -> Option<String> {
    let name = request.uri().path().strip_prefix(PREFIX)?.strip_suffix("/invocations")?;
    Some(percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned())
}

/// Invokes it, and waits for the answer unless the request says otherwise.
pub(super) async fn invoke(
    lambda: &Arc<Lambda>,
    name: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let Some(package) = lambda.find(name).map(str::to_owned) else {
        let message = format!("Function not found: {name}");
        return Ok(lambda_error(404, "ResourceNotFoundException", &message));
    };
    let kind = request.headers().get("x-amz-invocation-type").cloned();
    let Ok((_, body)) = server::read(request, PAYLOAD_LIMIT).await else {
        return Ok(lambda_error(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes"));
    };
    let event = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    if kind.as_ref().is_some_and(|kind| kind == "DryRun") {
        return Ok(server::empty(204));
    }
    if kind.is_some_and(|kind| kind == "Event") {
        let lambda = Arc::clone(lambda);
        tokio::spawn(async move { lambda.invoke(&package, event).await });
        return Ok(server::empty(202));
    }
    Ok(match lambda.invoke(&package, event).await {
        Ok(invocation) => invoked(invocation),
        Err(InvokeError::TooLarge) => {
            lambda_error(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes")
        }
        Err(InvokeError::Throttled) => lambda_error(429, "TooManyRequestsException", "Rate Exceeded."),
        Err(InvokeError::Crashed(reason)) => {
            function_error(json!({"errorType": "Runtime.ExitError", "errorMessage": reason}).to_string().into())
        }
    })
}

fn lambda_error(status: u16, kind: &'static str, message: &str) -> Response<Body> {
    let mut answer = server::json(status, &json!({"Type": "User", "Message": message}));
    answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    answer
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
