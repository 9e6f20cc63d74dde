//! The wiring of an agent: what stands behind each listener.
//!
//! In: configuration and bound listeners. Out: tasks that serve, and a [`Running`] agent that can end them.
//! Left out on purpose: anything that waits. Either everything runs or nothing does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otlp::export::{DiskSettings, ExportSettings, ExportSignal, Exporter};
use otlp::intake::{Limits, Sinks, serve_grpc, serve_http};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::bound::{Bound, Listeners};
use crate::check::parse_address;
use crate::config::{
    AgentConfig, BufferConfig, Compression, Durability, EdgeMode, EdgesConfig, ExportConfig, InboundConfig,
    Overflow, WorkloadConfig,
};
use crate::connect::Connector;
use crate::detect::Detected;
use crate::edges::EdgeCounts;
use crate::edges::report::{DISK_BYTES, ReportStats, report, unix_nano};
use crate::export_rules;
use crate::inbound::Inbound;
use crate::modes::Modes;
use crate::outbound::Outbound;
use crate::peer::PeerNames;
use crate::pipeline::{self, Published, SpanQueue};
use crate::relay::{self, Relay, RelayObserver};
use crate::remote_sampling::{Followed, follow};
use crate::run::{AgentError, Ending, Running, Signals};
use crate::sampling_server::SamplingServer;
use crate::serve::serve;
use crate::telemetry::Metrics;
use crate::workload::{Shared, Workload};

/// Starts what stands behind the listeners.
///
/// # Errors
/// The exporter or the metrics library refuses its settings.
pub(crate) fn start(
    config: &AgentConfig,
    workloads_given: &[(WorkloadConfig, Detected)],
    listeners: Listeners,
) -> Result<Running, AgentError> {
    let metrics = Arc::new(Metrics::new().map_err(AgentError::Metrics)?);
    let exporter = exporter(&config.export)?;
    let (spans, queue) = SpanQueue::new(exporter.as_ref(), metrics.clone());
    let reports = edge_exporter(config)?;
    let shared = Arc::new(shared(config, metrics.clone(), spans.clone())?);
    let workloads = run_time(workloads_given, config, &shared)?;
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
    let sampling_addr = listeners.sampling.as_ref().map(|bound| bound.address);
    let admin_addr = listeners.admin.address;

    let mut servers = JoinSet::new();
    ways.inbound(listeners.inbound, &addresses, &mut servers)?;
    ways.outbound(listeners.outbound, &addresses.1, &mut servers);
    follow_shares(config, &ways.workloads, &ending);
    if let Some(bound) = listeners.sampling {
        let handler = Arc::new(SamplingServer::new(config, &ways.workloads));
        servers.spawn(serve(
            bound.listener,
            handler,
            ending.stopping.clone(),
            Duration::ZERO,
        ));
    }
    let rules = Arc::new(export_rules::rules(config, workloads_given, |name| {
        std::env::var(name).ok()
    }));
    let relay = Relay {
        exporter: exporter.clone(),
        rules: rules.clone(),
        spans,
    };
    let passed = metrics_exporter(&config.export)?;
    relayed(
        listeners.grpc,
        listeners.http,
        &relay::sinks(relay, passed),
        &metrics,
        &ending,
        &mut servers,
    );
    let encoder = queue.zip(exporter.clone()).map(|(queue, exporter)| {
        tokio::spawn(pipeline::encode(queue, exporter, rules, ending.served.clone()))
    });
    let interval = config.edges.interval.0;
    let reporter = reports.clone().zip(shared.edges.clone());
    let reporter = reporter.map(|(exporter, counts)| {
        let served = ending.served.clone();
        tokio::spawn(report(counts, exporter, interval, served, config.export.drain.0))
    });
    let reports = reports.map(|exporter| Arc::new(ReportStats::new(exporter)));
    let published = exporter
        .clone()
        .map(|exporter| Arc::new(Published::new(exporter)));
    let admin = Arc::new(Admin {
        metrics,
        published,
        reports,
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
        sampling_addr,
        admin_addr,
        signals,
        servers,
        admin,
        encoder,
        reporter,
        access_log: shared.access_log.clone(),
        exporter,
        drain: config.export.drain.0,
    })
}

