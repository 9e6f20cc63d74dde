//! The agent's listeners, bound before anything else happens.
//!
//! In: the addresses of the configuration. Out: listeners, or the first address that cannot be had.
//! Left out on purpose: accepting; see `serve.rs`.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{AgentConfig, InboundConfig, WorkloadConfig};
use crate::detect::Detected;
use crate::listen::ListenAddr;
use crate::run::AgentError;

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
    pub(crate) outbound: Vec<Bound<usize>>,
    pub(crate) grpc: Option<Bound<()>>,
    pub(crate) http: Option<Bound<()>>,
    pub(crate) sampling: Option<Bound<()>>,
    pub(crate) admin: Bound<()>,
}

impl Listeners {
    /// Binds all of them.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub(crate) async fn bind(
        config: &AgentConfig,
        workloads: &[(WorkloadConfig, Detected)],
    ) -> Result<Self, AgentError> {
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for (index, (workload, _)) in workloads.iter().enumerate() {
            for way in &workload.inbound {
                inbound.push(bind("inbound", way.listen, (index, way.clone())).await?);
            }
            if let Some(way) = &workload.outbound {
                outbound.push(bind("outbound", way.listen, index).await?);
            }
        }
        let (grpc, http) = (config.otlp.grpc, config.otlp.http);
        Ok(Self {
            inbound,
            outbound,
            grpc: bind_if("otlp.grpc", grpc).await?,
            http: bind_if("otlp.http", http).await?,
            sampling: bind_if("sampling.listen", config.sampling.listen).await?,
            admin: bind("admin", config.admin.listen, ()).await?,
        })
    }

    /// The addresses that were bound.
    pub(crate) fn addresses<T>(bound: &[Bound<T>]) -> Vec<SocketAddr> {
        bound.iter().map(|bound| bound.address).collect()
    }
}

async fn bind_if(key: &str, listen: Option<ListenAddr>) -> Result<Option<Bound<()>>, AgentError> {
    match listen {
        Some(listen) => bind(key, listen, ()).await.map(Some),
        None => Ok(None),
    }
}

async fn bind<T>(key: &str, listen: ListenAddr, what: T) -> Result<Bound<T>, AgentError> {
    let failed = |source| AgentError::Listen {
        key: format!("agent.{key}"),
        address: listen.0,
        source,
    };
    let listener = TcpListener::bind(listen.0).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound {
        listener,
        address,
        what,
    })
}
