//! The spans of one trace while it is open or kept.
//!
//! In: spans. Out: whether a span came before, who a link means, whether there is anything new to assemble.
//! Left out on purpose: when to assemble; the table knows the time.

use std::collections::BTreeSet;

use crate::assemble::Assembly;
use crate::span::{Span, SpanId, TraceId};

#[derive(Debug)]
pub(super) struct Trace {
    pub(super) spans: Vec<Span>,
    /// When its first span came; after closing, when the first late one came.
    pub(super) first: u64,
    /// When its last span came.
    pub(super) last: u64,
    /// What it said when it was closed.
    closed: Option<Assembly>,
    /// Spans came since it was closed, or a producer that it names.
    stirred: bool,
    /// Places of the spans by id, once there are many; empty before.
    index: BTreeSet<(SpanId, usize)>,
}

/// From this many spans on a trace has an index of its ids.
const INDEXED_FROM: usize = 32;
/// What a span occupies in the index.
const INDEX_BYTES: usize = 24;

impl Trace {
    pub(super) fn new(now: u64) -> Self {
        let index = BTreeSet::new();
        Self {
            spans: Vec::new(),
            first: now,
            last: now,
            closed: None,
            stirred: false,
            index,
        }
    }

    /// True where the same span came before.
    pub(super) fn holds(&self, span: &Span) -> bool {
        self.with_id(span.id)
            .any(|held| held.kind == span.kind && held.service == span.service)
    }

    /// The span that a link from another trace names as the producer.
    pub(super) fn producer(&self, id: SpanId) -> Option<&Span> {
        self.with_id(id)
            .filter(|span| span.can_produce())
            .max_by_key(|span| (span.sends(), &span.service))
    }

    /// Adds a span; returns the bytes that it occupies.
    pub(super) fn push(&mut self, span: Span) -> usize {
        let (bytes, id, place) = (bytes_of(&span), span.id, self.spans.len());
        self.spans.push(span);
        match place + 1 {
            INDEXED_FROM => {
                let places = self.spans.iter().enumerate();
                self.index.extend(places.map(|(place, span)| (span.id, place)));
            }
            n if n > INDEXED_FROM => {
                self.index.insert((id, place));
            }
            _ => {}
        }
        bytes
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// True where it was never closed, or something came since.
    pub(super) fn is_unsettled(&self) -> bool {
        self.closed.is_none() || self.stirred
    }

    /// Notes that a closed trace is to be looked at again; false where it is open or already will be.
    pub(super) fn stir(&mut self, now: u64) -> bool {
        if !self.is_closed() || self.stirred {
            return false;
        }
        self.stirred = true;
        (self.first, self.last) = (now, now);
        true
    }

    /// Holds what it says now; returns what it said when it was closed before.
    pub(super) fn settle(&mut self, assembly: Assembly) -> Option<Assembly> {
        self.stirred = false;
        self.closed.replace(assembly)
    }

    /// Links of its consuming spans: these name producers.
    pub(super) fn consumed_links(&self) -> impl Iterator<Item = (TraceId, SpanId)> + '_ {
        self.spans
            .iter()
            .filter(|span| span.consumes())
            .flat_map(|span| span.links().iter().copied())
    }

    /// Bytes of its spans, and of what it said.
    pub(super) fn footprint(&self) -> usize {
        let spans: usize = self.spans.iter().map(bytes_of).sum();
        spans + self.closed.as_ref().map_or(0, Assembly::footprint)
    }

    fn with_id(&self, id: SpanId) -> impl Iterator<Item = &Span> {
        let indexed = self
            .index
            .range((id, 0)..=(id, usize::MAX))
            .filter_map(|&(_, place)| self.spans.get(place));
        let few = if self.index.is_empty() {
            self.spans.as_slice()
        } else {
            &[]
        };
        few.iter().filter(move |span| span.id == id).chain(indexed)
    }
}

fn bytes_of(span: &Span) -> usize {
    span.footprint() + INDEX_BYTES
}
