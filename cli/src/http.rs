//! HTTP and HTTPS.

use reqwest::{Client, ClientBuilder};

/// Says whose cryptography TLS uses. In a process that has this crate reqwest makes no client before.
pub fn install_crypto() {
    // An error says that this was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client, to be configured further. It trusts whom the system trusts.
pub fn http() -> ClientBuilder {
    install_crypto();
    Client::builder()
}

/// The same for servers without TLS, such as the local stack. It trusts nobody, and reads no certificates: that takes 30 ms in a debug
/// build.
pub fn plain_http() -> ClientBuilder {
    http().tls_certs_only([])
}
