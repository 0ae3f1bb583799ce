//! The AWS endpoint: DynamoDB, S3, Secrets Manager and Lambda's Invoke on one port. Here calls are attributed to the
//! function that makes them, counted, made to fail, and refused when the function's role does not allow them.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue},
    http::request::Parts,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    calls::{Caller, Callers},
    capacity,
    cors::{self, CorsRule},
    dynamodb::DynamoDb,
    faults::{EngineCall, Fault, Faults, Service},
    lambda::{Invocation, InvokeError, Lambda, PAYLOAD_LIMIT},
    rights::{self, Right, Rights},
    s3,
    secrets::{self, Secrets},
    server::{self, Body, Cut},
};

/// An access key for everybody who is not a function: its calls are neither counted nor made to fail.
pub const ACCESS_KEY_ID: &str = "LOCALTEST";
/// The secret of every access key.
pub const SECRET_ACCESS_KEY: &str = "local/secret/of/every/access/key/0000000";

/// The session token of every function. As long as Lambda's, and a URL escapes as much of it: one in 32 characters of Base64, and
/// a run of slashes. So presigned URLs have their real length.
pub static SESSION_TOKEN: LazyLock<String> =
    LazyLock::new(|| format!("IQoJb3JpZ2luX2VjE{}", "TheLocalStackGives/ThisToFunctions+00000".repeat(24)));

/// "DynamoDB: 16 MB for BatchWriteItem and TransactWriteItems".
const JSON_LIMIT: usize = 16 << 20;
const INVOKE_PREFIX: &str = "/2015-03-31/functions/";

/// Everything behind the endpoint.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) s3: s3::Engine,
    pub(crate) s3_cors: Vec<CorsRule>,
    pub(crate) secrets: Secrets,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) faults: Faults,
    pub(crate) rights: Arc<Rights>,
    pub(crate) sequence: AtomicU64,
    /// Whether what functions consume of DynamoDB is counted.
    pub(crate) capacity: bool,
    /// Calls that are being served.
    pub(crate) serving: TaskTracker,
}

