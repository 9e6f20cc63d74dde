//! A listener, with TLS or without.
//!
//! In: a bound listener. Out: connections that are ready to be spoken on.
//! Left out on purpose: what is spoken.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tracing::{debug, warn};

use super::{MaybeTls, ServerStream, ServerTls};

/// Rest after a failed `accept`, for instance where file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// A bound listener, with TLS or without.
#[derive(Debug)]
pub struct Listening {
    /// The listener.
    pub tcp: TcpListener,
    /// What its connections are encrypted with.
    pub tls: Option<ServerTls>,
}

impl From<TcpListener> for Listening {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

impl Listening {
    /// Connections, each once its handshake is over; one that takes long holds up no other.
    pub(crate) fn incoming(self) -> Incoming {
        let address = self.tcp.local_addr();
        let (accepted, ready) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(self.accept(accepted));
        Incoming {
            ready,
            address,
            _task: task,
        }
    }

    /// Until nobody wants more; a failed `accept` never ends the server.
    async fn accept(self, accepted: mpsc::Sender<Accepted>) {
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.try_join_next().is_some() {}
            let (stream, peer) = match self.tcp.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    warn!(%error, "cannot accept an OTLP connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            // Without it small answers wait for the sender's delayed acknowledgement; failing is harmless.
            let _ = stream.set_nodelay(true);
            if let Some(tls) = &self.tls {
                handshakes.spawn(handshake(tls.clone(), stream, peer, accepted.clone()));
            } else if accepted.send((MaybeTls::Plain(stream), peer)).await.is_err() {
                return;
            }
        }
    }
}

async fn handshake(tls: ServerTls, stream: TcpStream, peer: SocketAddr, accepted: mpsc::Sender<Accepted>) {
    match tls.accept(stream).await {
        // A server that is gone takes no more.
        Ok(stream) => drop(accepted.send((MaybeTls::Tls(Box::new(stream)), peer)).await),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            debug!(%peer, error, "TLS handshake failed");
        }
    }
}

type Accepted = (MaybeTls<ServerStream>, SocketAddr);

/// Connections that are ready, for both of the libraries' servers. Dropped, it takes no more.
pub(crate) struct Incoming {
    ready: mpsc::Receiver<Accepted>,
    address: io::Result<SocketAddr>,
    _task: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<MaybeTls<ServerStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ready = self.ready.poll_recv(cx);
        ready.map(|accepted| accepted.map(|(stream, _)| Ok(stream)))
    }
}

impl axum::serve::Listener for Incoming {
    type Io = MaybeTls<ServerStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // Only where the runtime ends.
            None => future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// The other end of a connection of [`Incoming`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, Incoming>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        Self(*stream.remote_addr())
    }
}
