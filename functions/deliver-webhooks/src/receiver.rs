//! One POST to a server that a stranger has named: to an address that anybody could call, and for no longer, and for no more, than is said here.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use shared::{
    config::{ConfigError, Environment},
    model::ANSWER,
    time::Timestamp,
    webhook::{Host, Reach, Webhook},
};
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

/// Time for all of it until the answer's status.
const PATIENCE: Duration = Duration::from_secs(15);
/// The part of it that one of several addresses may take to be connected to.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for the beginning of the answer's body, which decides nothing.
const BODY: Duration = Duration::from_secs(1);
/// Bytes of the longest answer's head.
const HEAD: usize = 32 << 10;
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// What is needed to call receivers.
pub struct Receivers {
    tls: TlsConnector,
    reach: Reach,
}

/// What a receiver is told.
pub(crate) struct Message {
    pub(crate) webhook_id: String,
    pub(crate) sent_at: Timestamp,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Receivers {
    /// Those that these networks allow, whose certificates chain to Mozilla's roots; or to those of the PEM file that `SSL_CERT_FILE` names,
    /// as OpenSSL has it.
    pub fn from_env(reach: Reach) -> Result<Self, ConfigError> {
        const VARIABLE: &str = "SSL_CERT_FILE";
        let mut roots = RootCertStore::empty();
        match Environment::of_process().optional(VARIABLE) {
            None => roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned()),
            Some(file) => {
                let broken = |_| ConfigError::new(VARIABLE, "names no file of certificates in PEM");
                let certificates = CertificateDer::pem_file_iter(file).map_err(broken)?;
                roots.add_parsable_certificates(certificates.collect::<Result<Vec<_>, _>>().map_err(broken)?)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|_| ConfigError::new(VARIABLE, "leaves no version of TLS"))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), reach })
    }

    /// Which addresses may be called.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Tells it: the status of the answer and the beginning of its body, or why there was none.
    pub(crate) async fn send(&self, webhook: &Webhook, message: Message) -> Result<(u16, String), String> {
        let until = Instant::now() + PATIENCE;
        let mut connection = JoinSet::new();
        let answer = timeout_at(until, self.post(webhook, message, &mut connection)).await;
        let response = answer.unwrap_or_else(|_| Err(format!("No answer within {} seconds", PATIENCE.as_secs())))?;
        Ok((response.status().as_u16(), beginning(response.into_body()).await))
        // What goes out of scope here ends the connection, whatever else the receiver has to say.
    }

    async fn post(
        &self,
        webhook: &Webhook,
        message: Message,
        connection: &mut JoinSet<()>,
    ) -> Result<Response<Incoming>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("The connection failed: {error}");
        let tcp =
            connect(&self.reach, webhook, async |name: &str, port| Ok(lookup_host((name, port)).await?.collect()))
                .await?;
        let name = match &webhook.host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| failed(&error))?,
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let tls = self.tls.connect(name, tcp).await.map_err(|error| format!("TLS failed: {error}"))?;
        let (mut sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|error| failed(&error))?;
        connection.spawn(async move { drop(driver.await) });
        // A URL may have a query and no path; a request's target may not. (RFC 9112, section 3.2.1.)
        let query = webhook.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", webhook.uri.path());
        let request = Request::post(path)
            .header(HOST, webhook.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("Jobchute/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", message.webhook_id)
            .header("webhook-timestamp", message.sent_at.seconds().to_string())
            .header("webhook-signature", message.signature)
            .body(Full::new(Bytes::from(message.body)))
            .map_err(|error| failed(&error))?;
        sender.send_request(request).await.map_err(|error| failed(&error))
    }
}

/// A connection to one of the server's addresses: those that are checked are those that are connected to, and a name that has others a moment
/// later changes nothing.
async fn connect(
    reach: &Reach,
    webhook: &Webhook,
    lookup: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<TcpStream, String> {
    let addresses = match &webhook.host {
        Host::Address(address) => vec![SocketAddr::new(*address, webhook.port)],
        Host::Name(name) => {
            let found = lookup(name, webhook.port).await;
            found.map_err(|error| format!("The server's name was not found: {error}"))?
        }
    };
    let mut open = addresses.into_iter().filter(|address| reach.allows(address.ip())).take(ADDRESSES).peekable();
    if open.peek().is_none() {
        return Err("The server has no public address".to_owned());
    }
    let mut failure = String::new();
    for address in open {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            // Its kind, without a number that means nothing elsewhere.
            Ok(Err(error)) => failure = error.kind().to_string(),
            Err(_) => failure = "no answer".to_owned(),
        }
    }
    Err(format!("The connection failed: {failure}"))
}

/// The beginning of an answer's body, as text; what has come of it, when it is slow.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < ANSWER
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    };
    // That it took too long is nothing to tell: the status has come.
    let _ = timeout(BODY, read).await;
    bytes.truncate(ANSWER);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // What is no text became longer.
    text.truncate(text.floor_char_boundary(ANSWER));
    text
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::net::TcpListener;

    use super::*;

    fn webhook(url: &str, reach: &Reach) -> Webhook {
        Webhook::parse(url, reach).expect("a URL")
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let reach = Reach::default();
        let webhook = webhook("https://rebind.example/", &reach);
        for address in [
            "127.0.0.1:443",
            "10.0.0.1:443",
            "169.254.169.254:443",
            "[::1]:443",
            "[fe80::1]:443",
            "[fd00:ec2::254]:443",
            "[::ffff:127.0.0.1]:443",
            "[64:ff9b::7f00:1]:443",
            "[2002:7f00:1::]:443",
            "0.0.0.0:443",
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            let error =
                connect(&reach, &webhook, async |_: &str, _| Ok(vec![address])).await.expect_err("it is inside");
            assert_eq!(error, "The server has no public address", "{address}");
        }
        let error = connect(&reach, &webhook, async |_: &str, _| Err(io::ErrorKind::NotFound.into())).await;
        assert!(error.expect_err("no address").starts_with("The server's name was not found: "));
    }

    #[tokio::test]
    async fn what_is_checked_is_what_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = listener.local_addr().expect("an address");
        let inside = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let reach = Reach::parse("127.0.0.1/32").expect("a network");
        let webhook = webhook("https://rebind.example/", &reach);
        let asked = Cell::new(0);
        // Another answer each time: first an address that may be called, beside one that may not, and then only that.
        let inside = inside.local_addr().expect("an address");
        let lookup = async |_: &str, _| {
            asked.set(asked.get() + 1);
            Ok(if asked.get() == 1 { vec![inside, open] } else { vec![inside] })
        };
        let stream = connect(&reach, &webhook, lookup).await.expect("a connection");
        assert_eq!((stream.peer_addr().expect("an address"), asked.get()), (open, 1));
    }
}
