//! What a request brought with it, put together from all formats by precedence.
//!
//! In: what each format's reader found, in configured order. Out: one context, one decision, and what was
//! skipped.
//! Left out on purpose: span links themselves. The caller makes them from [`Extracted::others`].

use crate::baggage::Baggage;
use crate::context::{Decision, Sampling, SpanContext, TraceFlags};
use crate::correlation::CorrelationId;
use crate::format::{Format, FormatSet};
use crate::found::{Found, TraceStart};
use crate::ids::{IdSource, SpanId, TraceId};
use crate::skipped::Skipped;
use crate::skywalking::SkyWalking;
use crate::tracestate::TraceState;

/// What [`Propagator::extract`](crate::Propagator::extract) found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extracted {
    /// The caller's span, if some format named one.
    pub context: Option<SpanContext>,
    /// The format that named the context, else the trace, else the one that made the decision.
    pub format: Option<Format>,
    /// All formats that speak of that trace. What mirroring writes.
    pub formats: FormatSet,
    /// The trace to begin with its own id, where one was named without a span. Never beside a context.
    pub start: Option<TraceStart>,
    /// Whether to record, if someone before us decided. Without a context it comes from B3, which may send it
    /// alone.
    pub decision: Option<Decision>,
    /// The correlation id, if a valid one came.
    pub correlation: Option<CorrelationId>,
    /// The application's baggage, W3C's members before Jaeger's.
    pub baggage: Baggage,
    /// Spans of other traces that came as well: what the receiver's span links to.
    pub others: Vec<OtherContext>,
    /// What `sw8` said, in its own words.
    pub skywalking: Option<SkyWalking>,
    /// Everything that was not believed, for the counters.
    pub skipped: Vec<Skipped>,
}

/// A span of another trace that a request names beside the one that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherContext {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Its flags.
    pub flags: TraceFlags,
    /// Its `tracestate`; empty unless it came as W3C Trace Context.
    pub trace_state: TraceState,
    /// The format that names it.
    pub format: Format,
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
            None => self.begin(ids, sampled),
        };
        match self.decision {
            Some(decision) => context.apply(decision),
            None => context.set_sampled(sampled),
        }
        context
    }

    /// What is left of it where the caller is not believed: its correlation id, and what it names as links if `linked`.
    ///
    /// Without links the baggage goes too.
    #[must_use]
    pub fn restarted(self, linked: bool) -> Self {
        let mut others = self.others;
        if let (Some(context), Some(format)) = (self.context, self.format) {
            others.insert(0, OtherContext::new(format, context));
        }
        Self {
            correlation: self.correlation,
            skipped: self.skipped,
            formats: if linked { self.formats } else { FormatSet::EMPTY },
            baggage: if linked { self.baggage } else { Baggage::default() },
            others: if linked { others } else { Vec::new() },
            ..Self::default()
        }
    }

    fn begin(&self, ids: &mut impl IdSource, sampled: bool) -> SpanContext {
        let mut context = SpanContext::start(ids, sampled);
        context.formats = self.formats;
        if let Some(start) = &self.start {
            context.trace_id = start.trace_id;
            context.traits = start.traits.clone();
            if !start.random {
                context.flags = TraceFlags::NONE.with_sampled(sampled);
            }
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
    /// The first context and the first decision win. Of a later format that names the same trace, debug, the width of
    /// its trace id and what only its vendor has are taken over, because a peer behind us may need them. A trace that
    /// came with a span is better evidence than one without, whatever the order.
    pub(crate) fn merge(&mut self, format: Format, found: Found) {
        if let Some(seen) = found.skywalking {
            self.others.extend(OtherContext::of_skywalking(&seen));
            self.skywalking = Some(seen);
        }
        let agrees = match (found.context, found.start) {
            (Some(context), _) => self.merge_context(format, context),
            (None, Some(start)) => self.merge_start(format, start),
            (None, None) => true,
        };
        if !agrees {
            return;
        }
        if let Some(decision) = found.decision {
            self.formats.insert(format);
            self.format = self.format.or(Some(format));
            self.decision = self.decision.or(Some(decision));
        }
    }

    /// Whether `other` is of the trace that is kept.
    fn merge_context(&mut self, format: Format, other: SpanContext) -> bool {
        match &mut self.context {
            Some(kept) if !kept.is_of(other.trace_id, other.traits.width) => {
                self.skipped.push(Skipped::ConflictingTraceId {
                    kept: kept.trace_id,
                    other: other.trace_id,
                    span: Some(other.span_id),
                    format,
                });
                self.others.push(OtherContext::new(format, other));
                return false;
            }
            Some(kept) => {
                if other.traits.sampling == Sampling::Debug {
                    self.decision = Some(Decision::Debug);
                }
                kept.traits.complete(other.traits);
            }
            None => {
                self.format = Some(format);
                let start = self.start.take();
                let context = self.context.insert(other);
                match start {
                    Some(start) if context.is_of(start.trace_id, start.traits.width) => {
                        context.traits.complete(start.traits);
                    }
                    Some(start) => {
                        // What was said of the other trace is not said of this one.
                        (self.formats, self.decision) = (FormatSet::EMPTY, None);
                        self.skipped.push(Skipped::ConflictingTraceId {
                            kept: context.trace_id,
                            other: start.trace_id,
                            span: None,
                            format: start.format.unwrap_or(format),
                        });
                    }
                    None => {}
                }
            }
        }
        self.formats.insert(format);
        true
    }

    /// Whether `other` is of the trace that is kept.
    fn merge_start(&mut self, format: Format, other: TraceStart) -> bool {
        let (trace_id, width) = (other.trace_id, other.traits.width);
        let kept = match (&mut self.context, &mut self.start) {
            (Some(kept), _) if kept.is_of(trace_id, width) => {
                kept.traits.complete(other.traits);
                None
            }
            (Some(kept), _) => Some(kept.trace_id),
            (None, Some(kept)) if kept.trace_id == trace_id => {
                kept.traits.complete(other.traits);
                None
            }
            (None, Some(kept)) => Some(kept.trace_id),
            (None, None) => {
                self.start = Some(other);
                self.format = Some(format);
                None
            }
        };
        if let Some(kept) = kept {
            self.skipped.push(Skipped::ConflictingTraceId {
                kept,
                other: trace_id,
                span: None,
                format,
            });
            return false;
        }
        self.formats.insert(format);
        true
    }

    /// Writes the decision and the formats into the context once all formats have spoken.
    pub(crate) fn settle(&mut self) {
        let Some(context) = &mut self.context else {
            return;
        };
        context.formats = self.formats;
        if let Some(decision) = self.decision {
            context.apply(decision);
        }
    }
}

impl OtherContext {
    fn new(format: Format, context: SpanContext) -> Self {
        Self {
            trace_id: context.trace_id,
            span_id: context.span_id,
            flags: context.flags,
            trace_state: context.trace_state,
            format,
        }
    }

    fn of_skywalking(seen: &SkyWalking) -> Option<Self> {
        let (trace_id, span_id) = seen.link()?;
        Some(Self {
            trace_id,
            span_id,
            flags: TraceFlags::NONE,
            trace_state: TraceState::default(),
            format: Format::Sw8,
        })
    }
}
