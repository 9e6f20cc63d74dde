//! Connections to the other side.
//!
//! In: an address to reach. Out: a connection, with TLS where its scheme is `https`, that does not lead back to the agent, or a [`Failure`] that names why not.
//! Where the system has no file left for it, callers that rest make room, as they do for other callers.
//! Left out on purpose: time limits: how long to wait is the application's to know, and it goes away when it no longer wants
//! to.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use otlp::tls::{ClientStream, ConnectError, MaybeTls, Protocols, TlsError};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower_service::Service;

mod guarded;
mod http1;
mod streams;
mod together;

use guarded::{DeniedError, Guarded};
pub(crate) use http1::{Http1Channel, Lent};
pub(crate) use streams::Stream;
use streams::Streams;
use together::Together;

use crate::BoxError;
use crate::config::Network;
use crate::exchange::Failure;
use crate::expect::{CallerGone, RequestBody};
use crate::limits::Admission;
use crate::tls::Origin;
use crate::transparent::{CameBack, Dial};

/// Headers of one message on HTTP/1; the libraries' bound of 100 is less than servers take.
pub(crate) const MAX_HEADERS: usize = 256;
/// Bytes of headers of one message on HTTP/2; the libraries' bound of 16 KiB is less than servers take.
pub(crate) const MAX_HEADER_LIST: u32 = 256 << 10;
/// Bytes that may wait on one HTTP/2 stream for whom they go to: what a slow reader can cost.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// How often, and how many times, it is looked whether a new connection's settings have come, which nobody tells.
const SETTINGS_LOOK: Duration = Duration::from_millis(20);
const SETTINGS_LOOKS: u32 = 50;
/// Callers share a connection to the other side, so none may use up what all of them may wait for.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How long the other side may be silent before the system asks whether it is still there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// Idle connections are closed sooner than by servers (often 2 s or 5 s): a request on a connection that its server is
/// closing would be lost, and is never sent twice.
const IDLE: Duration = Duration::from_secs(1);
/// How often, and how many times, a file is waited for that somebody frees.
const FILE_LOOK: Duration = Duration::from_millis(20);
const FILE_LOOKS: u32 = 25;

/// A client with a pool; HTTP/1.1, or HTTP/2 where it was made so.
pub(crate) type PooledClient = Client<Connector, RequestBody>;

/// A connection to the other side.
pub(crate) type Link = MaybeTls<ClientStream>;

/// Makes connections, except to the listeners it was told.
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector<Guarded>,
    guard: Guarded,
    tls: Arc<Origin>,
    /// What is offered where there is TLS.
    protocols: Protocols,
    forbidden: Arc<[SocketAddr]>,
    /// How connections for redirected callers are made; they go to addresses only.
    dial: Option<Dial>,
    /// Who makes room where the system has no file left.
    callers: Option<Arc<Admission>>,
}

/// The address is a listener of the agent itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is a listener of the agent itself, so the request would never arrive")]
pub(crate) struct LoopError(pub(crate) SocketAddr);

impl Connector {
    /// Connections that lead to one of `forbidden` are refused.
    pub(crate) fn new(forbidden: Arc<[SocketAddr]>, tls: Arc<Origin>) -> Self {
        Self::guarded(Guarded::new(Arc::default()), forbidden, tls)
    }

    /// The same, but to none of these addresses.
    pub(crate) fn denying(self, deny: &[Network]) -> Self {
        let guarded = Self::guarded(
            Guarded::new(deny.into()),
            self.forbidden.clone(),
            self.tls.clone(),
        );
        Self {
            http: guarded.http,
            guard: guarded.guard,
            ..self
        }
    }

    fn guarded(guard: Guarded, forbidden: Arc<[SocketAddr]>, tls: Arc<Origin>) -> Self {
        let mut http = HttpConnector::new_with_resolver(guard.clone());
        http.set_nodelay(true);
        http.enforce_http(false);
        // A service that went away without a word is found out, as its callers would have.
        http.set_keepalive(Some(KEEP_ALIVE));
        Self {
            http,
            guard,
            tls,
            protocols: Protocols::Http1,
            forbidden,
            dial: None,
            callers: None,
        }
    }

    /// The same for requests of these callers, of whom those that rest make room for it.
    pub(crate) fn on_behalf_of(self, callers: &Arc<Admission>) -> Self {
        Self {
            callers: Some(callers.clone()),
            ..self
        }
    }

    /// The same for redirected callers: connections are made by `dial`, and go to addresses only.
    pub(crate) fn dialled(self, dial: Dial) -> Self {
        Self {
            dial: Some(dial),
            ..self
        }
    }

    fn offering(self, protocols: Protocols) -> Self {
        Self { protocols, ..self }
    }

    pub(crate) fn pooled(self, http2: bool) -> PooledClient {
        let protocols = if http2 { Protocols::Http2 } else { Protocols::Http1 };
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .http1_preserve_header_case(true)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_only(http2)
            .build(self.offering(protocols))
    }

