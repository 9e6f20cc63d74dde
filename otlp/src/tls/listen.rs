//! A listener, with TLS or without, and who may come in.
//!
//! In: a bound listener. Out: connections that are ready to be spoken on.
//! Left out on purpose: what is spoken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::{MaybeTls, ServerStream, ServerTls};
use crate::access::Access;
use crate::serve::{Seat, Seats};

/// Rest after a failed `accept`, for instance where file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// A bound listener, with TLS or without.
#[derive(Debug)]
pub struct Listening {
    /// The listener.
    pub tcp: TcpListener,
    /// What its connections are encrypted with.
    pub tls: Option<ServerTls>,
    /// Who may ask on them.
    pub access: Access,
}

impl From<TcpListener> for Listening {
    fn from(tcp: TcpListener) -> Self {
        Self {
            tcp,
            tls: None,
            access: Access::default(),
        }
    }
}

impl Listening {
    /// Connections, each once its handshake is over; one that takes long holds up no other.
    pub(crate) fn incoming(self, seats: Arc<Seats>) -> Incoming {
        let (accepted, ready) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(self.accept(accepted, seats));
        Incoming { ready, _task: task }
    }

    /// Until nobody wants more; a failed `accept` never ends the server.
    async fn accept(self, accepted: mpsc::Sender<Accepted>, seats: Arc<Seats>) {
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.try_join_next().is_some() {}
            let room = seats.room().await;
            let (stream, peer) = match self.tcp.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            let Some(seat) = seats.take(peer.ip(), room) else {
                debug!(%peer, "connection closed: its address has as many as it may have");
                continue;
            };
            // Without it small answers wait for the sender's delayed acknowledgement; failing is harmless.
            let _ = stream.set_nodelay(true);
            if let Some(tls) = &self.tls {
                handshakes.spawn(handshake(tls.clone(), stream, peer, seat, accepted.clone()));
            } else if accepted
                .send((MaybeTls::Plain(stream), peer, seat))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

async fn handshake(
    tls: ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    accepted: mpsc::Sender<Accepted>,
) {
    match tls.accept(stream).await {
        // A server that is gone takes no more.
        Ok(stream) => drop(accepted.send((MaybeTls::Tls(Box::new(stream)), peer, seat)).await),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            debug!(%peer, error, "TLS handshake failed");
        }
    }
}

type Accepted = (MaybeTls<ServerStream>, SocketAddr, Seat);

/// Connections that are ready. Dropped, it takes no more.
pub(crate) struct Incoming {
    ready: mpsc::Receiver<Accepted>,
    _task: JoinSet<()>,
}

impl Incoming {
    /// The next; `None` only where the runtime ends.
    pub(crate) async fn next(&mut self) -> Option<Accepted> {
        self.ready.recv().await
    }
}
