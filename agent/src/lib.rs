//! The agent: requests pass through; spans and counts come out.
//!
//! In: requests for a service and calls of a service, HTTP/1.1 and HTTP/2 without TLS; OTLP of SDKs on the same node.
//! Out: the same requests with trace context and correlation id, and spans for the collector.
//! Left out on purpose: everything that could break the application. It never waits for the collector, never retries a
//! request and invents no parent: a parent is a context that was carried, or the one request in flight with the same
//! correlation id.

pub mod config;
pub mod detect;
pub mod listen;
pub mod run;
pub mod telemetry;

mod admin;
mod body;
mod bound;
mod check;
mod connect;
mod correlation;
mod exchange;
mod expect;
mod forward;
mod hop;
mod inbound;
mod outbound;
mod pipeline;
mod relay;
mod routes;
mod semconv;
mod serve;
mod start;
mod trace;
mod tunnel;
mod workload;

pub use config::AgentConfig;
pub use detect::Detected;
pub use run::{Agent, AgentError, Running, run};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
