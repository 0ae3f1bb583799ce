//! What S3 wants of a request's authentication besides a good signature, which `s3s` verifies. A presigned URL is the wall between
//! tenants: whoever has one may do what was signed, and nothing beside it.
//!
//! Rules and texts: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", "Create a signed AWS API request"
//! and "Error responses" of the S3 API reference.

use std::time::{Duration, SystemTime};

use hyper::{
    Method, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING},
};
use percent_encoding::percent_decode_str;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::error::Refusal;
use crate::account::REGION;

/// A presigned URL is good for a week at most.
const LONGEST_LIFE: u64 = 7 * 24 * 3600;
/// How far the signer's clock may be ahead.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// Why S3 refuses a request before it looks at the signature, if it does.
pub(crate) fn refusal(method: &Method, uri: &Uri, headers: &HeaderMap, now: SystemTime) -> Option<Refusal> {
    check(method, uri, headers, now).err()
}

fn check(method: &Method, uri: &Uri, headers: &HeaderMap, now: SystemTime) -> Result<(), Refusal> {
    let query = uri.query().unwrap_or_default();
    let authorization = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let presigned = has(query, "X-Amz-Algorithm") || has(query, "X-Amz-Signature");
    let version_2 = has(query, "Signature") || authorization.is_some_and(|value| value.starts_with("AWS "));
    if authorization.is_some() && (presigned || has(query, "Signature")) {
        let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
                       or the Authorization header should be specified";
        return Err(Refusal::new(400, "InvalidArgument", message));
    }
    if version_2 {
        let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        return Err(Refusal::new(400, "InvalidRequest", message));
    }
    let signed = if presigned {
        check_parameters(query, now)?
    } else {
        let signed = authorization.and_then(|value| value.split_once("SignedHeaders="));
        signed.map(|(_, rest)| rest.split(',').next().unwrap_or_default().trim().to_owned()).unwrap_or_default()
    };
    if presigned || authorization.is_some() {
        let signed: Vec<_> = signed.split(';').collect();
        // A hash of the body is part of the signature by itself.
        let free = |name: &str| !name.starts_with("x-amz-") || name == "x-amz-content-sha256";
        if headers.keys().any(|name| !free(name.as_str()) && !signed.contains(&name.as_str())) {
            let message = "There were headers present in the request which were not signed";
            return Err(Refusal::new(403, "AccessDenied", message));
        }
    }
    // A copy has no body.
    if method == Method::PUT && !headers.contains_key("x-amz-copy-source") && !headers.contains_key(CONTENT_LENGTH) {
        if !headers.contains_key(TRANSFER_ENCODING) {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(Refusal::new(411, "MissingContentLength", message));
        }
        // Signed chunks tell how long they are together.
        if !headers.contains_key("x-amz-decoded-content-length") {
            let message = "A header you provided implies functionality that is not implemented";
            return Err(Refusal::new(501, "NotImplemented", message));
        }
    }
    Ok(())
}

/// Checks a presigned URL's own parameters; tells the headers that are signed.
fn check_parameters(query: &str, now: SystemTime) -> Result<String, Refusal> {
    let wrong = |message: &str| Refusal::new(400, "AuthorizationQueryParametersError", message);
    let once = |name: &str| {
        let mut values = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
        let value = values.next().map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned());
        value.filter(|_| values.next().is_none()).ok_or_else(|| {
            wrong(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, \
                 X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    let (algorithm, credential, date) = (once("X-Amz-Algorithm")?, once("X-Amz-Credential")?, once("X-Amz-Date")?);
    let (signed, expires, _) = (once("X-Amz-SignedHeaders")?, once("X-Amz-Expires")?, once("X-Amz-Signature")?);
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\""));
    }
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let Ok(date) = PrimitiveDateTime::parse(&date, format) else {
        return Err(wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""));
    };
    let scope: Vec<_> = credential.rsplit('/').take(4).collect();
    if scope.len() != 4 || scope[..3] != ["aws4_request", "s3", REGION] {
        return Err(wrong("Error parsing the X-Amz-Credential parameter; the region or the service is wrong"));
    }
    let life = match expires.parse::<i64>().map(u64::try_from) {
        Err(_) => return Err(wrong("X-Amz-Expires should be a number")),
        Ok(Err(_)) => return Err(wrong("X-Amz-Expires must be non-negative")),
        Ok(Ok(life)) if life > LONGEST_LIFE => {
            return Err(wrong(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 \
                 seconds",
            ));
        }
        Ok(Ok(life)) => Duration::from_secs(life),
    };
    let (now, date) = (OffsetDateTime::from(now), date.assume_utc());
    if date > now + SKEW {
        return Err(Refusal::new(403, "AccessDenied", "Request is not valid yet"));
    }
    if now > date + life {
        return Err(Refusal::new(403, "AccessDenied", "Request has expired"));
    }
    Ok(signed)
}

