//! The wiring of an agent: what stands behind each listener.
//!
//! In: configuration and bound listeners. Out: a [`Running`] agent, and the parts that each configuration makes anew.
//! Left out on purpose: the order in which one configuration takes over from another, see `reload/apply.rs`.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otlp::export::{DiskSettings, ExportSettings, ExportSignal, Exporter};
use otlp::intake::{Limits, Sinks, serve_grpc, serve_http};
use otlp::tls::{ClientTls, Listening, ServerTls};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::bound::{Bound, Listeners};
use crate::check::parse_target;
use crate::config::{
    AgentConfig, BufferConfig, ClientTlsConfig, Compression, Durability, EdgeMode, EdgesConfig, ExportConfig,
    ExportProtocol, InboundConfig, OutboundConfig, Overflow, QueueConfig, ServerTlsConfig, WorkloadConfig,
};
use crate::connect::Connector;
use crate::detect::Detected;
use crate::edges::report::DISK_BYTES;
use crate::export_rules;
use crate::inbound::{Inbound, Upstream};
use crate::limits;
use crate::outbound::Outbound;
use crate::pipeline;
use crate::plan::Plan;
use crate::queues::{Queue, QueueMetrics};
use crate::relay::{Relay, RelayObserver};
use crate::reload::{Kept, Wanted};
use crate::remote_sampling::{Followed, follow};
use crate::run::{AgentError, Ending, Running, Signals};
use crate::telemetry::{Metrics, TlsSide};
use crate::tls::{self, Origin};
use crate::workers::Workers;
use crate::workload::{Before, Shared, Workload};

/// Starts an agent: with nothing, and then as `config` says.
///
/// # Errors
/// A listener cannot be bound, or the exporter, the access log or the metrics library refuses its settings.
pub(crate) async fn start(config: AgentConfig, detected: Detected) -> Result<Running, AgentError> {
    limits::raise_open_files();
    let metrics = Arc::new(Metrics::new().map_err(AgentError::Metrics)?);
    let (signals, ending) = Signals::new();
    let workers = Workers::start(config.threads.unwrap_or(NonZeroU16::MIN)).map_err(AgentError::Threads)?;
    let (kept, queue) = Kept::new(&config, metrics, workers).map_err(AgentError::Metrics)?;
    let (spans, outlet) = (kept.spans.where_exported(false), kept.outlet.clone());
    let encoder = tokio::spawn(pipeline::encode(spans, queue, outlet, ending.served.clone()));
    let mut running = Running::idle(config.clone(), detected, kept, (signals, ending), encoder);
    running.apply(config).await?;
    Ok(running)
}

/// What every request meets under `config`.
///
/// # Errors
/// The access log cannot be opened.
pub(crate) fn shared(config: &AgentConfig, plan: Option<&Plan>, kept: &Kept) -> Result<Shared, AgentError> {
    // Checked before: `AgentConfig::check_with` asks for the same.
    let propagator = propagation::Propagator::new(config.propagation.for_propagator()).unwrap_or_default();
    let correlation_header = config
        .propagation
        .correlation_headers
        .first()
        .map(|name| name.to_ascii_lowercase());
    kept.admission.renew(&config.limits);
    let edges = &config.edges;
    let exported = config.export.endpoint.is_some();
    Ok(Shared {
        propagator,
        correlation_header,
        signed_requests: config.propagation.signed_requests,
        spans: kept.spans.where_exported(exported),
        edges: (edges.counts && exported).then(|| kept.counts.clone()),
        access_log: access_log(edges, plan, &kept.metrics)?,
        callers: kept.callers.clone(),
        callees: kept.callees.clone(),
        metrics: kept.metrics.clone(),
        admission: kept.admission.clone(),
        workers: kept.workers.clone(),
    })
}

/// Lets each workload's share follow what is set afar.
pub(crate) fn follow_shares(
    config: &AgentConfig,
    workloads: &[Arc<Workload>],
    ending: &Ending,
) -> JoinSet<()> {
    let mut followers = JoinSet::new();
    let Some(remote) = &config.sampling.remote else {
        return followers;
    };
    for workload in workloads {
        let followed = Followed {
            service: workload.service.clone(),
            share: workload.share.clone(),
            metrics: workload.shared.metrics.clone(),
        };
        followers.spawn(follow(remote.clone(), followed, ending.stopping.clone()));
    }
    followers
}

/// The access log, where some edge is in mode `log`.
fn access_log(
    edges: &EdgesConfig,
    plan: Option<&Plan>,
    metrics: &Arc<Metrics>,
) -> Result<Option<AccessLog>, AgentError> {
    let modes = edges.rules.iter().map(|rule| rule.mode);
    let configured = modes.chain([edges.mode]).any(|mode| mode == EdgeMode::Log);
    if !configured && !plan.is_some_and(Plan::has_lines) {
        return Ok(None);
    }
    let path = edges.access_log.as_deref();
    AccessLog::open(path, metrics.clone())
        .map(Some)
        .map_err(|source| AgentError::AccessLog {
            path: path.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string()),
            source,
        })
}

