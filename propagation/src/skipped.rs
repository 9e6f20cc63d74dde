//! What was found beside a request and not believed.
//!
//! In: the readers' errors. Out: one [`Skipped`] each, with a reason from a short closed list for the
//! counter.
//! Left out on purpose: the malformed values themselves. They are a peer's, and belong in no label and no log
//! line.

use crate::b3::B3Error;
use crate::baggage::BaggageLoss;
use crate::correlation::CorrelationError;
use crate::format::Format;
use crate::found::FormatError;
use crate::ids::{SpanId, TraceId};
use crate::traceparent::TraceparentError;
use crate::tracestate::TraceStateError;

/// Something that was skipped, or used although it should not have been so. The request itself passes in any
/// case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// `traceparent` is malformed; it and `tracestate` are ignored.
    #[error("trace context was ignored")]
    TraceparentMalformed(#[source] TraceparentError),
    /// There are several `traceparent`s; all are ignored, for nobody can say which one is right.
    #[error("`traceparent` came {count} times and was ignored, but once is right")]
    TraceparentDuplicated {
        /// How many there were.
        count: usize,
    },
    /// There is `tracestate` without a valid `traceparent`; it is ignored.
    #[error("`tracestate` was ignored, for it came without a valid `traceparent`")]
    TracestateOrphaned,
    /// `tracestate` is malformed or too large; it is ignored, `traceparent` is kept.
    #[error("`tracestate` was ignored")]
    TracestateMalformed(#[source] TraceStateError),
    /// `tracestate` has a key twice; the list is kept as it came.
    #[error("`tracestate` has a key more than once and was kept as it came")]
    TracestateKeyDuplicated,
    /// B3 headers are malformed. Ids are ignored; where only `x-b3-sampled` is wrong, ids are kept.
    #[error("{format} headers were ignored")]
    B3Malformed {
        /// In one header or in several.
        format: Format,
        /// What is wrong.
        #[source]
        error: B3Error,
    },
    /// A B3 header came more than once; its first value was used, as B3 asks.
    #[error("`{key}` came {count} times and its first value was used, but once is right")]
    B3Duplicated {
        /// The header.
        key: &'static str,
        /// How many there were.
        count: usize,
    },
    /// Headers of another format are malformed; they, or the part that is wrong, are ignored.
    #[error("{format} headers were ignored")]
    Malformed {
        /// The format.
        format: Format,
        /// What is wrong.
        #[source]
        error: FormatError,
    },
    /// A header of another format came more than once; its first value was used.
    #[error("`{key}` came {count} times and its first value was used, but once is right")]
    Duplicated {
        /// The format.
        format: Format,
        /// The header.
        key: &'static str,
        /// How many there were.
        count: usize,
    },
    /// A format of lower precedence names another trace. [`Extracted::others`](crate::Extracted::others) has it for a
    /// span link, unless it names no span.
    #[error("{format} headers name trace {other}, but trace {kept} was kept")]
    ConflictingTraceId {
        /// The trace that was kept.
        kept: TraceId,
        /// The trace that was not.
        other: TraceId,
        /// The span of that trace; `None` where its format named none.
        span: Option<SpanId>,
        /// The format that names the other.
        format: Format,
    },
    /// A correlation id came more than once; its first value was used.
    #[error("correlation id came {count} times and its first value was used, but once is right")]
    CorrelationDuplicated {
        /// How many there were.
        count: usize,
    },
    /// A correlation id was not kept.
    #[error("correlation id was not kept")]
    CorrelationInvalid(#[source] CorrelationError),
    /// A request id that was to become the trace id is no UUID of version 4.
    #[error("request id in `{key}` did not become the trace id, for it is no UUID of version 4")]
    RequestIdNotRandom {
        /// The header, as configured.
        key: String,
    },
    /// A member of `baggage` was not read. The header itself passes through untouched.
    #[error("a member of `baggage` was not read")]
    BaggageMember(#[source] BaggageLoss),
    /// A member of Jaeger's baggage was not read. The header itself passes through untouched.
    #[error("a baggage member in `uberctx-` headers was not read")]
    JaegerBaggage(#[source] BaggageLoss),
}

impl Skipped {
    /// The value of a counter's `reason` label: one of 20 words, never anything from outside.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TraceparentMalformed(_) => "traceparent_malformed",
            Self::TraceparentDuplicated { .. } => "traceparent_duplicated",
            Self::TracestateOrphaned => "tracestate_without_traceparent",
            Self::TracestateMalformed(TraceStateError::TooManyMembers) => "tracestate_too_many_members",
            Self::TracestateMalformed(TraceStateError::KeyTooLong { .. }) => "tracestate_key_too_long",
            Self::TracestateMalformed(TraceStateError::ValueTooLong { .. }) => "tracestate_value_too_long",
            Self::TracestateMalformed(_) => "tracestate_malformed",
            Self::TracestateKeyDuplicated => "tracestate_key_duplicated",
            Self::B3Malformed { .. } => "b3_malformed",
            Self::B3Duplicated { .. } => "b3_duplicated",
            Self::Malformed { .. } => "context_malformed",
            Self::Duplicated { .. } => "context_duplicated",
            Self::ConflictingTraceId { .. } => "conflicting_trace_id",
            Self::RequestIdNotRandom { .. } => "request_id_not_random",
            Self::CorrelationDuplicated { .. } => "correlation_id_duplicated",
            Self::CorrelationInvalid(CorrelationError::TooLong { .. }) => "correlation_id_too_long",
            Self::CorrelationInvalid(_) => "correlation_id_malformed",
            Self::BaggageMember(BaggageLoss::Malformed) | Self::JaegerBaggage(BaggageLoss::Malformed) => {
                "baggage_member_malformed"
            }
            Self::BaggageMember(BaggageLoss::TooManyMembers)
            | Self::JaegerBaggage(BaggageLoss::TooManyMembers) => "baggage_too_many_members",
            Self::BaggageMember(BaggageLoss::TooLong) | Self::JaegerBaggage(BaggageLoss::TooLong) => {
                "baggage_too_long"
            }
        }
    }

    /// The value of a counter's `format` label: a format's name, `baggage` or `correlation`.
    pub fn format(&self) -> &'static str {
        match self {
            Self::TraceparentMalformed(_)
            | Self::TraceparentDuplicated { .. }
            | Self::TracestateOrphaned
            | Self::TracestateMalformed(_)
            | Self::TracestateKeyDuplicated => Format::TraceContext.name(),
            Self::B3Malformed { format, .. }
            | Self::Malformed { format, .. }
            | Self::Duplicated { format, .. }
            | Self::ConflictingTraceId { format, .. } => format.name(),
            Self::B3Duplicated { key, .. } => Format::of_key(key).unwrap_or(Format::B3).name(),
            Self::CorrelationDuplicated { .. }
            | Self::CorrelationInvalid(_)
            | Self::RequestIdNotRandom { .. } => "correlation",
            Self::BaggageMember(_) => "baggage",
            Self::JaegerBaggage(_) => Format::Jaeger.name(),
        }
    }
}
