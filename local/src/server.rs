//! HTTP/1.1 servers on loopback.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Incoming, http::request::Parts, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any body.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How long a client that was answered before it had sent all may go on sending, and how many bytes.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_BYTES: u64 = 64 << 20;

/// The connection must close without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection cut")
    }
}

impl std::error::Error for Cut {}

/// A body in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer with a body in memory.
pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(full(body))
        .expect("fixed statuses and content types are valid")
}

/// An answer without a body.
pub(crate) fn empty(status: u16) -> Response<Body> {
    Response::builder().status(status).body(full(Bytes::new())).expect("fixed statuses are valid")
}

/// A JSON answer.
pub(crate) fn json(status: u16, body: &serde_json::Value) -> Response<Body> {
    answer(status, "application/json", body.to_string())
}

/// A request and its whole body, of at most `limit` bytes.
pub(crate) async fn read(request: Request<Incoming>, limit: usize) -> Result<(Parts, Bytes), Cut> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(|_| Cut)?;
    Ok((parts, body.to_bytes()))
}

/// Serves until `stop`, then closes every connection.
pub(crate) async fn serve<H, F>(listener: TcpListener, stop: CancellationToken, handle: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Cut>> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // An aborted handshake or no file descriptors left: the next connection may do better.
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (stop, handle) = (stop.clone(), handle.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, peer, handle) => {}
            }
        });
    }
}

async fn connection<H, F>(stream: TcpStream, peer: SocketAddr, handle: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync,
    F: Future<Output = Result<Response<Body>, Cut>> + Send + 'static,
{
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_headers(1000)
        .serve_connection(TokioIo::new(stream), service_fn(|request| handle(request, peer)))
        .without_shutdown()
        .await;
    // A client that hangs up or speaks no HTTP is its own problem.
    if let Ok(parts) = served {
        linger(parts.io.into_inner()).await;
    }
}

/// Lets a client that is still sending have the answer: a socket that is closed with bytes unread resets the connection, and what was written
/// to it is lost.
async fn linger(mut stream: TcpStream) {
    let rest = async {
        stream.shutdown().await?;
        copy(&mut stream.take(LINGER_BYTES), &mut sink()).await
    };
    let _ = timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_is_still_sending_hears_why_it_is_refused() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let refuse = |_, _| async { Ok(empty(413)) };
        tokio::spawn(serve(listener, CancellationToken::new(), refuse));
        // More than the buffers of a socket hold.
        let body = vec![b'x'; 20 << 20];
        let mut client = TcpStream::connect(address).await?;
        let head = format!("POST / HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await?;
        client.write_all(&body).await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        Ok(())
    }
}
