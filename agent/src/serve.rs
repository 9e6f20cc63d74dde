//! A listener with a handler behind it, until the agent stops.
//!
//! In: a bound listener, with TLS or without. Out: each request on it to the handler, HTTP/1.1 and HTTP/2 alike.
//! Left out on purpose: time limits on requests. The service behind has its own, and they reach through.

mod speak;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use otlp::tls::{Listening, ServerStream, ServerTls};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::body::ProxyBody;
use crate::connect::KEEP_ALIVE;
use crate::forward::chain;
use crate::limits::{Admission, Guest};
use crate::workers::Workers;

use speak::Seated;
pub(crate) use speak::{Builders, Closing, Told};

/// How long to wait for file descriptors to come free.
pub(crate) const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request that came from `peer`.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ProxyBody>> + Send;

    /// Who bounds its connections; `None` where nobody does.
    fn admission(&self) -> Option<Arc<Admission>> {
        None
    }
}

/// A connection of any kind.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Where connections run.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// On the runtime that accepts them.
    Here,
    /// On threads of their own.
    Workers(Arc<Workers>),
}

impl Place {
    pub(crate) fn spawn<F, T>(&self, stream: TcpStream, task: F)
    where
        F: FnOnce(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        match self {
            Self::Here => drop(tokio::spawn(task(stream))),
            Self::Workers(workers) => workers.spawn(stream, task),
        }
    }
}

/// Serves until `stop`, then lets requests in flight end for at most `drain`.
pub(crate) async fn serve<H: Handler>(
    listener: impl Into<Listening>,
    handler: Arc<H>,
    place: Place,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    // Who may ask is the handler's to say.
    let Listening {
        tcp: listener,
        tls,
        access: _,
    } = listener.into();
    let builders = Arc::new(Builders::new());
    let closing = Closing::default();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, handler.admission()) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                keep_alive(&stream);
                // Without it small answers wait for the peer's delayed acknowledgement; failing is harmless.
                let _ = stream.set_nodelay(true);
                let (builders, told) = (builders.clone(), closing.tell());
                let handler = handler.clone();
                match tls.clone() {
                    None => place.spawn(stream, move |stream| {
                        connection(builders, told, stream, peer, handler)
                    }),
                    Some(tls) => {
                        let stop = stop.clone();
                        place.spawn(stream, move |stream| async move {
                            let accepted = handshake(tls, stream, peer, stop, handler.admission());
                            if let Some(stream) = accepted.await {
                                connection(builders, told, stream, peer, handler).await;
                            }
                        });
                    }
                }
            }
            Err(error) => {
                debug!(%error, "connection not accepted");
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "connections are not accepted; they wait, and each failure is counted");
                }
                if let Some(admission) = handler.admission() {
                    admission.not_accepted();
                }
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, closing.shutdown()).await.is_err() {
        debug!("connections were still open when the agent stopped");
    }
}

/// The next caller, once there is room for one. It is asked in first: nobody is shown out before somebody comes.
pub(crate) async fn accept(
    listener: &TcpListener,
    admission: Option<Arc<Admission>>,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    let Some(admission) = admission else {
        return listener.accept().await;
    };
    let accepted = listener.accept().await?;
    admission.room().await;
    admission.arrives();
    Ok(accepted)
}

/// The handshake with one caller, who is a guest meanwhile as any other; `None` where nothing came of it.
async fn handshake(
    tls: ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<bool>,
    admission: Option<Arc<Admission>>,
) -> Option<ServerStream> {
    let guest = Guest::of(admission.as_ref());
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = guest.told_to_go() => return None,
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    if let Err(error) = &accepted {
        debug!(%peer, error = %chain(error), "TLS handshake failed");
    }
    accepted.ok()
}

/// Lets the system ask after callers that went away without a word: the service behind would have, and cannot see them
/// through the agent. Failing is harmless.
pub(crate) fn keep_alive(stream: &TcpStream) {
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEP_ALIVE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE / 4);
}

/// Serves one connection to its end, which `told`'s owner can ask for; `peer` is whom its requests came from.
pub(crate) async fn connection<H: Handler>(
    builders: Arc<Builders>,
    told: Told,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    handler: Arc<H>,
) {
    let guest = Guest::of(handler.admission().as_ref());
    let seated = Seated { handler, peer, guest };
    speak::speak(&builders, told, Box::new(io), seated).await;
}
