//! The agent: requests pass through; spans and counts come out.
//!
//! In: requests for a service and calls of a service, HTTP/1.1 and HTTP/2, with TLS or without; OTLP of SDKs on the same node.
//! Out: the same requests with trace context and correlation id, and spans for the collector.
//! Left out on purpose: everything that could break the application. It never waits for the collector, never retries a
//! request and invents no parent: a parent is a context that was carried, or the one request in flight with the same
//! correlation id, or the only request in flight where that is measured to be right.

pub mod config;
pub mod conform;
pub mod detect;
mod door;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod listen;
pub mod reload;
pub mod run;
pub mod telemetry;

mod access_log;
mod admin;
mod audit;
mod body;
mod bound;
mod check;
mod connect;
mod correlation;
mod edge_rules;
mod edges;
mod exchange;
mod exclusive;
mod expect;
mod export_counts;
mod export_rules;
mod forward;
mod governor;
mod hints;
mod hop;
mod inbound;
mod limits;
mod modes;
mod outbound;
mod peer;
mod pipeline;
mod place;
mod plan;
mod pods;
mod queues;
mod relay;
mod remote_sampling;
mod routes;
mod sampling;
mod sampling_server;
mod semconv;
mod serve;
mod signed;
mod start;
mod tls;
mod trace;
mod transparent;
mod trust;
mod tunnel;
mod workers;
mod workload;

pub use config::AgentConfig;
pub use detect::Detected;
pub use reload::{ConfigSource, Reloaded};
pub use run::{Agent, AgentError, Running, run};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
