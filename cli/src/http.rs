//! HTTP and HTTPS.

/// Says whose cryptography TLS uses. In a process that has this crate reqwest makes no client before.
pub fn install_crypto() {
    // An error says that this was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client, to be configured further.
pub fn http() -> reqwest::ClientBuilder {
    install_crypto();
    reqwest::Client::builder()
}
