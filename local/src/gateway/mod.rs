//! API Gateway's HTTP API ("Working with HTTP APIs"): routes, limits, events and answers.

mod event;
pub(crate) mod routes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, Response, body::Incoming, header::DATE, http::request::Parts};
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
use routes::Router;

/// "Quotas for configuring and running an HTTP API": total size of request line and headers.
const HEADER_LIMIT: usize = 10_240;
/// Payload size.
const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// Maximum integration timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP API.
#[derive(Debug)]
pub(crate) struct Gateway {
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
            router: Router::new(routes),
            cors: template.cors.iter().cloned().collect(),
            lambda,
            clock,
            domain: address.to_string(),
        }
    }

    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let handle = move |request, peer| {
            let gateway = Arc::clone(&self);
            async move { gateway.handle(request, peer).await }
        };
        server::serve(listener, stop, handle).await;
    }

    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Cut> {
        let (parts, body) = request.into_parts();
        let mut answer = self.with_cors(&parts, body, peer).await?;
        if let Some(date) = event::date(self.clock.now()) {
            answer.headers_mut().insert(DATE, date);
        }
        Ok(answer)
    }

    async fn with_cors(&self, parts: &Parts, body: Incoming, peer: SocketAddr) -> Result<Response<Body>, Cut> {
        if self.cors.is_empty() {
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
        let Some(found) = self.router.find(&parts.method, parts.uri.path()) else {
            return Ok(message(404, "Not Found"));
        };
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Ok(message(413, "Request Entity Too Large")),
            Err(_) => return Err(Cut),
        };
        let event =
            event::build(parts, &body, &found, &event::Origin { peer, domain: &self.domain, now: self.clock.now() });
        let invocation = self.lambda.invoke(found.function, event.to_string().into());
        Ok(match tokio::time::timeout(TIMEOUT, invocation).await {
            Ok(Ok(invocation)) => reply(&invocation),
            Ok(Err(InvokeError::TooLarge)) => message(413, "Request Entity Too Large"),
            // As in AWS without `Retry-After`: no function saw the request, and an HTTP API has no gateway responses to configure.
            Ok(Err(InvokeError::Throttled)) => message(503, "Service Unavailable"),
            Ok(Err(InvokeError::Crashed(_))) => message(500, "Internal Server Error"),
            Err(_) => message(503, "Service Unavailable"),
        })
    }
}

/// What the limit on request line and headers counts.
fn header_size(parts: &Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(0, |p| p.as_str().len()) + 12;
    line + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}

fn reply(invocation: &Invocation) -> Response<Body> {
    let mut reply = match &invocation.outcome {
        Ok(answer) => event::response(answer).unwrap_or_else(|| message(500, "Internal Server Error")),
        Err(_) => message(500, "Internal Server Error"),
    };
    reply.headers_mut().extend(invocation.headers());
    reply
}

fn message(status: u16, message: &str) -> Response<Body> {
    server::json(status, &json!({ "message": message }))
}
