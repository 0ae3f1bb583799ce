//! The bytes that a request's body stands for: some clients compress what they send.

use std::{borrow::Cow, io::Read};

use flate2::read::MultiGzDecoder;
use lambda_http::Request;

use super::request::header;
use crate::error::{Error, Result};

/// The body without its `Content-Encoding` (RFC 9110, section 8.4), which may be `gzip`. 413 when it is longer than `limit` bytes
/// after that: no more is inflated. What a hotkey signs is the body as it was sent.
pub fn decoded(request: &Request, limit: usize) -> Result<Cow<'_, [u8]>> {
    let body: &[u8] = request.body();
    let too_large = || Error::TooLarge(format!("Request body is larger than {limit} bytes"));
    let coding = header(request, "content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    match &*coding {
        "" | "identity" if body.len() > limit => Err(too_large()),
        "" | "identity" => Ok(body.into()),
        // Some say that they compress, and have nothing to.
        _ if body.is_empty() => Ok(body.into()),
        "gzip" | "x-gzip" => {
            let mut bytes = Vec::new();
            let inflated = MultiGzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut bytes);
            match inflated {
                Ok(length) if length > limit => Err(too_large()),
                Ok(_) => Ok(bytes.into()),
                Err(_) => Err(Error::Unprocessable("The request body is no gzip, as Content-Encoding says".to_owned())),
            }
        }
        _ => Err(Error::Unprocessable("Content-Encoding of a request should be gzip, or left out".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use lambda_http::Body;

    use super::*;

    fn request(body: Vec<u8>, coding: &str) -> Request {
        let request = Request::new(Body::Binary(body));
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("content-encoding", coding.parse().expect("a header"));
        Request::from_parts(parts, body)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory")
    }

    #[test]
    fn a_body_in_gzip_is_what_it_inflates_to_up_to_the_limit() {
        for coding in ["gzip", "GZIP", "x-gzip"] {
            assert_eq!(*decoded(&request(gzip(b"{}"), coding), 2).expect("gzip"), *b"{}");
        }
        let two = [gzip(b"{\"a\""), gzip(b":1}")].concat();
        assert_eq!(*decoded(&request(two, "gzip"), 100).expect("two members"), *b"{\"a\":1}");
        let bomb = request(gzip(&vec![b' '; 1 << 20]), "gzip");
        assert!(matches!(decoded(&bomb, 128 << 10), Err(Error::TooLarge(_))));
        assert!(matches!(decoded(&request(gzip(b"{} "), "gzip"), 2), Err(Error::TooLarge(_))));
    }

    #[test]
    fn what_is_not_coded_stays_and_what_is_coded_otherwise_is_refused() {
        assert_eq!(*decoded(&request(b"{}".to_vec(), "identity"), 2).expect("as it is"), *b"{}");
        assert_eq!(*decoded(&request(Vec::new(), "br"), 2).expect("nothing"), *b"");
        let cut = gzip(b"{}");
        for (body, coding) in
            [(b"{}".to_vec(), "gzip"), (cut[..cut.len() - 1].to_vec(), "gzip"), (b"{}".to_vec(), "br")]
        {
            assert!(matches!(decoded(&request(body, coding), 100), Err(Error::Unprocessable(_))), "{coding}");
        }
    }
}
