//! Listeners for connections that were going somewhere else: the system redirected them here.
//!
//! In: connections after `REDIRECT` or `TPROXY`, or on a listener that the workloads of a node share. Out: HTTP on the way of
//! the proxies, with spans; everything else byte by byte, to where it was going. Each connection is counted once.
//! Left out on purpose: a look into TLS, and names: a connection goes where it was going, whatever its `Host` says.

mod check;
mod dial;
mod meeting;
mod node;
mod own_calls;
mod pods;
mod protocol;
mod replay;
mod sockets;
mod steered;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::config::{Deliver, ListenMode, Network};
use crate::connect::Connector;
use crate::limits::{Admission, Guest};
use crate::reload::Current;
use crate::serve;
use crate::serve::{Builders, Closing, Place, Told};
use crate::telemetry::{Direction, Metrics, Redirected};
use crate::tunnel;

pub(crate) use check::problems;
pub(crate) use dial::{CameBack, Dial};
pub(crate) use node::{Redirecting, TransparentWanted};
pub(crate) use pods::{NodeTable, follow as follow_pods};
pub(crate) use sockets::accept_any_address;
pub(crate) use steered::Onward;

use meeting::{Met, Speaks, meet};
use protocol::Protocol;
use replay::{Replay, Trial};
use steered::{Steered, Way};
use table::WorkloadTable;

/// What stands behind a listener in one of these modes.
pub(crate) struct Transparent {
    pub(crate) direction: Direction,
    pub(crate) mode: ListenMode,
    /// The listener's own address.
    pub(crate) own: SocketAddr,
    pub(crate) patience: Duration,
    pub(crate) blind_ports: Arc<[u16]>,
    pub(crate) dial: Dial,
    /// Makes connections by `dial`.
    pub(crate) connector: Connector,
    pub(crate) deliver: Deliver,
    /// The mark of connections that go on with their caller's address, where they do.
    pub(crate) preserve_source: Option<u32>,
    pub(crate) whose: Whose,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) over: watch::Receiver<bool>,
}

/// Whose connections come to a listener.
pub(crate) enum Whose {
    /// One workload's.
    One(Way),
    /// Those of a node: of the callers when they call, of the callees when they are called.
    Node {
        table: Arc<WorkloadTable<Way>>,
        /// Whose else may pass.
        allow: Vec<Network>,
    },
}

/// A connection on its way.
#[derive(Debug, Clone, Copy)]
struct Ends {
    caller: SocketAddr,
    /// Where it was going.
    destination: SocketAddr,
    /// Where it goes.
    to: SocketAddr,
}

/// Serves until `stop`, then lets requests in flight end for at most `drain`.
pub(crate) async fn serve_transparent(
    listener: TcpListener,
    current: Arc<Current<Transparent>>,
    place: Place,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    let builders = Arc::new(Builders::new());
    let closing = Closing::default();
    loop {
        let admission = current.get().admission.clone();
        let accepted = tokio::select! {
            accepted = serve::accept(&listener, Some(admission.clone())) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, caller)) => {
                let connection = Connection {
                    current: current.clone(),
                    now: current.get(),
                    builders: builders.clone(),
                    told: closing.tell(),
                    stop: stop.clone(),
                };
                place.spawn(stream, move |stream| {
                    connection.serve(stream, sockets::canonical(caller))
                });
            }
            Err(error) => {
                warn!(%error, "redirected connection not accepted");
                admission.not_accepted();
                tokio::time::sleep(serve::AFTER_ACCEPT_ERROR).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, closing.shutdown()).await.is_err() {
        debug!("redirected connections were still open when the agent stopped");
    }
}

