//! Tail sampling: which closed traces the trace store keeps. The map has counted them before.
//!
//! In: what a trace was like ([`TraceFacts`]), with the time. Out: a [`Decision`] with the policy that made it.
//! Policies have the names and fields of the OpenTelemetry tail sampling processor; `errors`, `slow` and `rare_edges` are ours.
//! Left out on purpose: waiting for spans, and remembering decisions for late ones, which the trace table does; OTTL.

mod check;
mod predicate;
mod rule;
mod sampler;
mod settings;
mod state;

pub use predicate::{MAX_CONDITIONS, Predicates, SpanBits};
pub use sampler::{Decision, EdgeRef, PolicyIndex, Sampler, TraceFacts, Why};
pub use settings::{
    AndSettings, BooleanAttribute, BytesLimiting, Composite, DropSettings, Latency, NotSettings,
    NumericAttribute, Policy, PolicyType, Probabilistic, RareEdges, RateAllocation, RateLimiting,
    SamplingSettings, SpanCount, Status, StatusCodes, StringAttribute, TraceState,
};
pub use state::SamplerState;
