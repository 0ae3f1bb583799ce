//! Answers.

use lambda_http::{Body, Response};
use memchr::memchr_iter;
use serde::Serialize;

use super::job_response::{JobResponse, UploadTargets};
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

/// 200 and a job. Compiled here, for speed, and not in every function.
pub fn job(job: &Job) -> Result<Response<Body>> {
    Ok(json(200, &JobResponse::new(job, None)?))
}

/// The same with the targets of its uploads. Where they make the answer longer than Lambda allows, as the longest names do, they
/// are left out: a renewal gives them file by file.
pub fn job_with_uploads(job: &Job, uploads: &UploadTargets) -> Result<Response<Body>> {
    let mut answer = JobResponse::new(job, Some(uploads))?;
    let response = json(200, &answer);
    if fits(&response) {
        return Ok(response);
    }
    answer.uploads = None;
    Ok(json(200, &answer))
}

/// Bytes of the longest answer: Lambda allows 6 MB, with headers.
const LONGEST: usize = (6 << 20) - (16 << 10);

/// Bytes that are still in the processor's cache when they are looked at again.
const CHUNK: usize = 16 << 10;

/// Whether Lambda lets this answer pass. Its body travels as a JSON string, in which every quote is two bytes.
fn fits(response: &Response<Body>) -> bool {
    let body: &[u8] = response.body();
    let escaped = |chunk| memchr_iter(b'"', chunk).count() + memchr_iter(b'\\', chunk).count();
    body.len() + body.chunks(CHUNK).map(escaped).sum::<usize>() <= LONGEST
}

/// With the seconds after which to ask again, if there is anything to wait for.
pub fn again_after(mut answer: Response<Body>, seconds: Option<i64>) -> Response<Body> {
    if let Some(seconds) = seconds {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}

/// 307: the same request again, elsewhere.
pub fn redirect(url: &str) -> Result<Response<Body>> {
    let response = Response::builder().status(307).header("location", url).header("cache-control", "no-store");
    response.body(Body::Empty).map_err(|error| Error::internal("redirect", error))
}
