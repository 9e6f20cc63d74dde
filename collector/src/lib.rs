//! The collector: spans in; dependency map, metrics, stored traces and generated files out.
//!
//! In: OTLP over gRPC and HTTP. Out: the map on a page and an API, series for Prometheus, traces for Grafana and Jaeger,
//! dashboards and rules that follow the map. Inside, [`shard`]s pair the spans of their traces and one [`ledger`] counts
//! what they say; neither knows sockets, clocks or disks. [`engine::Engine`] is both without threads, the `pipeline` both
//! with them, and the rim is [`rim::Collector`].
//! Left out on purpose: several collectors that share the work; formats carry a shard id for that day. Never drops a span
//! without counting it.

pub mod assemble;
mod backend;
pub mod backtest;
mod clock;
pub mod cluster;
mod door;
pub mod edge_counts;
pub mod engine;
mod families;
mod fragment;
pub mod generate;
mod intake;
mod keeper;
pub mod ledger;
mod merger;
pub mod names;
pub mod offline;
pub mod peer;
mod pipeline;
mod planner;
mod process;
mod publish;
mod push;
pub mod read;
pub mod recent;
mod restart;
pub mod rim;
mod scrape;
pub mod series;
pub mod settings;
pub mod shard;
pub mod skew;
pub mod snapshot;
pub mod span;
pub mod table;
mod tail;
mod tenant;
mod tls;
mod web;
