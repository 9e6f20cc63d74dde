//! The spans of one trace while it is open or kept.
//!
//! In: spans. Out: whether a span came before, who a link means, whether there is anything new to assemble.
//! Left out on purpose: when to assemble; the table knows the time. What a trace said when it was closed is not held
//! but said again from the spans and facts that were there then: late spans are rare, and kept traces many.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Root;
use crate::assemble::{Producer, Surroundings};
use crate::read::Place;
use crate::skew::TOGETHER;
use crate::span::{Address, Span, SpanId, TraceId};

/// A link's target.
pub(super) type LinkTo = (TraceId, SpanId);

/// One trace.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each asked for alone"
)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    pub(super) spans: Vec<Span>,
    /// Where the spans since the last closing lie in the journal.
    pub(super) places: Vec<(u64, Place)>,
    /// When its first span came; after closing, when the first late one came.
    pub(super) first: u64,
    /// When its last span came.
    pub(super) last: u64,
    /// When it was closed first.
    pub(super) closed_at: u64,
    /// The position in the journal of the batch that brought its first span.
    pub(super) position: u64,
    /// A bit for each span, by its id: most spans that never came before are told by it without a look at the others.
    seen: u64,
    /// What the spans occupy.
    pub(super) bytes: usize,
    rare: Option<Box<Rare>>,
    /// How many of the spans were there when it was closed.
    closed_spans: u32,
    /// How often it was closed.
    closings: u32,
    pub(super) state: State,
    /// Spans came since it was closed, or a producer that it names.
    pub(super) stirred: bool,
    /// It is in the wheel, and its place must not be used again before its turn there.
    pub(super) timed: bool,
    /// A consuming span of it has links.
    pub(super) linked: bool,
    /// A span of it says who called.
    pub(super) called: bool,
    /// It is as large as a trace may be.
    pub(super) large: bool,
    /// Whether its spans are kept in the store, once somebody decided.
    pub(super) sampled: Option<bool>,
}

/// What becomes of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Its spans are awaited.
    Open,
    /// It was closed, and is kept for late spans.
    Closed,
    /// It is forgotten.
    #[default]
    Gone,
}

/// What few traces have.
#[derive(Debug, Default)]
struct Rare {
    /// Spans by id, once there are many.
    index: Option<Index>,
    /// Producers in other traces that were found, and by which closing.
    producers: HashMap<LinkTo, (Producer, u32), RandomState>,
    /// Callers' addresses that a workload claimed, and by which closing.
    workloads: HashMap<Address, u32, RandomState>,
    /// Where pauses lie between its spans: from which one on they came when. Empty without any.
    arrivals: Vec<(u32, u64)>,
}

#[derive(Debug, Default)]
struct Index {
    /// Whatever makes a span the same as another: id, service and kind.
    keys: HashSet<(SpanId, u64), RandomState>,
    /// The last span with an id.
    last: HashMap<SpanId, u32, RandomState>,
    /// By span: the one before with the same id.
    before: Vec<u32>,
}

/// From this many spans on a trace has an index of its ids.
const INDEXED_FROM: usize = 32;
/// What a span occupies in the index.
const INDEX_BYTES: usize = 72;
/// Of more spans than this with one id only the latest are looked at.
const MAX_HALVES: usize = 64;
/// Further pauses in one trace are not noted.
const MAX_ARRIVALS: usize = 16;
const NONE: u32 = u32::MAX;

impl Trace {
    pub(super) fn open(id: TraceId, now: u64, position: u64) -> Self {
        Self {
            id,
            first: now,
            last: now,
            position,
            state: State::Open,
            ..Self::default()
        }
    }

    /// The place of a trace that is forgotten.
    pub(super) fn gone(timed: bool) -> Self {
        Self {
            timed,
            ..Self::default()
        }
    }

    /// True where the same span came before.
    pub(super) fn holds(&self, span: &Span) -> bool {
        if self.seen & bit(span.id) == 0 {
            return false;
        }
        match self.index() {
            Some(index) => index.keys.contains(&key(span)),
            None => self
                .spans
                .iter()
                .any(|held| held.id == span.id && held.kind == span.kind && held.service() == span.service()),
        }
    }

