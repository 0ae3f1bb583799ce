//! Answers that tests can read.

use std::io::Read;

use flate2::read::GzDecoder;
use local::own_engines;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed: JSON where it is JSON, a string otherwise.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Reads it to its end.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let mut text = bytes.clone();
        if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
            text.clear();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).expect("gzip");
        }
        let body = serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into());
        Ok(Self { status, headers, body, bytes })
    }

    /// The body of an answer that has to be a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// An error's status and its `detail`.
    #[track_caller]
    pub fn error(&self) -> (u16, Value) {
        let object = self.body.as_object().unwrap_or_else(|| panic!("no error document: {}", self.body));
        assert!(object.len() == 1 && object.contains_key("detail"), "{}", self.body);
        (self.status, self.body["detail"].clone())
    }

    /// Asserts an error with one sentence.
    #[track_caller]
    pub fn is_error(&self, status: u16, detail: &str) {
        assert_eq!(self.error(), (status, Value::from(detail)));
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Engine calls that the request took: DynamoDB and S3.
    pub fn engine_calls(&self) -> (u32, u32) {
        own_engines("nobody counts what is asked of them");
        let header = self.header("x-local-engine-calls").expect("the local stack counts");
        let count = |name: &str| -> u32 {
            let pair = header.split_whitespace().find_map(|pair| pair.strip_prefix(name)).expect("every engine");
            pair.trim_start_matches('=').parse().expect("a number")
        };
        (count("dynamodb"), count("s3"))
    }
}