fn shared(config: &AgentConfig, metrics: Arc<Metrics>, spans: SpanQueue) -> Result<Shared, AgentError> {
    // Checked before: `AgentConfig::check_with` asks for the same.
    let propagator = propagation::Propagator::new(config.propagation.for_propagator()).unwrap_or_default();
    let correlation_header = config
        .propagation
        .correlation_headers
        .first()
        .map(|name| name.to_ascii_lowercase());
    let edges = &config.edges;
    let counted = edges.counts && config.export.endpoint.is_some();
    Ok(Shared {
        propagator,
        correlation_header,
        signed_requests: config.propagation.signed_requests,
        spans,
        modes: Modes::new(edges),
        edges: counted.then(|| Arc::new(EdgeCounts::new(edges.max_peers, unix_nano()))),
        access_log: access_log(edges, &metrics)?,
        callers: PeerNames::new(edges.max_peers),
        callees: PeerNames::new(edges.max_peers),
        metrics,
    })
}

/// Lets each workload's share follow what is set afar.
fn follow_shares(config: &AgentConfig, workloads: &[Arc<Workload>], ending: &Ending) {
    let Some(remote) = &config.sampling.remote else {
        return;
    };
    for workload in workloads {
        let followed = Followed {
            service: workload.service.clone(),
            share: workload.share.clone(),
            metrics: workload.shared.metrics.clone(),
        };
        tokio::spawn(follow(remote.clone(), followed, ending.stopping.clone()));
    }
}

/// The access log, where some edge is in mode `log`.
fn access_log(edges: &EdgesConfig, metrics: &Arc<Metrics>) -> Result<Option<AccessLog>, AgentError> {
    let modes = edges.rules.iter().map(|rule| rule.mode);
    if !modes.chain([edges.mode]).any(|mode| mode == EdgeMode::Log) {
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

fn run_time(
    workloads: &[(WorkloadConfig, Detected)],
    agent: &AgentConfig,
    shared: &Arc<Shared>,
) -> Result<Vec<Arc<Workload>>, AgentError> {
    let workload = |(config, detected): &(WorkloadConfig, Detected)| {
        let made = Workload::new(config, detected, agent, shared.clone());
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
        bound: Vec<Bound<(usize, InboundConfig)>>,
        own: &(Vec<SocketAddr>, Vec<SocketAddr>),
        servers: &mut JoinSet<()>,
    ) -> Result<(), AgentError> {
        let connector = Connector::new(own.0.iter().chain(&own.1).copied().collect());
        for Bound {
            listener,
            what: (index, way),
            ..
        } in bound
        {
            let authority = parse_address(&way.upstream);
            let authority = authority.ok_or_else(|| AgentError::config("agent.inbound", way.upstream))?;
            let Some(workload) = self.workloads.get(index).cloned() else {
                continue;
            };
            let stop = self.ending.over.clone();
            let inbound = Inbound::new(workload, authority, way.trust, connector.clone(), stop);
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
    relay: &Sinks<Relay>,
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
        max_buffer_bytes: if config.buffer.path.is_some() {
            config.buffer.memory.as_usize()
        } else {
            config.buffer.max_size.as_usize()
        },
        disk: disk(&config.buffer),
        ..common(config)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

/// For the metrics of SDKs; nothing of it is kept on disk.
fn metrics_exporter(config: &ExportConfig) -> Result<Option<Exporter>, AgentError> {
    let Some(endpoint) = &config.metrics_endpoint else {
        return Ok(None);
    };
    let settings = ExportSettings {
        endpoint: endpoint.clone(),
        max_buffer_bytes: config.buffer.memory.as_usize(),
        signal: ExportSignal::Metrics,
        ..common(config)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

/// For edge counts, of which each report is a batch of its own.
fn edge_exporter(config: &AgentConfig) -> Result<Option<Exporter>, AgentError> {
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
        ..common(&config.export)
    };
    Exporter::spawn(settings)
        .map(|(exporter, _)| Some(exporter))
        .map_err(AgentError::Export)
}

fn common(config: &ExportConfig) -> ExportSettings {
    ExportSettings {
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
fn instance() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("agent-{}-{:016x}", now.as_secs(), rand::random::<u64>())
}
