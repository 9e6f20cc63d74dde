//! OTLP with real peers on both ends of a socket: the intake against generated and hand-written clients, and the
//! exporter against the intake.

mod buffer;
mod doors;
mod export;
mod export_http;
mod grpc;
mod http;
mod metrics;
mod pass;
mod support;
