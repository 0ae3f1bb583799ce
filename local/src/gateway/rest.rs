//! Payload format 1.0 ("Set up Lambda proxy integrations in API Gateway"), of a REST API whose binary media types are `*/*`: every
//! body goes to the function in base64.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
    http::request::Parts,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    event::{Origin, form_decode, log_time, start},
    front::Front,
    routes::Found,
};
use crate::{account::ACCOUNT, server::Body};

/// The event of a request.
pub(super) fn build(parts: &Parts, body: &Bytes, found: &Found<'_>, origin: &Origin<'_>) -> Value {
    let whole = parts.uri.path();
    let stage = Front::RestApi.prefix();
    let path = whole.strip_prefix(stage).unwrap_or(whole);
    let resource = found.route_key.split_once(' ').map_or(found.route_key, |(_, path)| path);
    let peer_ip = origin.peer.ip().to_string();
    let (mut headers, mut query) = (Many::default(), Many::default());
    for (name, value) in &parts.headers {
        headers.push(cased(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let agent = headers.last("User-Agent").cloned();
    let forwarded = headers.last("X-Forwarded-For").and_then(Value::as_str);
    let forwarded = forwarded.map_or_else(|| peer_ip.clone(), |by| format!("{by}, {peer_ip}"));
    for (name, value) in [
        ("X-Forwarded-For", forwarded),
        ("X-Forwarded-Port", origin.domain.rsplit(':').next().unwrap_or_default().to_owned()),
        ("X-Forwarded-Proto", "http".to_owned()),
    ] {
        headers.0.remove(name);
        headers.push(name.to_owned(), value);
    }
    for pair in parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.push(form_decode(name), form_decode(value));
    }
    let parameters: Map<String, Value> =
        found.parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "resource": resource,
        "path": path,
        "httpMethod": parts.method.as_str(),
        "headers": headers.single(),
        "multiValueHeaders": headers.multiple(),
        "queryStringParameters": query.single(),
        "multiValueQueryStringParameters": query.multiple(),
        "pathParameters": (!parameters.is_empty()).then_some(parameters),
        "stageVariables": null,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": origin.domain,
            "domainPrefix": "local",
            "extendedRequestId": Uuid::new_v4(),
            "httpMethod": parts.method.as_str(),
            "identity": {"sourceIp": peer_ip, "userAgent": agent},
            "path": whole,
            "protocol": "HTTP/1.1",
            "requestId": Uuid::new_v4(),
            "requestTime": log_time(origin.now),
            "requestTimeEpoch": origin.now,
            "resourceId": "local",
            "resourcePath": resource,
            "stage": stage.trim_start_matches('/'),
        },
        "body": (!body.is_empty()).then(|| STANDARD.encode(body)),
        "isBase64Encoded": !body.is_empty(),
    })
}

/// Names with each of their values, as format 1.0 has them twice: all, and the last.
#[derive(Default)]
struct Many(Map<String, Value>);

impl Many {
    fn push(&mut self, name: String, value: String) {
        if let Some(values) = self.0.entry(name).or_insert_with(|| json!([])).as_array_mut() {
            values.push(value.into());
        }
    }

    fn last(&self, name: &str) -> Option<&Value> {
        self.0.get(name)?.as_array()?.last()
    }

    fn single(&self) -> Option<Map<String, Value>> {
        let last = |name: &String| Some((name.clone(), self.last(name)?.clone()));
        (!self.0.is_empty()).then(|| self.0.keys().filter_map(last).collect())
    }

    fn multiple(&self) -> Option<&Map<String, Value>> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

/// A REST API hands over names as a client has written them. Ours writes them small, so that readers would not notice.
fn cased(name: &str) -> String {
    let word = |word: &str| word.get(..1).unwrap_or_default().to_ascii_uppercase() + word.get(1..).unwrap_or_default();
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    multi_value_headers: BTreeMap<String, Vec<String>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The HTTP answer that a function's answer stands for; `None` when it is none.
pub(super) fn response(answer: &Bytes) -> Option<Response<Body>> {
    let Structured { status_code, headers, multi_value_headers, body, is_base64_encoded } =
        serde_json::from_slice(answer).ok()?;
    let mut response = start(status_code, headers, body, is_base64_encoded)?;
    let set = response.headers_mut();
    // A name that is in both has the values of the second.
    for (name, values) in multi_value_headers {
        let name = HeaderName::try_from(name).ok()?;
        set.remove(&name);
        for value in values {
            set.append(&name, HeaderValue::try_from(value).ok()?);
        }
    }
    set.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    set.remove(CONTENT_LENGTH);
    Some(response)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayProxyRequest;
    use hyper::Request;

    use super::*;

    #[test]
    fn an_event_is_what_lambda_events_reads() {
        let request = Request::post("/v1/jobs/a%20b?token=x%2By&label=1&label=&flag").header("X-Twice", "1");
        let (parts, ()) = request.header("X-Twice", "2").body(()).expect("a valid request").into_parts();
        let found = Found {
            function: "finish-job",
            route_key: "POST /jobs/{job_id}",
            parameters: vec![("job_id".into(), "a b".into())],
        };
        let peer = "192.0.2.7:5000".parse().expect("an address");
        let origin = Origin { peer, domain: "127.0.0.1:3000", now: 1_795_000_000_123 };
        let event = build(&parts, &Bytes::from_static(b"{}"), &found, &origin);
        let event: ApiGatewayProxyRequest = serde_json::from_value(event).expect("payload 1.0");
        assert_eq!(event.resource.as_deref(), Some("/jobs/{job_id}"));
        assert_eq!(event.path.as_deref(), Some("/jobs/a%20b"));
        assert_eq!(event.request_context.path.as_deref(), Some("/v1/jobs/a%20b"));
        assert_eq!(event.request_context.stage.as_deref(), Some("v1"));
        assert_eq!(event.request_context.identity.source_ip.as_deref(), Some("192.0.2.7"));
        assert_eq!(event.multi_value_query_string_parameters.all("label"), Some(vec!["1", ""]));
        assert_eq!(event.query_string_parameters.first("token"), Some("x+y"));
        assert_eq!(event.multi_value_headers.get_all("x-twice").iter().count(), 2);
        assert_eq!((event.body.as_deref(), event.is_base64_encoded), (Some("e30="), true));
    }

    #[test]
    fn an_answer_has_a_status_and_every_value_of_its_headers() {
        let answer = br#"{"statusCode":200,"headers":{"a":"1","b":"2"},"multiValueHeaders":{"a":["3","4"]},"body":"aGk=","isBase64Encoded":true}"#;
        let answer = response(&Bytes::from_static(answer)).expect("an answer");
        assert_eq!(answer.headers().get_all("a").iter().count(), 2);
        assert_eq!(
            (&answer.headers()["b"], &answer.headers()["content-type"]),
            (&HeaderValue::from_static("2"), &HeaderValue::from_static("application/json"))
        );
        assert!(response(&Bytes::from_static(b"{\"a\":1}")).is_none());
    }
}
