//! The OTLP receivers: gRPC and HTTP in front of the sinks.
//!
//! In: `TraceService/Export` calls and `POST /v1/traces`, protobuf or JSON, plain, gzip or zstd; the same for
//! metrics and logs where somebody takes them. Out: request bytes to a [`TraceSink`], decoded metrics to a
//! [`MetricsSink`], what is only passed on to a [`PassSink`], their verdict to the sender in the words of the transport,
//! and one event for each request to an [`IntakeObserver`].
//! Left out on purpose: authentication beyond the certificates of TLS, and any look at the spans beyond well-formedness: what
//! to do with a bad id is the sink's to say.
//! Source: OTLP specification 1.x, "OTLP/gRPC" and "OTLP/HTTP".

mod answer;
mod door;
mod grpc;
mod http;
mod inflate;
mod observe;
mod sink;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::codec::BATCH_ID;
use crate::codec::{
    EXPORT_PATH, LOGS_EXPORT_PATH, LOGS_PATH, METRICS_EXPORT_PATH, METRICS_PATH, TRACES_PATH,
};
pub use grpc::{serve_grpc, serve_grpc_of};
pub use http::{serve_http, serve_http_of};
pub use observe::{IntakeObserver, Observed, Outcome};
pub use sink::{
    Accepted, AcceptedMetrics, MetricsSink, PassSink, Passed, Refusal, Sinks, TraceSink, Verdict,
};

/// What is known of a request beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMeta {
    /// The value of [`BATCH_ID`], where the sender gave one: the same on every retry of a batch.
    pub batch_id: Option<String>,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// How the request came.
    pub transport: Transport,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// Its name as a label: `grpc`, `http_protobuf` or `http_json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http_protobuf",
            Transport::HttpJson => "http_json",
        }
    }
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportMetricsServiceRequest`.
    Metrics,
    /// `ExportLogsServiceRequest`.
    Logs,
}

impl Signal {
    /// All of them, in the order of this list.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// Its name as a label: `traces`, `metrics` or `logs`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }

    /// The message that its requests are.
    fn message(self) -> &'static str {
        match self {
            Signal::Traces => "ExportTraceServiceRequest",
            Signal::Metrics => "ExportMetricsServiceRequest",
            Signal::Logs => "ExportLogsServiceRequest",
        }
    }

    fn http_path(self) -> &'static str {
        match self {
            Signal::Traces => TRACES_PATH,
            Signal::Metrics => METRICS_PATH,
            Signal::Logs => LOGS_PATH,
        }
    }

    fn grpc_path(self) -> &'static str {
        match self {
            Signal::Traces => EXPORT_PATH,
            Signal::Metrics => METRICS_EXPORT_PATH,
            Signal::Logs => LOGS_EXPORT_PATH,
        }
    }
}

/// How much a sender may ask of the intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request in bytes, after decompression. Default 64 MiB, as the specification recommends.
    pub max_request_bytes: usize,
    /// Requests in work at a time on one listener; more are told to come back. Default 256. The intake holds at
    /// most this many requests of at most twice [`Limits::max_request_bytes`], and mostly far less.
    pub max_requests: usize,
    /// How long a sender may take over the bytes of one request. Default 30 s.
    pub read_timeout: Duration,
}

/// What stands behind a listener for one tenant; the place in the list is the tenant's index
/// ([`Client::tenant`](crate::access::Client::tenant)). All take the same signals.
pub struct Behind<S> {
    /// Who takes what.
    pub sinks: Sinks<S>,
    /// Requests of the tenant in work at a time, in place of [`Limits::max_requests`].
    pub max_requests: usize,
    /// Is told of the tenant's requests.
    pub observer: Arc<dyn IntakeObserver>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_requests: 256,
            read_timeout: Duration::from_secs(30),
        }
    }
}
