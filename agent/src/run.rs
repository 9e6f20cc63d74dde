//! The agent as a whole: how it is started, what it says of itself while it runs, and how it ends in good order.
//!
//! In: an [`AgentConfig`]. Out: a [`Running`] agent with the addresses it bound.
//! Left out on purpose: signals and logs, which belong to whoever runs the agent; and the wiring, see `start.rs`.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ::config::Finding;
use otlp::export::ExportSettingsError;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::info;

use crate::bound::Sockets;
use crate::config::AgentConfig;
use crate::detect::Detected;
use crate::pods::Watching;
use crate::reload::{AllDoors, ConfigSource, Export, Generation, Kept, Planned};
use crate::start::start;

const GRACE: Duration = Duration::from_millis(500);

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration has problems; see [`AgentConfig::check`].
    #[error("the agent cannot start: {}", listed(.0))]
    Config(Vec<Finding>),
    /// An address is taken, not of this host, or needs a privilege.
    #[error("cannot listen at `{address}`, the address of `{key}`")]
    Listen {
        /// The key it comes from.
        key: String,
        /// The address as written.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of the access log cannot be opened.
    #[error("cannot write the access log to `{path}`, from `agent.edges.access_log`")]
    AccessLog {
        /// The path as written.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no thread to run requests on.
    #[error("cannot start a thread for requests, see `agent.threads`")]
    Threads(#[source] std::io::Error),
    /// The exporter refused its settings.
    #[error("cannot export spans")]
    Export(#[source] ExportSettingsError),
    /// The metrics library refused a series.
    #[error("cannot register the agent's metrics")]
    Metrics(#[source] prometheus::Error),
}

impl AgentError {
    pub(crate) fn config(path: &str, message: String) -> Self {
        Self::Config(vec![Finding {
            path: path.to_owned(),
            message,
            hint: None,
        }])
    }
}

fn listed(findings: &[Finding]) -> String {
    let line = |finding: &Finding| match &finding.hint {
        Some(hint) => format!("{}: {hint}", finding.message),
        None => finding.message.clone(),
    };
    findings.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// The agent.
#[derive(Debug)]
pub struct Agent;

/// A running agent. Dropped without [`Running::stop`], it stops at once and loses what the collector has not taken.
pub struct Running {
    /// Addresses of the inbound listeners, in the order of the configuration, those of all workloads in theirs; after them
    /// those of redirected connections, the node's last.
    pub inbound_addrs: Vec<SocketAddr>,
    /// Addresses of the outbound proxies, in the order of the workloads that have one; after them those of redirected
    /// connections, the node's last.
    pub outbound_addrs: Vec<SocketAddr>,
    /// Addresses of the listeners of `queues`, in the order of the configuration, those of all workloads in theirs.
    pub queue_addrs: Vec<SocketAddr>,
    /// Address of OTLP/gRPC, where it is on.
    pub otlp_grpc_addr: Option<SocketAddr>,
    /// Address of OTLP/HTTP, where it is on.
    pub otlp_http_addr: Option<SocketAddr>,
    /// Address of the sampling strategies, where it is on.
    pub sampling_addr: Option<SocketAddr>,
    /// Address of the same over gRPC, where it is on.
    pub sampling_grpc_addr: Option<SocketAddr>,
    /// Address of `/metrics` and the like.
    pub admin_addr: SocketAddr,
    /// What is in force.
    pub(crate) config: Box<AgentConfig>,
    pub(crate) detected: Detected,
    pub(crate) planned: Planned,
    pub(crate) pods: Watching,
    pub(crate) kept: Kept,
    pub(crate) signals: Signals,
    pub(crate) ending: Ending,
    pub(crate) encoder: JoinHandle<()>,
    pub(crate) sockets: Sockets,
    pub(crate) doors: AllDoors,
    pub(crate) export: Export,
    pub(crate) generation: Generation,
    pub(crate) servers: JoinSet<()>,
    pub(crate) admins: JoinSet<()>,
    pub(crate) followers: JoinSet<()>,
    pub(crate) retiring: JoinSet<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("inbound_addrs", &self.inbound_addrs)
            .field("outbound_addrs", &self.outbound_addrs)
            .field("admin_addr", &self.admin_addr)
            .finish_non_exhaustive()
    }
}

/// An error and its causes, in one line.
pub(crate) fn told(error: &AgentError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs an agent until `shutdown`, then lets requests in flight end and hands over what spans are left.
///
/// Meanwhile it goes on as `source` says, whenever that changes.
///
/// # Errors
/// As [`Agent::start`].
pub async fn run(
    config: AgentConfig,
    source: Option<ConfigSource>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let mut running = Agent::start(config).await?;
    running.follow(source, shutdown).await;
    running.stop().await;
    Ok(())
}

impl Agent {
    /// Binds every listener, then starts. When this returns, connections are accepted.
    ///
    /// # Errors
    /// Every problem of the configuration, or the first listener that cannot be bound.
    pub async fn start(config: AgentConfig) -> Result<Running, AgentError> {
        Self::start_in(config, Detected::from_process()).await
    }

    /// As [`Agent::start`], in the given environment.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_in(config: AgentConfig, detected: Detected) -> Result<Running, AgentError> {
        let findings = config.check_with(&detected);
        if !findings.is_empty() {
            return Err(AgentError::Config(findings));
        }
        // It holds every part of an agent on its way.
        let running = Box::pin(start(config, detected)).await?;
        let Running {
            inbound_addrs,
            outbound_addrs,
            otlp_grpc_addr,
            otlp_http_addr,
            admin_addr,
            ..
        } = &running;
        info!(?inbound_addrs, ?outbound_addrs, ?otlp_grpc_addr, ?otlp_http_addr, %admin_addr, "agent started");
        Ok(running)
    }
}

/// The end comes in steps, each told to those it concerns.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Whoever chooses among agents should choose another.
    pub(crate) leaving: watch::Sender<bool>,
    /// No more connections are taken.
    pub(crate) stopping: watch::Sender<bool>,
    /// No more requests are in flight.
    pub(crate) served: watch::Sender<bool>,
    /// Nothing is left to do.
    pub(crate) over: watch::Sender<bool>,
}

/// Where the steps are heard.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub(crate) leaving: watch::Receiver<bool>,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) served: watch::Receiver<bool>,
    pub(crate) over: watch::Receiver<bool>,
}

impl Signals {
    pub(crate) fn new() -> (Self, Ending) {
        let [leaving, stopping, served, over] = [(); 4].map(|()| watch::channel(false));
        let ending = Ending {
            leaving: leaving.1,
            stopping: stopping.1,
            served: served.1,
            over: over.1,
        };
        (
            Self {
                leaving: leaving.0,
                stopping: stopping.0,
                served: served.0,
                over: over.0,
            },
            ending,
        )
    }
}

impl Running {
    /// An agent that does nothing yet.
    pub(crate) fn idle(
        config: AgentConfig,
        detected: Detected,
        kept: Kept,
        (signals, ending): (Signals, Ending),
        encoder: JoinHandle<()>,
    ) -> Self {
        Self {
            inbound_addrs: Vec::new(),
            outbound_addrs: Vec::new(),
            queue_addrs: Vec::new(),
            otlp_grpc_addr: None,
            otlp_http_addr: None,
            sampling_addr: None,
            sampling_grpc_addr: None,
            admin_addr: config.admin.listen.0,
            config: Box::new(config),
            detected,
            planned: Planned::default(),
            pods: Watching::default(),
            kept,
            signals,
            ending,
            encoder,
            sockets: Sockets::default(),
            doors: AllDoors::default(),
            export: Export::default(),
            generation: Generation::default(),
            servers: JoinSet::new(),
            admins: JoinSet::new(),
            followers: JoinSet::new(),
            retiring: JoinSet::new(),
        }
    }

    /// Says at `/readyz` and to callers of HTTP/1.1 that it is leaving, serves on for `agent.drain_delay`, then takes no more
    /// connections, lets requests in flight end, and hands the last spans to the collector; each for at most
    /// `agent.export.drain`. Tunnels are cut last.
    pub async fn stop(mut self) {
        let drain = self.config.export.drain.0;
        self.signals.leaving.send_replace(true);
        self.kept.admission.leave();
        tokio::time::sleep(self.config.drain_delay.0).await;
        self.signals.stopping.send_replace(true);
        self.sockets = Sockets::default();
        self.doors.stop();
        let served = tokio::time::timeout(drain + GRACE, async {
            while self.servers.join_next().await.is_some() {}
        });
        if served.await.is_err() {
            self.servers.shutdown().await;
        }
        self.signals.served.send_replace(true);
        // It ends with its queue, and a panic in it has been reported where it happened.
        let _ = (&mut self.encoder).await;
        self.export.stop(drain).await;
        while self.retiring.join_next().await.is_some() {}
        self.generation.flush_logs().await;
        self.signals.over.send_replace(true);
        self.doors.admin.stop();
        while self.admins.join_next().await.is_some() {}
        info!("agent stopped");
    }
}