/// What one connection needs.
struct Connection {
    current: Arc<Current<Transparent>>,
    now: Arc<Transparent>,
    builders: Arc<Builders>,
    told: Told,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, caller: SocketAddr) {
        // Without it small answers wait for the caller's delayed acknowledgement; failing is harmless.
        let _ = stream.set_nodelay(true);
        serve::keep_alive(&stream);
        let guest = Guest::of(Some(&self.now.admission));
        let ends = match self.now.ends(&stream, caller) {
            Ok(ends) => ends,
            Err(why) => return self.refuse(&stream, why),
        };
        let way = self.now.way(ends.caller.ip(), ends.destination.ip());
        if self.now.mode == ListenMode::Proxy {
            match way {
                Some(way) => self.trace(stream, ends, way, None, guest).await,
                None => self.refuse(&stream, Redirected::NotAllowed),
            }
            return;
        }
        let blind = match &way {
            None if !self.now.is_allowed(ends) => return self.refuse(&stream, Redirected::NotAllowed),
            None => Some(Redirected::UnknownWorkload),
            Some(_) if self.now.blind_ports.contains(&ends.destination.port()) => Some(Redirected::BlindPort),
            Some(_) => None,
        };
        match (blind, way) {
            (None, Some(way)) => self.look(stream, ends, way, guest).await,
            (why, _) => {
                self.count(why.unwrap_or(Redirected::UnknownWorkload));
                self.pass(stream, Bytes::new(), None, ends, &guest).await;
            }
        }
    }

    /// Finds out what is spoken, and lets it pass as that.
    async fn look(mut self, mut stream: TcpStream, ends: Ends, way: Way, guest: Guest) {
        let dial = self.now.dial_for(ends.caller);
        let met = tokio::select! {
            met = meet(&mut stream, ends.to, &dial, self.now.patience) => met,
            () = guest.told_to_go() => return,
            _ = self.stop.wait_for(|stop| *stop) => return,
        };
        let Met { speaks, ahead, far } = match met {
            Ok(met) => met,
            Err(error) => {
                debug!(%error, to = %ends.to, "redirected connection not made");
                return self.refuse(&stream, Redirected::Unreachable);
            }
        };
        let why = match speaks {
            Speaks::Caller(protocol @ (Protocol::Http1 | Protocol::Http2)) => {
                return self
                    .trace(stream, ends, way, Some((protocol, ahead)), guest)
                    .await;
            }
            Speaks::Nobody => return self.count(Redirected::Gone),
            Speaks::Far => Redirected::ServerFirst,
            Speaks::Caller(Protocol::Tls) => Redirected::Tls,
            Speaks::Caller(Protocol::ToProxy) => Redirected::ToProxy,
            Speaks::Caller(Protocol::Other) => Redirected::Other,
        };
        self.count(why);
        self.pass(stream, ahead, far, ends, &guest).await;
    }

    /// Serves HTTP; what turns out to be none before anything was answered passes as it is.
    async fn trace(
        self,
        stream: TcpStream,
        ends: Ends,
        way: Way,
        met: Option<(Protocol, Bytes)>,
        guest: Guest,
    ) {
        let trial = Arc::new(Trial::default());
        let io = match met {
            Some((Protocol::Http1, ahead)) => Replay::on_trial(stream, ahead, trial.clone()),
            met => Replay::new(stream, met.map(|(_, ahead)| ahead).unwrap_or_default()),
        };
        let steered = Steered {
            current: self.current.clone(),
            way,
            caller: ends.caller.ip(),
            destination: ends.destination.ip(),
            onward: self.now.mode.is_transparent().then(|| self.now.onward(ends)),
            trial: trial.clone(),
        };
        let (now, over) = (self.now.clone(), self.now.over.clone());
        // It counts itself from here on.
        drop(guest);
        serve::connection(
            self.builders.clone(),
            self.told,
            io,
            ends.caller,
            Arc::new(steered),
        )
        .await;
        let Some((stream, ahead)) = trial.failed() else {
            return;
        };
        now.count(Redirected::NotUnderstood);
        let guest = Guest::of(Some(&now.admission));
        now.pass(stream, ahead, None, ends, over, &guest).await;
    }

    async fn pass(self, stream: TcpStream, ahead: Bytes, far: Option<TcpStream>, ends: Ends, guest: &Guest) {
        // It must not hold up the end of those that can be asked to end.
        drop(self.told);
        let over = self.now.over.clone();
        self.now.pass(stream, ahead, far, ends, over, guest).await;
    }

    fn refuse(&self, stream: &TcpStream, why: Redirected) {
        self.count(why);
        reset(stream);
    }

    fn count(&self, what: Redirected) {
        self.now.count(what);
    }
}

