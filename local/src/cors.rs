//! Cross-origin rules, as API Gateway and S3 apply them.

use anyhow::{Context, Result};
use hyper::{
    HeaderMap, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
    },
};
use serde_json::{Map, Value};

/// Who may call, how, from a page of another origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CorsRule {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    max_age: Option<u64>,
    credentials: bool,
}

impl CorsRule {
    /// `CorsConfiguration` of an HTTP API.
    pub(crate) fn from_http_api(cors: &Map<String, Value>) -> Result<Self> {
        Ok(Self {
            origins: strings(cors.get("AllowOrigins"))?,
            methods: strings(cors.get("AllowMethods"))?,
            headers: strings(cors.get("AllowHeaders"))?,
            expose: strings(cors.get("ExposeHeaders"))?,
            max_age: cors.get("MaxAge").and_then(Value::as_u64),
            credentials: cors.get("AllowCredentials").is_some_and(|allowed| allowed == true),
        })
    }

    /// One of a bucket's `CorsRules`.
    pub(crate) fn from_bucket(rule: &Value) -> Result<Self> {
        Ok(Self {
            origins: strings(rule.get("AllowedOrigins"))?,
            methods: strings(rule.get("AllowedMethods"))?,
            headers: strings(rule.get("AllowedHeaders"))?,
            expose: strings(rule.get("ExposedHeaders"))?,
            max_age: rule.get("MaxAge").and_then(Value::as_u64),
            credentials: false,
        })
    }
}

/// The headers for an answer to `request`, when it comes from a page of an origin that a rule allows.
pub(crate) fn answer_headers(rules: &[CorsRule], method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
    let origin = request.get(ORIGIN)?.to_str().ok()?;
    let preflight = is_preflight(method, request);
    let asked = if preflight { request.get(ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()? } else { method.as_str() };
    let wanted: Vec<&str> = match request.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|_| preflight) {
        Some(names) => names.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        None => Vec::new(),
    };
    let rule = rules.iter().find(|rule| {
        matches_any(&rule.origins, origin)
            && matches_any(&rule.methods, asked)
            && wanted.iter().all(|name| matches_any(&rule.headers, name))
    })?;

    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Some(value) = Some(value).filter(|value| !value.is_empty()).and_then(|v| HeaderValue::try_from(v).ok()) {
            headers.insert(name, value);
        }
    };
    let any = rule.origins.iter().any(|allowed| allowed == "*");
    set(ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*".to_owned() } else { origin.to_owned() });
    set(ACCESS_CONTROL_ALLOW_CREDENTIALS, if rule.credentials { "true".to_owned() } else { String::new() });
    if preflight {
        set(ACCESS_CONTROL_ALLOW_METHODS, rule.methods.join(","));
        set(ACCESS_CONTROL_ALLOW_HEADERS, wanted.join(","));
        set(ACCESS_CONTROL_MAX_AGE, rule.max_age.map(|seconds| seconds.to_string()).unwrap_or_default());
    } else {
        set(ACCESS_CONTROL_EXPOSE_HEADERS, rule.expose.join(","));
    }
    set(VARY, "Origin".to_owned());
    Some(headers)
}

/// Whether a browser asks for permission first.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a pattern with at most one `*` matches, without regard to case.
fn matches_any(patterns: &[String], value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| match pattern.split_once('*') {
        None => pattern == value,
        Some((start, end)) => {
            value.len() >= start.len() + end.len() && value.starts_with(start) && value.ends_with(end)
        }
    })
}

fn strings(value: Option<&Value>) -> Result<Vec<String>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let items = value.as_array().context("expected a list in the CORS rule")?;
    items.iter().map(|item| item.as_str().map(str::to_owned).context("expected a string in the CORS rule")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<CorsRule> {
        vec![CorsRule {
            origins: vec!["https://*.example.com".into()],
            methods: vec!["PUT".into()],
            headers: vec!["content-type".into(), "x-amz-*".into()],
            expose: vec!["ETag".into()],
            max_age: Some(600),
            credentials: false,
        }]
    }

    fn request(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_preflight_is_granted_what_a_rule_allows() {
        let asked = request(&[
            ("origin", "https://app.example.com"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "Content-Type, X-Amz-Checksum-Sha256"),
        ]);
        let headers = answer_headers(&rules(), &Method::OPTIONS, &asked).expect("allowed");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example.com");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "Content-Type,X-Amz-Checksum-Sha256");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "600");
    }

    #[test]
    fn another_origin_method_or_header_is_refused() {
        let foreign = request(&[("origin", "https://example.org")]);
        assert_eq!(answer_headers(&rules(), &Method::PUT, &foreign), None);
        let known = request(&[("origin", "https://app.example.com")]);
        assert_eq!(answer_headers(&rules(), &Method::GET, &known), None);
        assert_eq!(
            answer_headers(&rules(), &Method::PUT, &known).expect("allowed")[ACCESS_CONTROL_EXPOSE_HEADERS],
            "ETag"
        );
        let header = request(&[
            ("origin", "https://app.example.com"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization"),
        ]);
        assert_eq!(answer_headers(&rules(), &Method::OPTIONS, &header), None);
    }
}
