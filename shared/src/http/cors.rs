//! What a page of another origin may read of an answer. An HTTP API and function URLs say so by themselves, and replace what a
//! function says; a REST API passes on what the function says. ("CORS for REST APIs".)

use lambda_http::{
    Request, RequestExt,
    http::{
        HeaderMap, HeaderValue,
        header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, VARY},
    },
    request::RequestContext,
};

use crate::config::Environment;

/// The headers that a page may read, as template.yaml has them for the other fronts.
const EXPOSED: HeaderValue = HeaderValue::from_static("idempotent-replayed,location,retry-after,x-api-key-expires-at");

/// The origin whose pages may call the API: `CORS_ORIGIN`, or none.
pub struct Cors(Option<HeaderValue>);

impl Cors {
    /// From any environment. What can't stand in a header is no origin.
    pub fn read<F: Fn(&str) -> Option<String>>(env: &Environment<F>) -> Self {
        Self(env.optional("CORS_ORIGIN").and_then(|origin| origin.try_into().ok()))
    }

    /// The headers for the answer to this request; none where its front has them.
    pub fn answer_headers(&self, request: &Request) -> HeaderMap {
        let rest = matches!(request.request_context_ref(), Some(RequestContext::ApiGatewayV1(_)));
        let headers = self.0.iter().filter(|_| rest).flat_map(|origin| {
            let vary = (VARY, HeaderValue::from_static("Origin"));
            [(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()), (ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED), vary]
        });
        headers.collect()
    }
}
