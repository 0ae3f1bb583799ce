//! API Gateway's HTTP API ("Working with HTTP APIs"), or another front in its place: routes, limits, events and answers.

mod event;
pub(crate) mod front;
mod rest;
pub(crate) mod routes;

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{DATE, HeaderValue},
    http::request::Parts,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    cors::{self, CorsRule},
    lambda::{Invocation, InvokeError, Lambda},
    server::{self, Body, Cut},
    template::Template,
};
use front::{Front, ORIGIN_HEADER, Reason};
use routes::{Found, Router};

/// "Quotas for configuring and running an HTTP API": total size of request line and headers.
const HEADER_LIMIT: usize = 10_240;
/// Payload size.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// What stands before the functions.
#[derive(Debug)]
pub(crate) struct Gateway {
    front: Front,
    /// What the router before function URLs adds to each request.
    router_secret: Option<&'static str>,
    router: Router,
    cors: Vec<CorsRule>,
    lambda: Arc<Lambda>,
    clock: Clock,
    /// Host and port, as `requestContext.domainName` tells.
    domain: String,
}

impl Gateway {
    pub(crate) fn new(template: &Template, lambda: Arc<Lambda>, clock: Clock, address: SocketAddr) -> Self {
        let routes = template
            .functions
            .iter()
            .flat_map(|function| function.routes.iter().map(|route| (route.clone(), function.package.clone())));
        Self {
            front: Front::default(),
            router_secret: None,
            router: Router::new(routes),
            cors: template.cors.iter().cloned().collect(),
            lambda,
            clock,
            domain: address.to_string(),
        }
    }

    /// Another front, and what a router before it adds to each request.
    pub(crate) fn behind(mut self, front: Front, router_secret: Option<&'static str>) -> Self {
        (self.front, self.router_secret) = (front, router_secret);
        self
    }

    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let handle = move |request, peer| {
            let gateway = Arc::clone(&self);
            async move { gateway.handle(request, peer).await }
        };
        server::serve(listener, stop, handle).await;
    }

    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Cut> {
        let (mut parts, body) = request.into_parts();
        if let Some(secret) = self.router_secret {
            parts.headers.insert(ORIGIN_HEADER, HeaderValue::from_static(secret));
        }
        let mut answer = self.with_cors(&parts, body, peer).await?;
        if let Some(date) = event::date(self.clock.now()) {
            answer.headers_mut().insert(DATE, date);
        }
        Ok(answer)
    }

    async fn with_cors(&self, parts: &Parts, body: Incoming, peer: SocketAddr) -> Result<Response<Body>, Cut> {
        // Behind another front the functions say it themselves.
        if self.cors.is_empty() || self.front != Front::HttpApi {
            return self.route(parts, body, peer).await;
        }
        // With CORS configured, API Gateway answers preflights itself and ignores the function's CORS headers.
        let allowed = cors::answer_headers(&self.cors, &parts.method, &parts.headers);
        let mut answer = if cors::is_preflight(&parts.method, &parts.headers) {
            server::empty(204)
        } else {
            self.route(parts, body, peer).await?
        };
        let foreign = |name: &str| name.starts_with("access-control-");
        let names: Vec<_> = answer.headers().keys().filter(|name| foreign(name.as_str())).cloned().collect();
        for name in names {
            answer.headers_mut().remove(name);
        }
        answer.headers_mut().extend(allowed.unwrap_or_default());
        Ok(answer)
    }

    async fn route(&self, parts: &Parts, body: Incoming, peer: SocketAddr) -> Result<Response<Body>, Cut> {
        if header_size(parts) > HEADER_LIMIT {
            return Ok(message(431, "Request Header Fields Too Large"));
        }
        let Some(path) = parts.uri.path().strip_prefix(self.front.prefix()) else {
            return Ok(self.refuse(Reason::NoStage, parts));
        };
        let Some(found) = self.find(&parts.method, path) else {
            return Ok(self.refuse(Reason::NoRoute, parts));
        };
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Ok(self.refuse(Reason::TooLarge, parts)),
            Err(_) => return Err(Cut),
        };
        let origin = event::Origin { peer, domain: &self.domain, now: self.clock.now() };
        let event = match self.front {
            Front::HttpApi => event::build(parts, &body, &found, &origin),
            Front::RestApi => rest::build(parts, &body, &found, &origin),
            Front::FunctionUrls => event::of_function_url(parts, &body, &found, &origin),
        };
        let invocation = self.lambda.invoke(found.function, event.to_string().into());
        let refused = |reason| self.refuse(reason, parts);
        Ok(match tokio::time::timeout(self.front.timeout(), invocation).await {
            Ok(Ok(invocation)) => self.reply(&invocation, parts),
            Ok(Err(InvokeError::TooLarge)) => refused(Reason::TooLarge),
            Ok(Err(InvokeError::Throttled)) => refused(Reason::Throttled),
            Ok(Err(InvokeError::Crashed(_))) => refused(Reason::Failed),
            Err(_) => refused(Reason::Timeout),
        })
    }

    /// Behind another front than an HTTP API, `OPTIONS` of a path that there is comes to the function of the pages.
    fn find<'a>(&'a self, method: &Method, path: &str) -> Option<Found<'a>> {
        if self.front == Front::HttpApi || method != Method::OPTIONS {
            return self.router.find(method, path);
        }
        let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
        methods.iter().find_map(|method| self.router.find(method, path))?;
        self.router.find(&Method::GET, "/docs")
    }

    /// A refusal of the front's own. That of a REST API has the headers of its gateway responses.
    fn refuse(&self, reason: Reason, parts: &Parts) -> Response<Body> {
        let mut answer = self.front.refusal(reason);
        if self.front == Front::RestApi {
            let allowed = cors::answer_headers(&self.cors, &parts.method, &parts.headers);
            answer.headers_mut().extend(allowed.unwrap_or_default());
        }
        answer
    }

    fn reply(&self, invocation: &Invocation, parts: &Parts) -> Response<Body> {
        let read = match self.front {
            Front::HttpApi | Front::FunctionUrls => event::response,
            Front::RestApi => rest::response,
        };
        let answer = invocation.outcome.as_ref().ok().and_then(read);
        let mut reply = answer.unwrap_or_else(|| self.refuse(Reason::Failed, parts));
        reply.headers_mut().extend(invocation.headers());
        reply
    }
}

/// What the limit on request line and headers counts.
fn header_size(parts: &Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(0, |p| p.as_str().len()) + 12;
    line + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}

fn message(status: u16, message: &str) -> Response<Body> {
    server::json(status, &json!({ "message": message }))
}
