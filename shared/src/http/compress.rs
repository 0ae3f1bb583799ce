//! Smaller answers, for clients that take them: API Gateway's HTTP APIs do not compress, and every byte that leaves AWS is paid
//! for. A finish with a thousand upload URLs is megabytes that repeat themselves.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use lambda_http::{
    Body, Response,
    http::{HeaderValue, header},
};

/// Bytes of the shortest answer that is worth it: about what one packet holds.
const SHORTEST: usize = 1400;

/// The answer, in gzip when `accept_encoding` (RFC 9110) takes it and there is something to save.
pub(crate) fn compressed(mut response: Response<Body>, accept_encoding: Option<&str>) -> Response<Body> {
    if !accept_encoding.is_some_and(takes_gzip) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let Body::Text(text) = response.body() else { return response };
    if text.len() < SHORTEST {
        return response;
    }
    // The fastest level: what repeats in an answer repeats so often that a better one finds little more.
    let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let Ok(bytes) = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()) else { return response };
    *response.body_mut() = Body::Binary(bytes);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Whether `gzip`, or anything, is taken with a weight above zero.
fn takes_gzip(accept_encoding: &str) -> bool {
    let weight = |wanted: &str| {
        accept_encoding.split(',').find_map(|entry| {
            let (name, parameter) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = parameter.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(wanted).then_some(weight.unwrap_or(0.0))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn answer(text: &str) -> Response<Body> {
        Response::new(Body::Text(text.to_owned()))
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for taken in ["gzip", "br, GZIP", "gzip;q=0.5", "deflate, gzip; q=1.0, *;q=0", "*", "br;q=1.0,*;q=0.1"] {
            assert!(takes_gzip(taken), "{taken}");
        }
        for refused in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "x-gzip", "gzip;q=nonsense"] {
            assert!(!takes_gzip(refused), "{refused}");
        }
    }

    #[test]
    fn a_long_answer_gets_short_and_comes_out_whole() {
        let text = "https://outputs.s3.amazonaws.com/jobs/…".repeat(1000);
        let response = compressed(answer(&text), Some("gzip"));
        assert_eq!(
            (&response.headers()["content-encoding"], &response.headers()["vary"]),
            (&HeaderValue::from_static("gzip"), &HeaderValue::from_static("accept-encoding"),)
        );
        assert!(response.body().len() < text.len() / 20);
        let mut whole = String::new();
        flate2::read::GzDecoder::new(response.body().as_ref()).read_to_string(&mut whole).expect("gzip");
        assert_eq!(whole, text);
    }

    #[test]
    fn a_short_answer_and_one_for_anybody_else_stay_as_they_are() {
        let long = "x".repeat(SHORTEST);
        for (text, accepted) in [("{}", Some("gzip")), (&long[..], None), (&long, Some("br"))] {
            let response = compressed(answer(text), accepted);
            assert!(response.headers().is_empty());
            assert_eq!(response.body().as_ref(), text.as_bytes());
        }
    }
}
