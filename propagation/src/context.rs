//! The span context: which span of which trace a request comes from, and what was decided about recording it.
//!
//! In: what a format's reader found, or an [`IdSource`] for a new trace. Out: a [`SpanContext`] to continue
//! and inject.
//! Left out on purpose: whether to sample. Callers decide and say so with [`SpanContext::set_sampled`].

use crate::format::{Format, FormatSet};
use crate::ids::{IdSource, SpanId, TraceId};
use crate::text::push_lower_hex;
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

/// How many bits of the trace id a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceIdWidth {
    /// At most 16 hex digits, left-padded with zeros here.
    Bits64,
    /// 32 hex digits.
    #[default]
    Bits128,
}

/// What a format says about sampling beyond W3C's one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sampling {
    /// As the `sampled` flag says.
    #[default]
    AsFlagged,
    /// Forced by a person: sent on as debug where the format has a word for it.
    Debug,
    /// Left to the receiver, and not decided since: sent on without a sampling state where the format allows.
    Deferred,
}

/// What other formats carry and W3C cannot; remembered so that a peer behind us gets back what the one before us sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    /// Width in which the trace id came. It is sent in that width where it still fits.
    pub width: TraceIdWidth,
    /// Sampling state beyond the `sampled` flag.
    pub sampling: Sampling,
    /// What only one vendor's headers have. Most requests have none of it.
    pub vendor: Option<Box<Vendor>>,
}

/// What only one vendor's headers have, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vendor {
    /// Datadog's priority, origin and tags.
    pub datadog: DatadogTraits,
    /// Pairs of `X-Amzn-Trace-Id` beside root, parent and sampled, joined by `;`.
    pub xray: String,
    /// Jaeger's flag for traces that are kept whatever their size.
    pub jaeger_firehose: bool,
}

/// What Datadog's headers say beyond ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatadogTraits {
    /// -1 (a person refused) to 2 (a person insists); sent on while it agrees with the `sampled` flag.
    pub priority: Option<i8>,
    /// Which product started the trace; empty where none says so.
    pub origin: String,
    /// All tags but the upper half of the trace id, joined by `,`.
    pub tags: String,
}

impl Traits {
    /// What only one vendor's headers have.
    pub fn vendor(&self) -> Option<&Vendor> {
        self.vendor.as_deref()
    }

    /// The same to write to.
    pub fn vendor_mut(&mut self) -> &mut Vendor {
        self.vendor.get_or_insert_default()
    }

    /// Takes over what `other`, which speaks of the same trace, says and this does not.
    pub(crate) fn complete(&mut self, other: Self) {
        if other.width == TraceIdWidth::Bits64 {
            self.width = TraceIdWidth::Bits64;
        }
        let Some(theirs) = other.vendor else { return };
        let ours = self.vendor_mut();
        if ours.datadog == DatadogTraits::default() {
            ours.datadog = theirs.datadog;
        }
        if ours.xray.is_empty() {
            ours.xray = theirs.xray;
        }
        ours.jaeger_firehose |= theirs.jaeger_firehose;
    }
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
    /// What other formats say besides.
    pub traits: Traits,
    /// The formats in which it came; empty for a trace that begins here. They are written again.
    pub formats: FormatSet,
}

impl SpanContext {
    /// A new trace with a new span. It claims the `random` flag, see [`IdSource`].
    pub fn start(ids: &mut impl IdSource, sampled: bool) -> Self {
        Self {
            trace_id: TraceId::generate(ids),
            span_id: SpanId::generate(ids),
            flags: TraceFlags::RANDOM.with_sampled(sampled),
            trace_state: TraceState::default(),
            traits: Traits::default(),
            formats: FormatSet::EMPTY,
        }
    }

    /// A context that came in a format without `tracestate` and without the random flag, not decided yet.
    pub(crate) fn carried(format: Format, trace_id: TraceId, span_id: SpanId, traits: Traits) -> Self {
        Self {
            trace_id,
            span_id,
            flags: TraceFlags::NONE,
            trace_state: TraceState::default(),
            traits: Traits {
                sampling: Sampling::Deferred,
                ..traits
            },
            formats: format.into(),
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

    /// Records our own decision: sets the `sampled` flag and ends a deferral or debug.
    ///
    /// Allowed only together with a new span id (W3C Trace Context, "Mutating the traceparent Field").
    pub fn set_sampled(&mut self, sampled: bool) {
        self.apply(if sampled { Decision::Record } else { Decision::Drop });
    }

    pub(crate) fn apply(&mut self, decision: Decision) {
        self.flags = self.flags.with_sampled(decision.is_recorded());
        self.traits.sampling = if decision == Decision::Debug {
            Sampling::Debug
        } else {
            Sampling::AsFlagged
        };
    }

    /// What a format with more words than one bit should say about sampling; `None` leaves it to the receiver.
    pub fn decision(&self) -> Option<Decision> {
        match (self.traits.sampling, self.flags.is_sampled()) {
            (Sampling::Debug, _) => Some(Decision::Debug),
            (_, true) => Some(Decision::Record),
            (Sampling::Deferred, false) => None,
            (Sampling::AsFlagged, false) => Some(Decision::Drop),
        }
    }

    /// The trace id in hex, in the width in which it came where it still fits.
    pub(crate) fn trace_id_text(&self) -> String {
        let mut text = String::with_capacity(16 + 16 + 1 + 16 + 2);
        if self.traits.width == TraceIdWidth::Bits64 && self.trace_id.is_short() {
            push_lower_hex(&mut text, &self.trace_id.low_half().to_be_bytes());
        } else {
            push_lower_hex(&mut text, self.trace_id.as_bytes());
        }
        text
    }

    /// Whether both are the same trace. A 64-bit tracer sees only the right half of a 128-bit id, so that
    /// half decides where one of the two came in 64 bits.
    pub(crate) fn is_of(&self, trace_id: TraceId, width: TraceIdWidth) -> bool {
        let cut = [self.traits.width, width].contains(&TraceIdWidth::Bits64);
        self.trace_id == trace_id || cut && self.trace_id.low_half() == trace_id.low_half()
    }
}
