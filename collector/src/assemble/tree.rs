//! The spans of one trace with their parents resolved and grouped into visits.
//!
//! In: spans in any order, with shared ids, missing parents and even cycles. Out: [`Tree`], in which every span has
//! at most one parent, every parent chain ends, and every span knows its visit's entry.
//! Left out on purpose: meaning. Which spans are calls is said in `calls`, what surrounds them in `layers`.

use otlp::Kind;

use super::ids::Ids;
use super::layers::facts_of;
use crate::names::Node;
use crate::span::{Span, SpanId};

/// Index of a span in its trace.
pub(super) type Index = u32;
/// No span.
pub(super) const NONE: Index = Index::MAX;

/// What is known of one span besides what it says itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// The service that recorded it.
    pub(super) service: Option<Node>,
    /// The nearest span at or below it in its visit that names a far side.
    pub(super) peer: Nearest,
    /// The nearest that names a destination.
    pub(super) destination: Nearest,
    /// The nearest consuming child that names a destination, of whatever service.
    pub(super) consumer_destination: Nearest,
    /// The parent, which has a service; [`NONE`] for roots, orphans and spans without a service.
    pub(super) parent: Index,
    /// Its first child in the order of the spans.
    pub(super) first_child: Index,
    /// Its parent's next child.
    pub(super) next_sibling: Index,
    /// The entry span of the visit that it belongs to.
    pub(super) entry: Index,
    /// The span with which that visit begins: its entry, or below a polling entry the span that processes a message.
    pub(super) visit: Index,
    /// The outermost CLIENT or PRODUCER span that is the span or above it; one that takes messages is none.
    pub(super) outermost_call: Index,
    /// Where it begins a visit, the place of that visit in the result.
    pub(super) visit_at: u32,
    /// Where it calls, the place of the first of its calls in the result.
    pub(super) call_at: u32,
    /// Where a call arrived at it, the place of that call.
    pub(super) arrived: u32,
    /// The visit that begins the chain of calls that led to it; [`NONE`] where that is no visit.
    pub(super) top: Index,
    /// How many calls led from there; at most 253.
    pub(super) depth: u8,
    /// What it is, and what surrounds it.
    pub(super) facts: Facts,
}

/// A span and how many levels down it is, `levels << 32 | index`, so that the nearest sorts first.
pub(super) type Nearest = u64;
/// Nothing near.
pub(super) const NOTHING: Nearest = Nearest::MAX;

/// Independent yes-or-no facts about a span; the bits are in `layers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts(pub(super) u32);

impl Facts {
    pub(super) fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    pub(super) fn add(&mut self, bits: u32) {
        self.0 |= bits;
    }
}

/// A parent was found only across spans without a service.
pub(super) const BRIDGED: u32 = 1;
/// A parent was named and did not come.
pub(super) const ORPHAN: u32 = 1 << 1;

/// The room that a tree stands in.
#[derive(Debug, Default)]
pub(super) struct Ground {
    ids: Ids,
    seats: Vec<Seat>,
    top_down: Vec<Index>,
    climbs: Vec<Climb>,
    walks: Vec<Walk>,
}

/// The resolved trace.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// The spans as they came.
    pub(super) spans: &'a [Span],
    /// By index of the span.
    pub(super) seats: &'a mut Vec<Seat>,
    /// Spans that have a service, each after its parent.
    pub(super) top_down: &'a mut Vec<Index>,
    /// Spans by their ids.
    pub(super) ids: &'a Ids,
    /// True where no span of the trace says its kind, as in some recorded tables.
    pub(super) kindless: bool,
    /// True where any span has to do with messages.
    pub(super) messages: bool,
}

impl<'a> Tree<'a> {
    /// Resolves a trace. Linear in the number of spans, whatever its depth and width.
    pub(super) fn grow(spans: &'a [Span], ground: &'a mut Ground) -> Self {
        let Ground {
            ids,
            seats,
            top_down,
            climbs,
            walks,
        } = ground;
        ids.fill(spans);
        seats.clear();
        seats.extend((0..).zip(spans).map(|(i, span)| Seat::of(i, span)));
        top_down.clear();
        climbs.clear();
        let (mut silent, mut messages) = (false, false);
        for seat in seats.iter() {
            silent |= seat.service.is_none();
            messages |= seat.facts.any(super::layers::MESSAGE);
        }
        if silent {
            climbs.resize(spans.len(), Climb::New);
        }
        let mut tree = Self {
            spans,
            seats,
            top_down,
            ids,
            kindless: spans.iter().all(|span| span.kind == Kind::Unspecified),
            messages,
        };
        tree.resolve_all(climbs);
        tree.walk_down();
        if tree.top_down.len() < tree.indices().count() {
            tree.cut_cycles(walks);
            tree.walk_down();
        }
        tree
    }

