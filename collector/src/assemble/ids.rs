//! Spans by id, where two halves of a call may share one.
//!
//! In: the spans of one trace. Out: who an id means, the same whatever the order in which the spans came.
//! Left out on purpose: more than [`MAX_HALVES`] spans with one id; no way of propagating context makes them.

use std::cmp::Reverse;
use std::collections::HashMap;

use otlp::Kind;

use super::tree::Index;
use crate::span::{Span, SpanId};

/// Of more spans than this with one id only the first are looked at, so that a trace of copies stays cheap.
const MAX_HALVES: usize = 64;

/// Spans by id; halves that share an id stay together.
pub(super) struct Ids<'a> {
    spans: &'a [Span],
    by_id: HashMap<SpanId, Shared>,
}

enum Shared {
    One(Index),
    Many(Vec<Index>),
}

impl Shared {
    fn as_slice(&self) -> &[Index] {
        match self {
            Self::One(i) => std::slice::from_ref(i),
            Self::Many(all) => all,
        }
    }
}

impl<'a> Ids<'a> {
    pub(super) fn new(spans: &'a [Span]) -> Self {
        let mut by_id: HashMap<SpanId, Shared> = HashMap::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            by_id
                .entry(span.id)
                .and_modify(|held| match held {
                    Shared::One(first) => *held = Shared::Many(vec![*first, i]),
                    Shared::Many(all) => all.push(i),
                })
                .or_insert(Shared::One(i));
        }
        for shared in by_id.values_mut() {
            if let Shared::Many(all) = shared {
                all.sort_by_key(|&i| (&spans[i].service, spans[i].kind, spans[i].start));
                all.truncate(MAX_HALVES);
            }
        }
        Self { spans, by_id }
    }

    fn with_id(&self, id: SpanId) -> &[Index] {
        self.by_id.get(&id).map_or(&[], Shared::as_slice)
    }

    /// The calling half of a B3 call whose two halves share one id: a CLIENT or PRODUCER span of another service.
    pub(super) fn other_half(&self, i: Index) -> Option<Index> {
        let span = &self.spans[i];
        if !matches!(span.kind, Kind::Server | Kind::Consumer) {
            return None;
        }
        let is_half = |&&j: &&Index| {
            let other = &self.spans[j];
            j != i
                && matches!(other.kind, Kind::Client | Kind::Producer)
                && other.service.is_some()
                && other.service != span.service
        };
        self.with_id(span.id).iter().find(is_half).copied()
    }

    /// The span that `wanted` names as the parent of `child`: the half of the same service before others, one with a
    /// service before one without, a serving half before a calling one.
    pub(super) fn parent(&self, child: Index, wanted: SpanId) -> Option<Index> {
        let rank = |&(place, &j): &(usize, &Index)| {
            let other = &self.spans[j];
            let known = other.service.is_some();
            let same = known && other.service == self.spans[child].service;
            let serves = matches!(other.kind, Kind::Server | Kind::Consumer);
            (same, known, serves, Reverse(place))
        };
        let halves = self
            .with_id(wanted)
            .iter()
            .enumerate()
            .filter(|&(_, &j)| j != child);
        halves.max_by_key(rank).map(|(_, &j)| j)
    }

    /// The span that a link names: one that sends before others, never one that consumes itself.
    pub(super) fn linked(&self, from: Index, wanted: SpanId) -> Option<Index> {
        let halves = self
            .with_id(wanted)
            .iter()
            .filter(|&&j| j != from && self.spans[j].can_produce());
        halves
            .copied()
            .max_by_key(|&j| (self.spans[j].sends(), Reverse(j)))
    }
}
