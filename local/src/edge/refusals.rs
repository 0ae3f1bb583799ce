//! How each engine says no.

use hyper::{Response, header::HeaderValue};
use serde_json::json;

use crate::{
    faults::Service,
    rights::Right,
    s3::Refusal,
    secrets,
    server::{self, Body},
};

/// The refusal of what AWS has no word for: there, no endpoint trusts its callers for where they are.
pub(super) fn forbidden(message: &str) -> Response<Body> {
    server::json(403, &json!({"message": message}))
}

/// An engine's own way to fail, or to say that it is overloaded.
pub(super) fn failure(service: Service, status: u16, throttle: bool) -> Response<Body> {
    let message = "The local stack was told to fail this call.";
    match (service, throttle) {
        (Service::S3, true) => s3_error(503, "SlowDown", "Please reduce your request rate."),
        (Service::S3, false) if status == 503 => s3_error(503, "ServiceUnavailable", message),
        (Service::S3, false) => s3_error(status, "InternalError", message),
        (Service::SecretsManager, true) => secrets::error(400, "ThrottlingException", "Rate exceeded"),
        (Service::SecretsManager, false) => secrets::error(status, "InternalServiceError", message),
        (Service::Lambda, true) => lambda_error(429, "TooManyRequestsException", "Rate Exceeded."),
        (Service::Lambda, false) => lambda_error(status, "ServiceException", message),
        (Service::Events, true) => secrets::error(400, "ThrottlingException", "Rate exceeded"),
        (Service::Events, false) => secrets::error(status, "InternalException", message),
        (Service::DynamoDb, throttle) => {
            let (status, kind) = match (throttle, status) {
                (true, _) => (400, "ProvisionedThroughputExceededException"),
                (false, 503) => (503, "ServiceUnavailable"),
                (false, status) => (status, "InternalServerError"),
            };
            let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": message});
            server::answer(status, "application/x-amz-json-1.0", body.to_string())
        }
    }
}

/// Why a function's call is refused.
pub(super) fn reason(function: &str, Right { action, resource, .. }: &Right) -> String {
    format!("The role of {function} is not authorized to perform: {action} on resource: {resource}")
}

/// The refusal of a call that its role does not allow. It is as final as on AWS.
pub(super) fn denied(service: Service, function: &str, missing: &Right) -> Response<Body> {
    let message = reason(function, missing);
    match service {
        Service::S3 => s3_error(403, "AccessDenied", &message),
        Service::SecretsManager | Service::Events => secrets::error(400, "AccessDeniedException", &message),
        Service::Lambda => lambda_error(403, "AccessDeniedException", &message),
        Service::DynamoDb => {
            let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": message});
            server::answer(400, "application/x-amz-json-1.0", body.to_string())
        }
    }
}

/// Lambda's way to refuse: the kind is in a header.
pub(super) fn lambda_error(status: u16, kind: &'static str, message: &str) -> Response<Body> {
    let mut answer = server::json(status, &json!({"Type": "User", "Message": message}));
    answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    answer
}

fn s3_error(status: u16, code: &'static str, message: &str) -> Response<Body> {
    Refusal::new(status, code, message).answer()
}