fn has(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    /// 2026-11-28T06:00:00Z.
    const SIGNED_AT: u64 = 1_795_845_600;
    const URL: &str = "/b/jobs/k?x-id=PutObject&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261128%2Fus-east-1%2Fs3%2F\
                       aws4_request&X-Amz-Date=20261128T060000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=0";

    fn answer(method: Method, url: &str, headers: &[(&'static str, &'static str)], age: i64) -> (u16, String) {
        let headers = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        let now = UNIX_EPOCH + Duration::from_secs(SIGNED_AT.saturating_add_signed(age));
        let found = refusal(&method, &url.parse().expect("a URL"), &headers.collect(), now);
        found.map_or((200, String::new()), |refusal| (refusal.status, refusal.code.to_owned()))
    }

    fn put(headers: &[(&'static str, &'static str)]) -> (u16, String) {
        let length = [("content-length", "1")];
        answer(Method::PUT, URL, &[&length, headers].concat(), 0)
    }

    fn code(status: u16, code: &str) -> (u16, String) {
        (status, code.to_owned())
    }

    #[test]
    fn only_signed_headers_of_amazons_are_taken() {
        assert_eq!(put(&[]).0, 200);
        assert_eq!(put(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("content-type", "a/b")]).0, 200);
        for name in ["x-amz-copy-source", "x-amz-acl", "x-amz-meta-a", "x-amz-checksum-sha256", "x-amz-security-token"]
        {
            assert_eq!(put(&[(name, "b/k")]), code(403, "AccessDenied"), "{name}");
        }
        let signed = URL.replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-meta-a");
        let headers = [("content-length", "1"), ("x-amz-meta-a", "1")];
        assert_eq!(answer(Method::PUT, &signed, &headers, 0).0, 200);
        let header =
            "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0";
        let headers = [("content-length", "1"), ("authorization", header), ("x-amz-date", "20261128T060000Z")];
        assert_eq!(answer(Method::PUT, "/b/k", &headers, 0).0, 200);
        let headers = [&headers[..], &[("x-amz-acl", "public-read")]].concat();
        assert_eq!(answer(Method::PUT, "/b/k", &headers, 0), code(403, "AccessDenied"));
    }

    #[test]
    fn a_body_has_a_length() {
        assert_eq!(answer(Method::PUT, URL, &[], 0), code(411, "MissingContentLength"));
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(answer(Method::PUT, URL, &[chunked], 0), code(501, "NotImplemented"));
        assert_eq!(answer(Method::GET, URL, &[], 0).0, 200);
    }

    #[test]
    fn there_is_one_way_to_authenticate() {
        assert_eq!(put(&[("authorization", "Bearer cpk_x")]), code(400, "InvalidArgument"));
        let length = [("content-length", "1")];
        let version_2 = "/b/k?AWSAccessKeyId=a&Expires=1&Signature=0";
        assert_eq!(answer(Method::PUT, version_2, &length, 0), code(400, "InvalidRequest"));
        let headers = [length[0], ("authorization", "AWS a:0")];
        assert_eq!(answer(Method::PUT, "/b/k", &headers, 0), code(400, "InvalidRequest"));
    }

    #[test]
    fn a_url_is_good_from_when_it_was_signed_until_it_expires() {
        let length = [("content-length", "1")];
        let at = |age| answer(Method::PUT, URL, &length, age);
        assert_eq!((at(-900).0, at(0).0, at(3600).0), (200, 200, 200));
        assert_eq!((at(-901), at(3601)), (code(403, "AccessDenied"), code(403, "AccessDenied")));
    }

    #[test]
    fn parameters_are_there_once_and_make_sense() {
        let length = [("content-length", "1")];
        for (right, wrong) in [
            ("X-Amz-Expires=3600", "X-Amz-Expires=604801"),
            ("X-Amz-Expires=3600", "X-Amz-Expires=-1"),
            ("X-Amz-Expires=3600", "X-Amz-Expires=1h"),
            ("X-Amz-Expires=3600", "X-Amz-Expires=3600&X-Amz-Expires=3601"),
            ("&X-Amz-Expires=3600", ""),
            ("&X-Amz-Signature=0", ""),
            ("X-Amz-Date=20261128T060000Z", "X-Amz-Date=2026-11-28"),
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
            ("us-east-1", "us-west-2"),
            ("%2Fs3%2F", "%2Fsts%2F"),
        ] {
            let url = URL.replace(right, wrong);
            assert_ne!(url, URL, "{right}");
            let expected = code(400, "AuthorizationQueryParametersError");
            assert_eq!(answer(Method::PUT, &url, &length, 0), expected, "{wrong}");
        }
        assert_eq!(answer(Method::PUT, &URL.replace("=3600", "=604800"), &length, 604_000).0, 200);
    }
}
