//! What a request brought with it, put together from all formats by precedence.
//!
//! In: what each format's reader found, in configured order. Out: one context, one decision, and what was
//! skipped.
//! Left out on purpose: span links. The caller makes them from [`Skipped::ConflictingTraceId`].

use crate::b3::Found;
use crate::baggage::Baggage;
use crate::config::Format;
use crate::context::{B3Sampling, Decision, SpanContext, TraceIdWidth};
use crate::correlation::CorrelationId;
use crate::ids::{IdSource, SpanId, TraceId};
use crate::skipped::Skipped;

/// What [`Propagator::extract`](crate::Propagator::extract) found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extracted {
    /// The caller's span, if some format named one.
    pub context: Option<SpanContext>,
    /// The format that named the context, else the one that made the decision. What mirroring writes.
    pub format: Option<Format>,
    /// Whether to record, if someone before us decided. Without a context it comes from B3, which may send it
    /// alone.
    pub decision: Option<Decision>,
    /// The correlation id, if a valid one came.
    pub correlation: Option<CorrelationId>,
    /// The application's baggage.
    pub baggage: Baggage,
    /// Everything that was not believed, for the counters.
    pub skipped: Vec<Skipped>,
}

impl Extracted {
    /// The caller's trace continued by `span_id`, everything else unchanged (B3's deferral stays a deferral).
    /// `None` if no trace came.
    pub fn child(&self, span_id: SpanId) -> Option<SpanContext> {
        self.context.as_ref().map(|parent| parent.child(span_id))
    }

    /// A new span in the caller's trace, or in a new trace if none came.
    ///
    /// A decision that came with the request is kept; where none did, `sampled` is it.
    pub fn continue_or_start(&self, ids: &mut impl IdSource, sampled: bool) -> SpanContext {
        let mut context = match &self.context {
            Some(parent) => parent.child(SpanId::generate(ids)),
            None => SpanContext::start(ids, sampled),
        };
        match self.decision {
            Some(decision) => context.apply(decision),
            None => context.set_sampled(sampled),
        }
        context
    }

    /// The correlation id that came, else `trace_id` as a UUID.
    pub fn correlation_or(&self, trace_id: TraceId) -> CorrelationId {
        self.correlation
            .clone()
            .unwrap_or_else(|| CorrelationId::from_trace_id(trace_id))
    }

    /// Adds what a format of lower precedence than all before says.
    ///
    /// The first context and the first decision win. Of a later format that names the same trace, B3's debug
    /// and the width of its trace id are taken over, because a B3 peer behind us needs both.
    pub(crate) fn merge(&mut self, format: Format, found: Found) {
        match (&mut self.context, &found.context) {
            (None, None) => self.format = self.format.or(found.decision.map(|_| format)),
            (None, Some(_)) => {
                self.context = found.context;
                self.format = Some(format);
            }
            (Some(_), None) => {}
            (Some(kept), Some(other)) if kept.is_same_trace(other) => {
                if other.b3.width == TraceIdWidth::Bits64 {
                    kept.b3.width = TraceIdWidth::Bits64;
                }
                if other.b3.sampling == B3Sampling::Debug {
                    self.decision = Some(Decision::Debug);
                }
            }
            (Some(kept), Some(other)) => {
                let (kept, other) = (kept.trace_id, other.trace_id);
                self.skipped
                    .push(Skipped::ConflictingTraceId { kept, other, format });
                return;
            }
        }
        self.decision = self.decision.or(found.decision);
    }

    /// Writes the decision into the context once all formats have spoken.
    pub(crate) fn settle(&mut self) {
        if let (Some(context), Some(decision)) = (&mut self.context, self.decision) {
            context.apply(decision);
        }
    }
}
