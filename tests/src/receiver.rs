//! A receiver of webhooks: an HTTPS server that keeps what it is told and answers as a test wants.

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

/// The longest that a test waits for a webhook, which comes within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// One webhook as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The body.
    pub body: String,
}

impl Received {
    /// A header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this secret has signed it, as the Standard Webhooks specification says, by code that is not the product's.
    #[track_caller]
    pub fn is_signed(&self, secret: &str) {
        // HMAC by its definition. (RFC 2104.)
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let pad = |byte: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect() };
        let content = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(content).finalize();
        let mac = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac));
        assert!(self.header("webhook-signature").split(' ').any(|it| it == expected), "{self:?}");
    }

    /// The body's JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// How a receiver answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status, header lines and body.
    With(u16, Vec<(&'static str, String)>, String),
    /// With this status, and then a body that goes on for ever.
    Endless(u16),
    /// Never.
    Never,
}

impl Reply {
    /// 200, and nothing else.
    pub const OK: Self = Self::With(200, Vec::new(), String::new());
}

/// A server at `https://localhost`.
pub struct Receiver {
    /// Where it is.
    pub url: String,
    received: UnboundedReceiver<Received>,
}

/// An authority whose certificates the functions of a stack take for good.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Default for Authority {
    fn default() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }
}

impl Authority {
    /// The authority's own certificate, for `SSL_CERT_FILE`.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A receiver that answers the n-th webhook, from 0 on, as `reply` says.
    pub async fn receiver(&self, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Receiver {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (sender, received) = unbounded_channel();
        let (sender, reply) = (Arc::new(std::sync::Mutex::new((0, sender))), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, sender, reply) = (acceptor.clone(), Arc::clone(&sender), Arc::clone(&reply));
                tokio::spawn(async move {
                    let Ok(client) = acceptor.accept(client).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (sender, reply) = (Arc::clone(&sender), Arc::clone(&reply));
                        let answer: BoxFuture<'static, _> = Box::pin(async move {
                            let received = read(request).await;
                            let number = {
                                let mut told = sender.lock().unwrap();
                                // The test may have seen enough.
                                let _ = told.1.send(received);
                                told.0 += 1;
                                told.0 - 1
                            };
                            answer(reply(number)).await
                        });
                        answer
                    });
                    // A client that hangs up has its reasons.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
                });
            }
        });
        Receiver { url, received }
    }
}

impl Receiver {
    /// The next webhook.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.expect("a webhook comes").expect("the receiver runs")
    }

    /// The next webhook, if one comes within ten seconds.
    pub async fn soon(&mut self) -> Option<Received> {
        tokio::time::timeout(Duration::from_secs(10), self.received.recv()).await.ok().flatten()
    }

    /// How many came that the test has not asked for.
    pub fn others(&mut self) -> usize {
        std::iter::from_fn(|| self.received.try_recv().ok()).count()
    }
}

async fn read(request: Request<Incoming>) -> Received {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Received {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(reply: Reply) -> Result<Response<Body>, Infallible> {
    let chunk = |bytes: Vec<u8>| Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)));
    let (status, headers, body) = match reply {
        Reply::Never => std::future::pending().await,
        Reply::With(status, headers, body) => {
            (status, headers, BodyExt::boxed(http_body_util::Full::new(Bytes::from(body))))
        }
        Reply::Endless(status) => {
            let stream = futures_util::stream::repeat_with(move || chunk(vec![b'x'; 1 << 16]));
            (status, Vec::new(), BodyExt::boxed(StreamBody::new(stream)))
        }
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(body).unwrap())
}
