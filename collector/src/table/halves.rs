//! Which halves of calls are missing in a trace, and how long the others waited for those that came.
//!
//! In: the spans of a trace and when they came. Out: skews to learn from, and the wait that is worth its while.
//! Left out on purpose: learning (`skew`), and what a pair means (`assemble`). What two spans are to each other is asked
//! here of few traces, so it is asked without an index.

use otlp::Kind;

use super::trace::Trace;
use crate::skew::{Skew, TOGETHER, Waits};
use crate::span::Span;

/// In traces of more spans nobody looks which half waited for which.
const MAX_COMPARED: usize = 512;

/// How long halves waited for the other, where that came since the trace was closed before.
pub(super) fn pairing_skews(trace: &Trace, out: &mut Vec<Skew>) {
    let arrivals = trace.arrivals();
    if arrivals.is_empty() || trace.spans.len() > MAX_COMPARED {
        return;
    }
    let came = |at: usize| {
        let groups = arrivals.iter().take_while(|(from, _)| *from as usize <= at);
        groups.last().map_or(0, |(_, time)| *time)
    };
    for (at, late) in trace.spans.iter().enumerate().skip(trace.closed_spans()) {
        let now = came(at);
        let earlier = trace.spans.iter().enumerate().take(at);
        let halves = earlier.filter(|(_, half)| are_halves(half, late));
        let waited = halves.map(|(of, half)| (half.operation, now.saturating_sub(came(of))));
        out.extend(waited.filter(|(_, nanos)| *nanos >= TOGETHER));
    }
}

/// How long after the last span it is worth to wait for the halves that are missing, nanoseconds.
pub(super) fn awaited(spans: &[Span], waits: &Waits) -> u64 {
    let slow = spans.iter().map(|span| (span, waits.of(span.operation)));
    let slow = slow.filter(|(_, wait)| *wait > 0);
    let missing = slow.filter(|(span, _)| spans.len() > MAX_COMPARED || lacks_half(span, spans));
    missing.map(|(_, wait)| wait).max().unwrap_or(0)
}

/// True where a span calls somebody who is not there, or was called by somebody who is not.
fn lacks_half(span: &Span, spans: &[Span]) -> bool {
    let calls = matches!(span.kind, Kind::Client | Kind::Producer);
    let answered = || {
        let mut others = spans.iter().filter(|other| other.id != span.parent_id);
        others.any(|other| are_halves(span, other))
    };
    let called = || span.parent_id == 0 || spans.iter().any(|other| other.id == span.parent_id);
    (calls && !answered()) || !called()
}

/// Whether one span is the other's parent, or both are the same call seen from its two ends.
fn are_halves(one: &Span, other: &Span) -> bool {
    one.parent_id == other.id || other.parent_id == one.id || (one.id == other.id && one.kind != other.kind)
}