    /// The span that a link from another trace names as the producer.
    pub(super) fn producer(&self, id: SpanId) -> Option<&Span> {
        if self.seen & bit(id) == 0 {
            return None;
        }
        let Some(index) = self.index() else {
            return best(self.spans.iter().rev(), id);
        };
        let known = |at: u32| (at != NONE).then_some(at);
        let latest = index.last.get(&id).copied();
        let halves = std::iter::successors(latest, |&at| known(*index.before.get(at as usize)?));
        best(
            halves
                .take(MAX_HALVES)
                .filter_map(|at| self.spans.get(at as usize)),
            id,
        )
    }

    /// Bytes that a span would occupy in it.
    pub(super) fn cost(&self, span: &Span) -> usize {
        span.footprint()
            + if self.spans.len() + 1 >= INDEXED_FROM {
                INDEX_BYTES
            } else {
                0
            }
    }

    /// Adds a span that occupies `cost` bytes.
    pub(super) fn push(&mut self, span: Span, cost: usize) {
        self.bytes += cost;
        self.seen |= bit(span.id);
        if let Some(extra) = span.extra.as_deref() {
            self.called |= extra.caller.is_some();
            self.linked |= !extra.links.is_empty() && span.consumes();
        }
        self.spans.push(span);
        if self.spans.len() >= INDEXED_FROM {
            let index = self.rare.get_or_insert_default().index.get_or_insert_default();
            index.catch_up(&self.spans);
        }
    }

    /// Notes that the next span comes at `now`, where none came for a while before; the bytes that this occupies.
    #[inline]
    pub(super) fn note_pause(&mut self, now: u64) -> usize {
        if now.saturating_sub(self.last) < TOGETHER || self.spans.is_empty() {
            return 0;
        }
        let (next, before) = (self.spans.len() as u32, self.last);
        let rare_bytes = if self.rare.is_none() { size_of::<Rare>() } else { 0 };
        let arrivals = &mut self.rare.get_or_insert_default().arrivals;
        let had = arrivals.capacity();
        if arrivals.is_empty() {
            arrivals.push((0, before));
        }
        if arrivals.len() <= MAX_ARRIVALS {
            arrivals.push((next, now));
        }
        let bytes = rare_bytes + (arrivals.capacity() - had) * size_of::<(u32, u64)>();
        self.bytes += bytes;
        bytes
    }

    /// From which of its spans on they came when, nanoseconds, where pauses lie between them.
    pub(super) fn arrivals(&self) -> &[(u32, u64)] {
        self.rare.as_deref().map_or(&[], |rare| &rare.arrivals)
    }

    /// How many of its spans were there when it was closed before.
    pub(super) fn closed_spans(&self) -> usize {
        self.closed_spans as usize
    }

    /// Notes that a closed trace is to be looked at again; false where it is open or already will be.
    pub(super) fn stir(&mut self, now: u64) -> bool {
        if self.state != State::Closed || self.stirred {
            return false;
        }
        self.stirred = true;
        (self.first, self.last) = (now, now);
        true
    }

    /// True where it was never closed, or something came since.
    pub(super) fn is_unsettled(&self) -> bool {
        self.state == State::Open || self.stirred
    }

