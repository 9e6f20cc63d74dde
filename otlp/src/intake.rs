//! The OTLP receivers: gRPC and HTTP in front of the sinks.
//!
//! In: `TraceService/Export` calls and `POST /v1/traces`, protobuf or JSON, plain, gzip or zstd; the same for
//! metrics, in protobuf, where somebody takes them. Out: request bytes to a [`TraceSink`], decoded metrics to a
//! [`MetricsSink`], their verdict to the sender in the words of the transport, and one event for each request to an
//! [`IntakeObserver`].
//! Left out on purpose: TLS and authentication (a mesh or a proxy in front has them), the logs signal, metrics in
//! JSON (only our agents send metrics here), and any look at the spans beyond well-formedness: what to do with a bad
//! id is the sink's to say.
//! Source: OTLP specification 1.x, "OTLP/gRPC" and "OTLP/HTTP".

mod answer;
mod door;
mod grpc;
mod http;
mod inflate;
mod observe;
mod sink;

use std::net::SocketAddr;
use std::time::Duration;

pub use crate::codec::BATCH_ID;
pub use grpc::serve_grpc;
pub use http::serve_http;
pub use observe::{IntakeObserver, Observed, Outcome};
pub use sink::{Accepted, AcceptedMetrics, MetricsSink, Refusal, Sinks, TraceSink, Verdict};

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
}

impl Signal {
    /// Its name as a label: `traces` or `metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_requests: 256,
            read_timeout: Duration::from_secs(30),
        }
    }
}
