//! The wiring of an agent: what stands behind each listener.
//!
//! In: configuration and bound listeners. Out: tasks that serve, and a [`Running`] agent that can end them.
//! Left out on purpose: anything that waits. Either everything runs or nothing does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otlp::export::{ExportSettings, Exporter};
use otlp::intake::{Limits, serve_grpc, serve_http};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::Admin;
use crate::bound::{Bound, Listeners};
use crate::check::parse_address;
use crate::config::{AgentConfig, Compression, ExportConfig, WorkloadConfig};
use crate::connect::Connector;
use crate::detect::Detected;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::pipeline::{self, Published, SpanQueue};
use crate::relay::{Relay, RelayObserver};
use crate::run::{AgentError, Ending, Running, Signals};
use crate::serve::serve;
use crate::telemetry::Metrics;
use crate::workload::{Shared, Workload};

/// Starts what stands behind the listeners.
///
/// # Errors
/// The exporter or the metrics library refuses its settings.
pub(crate) fn start(
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
