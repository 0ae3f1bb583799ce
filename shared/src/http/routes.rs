//! Which route a request has taken, whatever stands before the functions. An HTTP API and a REST API name the route and its
//! parameters; a function URL hands over a path. ("Create AWS Lambda proxy integrations for HTTP APIs", "Set up Lambda proxy
//! integrations", "Invoking Lambda function URLs".)

use std::collections::HashMap;

use lambda_http::{
    Request, RequestExt,
    http::Method,
    request::RequestContext::{ApiGatewayV1, ApiGatewayV2},
};
use percent_encoding::percent_decode_str;

/// Every route of the API, as API Gateway names it.
pub const ROUTES: [&str; 29] = [
    "POST /jobs/{chute_id}/{method}",
    "GET /jobs/{job_id}",
    "DELETE /jobs/{job_id}",
    "POST /jobs/{job_id}",
    "PUT /jobs/{job_id}",
    "PUT /jobs/{job_id}/upload",
    "GET /jobs/{job_id}/download/{file_id}",
    "GET /jobs",
    "GET /jobs/claimable",
    "PUT /jobs/{job_id}/claim",
    "PUT /jobs/{job_id}/heartbeat",
    "PUT /jobs/claim",
    "PUT /jobs/{job_id}/release",
    "PUT /jobs/{job_id}/cancel",
    "PUT /jobs/{job_id}/retry",
    "POST /inputs",
    "PUT /inputs/{input_id}",
    "GET /jobs/{job_id}/inputs/{input_id}",
    "GET /usage",
    "GET /webhooks/secret",
    "PUT /webhooks/secret",
    "GET /jobs/{job_id}/webhook",
    "PUT /jobs/{job_id}/webhook",
    "GET /jobs/{job_id}/logs",
    "GET /docs",
    "GET /docs/{file}",
    "GET /console",
    "GET /console/{file}",
    "GET /openapi.json",
];

/// The route of a request. Empty where it has none of ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// One of [`ROUTES`].
    pub key: &'static str,
    /// What stands before the route's path: a stage such as `/prod`, or the base path of a domain.
    pub prefix: String,
    /// The rest of the path, decoded.
    pub path: String,
}

/// The request with its [`Route`] and, whoever sent it, with its path parameters.
pub fn routed(mut request: Request) -> Request {
    let (named, whole) = match request.request_context_ref() {
        Some(ApiGatewayV1(context)) => {
            let resource = context.resource_path.as_deref().unwrap_or_default();
            // `path` of the event is without the stage, that of its context with it.
            (format!("{} {resource}", request.method()), context.path.as_deref())
        }
        Some(ApiGatewayV2(context)) => (context.route_key.clone().unwrap_or_default(), None),
        _ => return request,
    };
    let whole = whole.unwrap_or(request.raw_http_path());
    let (route, parameters) = match ROUTES.into_iter().find(|key| *key == named) {
        Some(key) => (named_route(key, &request, whole), None),
        // Of a function URL, or of a route that takes all that comes.
        None => match by_path(request.method(), whole) {
            Some((route, parameters)) => (route, Some(parameters)),
            None => return request,
        },
    };
    if let Some(parameters) = parameters {
        request = request.with_path_parameters(parameters);
    }
    request.extensions_mut().insert(route);
    request
}