    /// Links of its consuming spans into other traces: these name producers. Those of spans that came since it was
    /// closed, with `only_new`.
    pub(super) fn consumed_links(&self, only_new: bool) -> impl Iterator<Item = LinkTo> + '_ {
        let from = if only_new { self.closed_spans as usize } else { 0 };
        let spans = self.spans.get(from..).unwrap_or_default();
        let consuming = spans
            .iter()
            .filter(|span| span.extra.is_some() && span.consumes());
        let links = consuming.flat_map(|span| span.links().iter().copied());
        links.filter(|link| link.0 != self.id)
    }

    /// Addresses of callers of its spans.
    pub(super) fn callers(&self) -> impl Iterator<Item = Address> + '_ {
        self.spans.iter().filter_map(|span| span.extra.as_deref()?.caller)
    }

    /// True where the producer that a link names is known to it.
    pub(super) fn knows(&self, link: &LinkTo) -> bool {
        self.rare
            .as_deref()
            .is_some_and(|rare| rare.producers.contains_key(link))
    }

    /// Notes a producer, for its closings from the next one on. The first that was found stays, also when its own
    /// trace is forgotten.
    pub(super) fn know(&mut self, link: LinkTo, producer: Producer) {
        let next = self.closings + 1;
        let producers = &mut self.rare.get_or_insert_default().producers;
        producers.entry(link).or_insert((producer, next));
    }

    /// Notes that a workload claims a caller's address, likewise.
    pub(super) fn know_workload(&mut self, address: Address) {
        let next = self.closings + 1;
        let workloads = &mut self.rare.get_or_insert_default().workloads;
        workloads.entry(address).or_insert(next);
    }

    /// What was there when it was closed the last time; `None` where it never was.
    pub(super) fn before(&self) -> Option<(&[Span], Known<'_>)> {
        let spans = self.spans.get(..self.closed_spans as usize)?;
        (self.state == State::Closed).then_some((spans, self.known(self.closings)))
    }

    /// What is there for the next closing.
    pub(super) fn now(&self) -> (&[Span], Known<'_>) {
        (&self.spans, self.known(self.closings + 1))
    }

    /// Notes that it was closed.
    pub(super) fn settle(&mut self, now: u64) {
        if self.state == State::Open {
            (self.state, self.closed_at) = (State::Closed, now);
        }
        self.stirred = false;
        self.closings += 1;
        self.closed_spans = self.spans.len() as u32;
        // A kept trace rarely grows again, and a vector's spare room is in nobody's budget.
        self.spans.shrink_to_fit();
    }

    /// The span without parent with which it began.
    pub(super) fn root(&self) -> Option<Root> {
        let roots = self
            .spans
            .iter()
            .filter(|span| span.parent_id == 0 && span.service().is_some());
        let root = roots.min_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.id))?;
        Some(Root {
            operation: root.operation,
            start: root.start,
            total: root.seconds(),
            failed: root.failed(),
        })
    }

    fn known(&self, closing: u32) -> Known<'_> {
        Known {
            rare: self.rare.as_deref(),
            closing,
        }
    }

    fn index(&self) -> Option<&Index> {
        self.rare.as_deref()?.index.as_ref()
    }
}

impl Index {
    fn catch_up(&mut self, spans: &[Span]) {
        for (at, span) in spans.iter().enumerate().skip(self.before.len()) {
            self.keys.insert(key(span));
            let before = self.last.insert(span.id, at as u32);
            self.before.push(before.unwrap_or(NONE));
        }
    }
}

/// What a trace knew of others when it was closed for the `closing`th time.
pub(super) struct Known<'a> {
    rare: Option<&'a Rare>,
    closing: u32,
}

impl Surroundings for Known<'_> {
    fn producer(&self, trace: TraceId, span: SpanId) -> Option<Producer> {
        let (producer, since) = self.rare?.producers.get(&(trace, span))?;
        (*since <= self.closing).then_some(*producer)
    }

    fn is_workload(&self, address: Address) -> bool {
        let since = self.rare.and_then(|rare| rare.workloads.get(&address));
        since.is_some_and(|since| *since <= self.closing)
    }
}

/// Of the spans with `id` that can produce, one that sends before others.
fn best<'a>(spans: impl Iterator<Item = &'a Span>, id: SpanId) -> Option<&'a Span> {
    let producing = spans.filter(|span| span.id == id && span.can_produce());
    producing.reduce(|best, span| {
        let better = (span.sends(), span.service()) > (best.sends(), best.service());
        if better { span } else { best }
    })
}

fn bit(id: SpanId) -> u64 {
    1 << (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

fn key(span: &Span) -> (SpanId, u64) {
    let service = span.service().map_or(0, |service| service.index() as u64 + 1);
    (span.id, service << 3 | span.kind as u64)
}
