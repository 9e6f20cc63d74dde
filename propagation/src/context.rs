//! The span context: which span of which trace a request comes from, and what was decided about recording it.
//!
//! In: what a format's reader found, or an [`IdSource`] for a new trace. Out: a [`SpanContext`] to continue
//! and inject.
//! Left out on purpose: whether to sample. Callers decide and say so with [`SpanContext::set_sampled`].

use crate::ids::{IdSource, SpanId, TraceId};
use crate::tracestate::TraceState;

/// The flags of W3C Trace Context Level 2. Unknown bits never get in: the specification wants them sent as
/// zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// No flag: not sampled, trace id of unknown origin.
    pub const NONE: Self = Self(0);
    /// The caller may have recorded its span.
    pub const SAMPLED: Self = Self(0x01);
    /// The right-most 7 bytes of the trace id are random, so a sampler may use them.
    pub const RANDOM: Self = Self(0x02);

    /// The known flags in `bits`; all others are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & (Self::SAMPLED.0 | Self::RANDOM.0))
    }

    /// The flags as they are sent, 0 to 3.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the caller may have recorded its span.
    pub fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// Whether the right-most 7 bytes of the trace id are random.
    pub fn is_random(self) -> bool {
        self.0 & Self::RANDOM.0 != 0
    }

    /// The same flags with `sampled` set or cleared.
    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> Self {
        Self(self.0 & !Self::SAMPLED.0 | u8::from(sampled))
    }
}

/// What someone before us decided about recording the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Do not record.
    Drop,
    /// Record.
    Record,
    /// Record, whatever the load (B3 debug).
    Debug,
}

impl Decision {
    /// Whether the decision is to record.
    pub fn is_recorded(self) -> bool {
        self != Self::Drop
    }
}

/// How many bits of the trace id a B3 peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceIdWidth {
    /// 16 hex digits, left-padded with zeros here.
    Bits64,
    /// 32 hex digits.
    #[default]
    Bits128,
}

/// What B3 says about sampling beyond W3C's one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum B3Sampling {
    /// As the `sampled` flag says.
    #[default]
    AsFlagged,
    /// Forced by a person: sent on as debug.
    Debug,
    /// Left to the receiver, and not decided since: sent on without a sampling state.
    Deferred,
}

/// What B3 carries and W3C cannot; remembered so that a B3 peer behind us gets back what the one before us
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct B3Traits {
    /// Width in which the trace id came. It is sent in that width where it still fits.
    pub width: TraceIdWidth,
    /// Sampling state beyond the `sampled` flag.
    pub sampling: B3Sampling,
}

/// One span's identity as it travels: trace, span, flags, and the vendors' members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that calls: the parent of whatever the receiver records.
    pub span_id: SpanId,
    /// Sampled and random.
    pub flags: TraceFlags,
    /// `tracestate`, in order. Empty unless the context came as W3C Trace Context or a caller set a member.
    pub trace_state: TraceState,
    /// What only B3 can say.
    pub b3: B3Traits,
}

impl SpanContext {
    /// A new trace with a new span. It claims the `random` flag, see [`IdSource`].
    pub fn start(ids: &mut impl IdSource, sampled: bool) -> Self {
        Self {
            trace_id: TraceId::generate(ids),
            span_id: SpanId::generate(ids),
            flags: TraceFlags::RANDOM.with_sampled(sampled),
            trace_state: TraceState::default(),
            b3: B3Traits::default(),
        }
    }

    /// The same trace continued by `span_id`: flags and `tracestate` are copied as they are.
    #[must_use]
    pub fn child(&self, span_id: SpanId) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// Records our own decision: sets the `sampled` flag and ends B3's deferral or debug.
    ///
    /// Allowed only together with a new span id (W3C Trace Context, "Mutating the traceparent Field").
    pub fn set_sampled(&mut self, sampled: bool) {
        self.apply(if sampled { Decision::Record } else { Decision::Drop });
    }

    pub(crate) fn apply(&mut self, decision: Decision) {
        self.flags = self.flags.with_sampled(decision.is_recorded());
        self.b3.sampling = if decision == Decision::Debug {
            B3Sampling::Debug
        } else {
            B3Sampling::AsFlagged
        };
    }

    /// Whether both are the same trace. A 64-bit tracer sees only the right half of a 128-bit id, so that
    /// half decides where one of the two came in 64 bits.
    pub(crate) fn is_same_trace(&self, other: &Self) -> bool {
        let cut = [self.b3.width, other.b3.width].contains(&TraceIdWidth::Bits64);
        self.trace_id == other.trace_id || cut && self.trace_id.low_half() == other.trace_id.low_half()
    }
}
