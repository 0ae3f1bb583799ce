//! Which pages of other origins may read an answer. An HTTP API says so itself; behind another front the functions do.

use lambda_http::{
    Body, Request, Response,
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
        },
    },
};

use super::request::header;
use crate::config::{ConfigError, Environment};

/// Methods that a page may use.
pub const METHODS: &str = "GET, POST, PUT, DELETE";
/// Headers that a page may send.
pub const HEADERS: &str =
    "authorization, content-type, idempotency-key, x-chutes-hotkey, x-chutes-nonce, x-chutes-signature";
/// Headers of an answer that a page may read.
pub const EXPOSED: &str = "idempotent-replayed, location, retry-after, x-api-key-expires-at";
/// Seconds for which a browser remembers what it was told.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin whose pages may call, `*` for all; None where something before the functions says so.
#[derive(Debug)]
pub struct Cors(Option<HeaderValue>);

impl Cors {
    /// `CORS_ORIGIN` of any environment.
    pub fn read<F: Fn(&str) -> Option<String>>(env: &Environment<F>) -> Result<Self, ConfigError> {
        let origin = env.optional("CORS_ORIGIN").map(|origin| origin.parse());
        origin.transpose().map(Self).map_err(|_| ConfigError::new("CORS_ORIGIN", "is no origin"))
    }

    /// The origin that a request comes from, if that may call.
    fn allowed(&self, request: &Request) -> Option<&HeaderValue> {
        let from = header(request, ORIGIN.as_str())?;
        self.0.as_ref().filter(|origin| *origin == "*" || *origin == from)
    }

    /// The whole answer to a browser that asks whether a page may send something. Behind function URLs it asks whichever function a router
    /// takes for it, and no endpoint has such a route.
    pub fn preflight(&self, request: &Request) -> Option<Response<Body>> {
        header(request, ACCESS_CONTROL_REQUEST_METHOD.as_str())?;
        self.0.as_ref().filter(|_| request.method() == Method::OPTIONS)?;
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.extend(self.headers(request));
        if self.allowed(request).is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Some(answer)
    }

    /// What any other answer to this request says of it.
    pub fn headers(&self, request: &Request) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if let Some(origin) = self.allowed(request) {
            headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
            headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
        }
        if self.0.as_ref().is_some_and(|origin| origin != "*") {
            headers.push((VARY, HeaderValue::from_static("origin")));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origin: &str) -> Cors {
        Cors::read(&Environment(|_: &str| Some(origin.to_owned()))).expect("an origin")
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        request
    }

    #[test]
    fn pages_of_the_origin_may_read_and_others_may_not() {
        let from = |origin: &str| request(Method::GET, &[("origin", origin)]);
        let allowed = |cors: &Cors, request: &Request| {
            cors.headers(request)
                .into_iter()
                .find(|(name, _)| *name == ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|(_, value)| value)
        };
        assert_eq!(allowed(&cors("*"), &from("https://a.example")).expect("allowed"), "*");
        let one = cors("https://a.example");
        assert_eq!(allowed(&one, &from("https://a.example")).expect("allowed"), "https://a.example");
        assert_eq!(allowed(&one, &from("https://b.example")), None);
        // A cache must not give the one's answer to the other.
        assert!(one.headers(&from("https://b.example")).contains(&(VARY, HeaderValue::from_static("origin"))));
        assert!(cors("*").headers(&request(Method::GET, &[])).is_empty(), "no page has asked");
        assert!(cors("").headers(&from("https://a.example")).is_empty(), "an HTTP API adds its own");
    }

    #[test]
    fn a_preflight_is_answered_where_nothing_else_does() {
        let asks = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
        let answer = cors("*").preflight(&request(Method::OPTIONS, &asks)).expect("an answer");
        assert_eq!(answer.status().as_u16(), 204);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        let other = cors("https://b.example").preflight(&request(Method::OPTIONS, &asks)).expect("an answer");
        assert!(!other.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) && other.headers().contains_key(VARY));
        assert!(cors("").preflight(&request(Method::OPTIONS, &asks)).is_none());
        assert!(cors("*").preflight(&request(Method::OPTIONS, &asks[..1])).is_none(), "not a browser's question");
        assert!(cors("*").preflight(&request(Method::PUT, &asks)).is_none());
    }

    #[test]
    fn what_is_no_header_keeps_the_function_from_starting() {
        assert!(Cors::read(&Environment(|_: &str| Some("a\nb".to_owned()))).is_err());
    }
}
