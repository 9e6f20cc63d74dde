//! What tracemap says of itself: logs, and spans where somebody asks for them.
//!
//! In: `RUST_LOG`, and `OTEL_EXPORTER_OTLP_ENDPOINT` as the OpenTelemetry specification has it. Out: logs on standard
//! error; spans of our own work over OTLP/gRPC where that variable is set.
//! Left out on purpose: spans per request that passes through; they are the agent's product, not its telemetry.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::Failure;

/// Where our own spans go; the specification's name for it.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Keeps the exporter of our own spans; sends what is left when dropped.
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

/// Starts logging, and tracing of ourselves where it is asked for. Needs a tokio runtime.
pub(crate) fn start() -> Result<Telemetry, Failure> {
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(wanted_logs());
    let provider = match std::env::var(ENDPOINT) {
        Ok(endpoint) if !endpoint.is_empty() => Some(provider(&endpoint)?),
        _ => None,
    };
    let spans = provider.as_ref().map(|provider| {
        // Our own crates only: the transport's spans would describe the export of the spans.
        let ours = ["tracemap", "collector", "agent"].map(|ours| (ours, LevelFilter::INFO));
        let ours = Targets::new().with_targets(ours);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tracemap"))
            .with_filter(ours)
    });
    tracing_subscriber::registry().with(logs).with(spans).try_init()?;
    Ok(Telemetry(provider))
}

/// What is logged: by `RUST_LOG`, as levels for all or by target, else what is of interest to whoever runs it.
fn wanted_logs() -> Targets {
    let wanted = std::env::var("RUST_LOG").ok();
    let wanted = wanted.and_then(|wanted| wanted.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, Failure> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()?;
    let resource = Resource::builder().with_service_name("tracemap").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

impl Telemetry {
    /// Sends what is left. Blocks while it does.
    pub(crate) fn stop(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last spans about tracemap itself were not sent");
        }
    }
}
