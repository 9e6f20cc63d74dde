//! What stands before the agent's own listeners: those of OTLP and of its metrics.
//!
//! In: the keys `tls` and `access`. Out: TLS, and what is asked of a request; both counted.
//! Left out on purpose: proxies, which ask nobody who they are: a listener beyond loopback has an `allow` list.

use std::net::SocketAddr;
use std::sync::Arc;

use otlp::access::{Access, AccessObserver, AccessSettings, HostNames};
use otlp::tls::{Listening, Reload, ServerTls};
use tokio::net::TcpListener;

use crate::config::ServerTlsConfig;
use crate::run::AgentError;
use crate::telemetry::{Metrics, TlsSide};
use crate::tls;

/// Which listener it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// OTLP of SDKs.
    Otlp,
    /// `/metrics` and the like.
    Admin,
    /// Sampling strategies.
    Sampling,
}

/// TLS and access of one listener. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) tls: Option<ServerTls>,
    pub(crate) access: Access,
}

/// Counts what one listener denies.
struct Counts {
    metrics: Arc<Metrics>,
    listener: &'static str,
}

impl AccessObserver for Counts {
    fn denied(&self, reason: &'static str, _: Option<usize>) {
        self.metrics.denied(self.listener, reason);
    }

    fn reload(&self, outcome: Reload) {
        self.metrics.token_reload(self.listener, outcome);
    }
}

impl Door {
    /// Reads the files, and follows them. `bound` is where a browser could be led to, and `hosts` the names
    /// that it may use there.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(crate) fn new(
        own: Own,
        (tls, access): (Option<&ServerTlsConfig>, &AccessSettings),
        (bound, hosts): (Option<SocketAddr>, &[String]),
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AgentError> {
        let (key, listener, side) = match own {
            Own::Otlp => ("agent.otlp", "otlp", TlsSide::Otlp),
            Own::Admin => ("agent.admin", "admin", TlsSide::Admin),
            Own::Sampling => ("agent.sampling", "sampling", TlsSide::Sampling),
        };
        let tls = tls.map(|tls| tls::server(tls, side, metrics)).transpose();
        let tls = tls.map_err(|error| AgentError::config(&format!("{key}.tls"), error.chain()))?;
        let counts = Arc::new(Counts {
            metrics: metrics.clone(),
            listener,
        });
        let looked_at = bound.is_some_and(|bound| bound.ip().is_loopback());
        let hosts = match own {
            Own::Otlp if looked_at => HostNames::OfBrowsers(hosts),
            Own::Admin if looked_at => HostNames::Only(hosts),
            _ => HostNames::Any,
        };
        let access = Access::new(access, hosts, counts);
        let access =
            access.map_err(|error| AgentError::config(&format!("{key}.access.tokens"), error.to_string()))?;
        Ok(Self { tls, access })
    }

    /// A listener behind it.
    pub(crate) fn before(&self, tcp: TcpListener) -> Listening {
        Listening {
            tcp,
            tls: self.tls.clone(),
            access: self.access.clone(),
        }
    }
}
