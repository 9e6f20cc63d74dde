//! HTTP on a listener whose callers are not trusted to be quick, or few.
//!
//! In: a listener, what answers, and how much its callers may hold. Out: each request to what answers, HTTP/1.1 and HTTP/2
//! alike, with its [`Peer`] as an extension; every connection that was cut counts in [`Cut`].
//! A caller that says nothing, stops within a head or opens too many connections is cut; a slow body is its reader's to cut.
//! Left out on purpose: proxying, which has bounds of its own in the agent.

mod greeting;
mod seats;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming as IncomingBody;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service as _;
use tracing::debug;

use crate::tls::Listening;
use greeting::Greeting;
pub(crate) use seats::{Seat, Seats};

/// How much the callers of one listener may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once. More wait until one has ended. Default 4,096.
    pub connections: usize,
    /// Of them from one address. One more is closed at once. Default 1,024.
    pub connections_of_one: usize,
    /// How long a caller may take until its first bytes are there. Default 10 s.
    pub greeting: Duration,
    /// How long it may take over the head of a request in HTTP/1.1, and rest between two. Default 60 s.
    pub head: Duration,
    /// Requests under way on one connection of HTTP/2. Default 256.
    pub streams: u32,
    /// Bytes of bodies that one connection of HTTP/2 may have on its way, and one request of it. Default 16 MiB and 4 MiB.
    pub windows: (u32, u32),
    /// Only HTTP/2, begun without asking: gRPC.
    pub http2_only: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_of_one: 1024,
            greeting: Duration::from_secs(10),
            head: Duration::from_mins(1),
            streams: 256,
            windows: (16 << 20, 4 << 20),
            http2_only: false,
        }
    }
}

const FRAME: u32 = 256 << 10;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest head of a request over HTTP/2, in bytes; HTTP/1.1 has its buffer.
const MAX_HEADER_LIST: u32 = 64 << 10;
const MAX_BUFFER: usize = 64 << 10;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves on `listening` until `shutdown` is ready; then answers what is in work and returns.
pub async fn serve(listening: Listening, router: Router, bounds: Bounds, shutdown: impl Future<Output = ()>) {
    let builder = builder(&bounds);
    let graceful = GracefulShutdown::new();
    let seats = Arc::new(Seats::new(bounds.connections, bounds.connections_of_one));
    let mut incoming = listening.incoming(seats);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer, seat) = tokio::select! {
            next = incoming.next() => match next {
                Some(next) => next,
                None => break,
            },
            () = &mut shutdown => break,
        };
        let io = TokioIo::new(Greeting::new(stream, bounds.greeting));
        let speaking = speaking(&builder, io, peer, router.clone());
        let speaking = graceful.watch(speaking);
        tokio::spawn(async move {
            if let Err(error) = speaking.await {
                debug!(%peer, error = crate::follow::chain(error.as_ref()), "connection ended");
            }
            drop::<Seat>(seat);
        });
    }
    drop(incoming);
    graceful.shutdown().await;
}

fn builder(bounds: &Bounds) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if bounds.http2_only {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_frame_size(FRAME)
        .initial_connection_window_size(bounds.windows.0)
        .initial_stream_window_size(bounds.windows.1)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

fn speaking<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    builder: &Builder<TokioExecutor>,
    io: TokioIo<I>,
    peer: SocketAddr,
    router: Router,
) -> impl GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + use<I> {
    let answer = hyper::service::service_fn(move |mut request: Request<IncomingBody>| {
        request.extensions_mut().insert(ConnectInfo(Peer(peer)));
        router.clone().call(request.map(Body::new))
    });
    builder.serve_connection(io, answer).into_owned()
}
