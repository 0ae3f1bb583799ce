//! What a request says beside its body: time, headers, path, query and token.

use lambda_http::{Request, RequestExt, request::RequestContext};
use uuid::Uuid;

use super::routes::Route;
use crate::{
    config::Config,
    error::{Error, Invalid, Result},
    time::Timestamp,
};

/// When API Gateway received the request. Every decision about time uses this one moment, and a test sets it.
pub fn now(request: &Request) -> Timestamp {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) if context.time_epoch > 0 => {
            Timestamp::from_millis(context.time_epoch)
        }
        Some(RequestContext::ApiGatewayV1(context)) if context.request_time_epoch > 0 => {
            Timestamp::from_millis(context.request_time_epoch)
        }
        _ => Timestamp::system(),
    }
}

/// A header that is there, readable and not empty.
pub fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

/// A path parameter as it was sent.
pub fn path<'a>(request: &'a Request, name: &str) -> &'a str {
    request.path_parameters_ref().and_then(|parameters| parameters.first(name)).unwrap_or_default()
}

/// A path parameter that has to be a UUID to mean anything.
pub fn path_uuid(request: &Request, name: &str) -> Option<Uuid> {
    Uuid::try_parse(path(request, name)).ok()
}

/// The path without what a stage or a domain has before it: the same behind every front.
pub fn own_path(request: &Request) -> &str {
    request.extensions().get::<Route>().map_or(request.raw_http_path(), |route| &route.path)
}

/// A query parameter; the first, when it is given more than once.
pub fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.query_string_parameters_ref()?.first(name)
}

/// A query parameter, as often as it is given.
pub fn query_all<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    request.query_string_parameters_ref().and_then(|query| query.all(name)).unwrap_or_default()
}

/// The `Idempotency-Key`, when there is one: 1 to 255 printable ASCII characters.
pub fn idempotency_key(request: &Request) -> Result<Option<&str>> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if (1..=255).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(Some(key));
    }
    let loc = vec!["header".into(), "idempotency-key".into()];
    let message = "Idempotency-Key should be 1 to 255 printable ASCII characters";
    Err(Invalid::value(loc, message, String::from_utf8_lossy(value.as_bytes()).into()).into())
}

/// The job token of `?token=`. 422 when there is none; two tokens are none that could be trusted, so 401.
pub fn job_token(request: &Request) -> Result<&str> {
    match query_all(request, "token")[..] {
        [] => Err(Invalid::missing("query", "token").into()),
        [token] => Ok(token),
        _ => Err(Error::bad_job_token()),
    }
}

/// Where this API is reached: configured, or as API Gateway names itself, with the stage or base path that the request came by.
pub fn api_base(request: &Request, config: &Config) -> String {
    if let Some(url) = &config.api_base_url {
        return url.clone();
    }
    let host = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.domain_name.as_deref(),
        Some(RequestContext::ApiGatewayV2(context)) => context.domain_name.as_deref(),
        _ => None,
    };
    let scheme = header(request, "x-forwarded-proto").unwrap_or("https");
    let prefix = request.extensions().get::<Route>().map_or("", |route| &route.prefix);
    format!("{scheme}://{}{prefix}", host.unwrap_or("localhost"))
}
