//! The agent's listeners, bound before anything else happens.
//!
//! In: the addresses of the configuration, and the sockets that are open already. Out: listeners, or the first address that
//! cannot be had.
//! Left out on purpose: accepting; see `serve.rs`.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{AgentConfig, InboundConfig, ListenMode, OutboundConfig, QueueConfig, WorkloadConfig};
use crate::detect::Detected;
use crate::listen::ListenAddr;
use crate::run::AgentError;
use crate::transparent::{Redirecting, accept_any_address};

/// A bound listener and what is to stand behind it.
pub(crate) struct Bound<T> {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) what: T,
}

/// Every listener of an agent.
pub(crate) struct Listeners {
    /// With the number of the workload.
    pub(crate) inbound: Vec<Bound<(usize, InboundConfig)>>,
    /// With the number of the workload.
    pub(crate) outbound: Vec<Bound<(usize, OutboundConfig)>>,
    /// With the number of the workload.
    pub(crate) queues: Vec<Bound<(usize, QueueConfig)>>,
    pub(crate) redirecting: Redirecting,
    pub(crate) grpc: Option<Bound<()>>,
    pub(crate) http: Option<Bound<()>>,
    /// Over HTTP, and over gRPC.
    pub(crate) sampling: [Option<Bound<()>>; 2],
    pub(crate) admin: Bound<()>,
}

/// The open sockets of an agent, beside the listeners that accept on them, so that whoever accepts can be replaced without
/// a moment in which nobody does. Dropped, an address is free once its listener is gone too.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    key: &'static str,
    /// As configured, perhaps with port 0.
    listen: SocketAddr,
    open: std::net::TcpListener,
}

impl Listeners {
    /// Binds all of them; what `before` has open stays open. The sockets are those of the listeners.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub(crate) async fn bind(
        config: &AgentConfig,
        workloads: &[(WorkloadConfig, Detected)],
        before: &Sockets,
    ) -> Result<(Self, Sockets), AgentError> {
        let mut binder = Binder::new(before);
        let (mut inbound, mut outbound, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        let mut redirecting = Redirecting::default();
        for (index, (workload, _)) in workloads.iter().enumerate() {
            for way in &workload.inbound {
                let bound = binder.bind("inbound", way.listen, (index, way.clone())).await?;
                let proxy = way.mode == ListenMode::Proxy;
                let into = if proxy {
                    &mut inbound
                } else {
                    &mut redirecting.inbound
                };
                into.push(receptive(way.mode, "inbound", bound)?);
            }
            for queue in &workload.queues {
                queues.push(
                    binder
                        .bind("queues", queue.listen, (index, queue.clone()))
                        .await?,
                );
            }
            if let Some(way) = &workload.outbound {
                let bound = binder.bind("outbound", way.listen, (index, way.clone())).await?;
                let proxy = way.mode == ListenMode::Proxy;
                let into = if proxy {
                    &mut outbound
                } else {
                    &mut redirecting.outbound
                };
                into.push(receptive(way.mode, "outbound", bound)?);
            }
        }
        if let Some(way) = &config.node.inbound {
            let bound = binder.bind("node.inbound", way.listen, way.clone()).await?;
            redirecting.node_inbound = Some(receptive(way.mode, "node.inbound", bound)?);
        }
        if let Some(way) = &config.node.outbound {
            let bound = binder.bind("node.outbound", way.listen, way.clone()).await?;
            redirecting.node_outbound = Some(receptive(way.mode, "node.outbound", bound)?);
        }
        let (grpc, http) = (config.otlp.grpc, config.otlp.http);
        let listeners = Self {
            inbound,
            outbound,
            queues,
            redirecting,
            grpc: binder.bind_if("otlp.grpc", grpc).await?,
            http: binder.bind_if("otlp.http", http).await?,
            sampling: [
                binder.bind_if("sampling.listen", config.sampling.listen).await?,
                binder.bind_if("sampling.grpc", config.sampling.grpc).await?,
            ],
            admin: binder.bind("admin", config.admin.listen, ()).await?,
        };
        Ok((listeners, binder.open))
    }

    /// The addresses that were bound.
    pub(crate) fn addresses<T>(bound: &[Bound<T>]) -> Vec<SocketAddr> {
        bound.iter().map(|bound| bound.address).collect()
    }
}

/// The listener, so that it takes connections to addresses that are not this host's where its mode needs that.
fn receptive<T>(mode: ListenMode, key: &str, bound: Bound<T>) -> Result<Bound<T>, AgentError> {
    if mode == ListenMode::Tproxy {
        accept_any_address(&bound.listener).map_err(|source| AgentError::Listen {
            key: format!("agent.{key}"),
            address: bound.address,
            source,
        })?;
    }
    Ok(bound)
}

/// Binds what is not open yet.
struct Binder<'a> {
    before: Vec<Option<&'a Socket>>,
    open: Sockets,
}

impl<'a> Binder<'a> {
    fn new(before: &'a Sockets) -> Self {
        Self {
            before: before.0.iter().map(Some).collect(),
            open: Sockets::default(),
        }
    }

    async fn bind_if(
        &mut self,
        key: &'static str,
        listen: Option<ListenAddr>,
    ) -> Result<Option<Bound<()>>, AgentError> {
        match listen {
            Some(listen) => self.bind(key, listen, ()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn bind<T>(
        &mut self,
        key: &'static str,
        listen: ListenAddr,
        what: T,
    ) -> Result<Bound<T>, AgentError> {
        let failed = |source| AgentError::Listen {
            key: format!("agent.{key}"),
            address: listen.0,
            source,
        };
        let socket = self.socket(key, listen.0).await.map_err(failed)?;
        let listener = socket.try_clone().and_then(TcpListener::from_std);
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        self.open.0.push(Socket {
            key,
            listen: listen.0,
            open: socket,
        });
        Ok(Bound {
            listener,
            address,
            what,
        })
    }

    /// The one that is open already, or a new one.
    async fn socket(&mut self, key: &'static str, listen: SocketAddr) -> io::Result<std::net::TcpListener> {
        let same = |socket: &&mut Option<&Socket>| {
            socket.is_some_and(|socket| socket.key == key && socket.listen == listen)
        };
        match self.before.iter_mut().find(same).and_then(Option::take) {
            Some(known) => known.open.try_clone(),
            None => TcpListener::bind(listen).await?.into_std(),
        }
    }
}
