//! OTLP on the wire, for the agent and the collector alike.
//!
//! In: spans, as bytes of `ExportTraceServiceRequest`, as [`encode::SpanRecord`]s, or as recorded files.
//! Out: the same spans, read in place ([`view`]), served ([`intake`]) or sent on ([`export`]).
//! Left out on purpose: what a span means. Ids are not checked here and nothing is dropped for its content;
//! pairing, sampling and `partial_success` are the collector's.

pub mod access;
pub mod encode;
pub mod export;
pub mod files;
pub mod intake;
pub mod json;
pub mod serve;
pub mod tls;
pub mod types;
pub mod view;

// Tests that are shared with other crates name this one from outside.
#[cfg(test)]
extern crate self as otlp;

mod codec;
mod follow;
mod put;
mod wire;

pub use types::{Kind, StatusCode};
pub use view::for_each_span;
