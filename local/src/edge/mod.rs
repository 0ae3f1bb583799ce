//! The AWS endpoint: DynamoDB, EventBridge, Lambda's Invoke, S3 and Secrets Manager on one port. Here calls are attributed to the
//! function that makes them, counted, made to fail, and refused when the function's role does not allow them.

mod invoke;
mod operation;
mod refusals;
mod signer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::Incoming,
    header::CONTENT_LENGTH,
    http::{request::Parts, uri::Authority},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    calls::{Caller, Callers},
    capacity,
    cors::{self, CorsRule},
    dynamodb::DynamoDb,
    event_buses::EventBuses,
    faults::{EngineCall, Fault, Faults, Service},
    lambda::{Asynchronous, Lambda},
    ledger::{Billed, Kind, Ledger, S3Calls},
    loopback,
    rights::{self, Rights},
    s3::{self, Forbidden, Refusal},
    secrets::Secrets,
    server::{self, Body, Cut},
};
use operation::{invoked, operation};
use refusals::{denied, failure};
use signer::Signer;

/// "DynamoDB: 16 MB for BatchWriteItem and TransactWriteItems".
const JSON_LIMIT: usize = 16 << 20;

/// Everything behind the endpoint.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) s3: s3::Engine,
    pub(crate) s3_cors: Vec<CorsRule>,
    /// The public name of S3, by which a proxy hands requests on, and nothing else is called.
    pub(crate) files_host: Option<Authority>,
    pub(crate) secrets: Secrets,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) asynchronous: Arc<Asynchronous>,
    pub(crate) event_buses: Arc<EventBuses>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) faults: Faults,
    pub(crate) rights: Arc<Rights>,
    pub(crate) sequence: AtomicU64,
    /// Whether what functions consume of DynamoDB is counted.
    pub(crate) capacity: bool,
    /// Calls that are being served.
    pub(crate) serving: TaskTracker,
}

