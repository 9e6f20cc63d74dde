//! HTTP with one caller, from its first byte to the end of the connection.
//!
//! In: a connection. Out: its requests at the handler. Between requests a connection of HTTP/1.1 gives back the memory that
//! its parser holds, 16 KiB of it for reading alone; one that never said anything holds none. One that is ended while its
//! caller still talks is read on for a moment, because the system would throw the answer away with what was not read
//! (RFC 9112, section 9.6).
//! Left out on purpose: HTTP/2's memory between requests, which is its state.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use super::{Handler, Io};
use crate::body::ProxyBody;
use crate::connect::{MAX_HEADER_LIST, MAX_HEADERS, STREAM_WINDOW};
use crate::limits::{Guest, Lasting, Watched};

/// Streams of one connection at once; the libraries' 200 are less than gRPC servers take.
const MAX_STREAMS: u32 = 1000;
/// Bytes that may wait on all streams of a connection: one body that the service is slow to read must not hold up the others.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How a connection of HTTP/2 begins: RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often it is looked whether a connection rests. One that has been quiet from one look to the next does.
const LOOK: Duration = Duration::from_millis(20);
/// How long, and how far, a caller is read on that talks into the end of its connection.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 16 << 20;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How connections are spoken on.
#[derive(Debug, Clone)]
pub(crate) struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builders {
    pub(crate) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .auto_date_header(false)
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .auto_date_header(false)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST);
        Self { http1, http2 }
    }
}

/// Asks connections to end, and waits for them.
#[derive(Debug, Default)]
pub(crate) struct Closing(watch::Sender<bool>);

/// Hears when its connection is to end, which has ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Told(watch::Receiver<bool>);

impl Closing {
    /// For one more connection.
    pub(crate) fn tell(&self) -> Told {
        Told(self.0.subscribe())
    }

    /// Lets requests under way end; completes once no connection is left.
    pub(crate) async fn shutdown(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl Told {
    async fn closes(&mut self) {
        // Without a sender nobody will ever tell; that is the same as being told.
        let _ = self.0.wait_for(|close| *close).await;
    }
}

/// A [`Handler`] of any kind. The machinery of a connection is large, and would otherwise be there once for each kind.
pub(super) trait Answer: Send + Sync {
    fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr, guest: Guest) -> Answering;
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Lasting<ProxyBody>>, Infallible>> + Send>>;

impl<H: Handler> Answer for H {
    fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr, guest: Guest) -> Answering {
        let asked = request.method().clone();
        let may_end = request.version() != Version::HTTP_2 && asked != Method::CONNECT;
        let busy = guest.begin(request.version());
        Box::pin(async move {
            let mut response = busy.until(&asked, self.handle(request, peer).await);
            if may_end && guest.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok(response)
        })
    }
}

/// What answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Seated {
    pub(super) handler: Arc<dyn Answer>,
    pub(super) peer: SocketAddr,
    pub(super) guest: Guest,
}

impl Service<Request<Incoming>> for Seated {
    type Response = Response<Lasting<ProxyBody>>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.handler
            .clone()
            .answer(request, self.peer, self.guest.clone())
    }
}

type Caller = Watched<Box<dyn Io>>;
type Http1 = http1::UpgradeableConnection<TokioIo<Caller>, Seated>;

/// Why one round of HTTP/1.1 is over.
enum Over {
    Ended(hyper::Result<()>),
    /// Nothing was said for a while, and nothing is under way.
    Rests,
    /// Its guest was told to go.
    Cut,
}

/// Speaks on `io` until it ends, or `told` or its guest hears that it should.
pub(super) async fn speak(builders: &Builders, mut told: Told, io: Box<dyn Io>, seated: Seated) {
    let guest = seated.guest.clone();
    let mut io = Watched::new(io, guest.clone());
    let mut fresh = true;
    loop {
        let enough = |came: &[u8]| came.len() >= PREFACE.len() || !PREFACE.starts_with(came);
        let read = tokio::select! {
            // What came before the end is still answered.
            biased;
            read = io.fill(|came| !fresh || enough(came)) => read,
            () = guest.told_to_go() => return,
            () = told.closes() => return,
        };
        match read {
            Ok(0) => return,
            Ok(_) if fresh && io.ahead().starts_with(PREFACE) => {
                return Box::pin(http2(builders, told, io, seated)).await;
            }
            Ok(_) => fresh = false,
            Err(error) => return debug!(%error, "connection broke off"),
        }
        let served = builders.http1.serve_connection(TokioIo::new(io), seated.clone());
        // Apart from the rest, whose size a connection has even while it rests.
        let mut connection = Box::new(served.with_upgrades());
        let over = http1(&mut connection, &mut told, &guest).await;
        // Where it speaks another protocol by now there is none.
        let Some(parts) = (*connection).into_parts() else {
            return;
        };
        io = parts.io.into_inner();
        match over {
            Over::Rests => io.wake(parts.read_buf),
            Over::Cut => return,
            Over::Ended(ended) => {
                if let Err(error) = ended {
                    guest.broke_off(&error);
                    debug!(%error, "connection broke off");
                }
                return Box::pin(linger(io, &guest)).await;
            }
        }
    }
}

async fn http1(connection: &mut Http1, told: &mut Told, guest: &Guest) -> Over {
    let mut closing = false;
    let mut look = pin!(sleep(LOOK));
    loop {
        tokio::select! {
            // What was read before the end is known to hyper before it is told of the end.
            biased;
            ended = &mut *connection => return Over::Ended(ended),
            () = guest.told_to_go() => return Over::Cut,
            () = told.closes(), if !closing => {
                closing = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            () = look.as_mut() => {
                if guest.seems_to_rest() && let Poll::Ready(over) = rest(connection, guest) {
                    return over;
                }
                look.set(sleep(LOOK));
            }
        }
    }
}

/// Whether the connection is between two requests, which only hyper knows: asked to end, it then does so at once. One that
/// is not goes on, and ends after its request.
fn rest(connection: &mut Http1, guest: &Guest) -> Poll<Over> {
    guest.stays_open(true);
    Pin::new(&mut *connection).graceful_shutdown();
    let polled = Pin::new(connection).poll(&mut Context::from_waker(Waker::noop()));
    guest.stays_open(false);
    polled.map(|ended| match ended {
        Ok(()) => Over::Rests,
        Err(error) => Over::Ended(Err(error)),
    })
}

async fn http2(builders: &Builders, mut told: Told, io: Caller, seated: Seated) {
    let guest = seated.guest.clone();
    let mut connection = pin!(builders.http2.serve_connection(TokioIo::new(io), seated));
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    guest.broke_off(&error);
                    debug!(%error, "connection broke off");
                }
                return;
            }
            () = guest.told_to_go() => return,
            () = told.closes(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Ends a connection so that its last answer arrives: what the caller still sends is read and thrown away.
async fn linger(mut io: Caller, guest: &Guest) {
    if !io.may_be_heard() {
        return;
    }
    let rest = async {
        io.shutdown().await?;
        let (mut thrown_away, mut buffer) = (0, [0; 512]);
        while thrown_away < LINGER_BYTES {
            match io.read(&mut buffer).await? {
                0 => break,
                read => thrown_away += read as u64,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        // Whatever became of it, the answer had its time.
        _ = tokio::time::timeout(LINGER, rest) => {}
        () = guest.told_to_go() => {}
    }
}
