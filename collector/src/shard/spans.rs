//! Span metrics: how many spans an operation has, by kind and status, and how long they take.
//!
//! In: one span after the other. Out: what changed since the last report, so that the ledger pays per series and not
//! per span.
//! Left out on purpose: totals and budgets; those are the ledger's.

use otlp::{Kind, StatusCode};

use super::Latency;
use crate::names::Operation;
use crate::span::{Span, TraceId};

/// What was added to one series of span metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanDelta {
    /// The operation; it has a service.
    pub operation: Operation,
    /// The kind of the spans.
    pub kind: Kind,
    /// How they ended.
    pub status: StatusCode,
    /// How many requests they stand for.
    pub calls: f64,
    /// How long they took.
    pub latency: Latency,
    /// When the first of them began, nanoseconds since 1970.
    pub first: u64,
    /// When the last of them began.
    pub last: u64,
    /// The slowest of them: its trace, seconds, and when it ended, nanoseconds since 1970.
    pub exemplar: Option<(TraceId, f64, u64)>,
}

/// What a span says by itself, whatever its trace will say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) operation: Operation,
    trace: TraceId,
    start: u64,
    end: u64,
    seconds: f64,
    weight: f32,
    kind: Kind,
    status: StatusCode,
}

impl Seen {
    pub(super) fn of(trace: &TraceId, span: &Span) -> Self {
        Self {
            operation: span.operation,
            trace: *trace,
            start: span.start,
            end: span.end,
            seconds: span.seconds(),
            weight: span.weight,
            kind: span.kind,
            status: span.status,
        }
    }
}

/// Series by operation, and which of them changed.
#[derive(Debug, Default)]
pub(super) struct SpanMetrics {
    /// By index of the operation: its first series, plus one; 0 for none.
    first: Vec<u32>,
    series: Vec<Series>,
    changed: Vec<u32>,
}

#[derive(Debug)]
struct Series {
    kind: Kind,
    status: StatusCode,
    /// The next series of the operation, plus one; 0 for none.
    next: u32,
    /// Where its delta is, while there is one.
    delta: Option<Box<SpanDelta>>,
}

impl SpanMetrics {
    /// Counts a span of a service.
    pub(super) fn count(&mut self, seen: &Seen) {
        if seen.operation.service.is_none() {
            return;
        }
        let at = self.place(seen);
        let series = &mut self.series[at as usize];
        let delta = series.delta.get_or_insert_with(|| {
            self.changed.push(at);
            Box::new(SpanDelta::new(seen))
        });
        delta.add(seen);
    }

    /// What changed since the last call, in the order in which it first did.
    pub(super) fn take(&mut self) -> Vec<SpanDelta> {
        let changed = self.changed.drain(..);
        let deltas = changed.filter_map(|at| self.series[at as usize].delta.take());
        deltas.map(|delta| *delta).collect()
    }

    fn place(&mut self, seen: &Seen) -> u32 {
        let operation = seen.operation.index();
        if self.first.len() <= operation {
            self.first.resize(operation + 1, 0);
        }
        let mut at = self.first[operation];
        while let Some(before) = at.checked_sub(1) {
            let series = &self.series[before as usize];
            if series.kind == seen.kind && series.status == seen.status {
                return before;
            }
            at = series.next;
        }
        self.series.push(Series {
            kind: seen.kind,
            status: seen.status,
            next: self.first[operation],
            delta: None,
        });
        self.first[operation] = self.series.len() as u32;
        self.series.len() as u32 - 1
    }
}

impl SpanDelta {
    fn new(seen: &Seen) -> Self {
        Self {
            operation: seen.operation,
            kind: seen.kind,
            status: seen.status,
            calls: 0.0,
            latency: Latency::default(),
            first: u64::MAX,
            last: 0,
            exemplar: None,
        }
    }

    fn add(&mut self, seen: &Seen) {
        self.calls += f64::from(seen.weight);
        self.latency.observe(seen.seconds, seen.weight);
        self.first = self.first.min(seen.start);
        self.last = self.last.max(seen.start);
        if self.exemplar.is_none_or(|(_, slowest, _)| seen.seconds > slowest) {
            self.exemplar = Some((seen.trace, seen.seconds, seen.end));
        }
    }
}
