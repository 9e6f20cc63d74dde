//! Connections to where redirected callers were going.
//!
//! In: an address. Out: a TCP connection to exactly that address, marked and from whose address as configured.
//! Left out on purpose: names, which nobody has to resolve again; and time limits: the system's are what the caller would have
//! met.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::Uri;
use tokio::net::TcpStream;
use tracing::error;

use super::own_calls::OwnCalls;
use super::sockets;
use crate::BoxError;
use crate::connect::{LoopError, leads_to};
use crate::serve::keep_alive;

/// How connections are made for redirected callers.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    mark: Option<u32>,
    source: Option<SocketAddr>,
    own: Arc<OwnCalls>,
    forbidden: Arc<[SocketAddr]>,
}

/// The address cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("tcp connect error")]
pub(crate) struct DialError(#[source] io::Error);

/// The connection was redirected back to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent's own connection to `{0}` was redirected back to it: no rule leaves its user or its mark alone"
)]
pub(crate) struct CameBack(SocketAddr);

impl Dial {
    /// Connections with `mark`, except to the listeners `forbidden`.
    pub(crate) fn new(mark: Option<u32>, own: Arc<OwnCalls>, forbidden: Arc<[SocketAddr]>) -> Self {
        Self {
            mark,
            source: None,
            own,
            forbidden,
        }
    }

    /// The same, with the address of `caller` and a port of their own.
    pub(crate) fn with_source(self, caller: IpAddr, mark: u32) -> Self {
        Self {
            source: Some(SocketAddr::new(caller.to_canonical(), 0)),
            mark: Some(mark),
            ..self
        }
    }

    /// A connection to `to`.
    ///
    /// # Errors
    /// [`DialError`]; [`LoopError`] or [`CameBack`] where it leads back to the agent.
    pub(crate) async fn connect(&self, to: SocketAddr) -> Result<TcpStream, BoxError> {
        // Only an address of its family can be its source; of another one the agent's own is as good as any.
        let source = self.source.filter(|source| source.is_ipv4() == to.is_ipv4());
        let connected = async {
            let stream = sockets::dialling(to, source, self.mark)?.connect(to).await?;
            let here = stream.local_addr()?;
            Ok((stream, here))
        };
        let (stream, here) = connected.await.map_err(DialError)?;
        if self.own.made(here, to, Instant::now()) {
            came_back();
            return Err(CameBack(to).into());
        }
        if self.forbidden.iter().any(|own| leads_to(*own, here, to)) {
            return Err(LoopError(to).into());
        }
        // Without it small requests wait for the other side's delayed acknowledgement; failing is harmless.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        Ok(stream)
    }

    /// A connection to the address that is the host of `uri`.
    ///
    /// # Errors
    /// As [`Dial::connect`]; or the host is a name.
    pub(crate) async fn connect_to(&self, uri: &Uri) -> Result<TcpStream, BoxError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let ip = host
            .parse::<IpAddr>()
            .map_err(|error| DialError(io::Error::other(error)))?;
        self.connect(SocketAddr::new(ip, uri.port_u16().unwrap_or(80)))
            .await
    }

    /// Whether a connection that was accepted from `caller` is one of the agent's own.
    pub(crate) fn is_own(&self, caller: SocketAddr, to: SocketAddr) -> bool {
        let own = self.own.accepted(caller, to, Instant::now());
        if own {
            came_back();
        }
        own
    }
}

/// Says once what is wrong where every connection would say it.
fn came_back() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        error!(
            "the agent's own connections are redirected back to it and refused: no rule leaves its user or its mark alone"
        );
    });
}
