//! The OpenTelemetry Collector as a contestant, where somebody has one.
//!
//! In: the path of a binary that has the receiver `otlp`, the connector `spanmetrics`, perhaps `servicegraph`, and the
//! exporter `prometheus`. Out: the running process and where it listens.
//! Left out on purpose: processors; `batch` and `memory_limiter` would be work that the other contestants do not do.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::process::{Contestant, READY_EVERY, free_addresses, until};

/// What it counts received spans by.
pub(crate) const ACCEPTED: &str = "otelcol_receiver_accepted_spans";

/// It runs.
pub(crate) struct Started {
    pub(crate) name: &'static str,
    pub(crate) process: Contestant,
    pub(crate) grpc: SocketAddr,
    /// Where it shows its own metrics.
    pub(crate) own: SocketAddr,
}

/// Starts it with its defaults, and returns when it is ready.
pub(crate) fn start(path: &Path, scratch: &Path) -> Result<Started, Failure> {
    let [grpc, prometheus, own] = free_addresses()?;
    let config = scratch.join("otelcol.yaml");
    let has_graph = has_service_graph(path)?;
    std::fs::write(&config, config_text(has_graph, grpc, prometheus, own))?;
    let mut command = Command::new(path);
    command.arg("--config").arg(&config);
    let process = Contestant::start(&mut command, &scratch.join("otelcol.log"))?;
    until("otelcol was not ready", own, "/metrics", READY_EVERY, |_| true)?;
    let name = if has_graph {
        "otelcol, servicegraph + spanmetrics"
    } else {
        "otelcol, spanmetrics alone"
    };
    Ok(Started {
        name,
        process,
        grpc,
        own,
    })
}

fn has_service_graph(otelcol: &Path) -> Result<bool, Failure> {
    let output = Command::new(otelcol).arg("components").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("servicegraph"))
}

/// Its defaults, with addresses, and metrics as often as a Prometheus would fetch them.
fn config_text(has_graph: bool, grpc: SocketAddr, prometheus: SocketAddr, own: SocketAddr) -> String {
    let (connectors, used) = if has_graph {
        (
            "  servicegraph: { metrics_flush_interval: 15s }\n",
            "spanmetrics, servicegraph",
        )
    } else {
        ("", "spanmetrics")
    };
    let mut text = String::new();
    let _ = write!(
        text,
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: '{grpc}' }} }} }} }}
connectors:
  spanmetrics: {{ metrics_flush_interval: 15s }}
{connectors}exporters: {{ prometheus: {{ endpoint: '{prometheus}' }} }}
service:
  pipelines:
    traces: {{ receivers: [otlp], exporters: [{used}] }}
    metrics: {{ receivers: [{used}], exporters: [prometheus] }}
  telemetry:
    metrics: {{ readers: [{{ pull: {{ exporter: {{ prometheus: {{ host: {}, port: {} }} }} }} }}] }}
",
        own.ip(),
        own.port()
    );
    text
}