/// The workloads under `agent`; `before` finds each one's state under the configuration before.
///
/// # Errors
/// The first route that is no template.
pub(crate) fn workloads<'a>(
    given: &[(WorkloadConfig, Detected)],
    agent: &AgentConfig,
    shared: &Arc<Shared>,
    mut before: impl FnMut(&str) -> Before<'a>,
) -> Result<Vec<Arc<Workload>>, AgentError> {
    let workload = |(config, detected): &(WorkloadConfig, Detected)| {
        let made = Workload::new(config, detected, agent, shared.clone(), &mut before);
        made.map(Arc::new)
            .map_err(|message| AgentError::config("agent.routes", message))
    };
    given.iter().map(workload).collect()
}

/// The proxies of all workloads.
pub(crate) struct Ways<'a> {
    pub(crate) over: watch::Receiver<bool>,
    pub(crate) workloads: &'a [Arc<Workload>],
    pub(crate) metrics: &'a Arc<Metrics>,
    /// Addresses of inbound and outbound listeners.
    pub(crate) own: (Vec<SocketAddr>, Vec<SocketAddr>),
}

impl Ways<'_> {
    /// What stands behind the inbound listeners; beside it what accepting depends on.
    pub(crate) fn inbound(
        &self,
        bound: Vec<Bound<(usize, InboundConfig)>>,
    ) -> Result<Vec<Wanted<Inbound, InboundConfig>>, AgentError> {
        let own: Arc<[SocketAddr]> = self.own.0.iter().chain(&self.own.1).copied().collect();
        let mut wanted = Vec::new();
        for Bound {
            listener,
            address,
            what: (index, way),
        } in bound
        {
            let upstream = parse_target(&way.upstream);
            let (scheme, authority) =
                upstream.ok_or_else(|| AgentError::config("agent.inbound", way.upstream.clone()))?;
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let tls = self.origin(way.upstream_tls.as_ref(), TlsSide::Upstream, "agent.inbound")?;
            let upstream = Upstream {
                scheme,
                authority,
                connector: Connector::new(own.clone(), tls).on_behalf_of(&workload.shared.admission),
            };
            let secure = self.server(way.tls.as_ref())?;
            let inbound = Inbound::new(workload, upstream, &way, self.over.clone());
            let fixed = InboundConfig {
                upstream: String::new(),
                upstream_tls: None,
                trust: crate::config::Trust::default(),
                ..way
            };
            wanted.push(Wanted {
                listener: Listening {
                    tls: secure,
                    ..listener.into()
                },
                address,
                handler: Arc::new(inbound),
                fixed,
            });
        }
        Ok(wanted)
    }

    /// A call may go to an inbound listener: that of another workload, or the service calling itself. Only a forward proxy
    /// that calls a forward proxy of the same agent is a loop.
    pub(crate) fn outbound(
        &self,
        bound: Vec<Bound<(usize, OutboundConfig)>>,
    ) -> Result<Vec<Wanted<Outbound, OutboundConfig>>, AgentError> {
        let own: Arc<[SocketAddr]> = self.own.1.as_slice().into();
        let mut wanted = Vec::new();
        for Bound {
            listener,
            address,
            what: (index, way),
        } in bound
        {
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let tls = self.origin(way.tls.as_ref(), TlsSide::Outbound, "agent.outbound")?;
            let connector = Connector::new(own.clone(), tls)
                .on_behalf_of(&workload.shared.admission)
                .denying(&way.denied());
            let outbound = Outbound::new(workload, connector, self.over.clone()).allowing(way.allow.clone());
            let fixed = OutboundConfig {
                untrusted: Vec::new(),
                allow: Vec::new(),
                deny: None,
                tls: None,
                ..way
            };
            wanted.push(Wanted {
                listener: listener.into(),
                address,
                handler: Arc::new(outbound),
                fixed,
            });
        }
        Ok(wanted)
    }

    /// What stands behind the listeners of brokers.
    pub(crate) fn queues(
        &self,
        bound: Vec<Bound<(usize, QueueConfig)>>,
        metrics: &QueueMetrics,
    ) -> Result<Vec<Wanted<Queue, ()>>, AgentError> {
        let own: Arc<[SocketAddr]> = Listeners::addresses(&bound).into();
        let mut wanted = Vec::new();
        for Bound {
            listener,
            address,
            what: (index, config),
        } in bound
        {
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let tls = self.origin(config.upstream_tls.as_ref(), TlsSide::Upstream, "agent.queues")?;
            let connector = Connector::new(own.clone(), tls).on_behalf_of(&workload.shared.admission);
            let upstream = config.upstream.clone();
            let queue = Queue::new(config, workload, connector, metrics.clone());
            let queue = queue.ok_or_else(|| AgentError::config("agent.queues", upstream))?;
            wanted.push(Wanted {
                listener: listener.into(),
                address,
                handler: Arc::new(queue),
                fixed: (),
            });
        }
        Ok(wanted)
    }

    pub(crate) fn origin(
        &self,
        tls: Option<&ClientTlsConfig>,
        side: TlsSide,
        key: &str,
    ) -> Result<Arc<Origin>, AgentError> {
        let made = Origin::new(tls, side, self.metrics);
        made.map(Arc::new)
            .map_err(|error| AgentError::config(key, error.chain()))
    }

    fn server(&self, tls: Option<&ServerTlsConfig>) -> Result<Option<ServerTls>, AgentError> {
        let made = tls
            .map(|tls| tls::server(tls, TlsSide::Inbound, self.metrics))
            .transpose();
        made.map_err(|error| AgentError::config("agent.inbound", error.chain()))
    }
}