impl Edge {
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let handle = move |request, _| {
            let edge = Arc::clone(&self);
            // An engine carries out what it was asked to, also when whoever asked dies meanwhile.
            let served = self.serving.spawn(async move { edge.handle(request).await });
            async move { served.await.unwrap_or(Err(Cut)) }
        };
        server::serve(listener, stop, handle).await;
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (service, operation) = operation(&request);
        let has_public_name = self.files_host.as_ref().is_some_and(|name| loopback::has_host(&request, name));
        let is_for_files = has_public_name && service == Service::S3;
        if !is_for_files && !loopback::has_loopback_host(&request) {
            return after_the_body(request, refusals::forbidden("The Host is no name of this machine.")).await;
        }
        // Only S3 has rules by which a page may call it.
        if loopback::comes_from_a_page(&request) && service != Service::S3 {
            return after_the_body(request, refusals::forbidden("No web page may call this.")).await;
        }
        let signer = Signer::of(&request, &self.callers);
        let fault = match &signer {
            Signer::Outside => Fault::None,
            Signer::Function(_) | Signer::Presigned(_) => {
                let function = match &signer {
                    Signer::Function(caller) => Some(caller.function.clone()),
                    _ => None,
                };
                let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
                self.faults.decide(&EngineCall { service, operation: operation.clone(), function, sequence })
            }
        };
        if let Signer::Function(caller) = &signer {
            caller.count(service, &operation);
        }
        if let Signer::Presigned(_) = &signer {
            let mut s3 = S3Calls::default();
            s3.add(Kind::of(&operation));
            self.ledger.add(|| Billed { s3, ..Billed::default() });
        }
        match fault {
            Fault::None => {}
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::FailBefore(status) => return after_the_body(request, failure(service, status, false)).await,
            Fault::Throttle => return after_the_body(request, failure(service, 503, true)).await,
            Fault::Cut => return Err(Cut),
            Fault::FailAfter => {
                self.engine(service, &operation, &signer, request).await?;
                return Ok(failure(service, 500, false));
            }
            Fault::KillFunction | Fault::KillAfter => {
                if fault == Fault::KillAfter {
                    self.engine(service, &operation, &signer, request).await?;
                }
                if let Signer::Function(caller) = &signer {
                    caller.kill.cancel();
                }
                return Err(Cut);
            }
        }
        self.engine(service, &operation, &signer, request).await
    }

    async fn engine(
        &self,
        service: Service,
        operation: &str,
        signer: &Signer,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        if service == Service::S3 {
            return self.s3(operation, signer, request).await;
        }
        let (parts, body) = server::read(request, JSON_LIMIT).await?;
        let invoked = invoked(parts.uri.path()).unwrap_or_default();
        let needed = match service {
            Service::DynamoDb => self.rights.of_dynamodb(operation, &body),
            Service::Lambda => rights::of_lambda(&self.lambda.arn(&invoked)),
            Service::Events => rights::of_events(operation, &body),
            _ => rights::of_secrets(operation, &body),
        };
        if let Some(function) = signer.function()
            && let Err(missing) = self.rights.take(function, needed)
        {
            return Ok(denied(service, function, &missing));
        }
        match service {
            Service::DynamoDb => match signer {
                Signer::Function(caller) if self.capacity => self.counted(parts, body, operation, caller).await,
                _ => self.dynamodb.call(parts, body).await,
            },
            Service::Lambda => Ok(invoke::invoke(&self.lambda, &self.asynchronous, &invoked, &parts, body).await),
            Service::Events => Ok(self.event_buses.call(operation, &body)),
            _ => Ok(self.secrets.call(operation, &body)),
        }
    }

    /// A call of DynamoDB whose capacity units are its caller's.
    async fn counted(
        &self,
        mut parts: Parts,
        body: Bytes,
        operation: &str,
        caller: &Caller,
    ) -> Result<Response<Body>, Cut> {
        let body = capacity::asking(body);
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        let (parts, answer) = self.dynamodb.call(parts, body).await?.into_parts();
        let answer = answer.collect().await.map_err(|_| Cut)?.to_bytes();
        caller.consume(capacity::consumed(operation, &answer));
        Ok(Response::from_parts(parts, server::full(answer)))
    }

    async fn s3(&self, operation: &str, signer: &Signer, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let function = signer.function();
        let allowed = cors::answer_headers(&self.s3_cors, request.method(), request.headers());
        if cors::is_preflight(request.method(), request.headers()) {
            let mut answer = match &allowed {
                Some(_) => server::empty(200),
                None => {
                    Refusal::new(403, "AccessForbidden", "CORSResponse: This CORS request is not allowed.").answer()
                }
            };
            answer.headers_mut().extend(allowed.unwrap_or_default());
            return Ok(answer);
        }
        let now = SystemTime::now();
        let expired =
            || signer.has_expired(now).then(|| Refusal::new(400, "ExpiredToken", "The provided token has expired."));
        let refusal = s3::refusal(request.method(), request.uri(), request.headers(), now).or_else(expired);
        if let Some(refusal) = refusal {
            let mut answer = after_the_body(request, refusal.answer()).await?;
            answer.headers_mut().extend(allowed.unwrap_or_default());
            return Ok(answer);
        }
        let (request, content) = match operation {
            "DeleteObjects" => {
                let (parts, body) = server::read(request, JSON_LIMIT).await?;
                let content = String::from_utf8_lossy(&body).into_owned();
                (Request::from_parts(parts, s3s::Body::from(body)), content)
            }
            _ => (request.map(s3s::Body::from), String::new()),
        };
        let mut request = request;
        let mut refusal = None;
        if let Some(function) = function {
            let needed = rights::of_s3(operation, request.uri(), request.headers(), &content);
            if operation == "DeleteObjects" {
                // Each object by itself.
                let missing = |(index, right)| {
                    let missing = self.rights.take(function, vec![right]).err()?;
                    Some((index, refusals::reason(function, &missing)))
                };
                let forbidden = needed.into_iter().enumerate().filter_map(missing).collect();
                request.extensions_mut().insert(Forbidden(forbidden));
            } else {
                refusal =
                    self.rights.take(function, needed).err().map(|missing| denied(Service::S3, function, &missing));
            }
        }
        let to_see = rights::to_see_what_is_missing(request.uri());
        let mut answer = match refusal {
            Some(refusal) => refusal,
            None => self.s3.call(request).await.map_err(|_| Cut)?.map(BodyExt::boxed_unsync),
        };
        if let Some(function) = function
            && answer.status() == 404
            && matches!(operation, "GetObject" | "HeadObject")
            && let Err(missing) = self.rights.take(function, vec![to_see])
        {
            answer = denied(Service::S3, function, &missing);
        }
        answer.headers_mut().extend(allowed.unwrap_or_default());
        Ok(answer)
    }
}

/// Answers after the body was read: a client must see the status, not a broken pipe.
async fn after_the_body(request: Request<Incoming>, answer: Response<Body>) -> Result<Response<Body>, Cut> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Cut)?;
    }
    Ok(answer)
}