fn template(key: &str) -> &str {
    key.split_once(' ').map_or(key, |(_, path)| path)
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The route that API Gateway has found. What it says of the path has to end with the route and its parameters.
fn named_route(key: &'static str, request: &Request, whole: &str) -> Route {
    let parameters = request.path_parameters_ref();
    let value = |name| parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default();
    let segments = template(key).split('/').map(|segment| parameter(segment).map_or(segment, value));
    let path = segments.collect::<Vec<_>>().join("/");
    let prefix = match whole.strip_suffix(&path) {
        Some(prefix) => prefix.to_owned(),
        None => percent_decode_str(whole).decode_utf8_lossy().strip_suffix(&path).unwrap_or_default().to_owned(),
    };
    Route { key, prefix, path }
}

/// The longest route that a path ends with, and of those the one with the fewest parameters, as API Gateway would choose.
fn by_path(method: &Method, whole: &str) -> Option<(Route, HashMap<String, String>)> {
    let given: Vec<&str> = whole.strip_prefix('/')?.split('/').collect();
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let matched = |key: &'static str| {
        let (_, path) = key.split_once(" /").filter(|(wanted, _)| *wanted == method.as_str())?;
        let segments: Vec<&str> = path.split('/').collect();
        let (before, end) = given.split_at_checked(given.len().checked_sub(segments.len())?)?;
        let mut parameters = HashMap::new();
        for (segment, text) in segments.iter().zip(end) {
            match parameter(segment) {
                Some(name) if !text.is_empty() => drop(parameters.insert(name.to_owned(), decode(text))),
                None if decode(text) == *segment => {}
                _ => return None,
            }
        }
        let prefix = before.iter().map(|segment| format!("/{segment}")).collect();
        let path = end.iter().map(|segment| format!("/{}", decode(segment))).collect();
        let rank = (segments.len(), segments.len() - parameters.len());
        Some((rank, (Route { key, prefix, path }, parameters)))
    };
    ROUTES.into_iter().filter_map(matched).max_by_key(|(rank, _)| *rank).map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use lambda_http::request::from_str;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::request::{header, job_token, now, own_path, path, query_all};

    fn received(event: &Value) -> Request {
        routed(from_str(&event.to_string()).expect("an event"))
    }

    fn route(request: &Request) -> Route {
        request.extensions().get().cloned().unwrap_or_default()
    }

    fn http_api(key: &str, stage: &str, path: &str, parameters: &Value) -> Value {
        json!({
            "version": "2.0", "routeKey": key, "rawPath": path, "rawQueryString": "", "headers": {"host": "api.example.com"},
            "pathParameters": parameters, "isBase64Encoded": false,
            "requestContext": {
                "routeKey": key, "stage": stage, "domainName": "api.example.com", "timeEpoch": 1_795_000_000_123_i64,
                "http": {"method": key.split(' ').next(), "path": path},
            },
        })
    }

    fn rest_api(resource: &str, path: &str, whole: &str, parameters: &Value) -> Value {
        json!({
            "resource": resource, "path": path, "httpMethod": "PUT", "pathParameters": parameters, "body": null,
            "headers": {"Host": "api.example.com", "X-Chutes-Nonce": "7"},
            "multiValueHeaders": {"Host": ["api.example.com"], "X-Chutes-Nonce": ["7"]},
            "queryStringParameters": {"token": "b+c", "label": ""},
            "multiValueQueryStringParameters": {"token": ["b+c"], "label": ["a b", ""]},
            "requestContext": {
                "resourcePath": resource, "path": whole, "stage": "prod", "httpMethod": "PUT", "domainName": "api.example.com",
                "requestTimeEpoch": 1_795_000_000_123_i64, "identity": {"sourceIp": "192.0.2.7"}, "protocol": "HTTP/1.1",
            },
            "isBase64Encoded": false,
        })
    }

    fn function_url(method: &str, path: &str) -> Value {
        let mut event = http_api("$default", "$default", path, &Value::Null);
        event["requestContext"]["http"]["method"] = method.into();
        event
    }

    #[test]
    fn every_route_is_found_by_its_path_too() {
        for key in ROUTES {
            let (method, path) = key.split_once(' ').expect("a method and a path");
            let path = path.replace("{file_id}", "f").replace("{job_id}", "j").replace(['{', '}'], "");
            for prefix in ["", "/prod", "/a/b"] {
                let found = route(&received(&function_url(method, &format!("{prefix}{path}"))));
                assert_eq!((found.key, &*found.prefix, &found.path), (key, prefix, &path));
            }
        }
        for (method, path) in
            [("PATCH", "/jobs/a"), ("GET", "/"), ("GET", "/jobs/"), ("GET", ""), ("PUT", "/jobs//claim")]
        {
            assert_eq!(route(&received(&function_url(method, path))).key, "", "{method} {path}");
        }
    }

    #[test]
    fn a_function_urls_parameters_are_decoded_one_by_one() {
        let read = |text: &str| {
            let request = received(&function_url("GET", &format!("/jobs/{text}")));
            (path(&request, "job_id").to_owned(), route(&request).key)
        };
        assert_eq!(read("a%20b"), ("a b".to_owned(), "GET /jobs/{job_id}"));
        assert_eq!(read("a%2Fb").0, "a/b", "a slash that was encoded separates nothing");
        assert_eq!(read("a+b%2B").0, "a+b+", "a plus sign is a space in queries alone");
        assert_eq!(read("%ff%00").0, "\u{fffd}\0");
        assert_eq!(read("%zz%").0, "%zz%");
    }

    #[test]
    fn a_stage_is_before_every_link_and_in_no_path() {
        let id = json!({"job_id": "j"});
        for (event, prefix) in [
            (http_api("PUT /jobs/{job_id}/claim", "$default", "/jobs/j/claim", &id), ""),
            (http_api("PUT /jobs/{job_id}/claim", "prod", "/prod/jobs/j/claim", &id), "/prod"),
            (rest_api("/jobs/{job_id}/claim", "/jobs/j/claim", "/prod/jobs/j/claim", &id), "/prod"),
            // A domain's base path is in both, its stage in none.
            (rest_api("/jobs/{job_id}/claim", "/v1/jobs/j/claim", "/v1/jobs/j/claim", &id), "/v1"),
            (rest_api("/jobs/{job_id}/claim", "/jobs/j/claim", "/jobs/j/claim", &id), ""),
            // One resource for all that comes.
            (rest_api("/{proxy+}", "/jobs/j/claim", "/prod/jobs/j/claim", &json!({"proxy": "jobs/j/claim"})), "/prod"),
        ] {
            let request = received(&event);
            let found = route(&request);
            assert_eq!((found.key, &*found.prefix), ("PUT /jobs/{job_id}/claim", prefix), "{event}");
            assert_eq!((path(&request, "job_id"), own_path(&request)), ("j", "/jobs/j/claim"), "{event}");
            assert_eq!(now(&request).millis(), 1_795_000_000_123);
        }
    }

    #[test]
    fn an_encoded_parameter_does_not_hide_the_stage() {
        for (text, whole) in [("a b", "/prod/jobs/a%20b"), ("a/b", "/prod/jobs/a%2Fb"), ("a%20b", "/prod/jobs/a%20b")] {
            let request = received(&rest_api("/jobs/{job_id}", "/jobs/x", whole, &json!({"job_id": text})));
            assert_eq!((&*route(&request).prefix, path(&request, "job_id")), ("/prod", text));
        }
    }

    #[test]
    fn what_a_rest_api_has_split_is_read_as_it_was_sent() {
        let request = received(&rest_api("/jobs/{job_id}", "/jobs/j", "/prod/jobs/j", &json!({"job_id": "j"})));
        assert_eq!(job_token(&request).ok(), Some("b+c"));
        assert_eq!(query_all(&request, "label"), ["a b", ""]);
        assert_eq!(header(&request, "x-chutes-nonce"), Some("7"));
    }
}
