//! TLS in front of the AWS endpoint, so that a function's first request costs what it costs in AWS: a handshake with a
//! certificate chain of P-256 keys, like AWS's.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};
use tokio_util::sync::CancellationToken;

/// A server with TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    /// Its address.
    pub(crate) url: String,
    /// The file with the certificate of the authority that a client has to trust.
    pub(crate) authority: PathBuf,
}

/// Starts to listen, and passes everything on to `engines`.
pub(crate) async fn start(engines: SocketAddr, folder: &Path, stop: &CancellationToken) -> Result<Tls> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("can't listen for TLS")?;
    let port = listener.local_addr().context("can't listen for TLS")?.port();
    let (config, certificate) = certificates().context("can't make certificates")?;
    let authority = folder.join("authority.pem");
    fs::write(&authority, certificate).context("can't keep a certificate")?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Only latency is lost without it.
                let _ = client.set_nodelay(true);
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let Ok(mut engine) = TcpStream::connect(engines).await else { return };
                let _ = engine.set_nodelay(true);
                // Whoever hangs up first ends it.
                let _ = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    }));
    Ok(Tls { url: format!("https://localhost:{port}"), authority })
}

/// The server's chain, and the authority in PEM.
fn certificates() -> Result<(ServerConfig, String)> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    Ok((config, authority.pem()))
}
