//! What a route answers when all is not well.

use serde_json::{Value, json};
use shared::error::Invalid;
use utoipa::ToSchema;

/// Any error but those that name fields.
#[derive(ToSchema)]
pub struct Error {
    /// What is wrong, in a sentence.
    pub detail: String,
}

/// 422: every field that is wrong.
#[derive(ToSchema)]
pub struct ValidationError {
    /// One entry per field.
    pub detail: Vec<Invalid>,
}

/// An answer of API Gateway's own.
#[derive(ToSchema)]
pub struct GatewayError {
    /// What is wrong.
    pub message: String,
}

/// Every route may answer these: to who goes around the deployment's CDN, API Gateway's limits, and what is temporary. The others stand beside the route.
pub(crate) const ALWAYS: [u16; 6] = [403, 413, 429, 431, 500, 503];

/// The answer of such a status.
pub(crate) fn response(status: u16) -> Value {
    const OWN: &[&str] = &["Error"];
    const GATEWAY: &[&str] = &["GatewayError"];
    const BOTH: &[&str] = &["Error", "GatewayError"];
    const FIELDS: &[&str] = &["ValidationError", "Error"];
    let (description, schemas) = match status {
        400 => ("Well formed, and wrong for the state it meets.", OWN),
        401 => ("The caller did not prove who they are.", OWN),
        403 => ("The caller may not do this.", OWN),
        404 => ("There is no such thing, or it is not the caller's.", OWN),
        409 => ("Somebody else was first, or it has changed since.", OWN),
        413 => ("The body is larger than its limit.", BOTH),
        422 => ("A value is not acceptable: every field that is wrong.", FIELDS),
        429 => ("The day's quota is used up, or requests come too fast.", BOTH),
        431 => ("The request's headers are larger than 10,240 bytes.", GATEWAY),
        500 => ("A fault of the service.", BOTH),
        _ => ("Busy: nothing is lost by repeating.", BOTH),
    };
    let schemas: Vec<_> = schemas.iter().map(|name| json!({"$ref": format!("#/components/schemas/{name}")})).collect();
    let schema = if let [only] = &schemas[..] { only.clone() } else { json!({ "anyOf": schemas }) };
    let mut response = json!({"description": description, "content": {"application/json": {"schema": schema}}});
    if matches!(status, 429 | 503) {
        let seconds = json!({"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}});
        response["headers"] = json!({ "Retry-After": seconds });
    }
    response
}
