//! The agent as a whole: how it is started, what it says of itself while it runs, and how it ends in good order.
//!
//! In: an [`AgentConfig`]. Out: a [`Running`] agent with the addresses it bound.
//! Left out on purpose: signals and logs, which belong to whoever runs the agent; and the wiring, see `start.rs`.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ::config::Finding;
use otlp::export::{ExportSettingsError, Exporter};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info};

use crate::access_log::AccessLog;
use crate::bound::Listeners;
use crate::config::AgentConfig;
use crate::detect::Detected;
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
#[derive(Debug)]
pub struct Running {
    /// Addresses of the inbound listeners, in the order of the configuration, those of all workloads in theirs.
    pub inbound_addrs: Vec<SocketAddr>,
    /// Addresses of the outbound proxies, in the order of the workloads that have one.
    pub outbound_addrs: Vec<SocketAddr>,
    /// Address of OTLP/gRPC, where it is on.
    pub otlp_grpc_addr: Option<SocketAddr>,
    /// Address of OTLP/HTTP, where it is on.
    pub otlp_http_addr: Option<SocketAddr>,
    /// Address of the sampling strategies, where it is on.
    pub sampling_addr: Option<SocketAddr>,
    /// Address of `/metrics` and the like.
    pub admin_addr: SocketAddr,
    pub(crate) signals: Signals,
    pub(crate) servers: JoinSet<()>,
    pub(crate) admin: JoinHandle<()>,
    pub(crate) encoder: Option<JoinHandle<()>>,
    pub(crate) reporter: Option<JoinHandle<()>>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) exporter: Option<Exporter>,
    pub(crate) drain: Duration,
}

/// Runs an agent until `shutdown`, then lets requests in flight end and hands over what spans are left.
///
/// # Errors
/// As [`Agent::start`].
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let running = Agent::start(config).await?;
    shutdown.await;
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
        let flat = config.flat_workload();
        let named: Vec<_> = flat.map(|flat| (flat, detected)).into_iter().collect();
        let listed = config
            .workloads
            .iter()
            .map(|workload| (workload.clone(), Detected::default()));
        let workloads: Vec<_> = named.into_iter().chain(listed).collect();
        let listeners = Listeners::bind(&config, &workloads).await?;
        start(&config, &workloads, listeners)
    }
}

/// The end comes in steps, each told to those it concerns.
#[derive(Debug)]
pub(crate) struct Signals {
    /// No more connections are taken.
    pub(crate) stopping: watch::Sender<bool>,
    /// No more requests are in flight.
    pub(crate) served: watch::Sender<bool>,
    /// Nothing is left to do.
    pub(crate) over: watch::Sender<bool>,
}

/// Where the steps are heard.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) served: watch::Receiver<bool>,
    pub(crate) over: watch::Receiver<bool>,
}

impl Signals {
    pub(crate) fn new() -> (Self, Ending) {
        let [stopping, served, over] = [(); 3].map(|()| watch::channel(false));
        let ending = Ending {
            stopping: stopping.1,
            served: served.1,
            over: over.1,
        };
        (
            Self {
                stopping: stopping.0,
                served: served.0,
                over: over.0,
            },
            ending,
        )
    }
}

impl Running {
    /// Takes no more connections, lets requests in flight end, hands the last spans to the collector; each for at most
    /// `agent.export.drain`. Tunnels are cut last.
    pub async fn stop(mut self) {
        self.signals.stopping.send_replace(true);
        let served = tokio::time::timeout(self.drain + GRACE, async {
            while self.servers.join_next().await.is_some() {}
        });
        if served.await.is_err() {
            self.servers.shutdown().await;
        }
        self.signals.served.send_replace(true);
        if let Some(encoder) = self.encoder.take() {
            // It ends with its queue, and a panic in it has been reported where it happened.
            let _ = encoder.await;
        }
        if let Some(exporter) = self.exporter.take()
            && let Err(lost) = exporter.shutdown(self.drain).await
        {
            error!(
                spans = lost.spans,
                "spans lost: the collector did not take them before the agent stopped"
            );
        }
        if let Some(reporter) = self.reporter.take() {
            // It hands over the last counts for as long as the exporter had for spans.
            let _ = reporter.await;
        }
        if let Some(log) = self.access_log.take() {
            log.flush().await;
        }
        self.signals.over.send_replace(true);
        let _ = (&mut self.admin).await;
        info!("agent stopped");
    }
}
