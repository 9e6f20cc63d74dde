//! Connections to the other side.
//!
//! In: an address to reach. Out: a TCP connection that does not lead back to the agent, or a [`Failure`] that names why not.
//! Left out on purpose: TLS (what the service encrypts passes by `CONNECT`) and time limits: how long to wait is the
//! application's to know, and it goes away when it no longer wants to.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower_service::Service;

use crate::BoxError;
use crate::exchange::Failure;
use crate::expect::{CallerGone, RequestBody};

/// Headers of one message on HTTP/1; the libraries' bound of 100 is less than servers take.
pub(crate) const MAX_HEADERS: usize = 256;
/// Bytes of headers of one message on HTTP/2; the libraries' bound of 16 KiB is less than servers take.
pub(crate) const MAX_HEADER_LIST: u32 = 256 << 10;
/// Idle connections are closed sooner than by servers (often 2 s or 5 s): a request on a connection that its server is
/// closing would be lost, and is never sent twice.
const IDLE: Duration = Duration::from_secs(1);

/// A client with a pool; HTTP/1.1, or HTTP/2 without TLS where it was made so.
pub(crate) type PooledClient = Client<Connector, RequestBody>;

/// Makes connections, except to the listeners it was told.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    forbidden: Arc<[SocketAddr]>,
}

/// The address is a listener of the agent itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is a listener of the agent itself, so the request would never arrive")]
pub(crate) struct LoopError(SocketAddr);

impl Connector {
    /// Connections that lead to one of `forbidden` are refused.
    pub(crate) fn new(forbidden: Arc<[SocketAddr]>) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        Self { http, forbidden }
    }

    pub(crate) fn pooled(self, http2: bool) -> PooledClient {
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .http1_preserve_header_case(true)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_only(http2)
            .build(self)
    }

    /// One connection to the host and port of `uri`.
    pub(crate) async fn connect(mut self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        std::future::poll_fn(|cx| self.http.poll_ready(cx)).await?;
        let connection = self.http.call(uri).await?;
        let (here, there) = (connection.inner().local_addr()?, connection.inner().peer_addr()?);
        if self.forbidden.iter().any(|own| leads_to(*own, here, there)) {
            return Err(LoopError(there).into());
        }
        Ok(connection)
    }
}

/// Whether a connection from `here` to `there` arrives at the listener `own`, which may listen on all addresses.
fn leads_to(own: SocketAddr, here: SocketAddr, there: SocketAddr) -> bool {
    let this_host = there.ip().is_loopback() || there.ip() == here.ip();
    own == there || own.port() == there.port() && own.ip().is_unspecified() && this_host
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// One HTTP/2 connection to a service, made anew when it is gone. The pool cannot be used here: it would connect to the
/// authority that the caller wrote, and that belongs to the request and must stay.
pub(crate) struct Http2Channel {
    connector: Connector,
    upstream: Uri,
    open: Mutex<Option<SendRequest<RequestBody>>>,
}

impl Http2Channel {
    pub(crate) fn new(connector: Connector, upstream: Uri) -> Self {
        Self {
            connector,
            upstream,
            open: Mutex::default(),
        }
    }

    /// Sends `request` to the service, whatever authority it names.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<hyper::Response<Incoming>, BoxError> {
        let mut sender = self.sender().await?;
        if sender.ready().await.is_err() {
            // It closed in this very moment and has seen nothing of the request.
            sender = self.sender().await?;
            sender.ready().await?;
        }
        Ok(sender.send_request(request).await?)
    }

    async fn sender(&self) -> Result<SendRequest<RequestBody>, BoxError> {
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connection = self.connector.clone().connect(self.upstream.clone()).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        let handshake = builder
            .max_header_list_size(MAX_HEADER_LIST)
            .handshake(connection);
        let (sender, connection) = handshake.await?;
        tokio::spawn(async move {
            // Whatever ends the connection is told to each request on it.
            let _ = connection.await;
        });
        *open = Some(sender.clone());
        Ok(sender)
    }
}

/// What an error of a request comes down to.
pub(crate) fn failure(error: &(dyn Error + 'static)) -> Failure {
    let mut connecting = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<LoopError>() {
            return Failure::Loop;
        }
        if cause.is::<CallerGone>() {
            return Failure::ClientDisconnected;
        }
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            connecting |= error.is_connect();
        }
        // The connector's own error type cannot be named.
        connecting |= cause.to_string() == "tcp connect error";
        if cause.to_string() == "dns error" {
            return Failure::NameNotResolved;
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>().filter(|_| connecting) {
            return match io.kind() {
                std::io::ErrorKind::ConnectionRefused => Failure::ConnectionRefused,
                std::io::ErrorKind::TimedOut => Failure::ConnectTimeout,
                _ => Failure::ConnectFailed,
            };
        }
        next = cause.source();
    }
    if connecting {
        Failure::ConnectFailed
    } else {
        Failure::UpstreamClosed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_recognised_by_any_of_this_hosts() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (own, here, there, expected) in [
            ("127.0.0.1:1", "127.0.0.1:9", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:9", "127.0.0.1:2", false),
            ("0.0.0.0:1", "127.0.0.1:9", "127.0.0.2:1", true),
            ("0.0.0.0:1", "10.0.0.1:9", "10.0.0.1:1", true),
            ("0.0.0.0:1", "10.0.0.1:9", "10.0.0.2:1", false),
        ] {
            let leads = leads_to(address(own), address(here), address(there));
            assert_eq!(leads, expected, "own {own}, from {here} to {there}");
        }
    }

    #[tokio::test]
    async fn each_way_a_connection_is_not_made_has_its_own_name() {
        let connect = |uri: &str, forbidden: Arc<[SocketAddr]>| {
            let uri = uri.parse().expect("a uri");
            async {
                failure(
                    Connector::new(forbidden)
                        .connect(uri)
                        .await
                        .expect_err("no connection")
                        .as_ref(),
                )
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a listener");
        let address = listener.local_addr().expect("its address");
        assert_eq!(
            connect(&format!("http://{address}"), Arc::new([address])).await,
            Failure::Loop
        );
        drop(listener);
        assert_eq!(
            connect(&format!("http://{address}"), Arc::new([])).await,
            Failure::ConnectionRefused
        );
        assert_eq!(
            connect("http://nowhere.invalid", Arc::new([])).await,
            Failure::NameNotResolved
        );
    }
}
