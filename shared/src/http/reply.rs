//! Answers.

use lambda_http::{Body, Response};
use memchr::{memchr2_iter, memchr3_iter};
use serde::Serialize;

use super::{
    compress::compressed,
    job_response::{JobResponse, PayloadUrls, UploadTargets},
};
use crate::{
    error::{Error, Result},
    model::Job,
};

/// A JSON answer. Nothing that this service answers may be kept by a cache: it is one caller's own.
pub fn json(status: u16, body: &impl Serialize) -> Response<Body> {
    // Serialising our own types to memory cannot fail: no map has keys other than strings.
    let body = serde_json::to_string(body).expect("an answer is serialisable");
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .body(Body::Text(body))
        .expect("fixed headers are valid")
}

/// 200 and a job, without the payloads that have a URL. Compiled here, for speed, and not in every function.
pub fn job(job: &Job, urls: &PayloadUrls) -> Result<Response<Body>> {
    Ok(json(200, &JobResponse::new(job, urls, None)?))
}

/// The same to its miner, with the targets of its uploads, to a client that takes these encodings. Where they make the answer longer than Lambda allows,
/// as the longest names do, they are left out, `uploads` first: a renewal gives them file by file.
pub fn job_with_uploads(
    job: &Job,
    urls: &PayloadUrls,
    uploads: Option<&UploadTargets>,
    accept_encoding: Option<&str>,
) -> Result<Response<Body>> {
    let mut answer = JobResponse::new(job, urls, uploads)?.for_miner();
    if let Some(response) = fitted(json(200, &answer), accept_encoding) {
        return Ok(response);
    }
    answer.uploads = None;
    if let Some(response) = fitted(json(200, &answer), accept_encoding) {
        return Ok(response);
    }
    let response = at_last(json(200, &answer));
    if fits(&response) {
        return Ok(response);
    }
    answer.output_storage_urls.clear();
    Ok(at_last(json(200, &answer)))
}

/// Bytes of the longest answer: Lambda allows 6 MB, with headers.
const LONGEST: usize = (6 << 20) - (16 << 10);

/// Bytes that are still in the processor's cache when they are looked at again.
const CHUNK: usize = 16 << 10;

/// The answer as Lambda lets it pass, to a client that takes these encodings; None when it is too long. A text travels as a JSON string, in
/// which every quote is two bytes, and so is every line's end in JSON that somebody has laid out; what is compressed, in base64.
pub fn fitted(response: Response<Body>, accept_encoding: Option<&str>) -> Option<Response<Body>> {
    if fits(&response) {
        return Some(response);
    }
    Some(compressed(response, accept_encoding)).filter(fits)
}

/// The answer, whatever it takes: a client that does not say what encodings it takes may get any (RFC 9110, section 12.5.3).
pub fn at_last(response: Response<Body>) -> Response<Body> {
    if fits(&response) { response } else { compressed(response, Some("gzip")) }
}

fn fits(response: &Response<Body>) -> bool {
    let escaped = |chunk| memchr3_iter(b'"', b'\\', b'\n', chunk).count() + memchr2_iter(b'\t', b'\r', chunk).count();
    let length = match response.body() {
        Body::Text(text) if text.len() > LONGEST => text.len(),
        Body::Text(text) => text.len() + text.as_bytes().chunks(CHUNK).map(escaped).sum::<usize>(),
        body => body.len().div_ceil(3) * 4,
    };
    length <= LONGEST
}

/// With the seconds after which to ask again, if there is anything to wait for.
pub fn again_after(mut answer: Response<Body>, seconds: Option<i64>) -> Response<Body> {
    if let Some(seconds) = seconds {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}

/// 204: there is nothing to tell.
pub fn nothing() -> Response<Body> {
    let response = Response::builder().status(204).header("cache-control", "no-store").body(Body::Empty);
    response.expect("fixed headers are valid")
}

/// 307: the same request again, elsewhere.
pub fn redirect(url: &str) -> Result<Response<Body>> {
    let response = Response::builder().status(307).header("location", url).header("cache-control", "no-store");
    response.body(Body::Empty).map_err(|error| Error::internal("redirect", error))
}
