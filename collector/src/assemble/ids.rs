//! Spans by id, where two halves of a call may share one.
//!
//! In: the spans of one trace. Out: who an id means, the same whatever the order in which the spans came.
//! Left out on purpose: more than [`MAX_HALVES`] spans with one id; no way of propagating context makes them.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};

use otlp::Kind;

use super::tree::Index;
use crate::span::{Span, SpanId};

/// Of more spans than this with one id only the first are looked at, so that a trace of copies stays cheap.
const MAX_HALVES: usize = 64;
const EMPTY: u32 = u32::MAX;
/// Marks a place that holds a group of spans with one id. A trace has fewer spans than this.
const SHARED: u32 = 1 << 31;

/// An open-addressed table of the spans' indices, at most half full; halves that share an id are one entry.
#[derive(Debug)]
pub(super) struct Ids {
    places: Vec<u32>,
    /// Halves that share an id, one group after the other, and where each group begins and ends.
    halves: Vec<u32>,
    groups: Vec<(u32, u32)>,
    /// (first span with an id, another span with it).
    twins: Vec<(u32, u32)>,
    /// Drawn anew in each process: senders choose ids, and shall not choose where they collide.
    seed: u64,
    factor: u64,
}

impl Default for Ids {
    fn default() -> Self {
        let random = RandomState::new();
        Self {
            places: Vec::new(),
            halves: Vec::new(),
            groups: Vec::new(),
            twins: Vec::new(),
            seed: random.hash_one(1u8),
            factor: random.hash_one(2u8) | 1,
        }
    }
}

impl Ids {
    /// Takes up the spans of a trace in place of those before.
    pub(super) fn fill(&mut self, spans: &[Span]) {
        self.halves.clear();
        self.groups.clear();
        self.twins.clear();
        self.places.clear();
        self.places
            .resize((spans.len() * 2).next_power_of_two().max(2), EMPTY);
        for (i, span) in spans.iter().enumerate() {
            let place = self.place(spans, span.id);
            match self.places[place] {
                EMPTY => self.places[place] = i as u32,
                first => self.twins.push((first, i as u32)),
            }
        }
        if !self.twins.is_empty() {
            self.group(spans);
        }
    }

    fn group(&mut self, spans: &[Span]) {
        self.twins.sort_unstable();
        let mut twins = std::mem::take(&mut self.twins);
        for same in twins.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(first, _)) = same.first() else { continue };
            let begin = self.halves.len();
            self.halves.push(first);
            self.halves.extend(same.iter().map(|&(_, other)| other));
            let group = &mut self.halves[begin..];
            group.sort_unstable_by_key(|&i| {
                let span = &spans[i as usize];
                (span.service(), span.kind, span.start, i)
            });
            self.halves.truncate(begin + MAX_HALVES);
            let place = self.place(spans, spans[first as usize].id);
            self.places[place] = SHARED | self.groups.len() as u32;
            self.groups.push((begin as u32, self.halves.len() as u32));
        }
        twins.clear();
        self.twins = twins;
    }

    /// The place that holds `id`, or the empty one where it would be.
    fn place(&self, spans: &[Span], id: SpanId) -> usize {
        let product = u128::from(id ^ self.seed) * u128::from(self.factor);
        let mask = self.places.len() - 1;
        let mut place = ((product >> 64) as u64 ^ product as u64) as usize & mask;
        loop {
            let held = match self.places[place] {
                EMPTY => return place,
                shared if shared & SHARED != 0 => {
                    self.halves[self.groups[(shared ^ SHARED) as usize].0 as usize]
                }
                one => one,
            };
            if spans[held as usize].id == id {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn with_id(&self, spans: &[Span], id: SpanId) -> &[Index] {
        let place = &self.places[self.place(spans, id)];
        match *place {
            EMPTY => &[],
            shared if shared & SHARED != 0 => {
                let (begin, end) = self.groups[(shared ^ SHARED) as usize];
                &self.halves[begin as usize..end as usize]
            }
            _ => std::slice::from_ref(place),
        }
    }

    /// The calling half of a B3 call whose two halves share one id: a CLIENT or PRODUCER span of another service.
    pub(super) fn other_half(&self, spans: &[Span], i: Index) -> Option<Index> {
        let span = &spans[i as usize];
        if self.groups.is_empty() || !matches!(span.kind, Kind::Server | Kind::Consumer) {
            return None;
        }
        let is_half = |&&j: &&Index| {
            let other = &spans[j as usize];
            j != i
                && matches!(other.kind, Kind::Client | Kind::Producer)
                && other.service().is_some()
                && other.service() != span.service()
        };
        self.with_id(spans, span.id).iter().find(is_half).copied()
    }

    /// The span that `wanted` names as the parent of `child`: the half of the same service before others, one with a
    /// service before one without, a serving half before a calling one.
    pub(super) fn parent(&self, spans: &[Span], child: Index, wanted: SpanId) -> Option<Index> {
        let halves = match self.with_id(spans, wanted) {
            &[one] => return (one != child).then_some(one),
            halves => halves,
        };
        let rank = |&(place, &j): &(usize, &Index)| {
            let other = &spans[j as usize];
            let known = other.service().is_some();
            let same = known && other.service() == spans[child as usize].service();
            let serves = matches!(other.kind, Kind::Server | Kind::Consumer);
            (same, known, serves, Reverse(place))
        };
        let halves = halves.iter().enumerate().filter(|&(_, &j)| j != child);
        halves.max_by_key(rank).map(|(_, &j)| j)
    }

    /// The span that a link names: one that sends before others, never one that consumes itself.
    pub(super) fn linked(&self, spans: &[Span], from: Index, wanted: SpanId) -> Option<Index> {
        let halves = self.with_id(spans, wanted).iter().copied();
        halves
            .filter(|&j| j != from && spans[j as usize].can_produce())
            .max_by_key(|&j| (spans[j as usize].sends(), Reverse(j)))
    }
}
