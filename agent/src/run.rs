//! The agent as a whole: listeners first, then everything behind them, then the end in good order.
//!
//! In: an [`AgentConfig`]. Out: a [`Running`] agent with the addresses it bound.
//! Left out on purpose: signals and logs, which belong to whoever runs the agent.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::config::Finding;
use otlp::export::{ExportSettings, ExportSettingsError, Exporter};
use otlp::intake::{Limits, serve_grpc, serve_http};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::check::parse_address;
use crate::config::{AgentConfig, Compression, ExportConfig, WorkloadConfig};
use crate::connect::Connector;
use crate::detect::Detected;
use crate::inbound::Inbound;
use crate::listen::ListenAddr;
use crate::outbound::Outbound;
use crate::pipeline::{self, Published, SpanQueue};
use crate::relay::{Relay, RelayObserver};
use crate::serve::serve;
use crate::telemetry::Metrics;
use crate::workload::{Shared, Workload};

/// Beyond the drain: what a server needs to notice that its time is up.
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
    /// The exporter refused its settings.
    #[error("cannot export spans")]
    Export(#[source] ExportSettingsError),
    /// The metrics library refused a series.
    #[error("cannot register the agent's metrics")]
    Metrics(#[source] prometheus::Error),
}

impl AgentError {
    fn config(path: &str, message: String) -> Self {
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
    /// Address of `/metrics` and the like.
    pub admin_addr: SocketAddr,
    signals: Signals,
    servers: JoinSet<()>,
    admin: JoinHandle<()>,
    encoder: Option<JoinHandle<()>>,
    exporter: Option<Exporter>,
    drain: Duration,
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

/// A bound listener and what is to stand behind it.
struct Bound<T> {
    listener: TcpListener,
    address: SocketAddr,
    what: T,
}

struct Listeners {
    inbound: Vec<Bound<(usize, String)>>,
    outbound: Vec<Bound<usize>>,
    grpc: Option<Bound<()>>,
    http: Option<Bound<()>>,
    admin: Bound<()>,
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

impl Listeners {
    async fn bind(
        config: &AgentConfig,
        workloads: &[(WorkloadConfig, Detected)],
    ) -> Result<Self, AgentError> {
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for (index, (workload, _)) in workloads.iter().enumerate() {
            for way in &workload.inbound {
                inbound.push(bind("inbound", way.listen, (index, way.upstream.clone())).await?);
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
            admin: bind("admin", config.admin.listen, ()).await?,
        })
    }

    fn addresses<T>(bound: &[Bound<T>]) -> Vec<SocketAddr> {
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

/// Starts what stands behind the listeners. It waits for nothing, so that either everything runs or nothing does.
fn start(
    config: &AgentConfig,
    workloads: &[(WorkloadConfig, Detected)],
    listeners: Listeners,
) -> Result<Running, AgentError> {
    let metrics = Arc::new(Metrics::new().map_err(AgentError::Metrics)?);
    let exporter = exporter(&config.export)?;
    let (spans, queue) = SpanQueue::new(exporter.as_ref(), metrics.clone());
    let shared = Arc::new(shared(config, metrics.clone(), spans.clone()));
    let workloads = run_time(workloads, &shared)?;
    let (signals, ending) = Signals::new();
    let ways = Ways {
        ending: ending.clone(),
        drain: config.export.drain.0,
        workloads,
    };
    let addresses = (
        Listeners::addresses(&listeners.inbound),
        Listeners::addresses(&listeners.outbound),
    );
    let otlp_grpc_addr = listeners.grpc.as_ref().map(|bound| bound.address);
    let otlp_http_addr = listeners.http.as_ref().map(|bound| bound.address);
    let admin_addr = listeners.admin.address;

    let mut servers = JoinSet::new();
    ways.inbound(listeners.inbound, &addresses, &mut servers)?;
    ways.outbound(listeners.outbound, &addresses.1, &mut servers);
    let relay = Relay {
        exporter: exporter.clone(),
        limit: config.export.buffer.max_size.bytes(),
        spans,
    };
    relayed(
        listeners.grpc,
        listeners.http,
        &relay,
        &metrics,
        &ending,
        &mut servers,
    );
    let encoder = queue
        .zip(exporter.clone())
        .map(|(queue, exporter)| tokio::spawn(pipeline::encode(queue, exporter, ending.served.clone())));
    let published = exporter
        .clone()
        .map(|exporter| Arc::new(Published::new(exporter)));
    let admin = Arc::new(Admin {
        metrics,
        published,
        stop: ending.stopping.clone(),
    });
    let admin = tokio::spawn(serve(
        listeners.admin.listener,
        admin,
        ending.over.clone(),
        Duration::ZERO,
    ));
    let (inbound_addrs, outbound_addrs) = addresses;
    info!(?inbound_addrs, ?outbound_addrs, ?otlp_grpc_addr, ?otlp_http_addr, %admin_addr, "agent started");
    Ok(Running {
        inbound_addrs,
        outbound_addrs,
        otlp_grpc_addr,
        otlp_http_addr,
        admin_addr,
        signals,
        servers,
        admin,
        encoder,
        exporter,
        drain: config.export.drain.0,
    })
}

/// The end comes in steps, each told to those it concerns.
#[derive(Debug)]
struct Signals {
    /// No more connections are taken.
    stopping: watch::Sender<bool>,
    /// No more requests are in flight.
    served: watch::Sender<bool>,
    /// Nothing is left to do.
    over: watch::Sender<bool>,
}

#[derive(Clone)]
struct Ending {
    stopping: watch::Receiver<bool>,
    served: watch::Receiver<bool>,
    over: watch::Receiver<bool>,
}

impl Signals {
    fn new() -> (Self, Ending) {
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
        self.signals.over.send_replace(true);
        let _ = (&mut self.admin).await;
        info!("agent stopped");
    }
}

fn shared(config: &AgentConfig, metrics: Arc<Metrics>, spans: SpanQueue) -> Shared {
    // Checked before: `AgentConfig::check_with` asks for the same.
    let propagator = propagation::Propagator::new(config.propagation.for_propagator()).unwrap_or_default();
    let correlation_header = config
        .propagation
        .correlation_headers
        .first()
        .map(|name| name.to_ascii_lowercase());
    Shared {
        propagator,
        correlation_header,
        metrics,
        spans,
    }
}

fn run_time(
    workloads: &[(WorkloadConfig, Detected)],
    shared: &Arc<Shared>,
) -> Result<Vec<Arc<Workload>>, AgentError> {
    let workload = |(config, detected): &(WorkloadConfig, Detected)| {
        let made = Workload::new(config, detected, shared.clone());
        made.map(Arc::new)
            .map_err(|message| AgentError::config("agent.routes", message))
    };
    workloads.iter().map(workload).collect()
}

/// The proxies of all workloads.
struct Ways {
    ending: Ending,
    drain: Duration,
    workloads: Vec<Arc<Workload>>,
}

impl Ways {
    fn inbound(
        &self,
        bound: Vec<Bound<(usize, String)>>,
        own: &(Vec<SocketAddr>, Vec<SocketAddr>),
        servers: &mut JoinSet<()>,
    ) -> Result<(), AgentError> {
        let connector = Connector::new(own.0.iter().chain(&own.1).copied().collect());
        for Bound {
            listener,
            what: (index, upstream),
            ..
        } in bound
        {
            let authority = parse_address(&upstream);
            let authority = authority.ok_or_else(|| AgentError::config("agent.inbound", upstream))?;
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let inbound = Inbound::new(workload, authority, connector.clone(), self.ending.over.clone());
            servers.spawn(serve(
                listener,
                Arc::new(inbound),
                self.ending.stopping.clone(),
                self.drain,
            ));
        }
        Ok(())
    }

    /// A call may go to an inbound listener: that of another workload, or the service calling itself. Only a forward proxy
    /// that calls a forward proxy of the same agent is a loop.
    fn outbound(&self, bound: Vec<Bound<usize>>, own: &[SocketAddr], servers: &mut JoinSet<()>) {
        for Bound {
            listener,
            address,
            what: index,
        } in bound
        {
            if !address.ip().is_loopback() {
                warn!(%address, "the outbound proxy serves every host that reaches this address");
            }
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let outbound = Outbound::new(workload, Connector::new(own.into()), self.ending.over.clone());
            servers.spawn(serve(
                listener,
                Arc::new(outbound),
                self.ending.stopping.clone(),
                self.drain,
            ));
        }
    }
}

fn relayed(
    grpc: Option<Bound<()>>,
    http: Option<Bound<()>>,
    relay: &Relay,
    metrics: &Arc<Metrics>,
    ending: &Ending,
    servers: &mut JoinSet<()>,
) {
    let observer = Arc::new(RelayObserver(metrics.clone()));
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An agent that is gone has stopped.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    if let Some(bound) = grpc {
        let (relay, observer, stopped) = (relay.clone(), observer.clone(), stopped(ending.stopping.clone()));
        servers.spawn(async move {
            if let Err(error) = serve_grpc(bound.listener, relay, Limits::default(), observer, stopped).await
            {
                error!(%error, "the OTLP/gRPC relay ended");
            }
        });
    }
    if let Some(bound) = http {
        let (relay, stopped) = (relay.clone(), stopped(ending.stopping.clone()));
        servers.spawn(async move {
            if let Err(error) = serve_http(bound.listener, relay, Limits::default(), observer, stopped).await
            {
                error!(%error, "the OTLP/HTTP relay ended");
            }
        });
    }
}

fn exporter(config: &ExportConfig) -> Result<Option<Exporter>, AgentError> {
    let Some(endpoint) = &config.endpoint else {
        return Ok(None);
    };
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        max_buffer_bytes: config.buffer.max_size.as_usize(),
        max_delay: config.delay.0,
        request_timeout: config.timeout.0,
        compression: match config.compression {
            Compression::None => otlp::export::Compression::None,
            Compression::Gzip => otlp::export::Compression::Gzip,
            Compression::Zstd => otlp::export::Compression::Zstd,
        },
        instance: instance(),
        ..ExportSettings::default()
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

/// A name no other start of any agent has.
fn instance() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("agent-{}-{:016x}", now.as_secs(), rand::random::<u64>())
}