/// Serves OTLP/gRPC for SDKs until `stop`.
pub(crate) async fn relay_grpc(
    listener: Listening,
    relay: Sinks<Relay>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) {
    let observer = Arc::new(RelayObserver(metrics));
    serve_grpc(listener, relay, Limits::default(), observer, stopped(stop)).await;
}

/// Serves OTLP/HTTP for SDKs until `stop`.
pub(crate) async fn relay_http(
    listener: Listening,
    relay: Sinks<Relay>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) {
    let observer = Arc::new(RelayObserver(metrics));
    serve_http(listener, relay, Limits::default(), observer, stopped(stop)).await;
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An agent that is gone has stopped.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// TLS towards the collector, where an endpoint wants it.
pub(crate) fn export_tls(
    config: &ExportConfig,
    metrics: &Arc<Metrics>,
) -> Result<Option<ClientTls>, AgentError> {
    if !tls::is_exported_over(config) {
        return Ok(None);
    }
    let made = tls::export(config.tls.as_ref(), metrics);
    made.map(Some)
        .map_err(|error| AgentError::config("agent.export.tls", error.chain()))
}

/// The exporter of spans.
pub(crate) fn exporter(
    config: &ExportConfig,
    tls: Option<&ClientTls>,
) -> Result<Option<Exporter>, AgentError> {
    let Some(endpoint) = &config.endpoint else {
        return Ok(None);
    };
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        max_buffer_bytes: if config.buffer.path.is_some() {
            config.buffer.memory.as_usize()
        } else {
            config.buffer.max_size.as_usize()
        },
        disk: disk(&config.buffer),
        ..common(config, tls)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

/// For what is passed on of SDKs, to `endpoint`; nothing of it is kept on disk.
pub(crate) fn pass_exporter(
    config: &ExportConfig,
    tls: Option<&ClientTls>,
    endpoint: Option<&String>,
    signal: ExportSignal,
) -> Result<Option<Exporter>, AgentError> {
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        max_buffer_bytes: config.buffer.memory.as_usize(),
        signal,
        ..common(config, tls)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

/// For edge counts, of which each report is a batch of its own.
pub(crate) fn edge_exporter(
    config: &AgentConfig,
    tls: Option<&ClientTls>,
) -> Result<Option<Exporter>, AgentError> {
    let Some(endpoint) = config.export.endpoint.as_ref().filter(|_| config.edges.counts) else {
        return Ok(None);
    };
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        signal: ExportSignal::Metrics,
        max_delay: Duration::ZERO,
        disk: disk(&config.export.buffer).map(|disk| DiskSettings {
            path: disk.path.join("edge-counts"),
            max_bytes: disk.max_bytes.min(DISK_BYTES),
            overflow: otlp::export::Overflow::Refuse,
            durability: disk.durability,
        }),
        ..common(&config.export, tls)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

fn common(config: &ExportConfig, tls: Option<&ClientTls>) -> ExportSettings {
    ExportSettings {
        tls: tls.cloned(),
        protocol: match config.protocol {
            ExportProtocol::Grpc => otlp::export::ExportProtocol::Grpc,
            ExportProtocol::Http => otlp::export::ExportProtocol::Http,
        },
        headers: export_rules::headers(config),
        max_delay: config.delay.0,
        request_timeout: config.timeout.0,
        compression: match config.compression {
            Compression::None => otlp::export::Compression::None,
            Compression::Gzip => otlp::export::Compression::Gzip,
            Compression::Zstd => otlp::export::Compression::Zstd,
        },
        instance: instance(),
        ..ExportSettings::default()
    }
}

fn disk(config: &BufferConfig) -> Option<DiskSettings> {
    Some(DiskSettings {
        path: config.path.clone()?,
        max_bytes: config.max_size.bytes(),
        overflow: match config.overflow {
            Overflow::BackPressure => otlp::export::Overflow::Refuse,
            Overflow::DropOldest => otlp::export::Overflow::DropOldest,
        },
        durability: match config.durability {
            Durability::Write => otlp::export::Durability::Write,
            Durability::Sync => otlp::export::Durability::Sync,
        },
    })
}

/// A name no other start of any agent has.
pub(crate) fn instance() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("agent-{}-{:016x}", now.as_secs(), rand::random::<u64>())
}