/// Who signed a request.
enum Signer {
    Function(Arc<Caller>),
    /// Nobody now: the URL was presigned, by this function.
    Presigned(Option<String>),
    /// A test, an operator, or nobody.
    Outside,
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
        if let Some(name) =
            request.uri().path().strip_prefix(INVOKE_PREFIX).and_then(|p| p.strip_suffix("/invocations"))
        {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
            return self.invoke(&name, request).await;
        }
        let (service, operation) = operation(&request);
        let signer = self.signer(&request);
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
            caller.count(service);
        }
        match fault {
            Fault::None => {}
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::FailBefore(status) => return refuse(service, request, status, false).await,
            Fault::Throttle => return refuse(service, request, 503, true).await,
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
            return self.s3(operation, signer.function(), request).await;
        }
        let (parts, body) = read(request, JSON_LIMIT).await?;
        let needed = match service {
            Service::DynamoDb => rights::of_dynamodb(operation, &body),
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

    async fn s3(
        &self,
        operation: &str,
        function: Option<&str>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        let allowed = cors::answer_headers(&self.s3_cors, request.method(), request.headers());
        if cors::is_preflight(request.method(), request.headers()) {
            let mut answer = match &allowed {
                Some(_) => server::empty(200),
                None => s3_error(403, "AccessForbidden", "CORSResponse: This CORS request is not allowed."),
            };
            answer.headers_mut().extend(allowed.unwrap_or_default());
            return Ok(answer);
        }
        let (request, content) = match operation {
            "DeleteObjects" => {
                let (parts, body) = read(request, JSON_LIMIT).await?;
                let content = String::from_utf8_lossy(&body).into_owned();
                (Request::from_parts(parts, s3s::Body::from(body)), content)
            }
            _ => (request.map(s3s::Body::from), String::new()),
        };
        let mut refusal = None;
        if let Some(function) = function {
            let needed = rights::of_s3(operation, request.uri(), request.headers(), &content);
            refusal = self.rights.take(function, needed).err().map(|missing| denied(Service::S3, function, &missing));
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

    /// `Invoke`, as `aws lambda invoke --endpoint-url` speaks it.
    async fn invoke(&self, name: &str, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let Some(package) = self.lambda.find(name).map(str::to_owned) else {
            let message = format!("Function not found: {name}");
            return Ok(lambda_error(404, "ResourceNotFoundException", &message));
        };
        let kind = request.headers().get("x-amz-invocation-type").cloned();
        let Ok((_, body)) = read(request, PAYLOAD_LIMIT).await else {
            return Ok(lambda_error(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes"));
        };
        let event = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        if kind.as_ref().is_some_and(|kind| kind == "DryRun") {
            return Ok(server::empty(204));
        }
        if kind.is_some_and(|kind| kind == "Event") {
            let lambda = Arc::clone(&self.lambda);
            tokio::spawn(async move { lambda.invoke(&package, event).await });
            return Ok(server::empty(202));
        }
        Ok(match self.lambda.invoke(&package, event).await {
            Ok(invocation) => invoked(invocation),
            Err(InvokeError::TooLarge) => {
                lambda_error(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes")
            }
            Err(InvokeError::Throttled) => lambda_error(429, "TooManyRequestsException", "Rate Exceeded."),
            Err(InvokeError::Crashed(reason)) => {
                function_error(json!({"errorType": "Runtime.ExitError", "errorMessage": reason}).to_string().into())
            }
        })
    }

    fn signer(&self, request: &Request<Incoming>) -> Signer {
        let key = |credential: &str| {
            let (_, credential) = credential.split_once("Credential=")?;
            // A slash, which a query has encoded.
            credential.split(['/', '%']).next().map(str::to_owned)
        };
        let header = request.headers().get(AUTHORIZATION).and_then(|value| key(value.to_str().ok()?));
        match (header, request.uri().query()) {
            (Some(key), _) => self.callers.find(&key).map_or(Signer::Outside, Signer::Function),
            (None, Some(query)) if query.contains("X-Amz-Signature=") => {
                Signer::Presigned(key(query).and_then(|key| self.callers.function(&key)))
            }
            _ => Signer::Outside,
        }
    }
}

impl Signer {
    /// The function whose rights the call has.
    fn function(&self) -> Option<&str> {
        match self {
            Self::Function(caller) => Some(&caller.function),
            Self::Presigned(function) => function.as_deref(),
            Self::Outside => None,
        }
    }
}

/// The engine that a request is for, and the operation.
fn operation(request: &Request<Incoming>) -> (Service, String) {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match target.split_once('.') {
        Some((api, operation)) if api.starts_with("DynamoDB") => (Service::DynamoDb, operation.to_owned()),
        Some(("secretsmanager", operation)) => (Service::SecretsManager, operation.to_owned()),
        _ => {
            let uri = request.uri();
            let operation =
                s3_operation(request.method(), uri.path(), uri.query().unwrap_or_default(), request.headers());
            (Service::S3, operation.to_owned())
        }
    }
}

/// S3 tells its operations apart by method, path, query and headers.
fn s3_operation(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let copy = headers.contains_key("x-amz-copy-source");
    match (method.as_str(), object) {
        ("PUT", true) if has("uploadId") => {
            if copy {
                "UploadPartCopy"
            } else {
                "UploadPart"
            }
        }
        ("PUT", true) => {
            if copy {
                "CopyObject"
            } else {
                "PutObject"
            }
        }
        ("GET", true) if has("uploadId") => "ListParts",
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
        ("POST", false) if has("delete") => "DeleteObjects",
        ("GET", false) if has("uploads") => "ListMultipartUploads",
        ("GET", false) if has("versions") => "ListObjectVersions",
        ("GET", false) => "ListObjectsV2",
        ("HEAD", false) => "HeadBucket",
        ("OPTIONS", _) => "Preflight",
        _ => "Unknown",
    }
}

async fn read(request: Request<Incoming>, limit: usize) -> Result<(Parts, Bytes), Cut> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(|_| Cut)?;
    Ok((parts, body.to_bytes()))
}

/// Answers with an error after the body was read: a client must see the status, not a broken pipe.
async fn refuse(
    service: Service,
    request: Request<Incoming>,
    status: u16,
    throttle: bool,
) -> Result<Response<Body>, Cut> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Cut)?;
    }
    Ok(failure(service, status, throttle))
}

/// An engine's own way to fail, or to say that it is overloaded.
fn failure(service: Service, status: u16, throttle: bool) -> Response<Body> {
    let message = "The local stack was told to fail this call.";
    match (service, throttle) {
        (Service::S3, true) => s3_error(503, "SlowDown", "Please reduce your request rate."),
        (Service::S3, false) if status == 503 => s3_error(503, "ServiceUnavailable", message),
        (Service::S3, false) => s3_error(status, "InternalError", message),
        (Service::SecretsManager, true) => secrets::error(400, "ThrottlingException", "Rate exceeded"),
        (Service::SecretsManager, false) => secrets::error(status, "InternalServiceError", message),
        (Service::DynamoDb, throttle) => {
            let (status, kind) = match (throttle, status) {
                (true, _) => (400, "ProvisionedThroughputExceededException"),
                (false, 503) => (503, "ServiceUnavailable"),
                (false, status) => (status, "InternalServerError"),
            };
            let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": message});
            server::answer(status, "application/x-amz-json-1.0", body.to_string())
        }
    }
}

/// The refusal of a call that its role does not allow. It is as final as on AWS.
fn denied(service: Service, function: &str, missing: &Right) -> Response<Body> {
    let Right { action, resource } = missing;
    let message = format!("The role of {function} is not authorized to perform: {action} on resource: {resource}");
    match service {
        Service::S3 => s3_error(403, "AccessDenied", &message),
        Service::SecretsManager => secrets::error(400, "AccessDeniedException", &message),
        Service::DynamoDb => {
            let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": message});
            server::answer(400, "application/x-amz-json-1.0", body.to_string())
        }
    }
}

fn s3_error(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    server::answer(status, "application/xml", body)
}

fn lambda_error(status: u16, kind: &'static str, message: &str) -> Response<Body> {
    let mut answer = server::json(status, &json!({"Type": "User", "Message": message}));
    answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    answer
}

fn function_error(document: Bytes) -> Response<Body> {
    let mut answer = server::answer(200, "application/json", document);
    answer.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    answer
}

fn invoked(invocation: Invocation) -> Response<Body> {
    let measured = invocation.headers();
    let mut answer = match invocation.outcome {
        Ok(body) => server::answer(200, "application/json", body),
        Err(document) => function_error(document),
    };
    answer.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    answer.headers_mut().extend(measured);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_operations_are_told_apart() {
        let plain = HeaderMap::new();
        let copy =
            HeaderMap::from_iter([("x-amz-copy-source".parse().expect("a name"), HeaderValue::from_static("b/k"))]);
        let name = |method: Method, path, query| s3_operation(&method, path, query, &plain);
        assert_eq!(name(Method::PUT, "/bucket/a/b", ""), "PutObject");
        assert_eq!(name(Method::PUT, "/bucket/a", "partNumber=1&uploadId=x"), "UploadPart");
        assert_eq!(s3_operation(&Method::PUT, "/bucket/a", "partNumber=1&uploadId=x", &copy), "UploadPartCopy");
        assert_eq!(name(Method::POST, "/bucket/a", "uploads="), "CreateMultipartUpload");
        assert_eq!(name(Method::POST, "/bucket", "delete"), "DeleteObjects");
        assert_eq!(name(Method::GET, "/bucket/", "list-type=2"), "ListObjectsV2");
        assert_eq!(name(Method::GET, "/bucket", "versions"), "ListObjectVersions");
        assert_eq!(name(Method::HEAD, "/bucket/a", ""), "HeadObject");
    }
}