    /// A span.
    pub(super) fn span(&self, i: Index) -> &'a Span {
        &self.spans[i as usize]
    }

    /// What is known of it.
    pub(super) fn seat(&self, i: Index) -> &Seat {
        &self.seats[i as usize]
    }

    /// Spans that have a service, by index.
    pub(super) fn indices(&self) -> impl Iterator<Item = Index> + '_ {
        let all = (0..).zip(self.seats.iter());
        all.filter(|(_, seat)| seat.service.is_some()).map(|(i, _)| i)
    }

    /// A span's children.
    pub(super) fn children(&self, i: Index) -> impl Iterator<Item = Index> + '_ {
        let known = |i: Index| (i != NONE).then_some(i);
        std::iter::successors(known(self.seat(i).first_child), move |&child| {
            known(self.seat(child).next_sibling)
        })
    }

    /// The parent of another service.
    pub(super) fn remote_parent(&self, i: Index) -> Option<Index> {
        let seat = self.seat(i);
        (seat.parent != NONE && self.seat(seat.parent).service != seat.service).then_some(seat.parent)
    }

    fn resolve_all(&mut self, climbs: &mut [Climb]) {
        for i in 0..self.spans.len() as u32 {
            if self.seat(i).service.is_some() {
                let (parent, facts) = self.resolve(i, climbs);
                let seat = &mut self.seats[i as usize];
                seat.parent = parent.unwrap_or(NONE);
                seat.facts.add(facts);
            }
        }
    }

    /// The parent of a span, and whether it is bridged or an orphan.
    fn resolve(&self, i: Index, climbs: &mut [Climb]) -> (Option<Index>, u32) {
        if let Some(half) = self.ids.other_half(self.spans, i) {
            return (Some(half), 0);
        }
        let wanted = self.span(i).parent_id;
        if wanted == 0 {
            return (None, 0);
        }
        let mut facts = 0;
        let found = match self.ids.parent(self.spans, i, wanted) {
            Some(silent) if self.seat(silent).service.is_none() => {
                facts = BRIDGED;
                let above = self.climb(silent, climbs);
                above.and_then(|wanted| self.ids.parent(self.spans, i, wanted))
            }
            other => other,
        };
        // A chain that ends in a root without a service has a caller, but nobody knows who.
        let parent = found.filter(|&parent| self.seat(parent).service.is_some());
        if parent.is_none() {
            facts |= ORPHAN;
        }
        (parent, facts)
    }

    /// The id of the nearest ancestor of `from` that has a service; each step is taken once per trace.
    fn climb(&self, from: Index, climbs: &mut [Climb]) -> Option<SpanId> {
        let mut at = from;
        let found = loop {
            match climbs[at as usize] {
                Climb::Done(found) => break found,
                Climb::OnPath(_) => break None,
                Climb::New => {}
            }
            let wanted = self.span(at).parent_id;
            let above = (wanted != 0)
                .then(|| self.ids.parent(self.spans, at, wanted))
                .flatten();
            climbs[at as usize] = Climb::OnPath(above.unwrap_or(NONE));
            match above {
                Some(parent) if self.seat(parent).service.is_some() => break Some(wanted),
                Some(parent) => at = parent,
                None => break None,
            }
        };
        at = from;
        while let Some(&Climb::OnPath(next)) = climbs.get(at as usize) {
            climbs[at as usize] = Climb::Done(found);
            at = next;
        }
        found
    }

    /// Hangs children to their parents, then finds what can be reached from roots, and whose visit it belongs to.
    fn walk_down(&mut self) {
        self.top_down.clear();
        for i in (0..self.spans.len() as u32).rev() {
            let parent = self.seat(i).parent;
            if parent != NONE {
                let first = self.seat(parent).first_child;
                self.seats[i as usize].next_sibling = first;
                self.seats[parent as usize].first_child = i;
            }
        }
        let roots = (0..).zip(self.seats.iter());
        let roots = roots.filter(|(_, seat)| seat.parent == NONE && seat.service.is_some());
        self.top_down.extend(roots.map(|(i, _)| i));
        let mut next = 0;
        while let Some(&i) = self.top_down.get(next) {
            next += 1;
            let Seat {
                service,
                entry,
                first_child,
                ..
            } = *self.seat(i);
            let mut child = first_child;
            while child != NONE {
                let seat = &mut self.seats[child as usize];
                seat.entry = if seat.service == service { entry } else { child };
                self.top_down.push(child);
                child = seat.next_sibling;
            }
        }
    }

    /// Cuts each parent chain that comes back to itself, at the span that began first.
    fn cut_cycles(&mut self, walks: &mut Vec<Walk>) {
        walks.clear();
        walks.resize(self.spans.len(), Walk::New);
        for from in 0..self.spans.len() as u32 {
            let mut at = from;
            while at != NONE && walks[at as usize] == Walk::New {
                walks[at as usize] = Walk::OnPath;
                at = self.seat(at).parent;
            }
            let ring = at != NONE && walks[at as usize] == Walk::OnPath;
            let first = ring.then(|| self.first_of_ring(at));
            at = from;
            while at != NONE && walks[at as usize] == Walk::OnPath {
                walks[at as usize] = Walk::Done;
                at = self.seat(at).parent;
            }
            if let Some(first) = first {
                let seat = &mut self.seats[first as usize];
                seat.parent = NONE;
                seat.facts.add(ORPHAN);
            }
        }
        for seat in self.seats.iter_mut() {
            (seat.first_child, seat.next_sibling) = (NONE, NONE);
        }
    }

    fn first_of_ring(&self, at: Index) -> Index {
        let age = |i: Index| (self.span(i).start, self.span(i).id, self.seat(i).service);
        let (mut first, mut i) = (at, self.seat(at).parent);
        while i != at {
            if age(i) < age(first) {
                first = i;
            }
            i = self.seat(i).parent;
        }
        first
    }
}

impl Seat {
    fn of(i: Index, span: &Span) -> Self {
        Self {
            service: span.service(),
            peer: NOTHING,
            destination: NOTHING,
            consumer_destination: NOTHING,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            entry: i,
            visit: i,
            outermost_call: NONE,
            visit_at: NONE,
            call_at: NONE,
            arrived: NONE,
            top: NONE,
            depth: 0,
            facts: Facts(facts_of(span)),
        }
    }
}

/// What is known of the way up from a span without a service.
#[derive(Clone, Copy, Debug)]
enum Climb {
    New,
    /// Looked at; the next one up.
    OnPath(Index),
    /// Ended at a span with a service, by its id, or nowhere.
    Done(Option<SpanId>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    New,
    OnPath,
    Done,
}
