//! What stands before the functions, and how it says no.

use std::{str::FromStr, time::Duration};

use hyper::{Response, header::HeaderValue};
use serde_json::json;

use crate::server::{self, Body};

/// The header that a router before function URLs adds.
pub(crate) const ORIGIN_HEADER: &str = "x-origin-verify";
/// What the router of this stack adds to it, unless `OriginSecret` is given.
pub(crate) const ROUTER_SECRET: &str = "the-router-of-the-local-stack-0000";

/// How requests come to the functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// API Gateway's HTTP API.
    #[default]
    HttpApi,
    /// API Gateway's REST API, with a stage in its address.
    RestApi,
    /// A function URL for each function, and a router of the deployer's before them.
    FunctionUrls,
}

impl FromStr for Front {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "http" => Ok(Self::HttpApi),
            "rest" => Ok(Self::RestApi),
            "urls" => Ok(Self::FunctionUrls),
            _ => Err(format!("there is no front {name:?}: http, rest or urls")),
        }
    }
}

/// Why a front answers without a function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    NoStage,
    NoRoute,
    TooLarge,
    Timeout,
    /// The function could not be started, having too many environments.
    Throttled,
    /// It failed, or what it answered is no answer.
    Failed,
}

impl Front {
    /// What tests run behind: `JOBCHUTE_FRONT`.
    #[must_use]
    pub fn of_environment() -> Self {
        let named = std::env::var("JOBCHUTE_FRONT").ok().map(|name| name.parse());
        named.transpose().unwrap_or_else(|error| panic!("JOBCHUTE_FRONT: {error}")).unwrap_or_default()
    }

    /// What the template's parameter of that name says, where that is not its default.
    pub(crate) const fn parameter(self) -> Option<&'static str> {
        match self {
            Self::HttpApi => None,
            Self::RestApi => Some("RestApi"),
            Self::FunctionUrls => Some("FunctionUrls"),
        }
    }

    /// What stands in the API's address before a route's path: the stage.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::RestApi => "/v1",
            Self::HttpApi | Self::FunctionUrls => "",
        }
    }

    /// How long an answer may take ("Quotas"). A function URL waits for as long as its function may run.
    pub(super) const fn timeout(self) -> Duration {
        match self {
            Self::HttpApi => Duration::from_secs(30),
            Self::RestApi => Duration::from_secs(29),
            Self::FunctionUrls => Duration::from_secs(900),
        }
    }

    /// "Gateway response types for API Gateway", "Handling errors with an API Gateway API", "Invoking Lambda function URLs".
    pub(super) fn refusal(self, reason: Reason) -> Response<Body> {
        use Reason::{Failed, NoRoute, NoStage, Throttled, Timeout, TooLarge};
        let (status, message) = match (self, reason) {
            (Self::HttpApi, NoRoute | NoStage) => (404, "Not Found"),
            (Self::HttpApi, TooLarge) => (413, "Request Entity Too Large"),
            // As in AWS without `Retry-After`: no function saw the request, and an HTTP API has no gateway responses to configure.
            (Self::HttpApi, Timeout | Throttled) => (503, "Service Unavailable"),
            (Self::HttpApi, Failed) => (500, "Internal Server Error"),
            (Self::RestApi, NoStage) => (403, "Forbidden"),
            (Self::RestApi, NoRoute) => (403, "Missing Authentication Token"),
            (Self::RestApi, TooLarge) => (413, "Request Too Long"),
            (Self::RestApi, Timeout) => (504, "Endpoint request timed out"),
            (Self::RestApi, Throttled) => (500, "Internal server error"),
            (Self::RestApi, Failed) => (502, "Internal server error"),
            // The router's own.
            (Self::FunctionUrls, NoRoute | NoStage) => (404, "Not Found"),
            (Self::FunctionUrls, TooLarge) => (413, "Request must be smaller than 6291456 bytes"),
            (Self::FunctionUrls, Throttled) => (429, "Rate Exceeded."),
            (Self::FunctionUrls, Timeout | Failed) => (502, "Internal Server Error"),
        };
        let mut answer = server::json(status, &json!({ "message": message }));
        if matches!((self, reason), (Self::RestApi, NoRoute)) {
            let kind = HeaderValue::from_static("MissingAuthenticationTokenException");
            answer.headers_mut().insert("x-amzn-errortype", kind);
        }
        answer
    }
}
