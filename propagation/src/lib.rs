//! Context propagation: what travels beside a request, in HTTP headers and in queue metadata.
//!
//! In: the bytes a carrier holds. Out: an [`Extracted`] (span context, correlation id, baggage and every
//! reason why something was not believed), and the same written back by [`Propagator::inject`].
//! Left out on purpose: sockets, clocks and random numbers (ids come from the caller's [`IdSource`]), the
//! decision what to sample, and writing `sw8`, whose ids are free text.
//!
//! No input panics; what is malformed is skipped with a reason that can be counted, and the request goes on
//! without it. Whoever sends and receives messages in code finds carriers for the header types of common clients in
//! [`carriers`]. Sources: W3C Trace Context Level 2, W3C Baggage, the B3 propagation README, and what each
//! vendor's file names.

mod b3;
mod baggage;
mod carrier;
pub mod carriers;
mod config;
mod context;
mod correlation;
mod datadog;
mod extracted;
mod format;
mod formats;
mod found;
mod gcp;
mod grpc_trace;
mod hint;
mod ids;
mod jaeger;
mod propagator;
mod skipped;
mod skywalking;
mod text;
mod traceparent;
mod tracestate;
mod trust;
mod xray;

pub use b3::B3Error;
pub use baggage::{
    Baggage, BaggageLoss, BaggageMember, BaggageProperty, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS,
};
pub use carrier::{Extract, Inject, Refused};
pub use config::{ConfigError, PropagatorConfig};
pub use context::{DatadogTraits, Decision, Sampling, SpanContext, TraceFlags, TraceIdWidth, Traits, Vendor};
pub use correlation::{CorrelationError, CorrelationId, MAX_CORRELATION_BYTES};
pub use extracted::{Extracted, OtherContext};
pub use format::{Format, FormatSet, UnknownFormat};
pub use found::{FormatError, TraceStart};
pub use hint::{EdgeClass, EdgeHint};
pub use ids::{IdError, IdSource, SpanId, TraceId};
pub use propagator::Propagator;
pub use skipped::Skipped;
pub use skywalking::SkyWalking;
pub use traceparent::{TraceparentError, parse_traceparent, write_traceparent};
pub use tracestate::{EDGE_HINT_KEY, MAX_TRACESTATE_MEMBERS, TraceState, TraceStateError};
pub use trust::{conceal, remove_context};

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
    /// `OpenCensus`' binary context in gRPC metadata.
    pub const GRPC_TRACE_BIN: &str = "grpc-trace-bin";
    /// Datadog: the lower half of the trace id, decimal.
    pub const DATADOG_TRACE_ID: &str = "x-datadog-trace-id";
    /// Datadog: the span id, decimal.
    pub const DATADOG_PARENT_ID: &str = "x-datadog-parent-id";
    /// Datadog: -1 to 2, above 0 records.
    pub const DATADOG_PRIORITY: &str = "x-datadog-sampling-priority";
    /// Datadog: which product started the trace.
    pub const DATADOG_ORIGIN: &str = "x-datadog-origin";
    /// Datadog: tags of the trace, the upper half of its id among them.
    pub const DATADOG_TAGS: &str = "x-datadog-tags";
    /// Jaeger: ids and flags.
    pub const JAEGER: &str = "uber-trace-id";
    /// Jaeger: what the key of a baggage member begins with.
    pub const JAEGER_BAGGAGE_PREFIX: &str = "uberctx-";
    /// AWS X-Ray: ids and sampling.
    pub const XRAY: &str = "x-amzn-trace-id";
    /// Google Cloud: ids and sampling.
    pub const GCP: &str = "x-cloud-trace-context";
    /// Apache `SkyWalking`: ids and the caller's names.
    pub const SW8: &str = "sw8";
    /// Apache `SkyWalking`: modes and the time of sending. Read by nobody here.
    pub const SW8_EXTENSION: &str = "sw8-x";
    /// Apache `SkyWalking`: its baggage. Read by nobody here.
    pub const SW8_CORRELATION: &str = "sw8-correlation";
    /// The correlation id, and the key it is written under unless configured otherwise.
    pub const CORRELATION_ID: &str = "x-correlation-id";
    /// Where the correlation id is looked for second.
    pub const REQUEST_ID: &str = "x-request-id";
}