impl Transparent {
    /// Where a connection came from and where it goes, unless that is back to the agent.
    fn ends(&self, stream: &TcpStream, caller: SocketAddr) -> Result<Ends, Redirected> {
        let destination = sockets::destination(stream, self.mode).map_err(|_| Redirected::NoDestination)?;
        let ends = Ends {
            caller,
            destination,
            to: self.onward_to(destination),
        };
        if self.mode == ListenMode::Proxy {
            return Ok(ends);
        }
        let here = stream.local_addr().map_or(self.own, sockets::canonical);
        let directly = match self.mode {
            ListenMode::Tproxy => {
                let own = sockets::canonical(self.own);
                destination.port() == own.port()
                    && (own.ip().is_unspecified() || own.ip() == destination.ip())
            }
            _ => destination == here,
        };
        if directly || self.dial.is_own(caller, destination) {
            return Err(Redirected::Loop);
        }
        Ok(ends)
    }

    fn onward_to(&self, destination: SocketAddr) -> SocketAddr {
        match (self.deliver, destination.ip()) {
            (Deliver::Destination, _) => destination,
            (Deliver::Loopback, IpAddr::V4(_)) => (std::net::Ipv4Addr::LOCALHOST, destination.port()).into(),
            (Deliver::Loopback, IpAddr::V6(_)) => (std::net::Ipv6Addr::LOCALHOST, destination.port()).into(),
        }
    }

    /// Whose a connection is, by the end of it that is a workload's.
    pub(crate) fn way(&self, caller: IpAddr, destination: IpAddr) -> Option<Way> {
        match &self.whose {
            Whose::One(way) => Some(way.clone()),
            Whose::Node { table, .. } => table.of(self.workload_end(caller, destination)),
        }
    }

    fn is_allowed(&self, ends: Ends) -> bool {
        let end = self.workload_end(ends.caller.ip(), ends.destination.ip());
        match &self.whose {
            Whose::One(_) => true,
            Whose::Node { allow, .. } => allow.iter().any(|network| network.contains(end)),
        }
    }

    fn workload_end(&self, caller: IpAddr, destination: IpAddr) -> IpAddr {
        match self.direction {
            Direction::Outbound => caller,
            Direction::Inbound => destination,
        }
    }

    fn dial_for(&self, caller: SocketAddr) -> Dial {
        match self.preserve_source {
            Some(mark) => self.dial.clone().with_source(caller.ip(), mark),
            None => self.dial.clone(),
        }
    }

    fn onward(&self, ends: Ends) -> Onward {
        let own_pool = self.preserve_source.is_some();
        let connector = self.connector.clone();
        let connector = if own_pool {
            connector.dialled(self.dial_for(ends.caller))
        } else {
            connector
        };
        Onward::new(ends.to, connector, own_pool)
    }

    async fn pass(
        &self,
        stream: TcpStream,
        ahead: Bytes,
        far: Option<TcpStream>,
        ends: Ends,
        over: watch::Receiver<bool>,
        guest: &Guest,
    ) {
        guest.passes_unseen();
        let far = match far {
            Some(far) => far,
            None => match self.dial_for(ends.caller).connect(ends.to).await {
                Ok(far) => far,
                Err(error) => {
                    debug!(%error, to = %ends.to, "redirected connection not made");
                    reset(&stream);
                    return;
                }
            },
        };
        tunnel::pass(Replay::new(stream, ahead), far, over).await;
    }

    pub(crate) fn count(&self, what: Redirected) {
        self.metrics.redirected(self.direction, what);
    }
}

/// Lets the caller see that its connection failed: a plain end would look like an answer. Failing is harmless.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

#[cfg(fuzzing)]
pub(crate) fn fuzz_first_bytes(bytes: &[u8]) {
    for end in 0..bytes.len() {
        if let Some(early) = protocol::recognise(&bytes[..end]) {
            assert!(
                protocol::recognise(bytes) == Some(early),
                "a verdict was taken back"
            );
            return;
        }
    }
    let _ = protocol::settle(bytes);
}
