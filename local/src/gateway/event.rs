//! Payload format 2.0 ("Create AWS Lambda proxy integrations for HTTP APIs"): a request as an event, and an answer back.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, macros::format_description};
use uuid::Uuid;

use super::routes::Found;
use crate::{
    account::ACCOUNT,
    server::{self, Body},
};

/// Where and when a request arrived.
pub(super) struct Origin<'a> {
    pub(super) peer: SocketAddr,
    pub(super) domain: &'a str,
    /// Milliseconds since the Unix epoch.
    pub(super) now: i64,
}

/// The event of a request. `rawPath` is decoded, as HTTP APIs do (function URLs do not).
pub(super) fn build(parts: &Parts, body: &Bytes, found: &Found<'_>, origin: &Origin<'_>) -> Value {
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let query = parts.uri.query().unwrap_or_default();
    let header = |name: &str| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let request_id = Uuid::new_v4();
    let peer_ip = origin.peer.ip().to_string();

    let mut headers =
        joined(
            parts.headers.iter().filter(|(name, _)| *name != COOKIE).map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            }),
        );
    let forwarded_for = header("x-forwarded-for").map_or_else(|| peer_ip.clone(), |by| format!("{by}, {peer_ip}"));
    let port = origin.domain.rsplit(':').next().unwrap_or_default();
    headers.extend([
        ("x-forwarded-for".to_owned(), forwarded_for.into()),
        ("x-forwarded-port".to_owned(), port.into()),
        ("x-forwarded-proto".to_owned(), "http".into()),
        (
            "x-amzn-trace-id".to_owned(),
            format!("Root=1-{:08x}-{}", origin.now / 1000, &request_id.simple().to_string()[..24]).into(),
        ),
    ]);

    let mut event = json!({
        "version": "2.0",
        "routeKey": found.route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": origin.domain,
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer_ip,
                "userAgent": header("user-agent").unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": found.route_key,
            "stage": "$default",
            "time": log_time(origin.now),
            "timeEpoch": origin.now,
        },
        "isBase64Encoded": false,
    });
    if let Some(cookies) = parts.headers.get(COOKIE) {
        let cookies = String::from_utf8_lossy(cookies.as_bytes());
        event["cookies"] = cookies.split(';').map(str::trim).collect();
    }
    if !query.is_empty() {
        event["queryStringParameters"] =
            Value::Object(joined(query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (form_decode(name), form_decode(value))
            })));
    }
    if !found.parameters.is_empty() {
        event["pathParameters"] = found.parameters.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    }
    if !body.is_empty() {
        let text = is_text(&parts.headers).then(|| std::str::from_utf8(body).ok()).flatten();
        event["isBase64Encoded"] = text.is_none().into();
        event["body"] = text.map_or_else(|| STANDARD.encode(body), str::to_owned).into();
    }
    event
}

/// The event of a function URL: no route, no parameters, and the path as it was sent.
pub(super) fn of_function_url(parts: &Parts, body: &Bytes, found: &Found<'_>, origin: &Origin<'_>) -> Value {
    let mut event = build(parts, body, found, origin);
    if let Some(event) = event.as_object_mut() {
        event.remove("pathParameters");
    }
    event["routeKey"] = "$default".into();
    event["rawPath"] = parts.uri.path().into();
    event["requestContext"]["routeKey"] = "$default".into();
    event["requestContext"]["http"]["path"] = parts.uri.path().into();
    event
}

/// Repeated names joined by commas.
fn joined(pairs: impl Iterator<Item = (String, String)>) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        match all.get_mut(&name) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => {
                all.insert(name, value.into());
            }
        }
    }
    all
}

pub(super) fn form_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Content types that API Gateway passes on as text. Everything else is base64.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mime = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    mime.starts_with("text/")
        || matches!(mime.as_str(), "application/json" | "application/javascript" | "application/xml")
}

/// As in access logs: `12/Mar/2020:19:03:58 +0000`.
pub(super) fn log_time(millis: i64) -> String {
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let time = OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000)).ok();
    time.and_then(|time| time.format(format).ok()).unwrap_or_default()
}

/// As in the header `Date` of an answer: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn date(millis: i64) -> Option<HeaderValue> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let time = OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000)).ok()?;
    HeaderValue::try_from(time.format(format).ok()?).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The HTTP answer that a function's answer stands for; `None` when it is none, which is a 500.
