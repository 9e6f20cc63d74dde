//! The kinds of findings, one a file.
//!
//! In: the map as [`Seen`](super::seen::Seen) shows it. Out: [`KINDS`], in the order in which they are looked for.
//! A new kind is a file here, a line in [`KINDS`], a section in `docs/check.md` and a flaw in the demo; tests hold them together.
//! Left out on purpose: silences and output.

mod broken_context;
mod chatty;
mod clock_skew;
mod cycle;
mod deep_chain;
mod early_timeout;
mod fan_out;
mod long_wait;
mod missing_service_name;
mod n_plus_one;
mod orphans;
mod queue_without_consumer;
mod retry_storm;
mod shared_database;
mod single_point;
mod undeclared_edge;
mod unhandled_errors;
mod unnamed_peer;
mod unseen_edge;

use super::finding::Kind;

/// All of them: the architecture, then what requests meet, then the contract, then the instrumentation.
pub const KINDS: &[&Kind] = &[
    &shared_database::KIND,
    &deep_chain::KIND,
    &cycle::KIND,
    &fan_out::KIND,
    &single_point::KIND,
    &queue_without_consumer::KIND,
    &chatty::KIND,
    &n_plus_one::KIND,
    &retry_storm::KIND,
    &early_timeout::KIND,
    &long_wait::KIND,
    &unhandled_errors::KIND,
    &undeclared_edge::KIND,
    &unseen_edge::KIND,
    &broken_context::KIND,
    &orphans::KIND,
    &unnamed_peer::KIND,
    &missing_service_name::KIND,
    &clock_skew::KIND,
];
