//! Context propagation: what travels beside a request, in HTTP headers and in queue metadata.
//!
//! In: the bytes a carrier holds. Out: an [`Extracted`] (span context, correlation id, baggage and every
//! reason why something was not believed), and the same written back by [`Propagator::inject`].
//! Left out on purpose: sockets, clocks and random numbers (ids come from the caller's [`IdSource`]), the
//! decision what to sample, and Datadog, Jaeger, X-Ray and `grpc-trace-bin` headers, which pass through
//! untouched.
//!
//! No input panics; what is malformed is skipped with a reason that can be counted, and the request goes on
//! without it. Sources: W3C Trace Context Level 2, W3C Baggage, the B3 propagation README.

mod b3;
mod baggage;
mod carrier;
mod config;
mod context;
mod correlation;
mod extracted;
mod formats;
mod hint;
mod ids;
mod propagator;
mod skipped;
mod text;
mod traceparent;
mod tracestate;

pub use b3::B3Error;
pub use baggage::{
    Baggage, BaggageLoss, BaggageMember, BaggageProperty, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS,
};
pub use carrier::{Extract, Inject, Refused};
pub use config::{ConfigError, Format, PropagatorConfig, UnknownFormat};
pub use context::{B3Sampling, B3Traits, Decision, SpanContext, TraceFlags, TraceIdWidth};
pub use correlation::{CorrelationError, CorrelationId, MAX_CORRELATION_BYTES};
pub use extracted::Extracted;
pub use hint::{EdgeClass, EdgeHint};
pub use ids::{IdError, IdSource, SpanId, TraceId};
pub use propagator::Propagator;
pub use skipped::Skipped;
pub use traceparent::{TraceparentError, parse_traceparent, write_traceparent};
pub use tracestate::{EDGE_HINT_KEY, MAX_TRACESTATE_MEMBERS, TraceState, TraceStateError};

/// Names of the headers and metadata keys this crate reads and writes, in the lower case in which it writes
/// them.
pub mod keys {
    /// W3C Trace Context: version, trace id, parent id and flags.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C Trace Context: the list of vendors' own members.
    pub const TRACESTATE: &str = "tracestate";
    /// W3C Baggage.
    pub const BAGGAGE: &str = "baggage";
    /// B3 in one header.
    pub const B3: &str = "b3";
    /// B3 in several headers: the trace id, 16 or 32 hex digits.
    pub const B3_TRACE_ID: &str = "x-b3-traceid";
    /// B3 in several headers: the span id, 16 hex digits.
    pub const B3_SPAN_ID: &str = "x-b3-spanid";
    /// B3 in several headers: the parent's span id. Read by nobody here; removed when we write the others.
    pub const B3_PARENT_SPAN_ID: &str = "x-b3-parentspanid";
    /// B3 in several headers: `1` or `0`, from old tracers `true` or `false`.
    pub const B3_SAMPLED: &str = "x-b3-sampled";
    /// B3 in several headers: `1` forces the trace (debug).
    pub const B3_FLAGS: &str = "x-b3-flags";
    /// The correlation id, and the key it is written under unless configured otherwise.
    pub const CORRELATION_ID: &str = "x-correlation-id";
    /// Where the correlation id is looked for second.
    pub const REQUEST_ID: &str = "x-request-id";
}