pub(super) fn response(answer: &Bytes) -> Option<Response<Body>> {
    let document: Value = serde_json::from_slice(answer).ok()?;
    if document.get("statusCode").is_none() {
        // Without a status, format 2.0 takes the answer itself as a JSON body.
        return Some(server::json(200, &document));
    }
    let Structured { status_code, headers, cookies, body, is_base64_encoded } =
        serde_json::from_value(document).ok()?;
    let mut response = start(status_code, headers, body, is_base64_encoded)?;
    let set = response.headers_mut();
    for cookie in cookies {
        set.append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    set.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=UTF-8"));
    Some(response)
}

/// What both formats say of an answer alike; `None` when it is none.
pub(super) fn start(
    status: u16,
    headers: BTreeMap<String, Value>,
    body: Option<String>,
    base64: bool,
) -> Option<Response<Body>> {
    let body = body.unwrap_or_default();
    let body = if base64 { STANDARD.decode(body).ok()?.into() } else { Bytes::from(body) };
    let mut response = Response::builder().status(status).body(server::full(body)).ok()?;
    let set = response.headers_mut();
    for (name, value) in headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        set.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    // The body's length is the server's business.
    set.remove(CONTENT_LENGTH);
    Some(response)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
    use hyper::Request;

    use super::*;

    fn event(request: hyper::http::request::Builder, body: &'static [u8]) -> Value {
        let (parts, ()) = request.body(()).expect("a valid request").into_parts();
        let found = Found {
            function: "finish-job",
            route_key: "POST /jobs/{job_id}",
            parameters: vec![("job_id".into(), "a b".into())],
        };
        let peer = "192.0.2.7:5000".parse().expect("an address");
        build(
            &parts,
            &Bytes::from_static(body),
            &found,
            &Origin { peer, domain: "127.0.0.1:3000", now: 1_795_000_000_123 },
        )
    }

    #[test]
    fn an_event_is_what_lambda_events_reads() {
        let request = Request::post("/jobs/a%20b?token=x%2By&token=z&flag")
            .header("Content-Type", "application/json")
            .header("X-Twice", "1")
            .header("X-Twice", "2")
            .header("Cookie", "a=1; b=2");
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event(request, b"{}")).expect("payload 2.0");
        assert_eq!(event.raw_path.as_deref(), Some("/jobs/a b"));
        assert_eq!(event.raw_query_string.as_deref(), Some("token=x%2By&token=z&flag"));
        assert_eq!(event.query_string_parameters.first("token"), Some("x+y"));
        assert_eq!(event.path_parameters["job_id"], "a b");
        assert_eq!(event.headers["x-twice"], "1,2");
        assert_eq!(event.cookies, Some(vec!["a=1".to_owned(), "b=2".to_owned()]));
        assert!(!event.headers.contains_key("cookie"));
        assert_eq!(event.body.as_deref(), Some("{}"));
        assert!(!event.is_base64_encoded);
        assert_eq!(event.request_context.time.as_deref(), Some("18/Nov/2026:11:06:40 +0000"));
        assert_eq!(event.request_context.time_epoch, 1_795_000_000_123);
        assert_eq!(event.request_context.domain_name.as_deref(), Some("127.0.0.1:3000"));
    }

    #[test]
    fn bytes_that_are_no_text_arrive_intact() {
        let json = |body| event(Request::post("/").header("content-type", "application/json; charset=utf-8"), body);
        let invalid = json(b"{\"a\":\"\xff\"}");
        assert_eq!((&invalid["isBase64Encoded"], &invalid["body"]), (&true.into(), &"eyJhIjoi/yJ9".into()));
        assert_eq!(json(b"{}")["isBase64Encoded"], false);
        let untyped = event(Request::post("/"), b"{}");
        assert_eq!((&untyped["isBase64Encoded"], &untyped["body"]), (&true.into(), &"e30=".into()));
        assert_eq!(json(b"").get("body"), None);
    }

    #[test]
    fn an_answer_without_a_status_is_json() {
        let answer = response(&Bytes::from_static(b"{\"a\":1}")).expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[CONTENT_TYPE]),
            (200, &HeaderValue::from_static("application/json"))
        );
        let structured =
            br#"{"statusCode":418,"headers":{"x-a":"b"},"cookies":["c=1","d=2"],"body":"aGk=","isBase64Encoded":true}"#;
        let answer = response(&Bytes::from_static(structured)).expect("an answer");
        assert_eq!(answer.status(), 418);
        assert_eq!(answer.headers()["x-a"], "b");
        assert_eq!(answer.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert!(response(&Bytes::from_static(b"not json")).is_none());
        assert!(response(&Bytes::from_static(br#"{"statusCode":9999}"#)).is_none());
    }
}
