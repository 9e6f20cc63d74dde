//! The collector: spans in; dependency map, metrics and generated files out.
//!
//! In: OTLP over gRPC and HTTP. Out: the map on a page and an API, series for Prometheus, dashboards and rules that
//! follow the map. Inside is an [`engine::Engine`] that knows neither socket nor clock; the rim is [`rim::Collector`].
//! Left out on purpose for now, each with its place: the durable log between intake and table, shards, the trace
//! store and the query APIs. Never drops a span without counting it.

pub mod assemble;
pub mod baseline;
pub mod builder;
pub mod engine;
pub mod exposition;
pub mod generate;
mod intake;
pub mod offline;
pub mod peer;
mod publish;
pub mod recent;
pub mod rim;
pub mod series;
pub mod settings;
pub mod span;
pub mod table;
mod web;
