//! Which operation of which engine a request is.

use hyper::{HeaderMap, Method, Request, body::Incoming};

use crate::faults::Service;

/// How the path of an invocation begins.
const FUNCTIONS: &str = "/2015-03-31/functions/";

/// The engine that a request is for, and the operation.
pub(super) fn operation(request: &Request<Incoming>) -> (Service, String) {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match target.split_once('.') {
        Some((api, operation)) if api.starts_with("DynamoDB") => (Service::DynamoDb, operation.to_owned()),
        Some(("secretsmanager", operation)) => (Service::SecretsManager, operation.to_owned()),
        Some(("AWSEvents", operation)) => (Service::Events, operation.to_owned()),
        _ if invoked(request.uri().path()).is_some() => (Service::Lambda, "Invoke".to_owned()),
        _ => {
            let uri = request.uri();
            let operation =
                s3_operation(request.method(), uri.path(), uri.query().unwrap_or_default(), request.headers());
            (Service::S3, operation.to_owned())
        }
    }
}

/// The function that a path wants invoked.
pub(super) fn invoked(path: &str) -> Option<String> {
    let name = path.strip_prefix(FUNCTIONS)?.strip_suffix("/invocations")?;
    Some(percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned())
}

/// S3 tells its operations apart by method, path, query and headers.
fn s3_operation(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let copy = headers.contains_key("x-amz-copy-source");
    match (method.as_str(), object) {
        ("PUT", true) if has("uploadId") => {
            if copy {
                "UploadPartCopy"
            } else {
                "UploadPart"
            }
        }
        ("PUT", true) => {
            if copy {
                "CopyObject"
            } else {
                "PutObject"
            }
        }
        ("GET", true) if has("uploadId") => "ListParts",
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
        ("POST", false) if has("delete") => "DeleteObjects",
        ("GET", false) if has("uploads") => "ListMultipartUploads",
        ("GET", false) if has("versions") => "ListObjectVersions",
        ("GET", false) => "ListObjectsV2",
        ("HEAD", false) => "HeadBucket",
        ("OPTIONS", _) => "Preflight",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn s3_operations_are_told_apart() {
        let plain = HeaderMap::new();
        let copy =
            HeaderMap::from_iter([("x-amz-copy-source".parse().expect("a name"), HeaderValue::from_static("b/k"))]);
        let name = |method: Method, path, query| s3_operation(&method, path, query, &plain);
        assert_eq!(name(Method::PUT, "/bucket/a/b", ""), "PutObject");
        assert_eq!(name(Method::PUT, "/bucket/a", "partNumber=1&uploadId=x"), "UploadPart");
        assert_eq!(s3_operation(&Method::PUT, "/bucket/a", "partNumber=1&uploadId=x", &copy), "UploadPartCopy");
        assert_eq!(name(Method::POST, "/bucket/a", "uploads="), "CreateMultipartUpload");
        assert_eq!(name(Method::POST, "/bucket", "delete"), "DeleteObjects");
        assert_eq!(name(Method::GET, "/bucket/", "list-type=2"), "ListObjectsV2");
        assert_eq!(name(Method::GET, "/bucket", "versions"), "ListObjectVersions");
        assert_eq!(name(Method::HEAD, "/bucket/a", ""), "HeadObject");
    }
}
