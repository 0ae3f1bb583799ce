//! What stands before the functions in this run (`JOBCHUTE_FRONT`), in its own words.

use local::Front;
use serde_json::json;

use crate::Answer;

impl Answer {
    /// Whether the function failed, or answered nothing.
    pub fn is_failure(&self) -> bool {
        self.is_from_front(match Front::of_environment() {
            Front::HttpApi => (500, "Internal Server Error"),
            Front::RestApi => (502, "Internal server error"),
            Front::FunctionUrls => (502, "Internal Server Error"),
        })
    }

    /// Whether no route takes such a request.
    pub fn has_no_route(&self) -> bool {
        self.is_from_front(match Front::of_environment() {
            Front::HttpApi | Front::FunctionUrls => (404, "Not Found"),
            Front::RestApi => (403, "Missing Authentication Token"),
        })
    }

    /// Whether the request is too large for a function.
    pub fn is_too_large(&self) -> bool {
        self.is_from_front(match Front::of_environment() {
            Front::HttpApi => (413, "Request Entity Too Large"),
            Front::RestApi => (413, "Request Too Long"),
            Front::FunctionUrls => (413, "Request must be smaller than 6291456 bytes"),
        })
    }

    /// Whether as many requests are being answered as may be at once.
    pub fn is_throttled(&self) -> bool {
        self.is_from_front(match Front::of_environment() {
            Front::HttpApi => (503, "Service Unavailable"),
            Front::RestApi => (500, "Internal server error"),
            Front::FunctionUrls => (429, "Rate Exceeded."),
        })
    }

    fn is_from_front(&self, (status, message): (u16, &str)) -> bool {
        (self.status, &self.body) == (status, &json!({ "message": message }))
    }
}