    /// One connection to the host and port of `uri`, with TLS where its scheme is `https`.
    pub(crate) async fn link(self, uri: Uri) -> Result<TokioIo<Link>, BoxError> {
        let (tls, protocols) = (self.tls.clone(), self.protocols);
        let tcp = self.connect(uri.clone()).await?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(TokioIo::new(MaybeTls::Plain(tcp.into_inner())));
        }
        let host = uri.host().unwrap_or_default();
        let encrypted = tls
            .get()
            .await?
            .connect(host, protocols, tcp.into_inner())
            .await?;
        Ok(TokioIo::new(MaybeTls::Tls(Box::new(encrypted))))
    }

    /// One TCP connection to the host and port of `uri`.
    pub(crate) async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let Some(callers) = self.callers.clone() else {
            return self.dial_once(uri).await;
        };
        for _ in 0..FILE_LOOKS {
            match self.clone().dial_once(uri.clone()).await {
                Err(error) if wants_a_file(error.as_ref()) => callers.make_room(),
                dialled => return dialled,
            }
            tokio::time::sleep(FILE_LOOK).await;
        }
        self.dial_once(uri).await
    }

    async fn dial_once(mut self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        if let Some(dial) = &self.dial {
            return Ok(TokioIo::new(dial.connect_to(&uri).await?));
        }
        self.guard.check(&uri)?;
        std::future::poll_fn(|cx| self.http.poll_ready(cx)).await?;
        let connection = self.http.call(uri).await?;
        let (here, there) = (connection.inner().local_addr()?, connection.inner().peer_addr()?);
        if self.forbidden.iter().any(|own| leads_to(*own, here, there)) {
            return Err(LoopError(there).into());
        }
        Ok(connection)
    }
}

/// Whether an error says that the process, or the system, has no file left.
fn wants_a_file(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.into_iter().any(|cause| {
        let errno = cause
            .downcast_ref::<std::io::Error>()
            .and_then(Errno::from_io_error);
        errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
    })
}

/// Whether a connection from `here` to `there` arrives at the listener `own`, which may listen on all addresses.
pub(crate) fn leads_to(own: SocketAddr, here: SocketAddr, there: SocketAddr) -> bool {
    let this_host = there.ip().is_loopback() || there.ip() == here.ip();
    own == there || own.port() == there.port() && own.ip().is_unspecified() && this_host
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().link(uri))
    }
}

/// HTTP/2 connections to a service. The pool cannot be used here: it would connect to the authority that the caller wrote,
/// and that belongs to the request and must stay.
///
/// Callers share a connection up to the streams that the service takes on one; then there is another, as each caller
/// would have had its own.
pub(crate) struct Http2Channel {
    connector: Connector,
    upstream: Uri,
    open: Streams,
    connecting: Mutex<()>,
}

impl Http2Channel {
    pub(crate) fn new(connector: Connector, upstream: Uri) -> Self {
        Self {
            connector: connector.offering(Protocols::Http2),
            upstream,
            open: Streams::default(),
            connecting: Mutex::default(),
        }
    }

    /// Sends `request` to the service, whatever authority it names. The response has its [`Stream`] among its extensions.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<hyper::Response<Incoming>, BoxError> {
        let mut again = true;
        loop {
            let (mut sender, stream) = self.stream().await?;
            match sender.try_send_request(request).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(stream);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message().filter(|_| again) {
                    // The connection closed in this very moment, and has seen nothing of the request.
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
            again = false;
        }
    }

    async fn stream(&self) -> Result<(SendRequest<RequestBody>, Stream), BoxError> {
        if let Some(found) = self.open.find() {
            return Ok(found);
        }
        let _alone = self.connecting.lock().await;
        if let Some(found) = self.open.find() {
            return Ok(found);
        }
        let connection = self.connector.clone().link(self.upstream.clone()).await?;
        let (mut builder, most) = (Builder::new(TokioExecutor::new()), self.open.most());
        let handshake = builder
            .max_header_list_size(MAX_HEADER_LIST)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(most.load(Relaxed))
            .handshake(Together::new(connection));
        let (sender, mut connection) = handshake.await?;
        let found = self.open.add(sender);
        let (mut looks, mut left) = (tokio::time::interval(SETTINGS_LOOK), SETTINGS_LOOKS);
        tokio::spawn(std::future::poll_fn(move |cx| {
            // Whatever ends the connection is told to each request on it.
            let ended = Pin::new(&mut connection).poll(cx).map(drop);
            while left > 0 && looks.poll_tick(cx).is_ready() {
                left -= 1;
            }
            most.store(connection.current_max_send_streams().max(1), Relaxed);
            ended
        }));
        Ok(found)
    }
}

/// What an error of a request comes down to.
pub(crate) fn failure(error: &(dyn Error + 'static)) -> Failure {
    // The connector wraps what was said of a name.
    if std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<DeniedError>) {
        return Failure::Denied;
    }
    let mut connecting = false;
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<LoopError>() || cause.is::<CameBack>() {
            return Failure::Loop;
        }
        if cause.is::<CallerGone>() {
            return Failure::ClientDisconnected;
        }
        if cause.is::<ConnectError>() || cause.is::<TlsError>() {
            return Failure::TlsFailed;
        }
        if let Some(error) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            connecting |= error.is_connect();
        }
        // The connector's own error type cannot be named.
        connecting |= ["tcp connect error", "tcp open error"].contains(&&*cause.to_string());
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

    fn tls() -> Arc<Origin> {
        let metrics = Arc::new(crate::telemetry::Metrics::new().expect("metrics"));
        Arc::new(Origin::new(None, crate::telemetry::TlsSide::Outbound, &metrics).expect("no file to fail"))
    }

    #[tokio::test]
    async fn each_way_a_connection_is_not_made_has_its_own_name() {
        let connect = |uri: &str, forbidden: Arc<[SocketAddr]>| {
            let uri = uri.parse().expect("a uri");
            async {
                failure(
                    Connector::new(forbidden, tls())
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
