//! The traces that are still coming in, and those that are kept a while for late spans.
//!
//! In: spans with the time they came. Out: for each trace that fell quiet a [`Closing`]: what it says, and, where it
//! was closed before, what it no longer says.
//! Left out on purpose: clocks (time is an argument), and the map. Memory is bounded by a budget in bytes: closed
//! traces go first, then new spans are refused.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use otlp::Kind;

use crate::assemble::{Assembly, Producer, Surroundings, assemble, producer_of};
use crate::span::{Span, SpanId, TraceId};

/// How long traces are waited for and kept.
#[derive(Clone, Copy, Debug)]
pub struct TableSettings {
    /// A trace is closed when no span of it came for this long.
    pub wait: Duration,
    /// A trace that never falls quiet is closed this long after its first span.
    pub max_open: Duration,
    /// A closed trace is kept this long, so that late spans find it and repeated ones are recognised.
    pub keep: Duration,
    /// Bytes of spans that the table may hold.
    pub max_bytes: usize,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(2),
            max_open: Duration::from_secs(30),
            keep: Duration::from_secs(60),
            max_bytes: 256 << 20,
        }
    }
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It is in the table.
    Kept,
    /// It is in the table; its trace was closed before it came.
    Late,
    /// The same span came before.
    Duplicate,
}

/// The table's budget is spent; the sender shall come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A trace fell quiet.
#[derive(Debug, Default)]
pub struct Closing {
    /// Which one.
    pub trace: TraceId,
    /// True where it was closed before.
    pub late: bool,
    /// What it says now and did not say when it was closed before.
    pub added: Assembly,
    /// What it said when it was closed before and no longer says.
    pub removed: Assembly,
}

/// The traces.
#[derive(Debug, Default)]
pub struct Table {
    settings: TableSettings,
    traces: HashMap<TraceId, Trace>,
    /// When to look at an open trace next; entries of traces that got spans meanwhile are put off.
    due: BinaryHeap<Reverse<(u64, TraceId)>>,
    /// Closed traces in the order of closing.
    kept: VecDeque<(u64, TraceId)>,
    workloads: HashSet<Arc<str>>,
    bytes: usize,
    open: usize,
}

#[derive(Debug)]
struct Trace {
    spans: Vec<Span>,
    first: u64,
    last: u64,
    closed: Option<Assembly>,
    /// Spans came since it was closed.
    stirred: bool,
    /// Ids and kinds of the spans, once there are many; empty before.
    index: HashSet<(SpanId, Kind)>,
}

/// From this many spans on a trace has an index of its ids.
const INDEXED_FROM: usize = 32;

impl Trace {
    fn new(now: u64) -> Self {
        let index = HashSet::new();
        Self { spans: Vec::new(), first: now, last: now, closed: None, stirred: false, index }
    }

    fn holds(&self, span: &Span) -> bool {
        if self.spans.len() >= INDEXED_FROM && !self.index.contains(&(span.id, span.kind)) {
            return false;
        }
        let same = |held: &Span| held.id == span.id && held.kind == span.kind && held.service == span.service;
        self.spans.iter().any(same)
    }

    fn push(&mut self, span: Span) {
        self.spans.push(span);
        if self.spans.len() == INDEXED_FROM {
            self.index = self.spans.iter().map(|s| (s.id, s.kind)).collect();
        } else if let Some(span) = self.spans.last().filter(|_| self.spans.len() > INDEXED_FROM) {
            self.index.insert((span.id, span.kind));
        }
    }
}

/// What a trace occupies besides its spans.
const TRACE_OVERHEAD: usize = 160;

impl Table {
    /// An empty table.
    pub fn new(settings: TableSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Notes that a workload claims `address`, so that a caller from there is no user.
    pub fn claim(&mut self, address: Arc<str>) {
        self.workloads.insert(address);
    }

    /// True while a batch can be taken; the table may exceed its budget by that one batch.
    pub fn has_room(&mut self) -> Result<(), Full> {
        while self.bytes > self.settings.max_bytes {
            let Some((_, oldest)) = self.kept.pop_front() else { return Err(Full) };
            self.forget(oldest);
        }
        Ok(())
    }

    /// Takes a span that came at `now`, nanoseconds on any clock that does not go back.
    pub fn insert(&mut self, id: TraceId, span: Span, now: u64) -> Outcome {
        let wait = self.settings.wait.as_nanos() as u64;
        let trace = self.traces.entry(id).or_insert_with(|| {
            self.due.push(Reverse((now + wait, id)));
            self.open += 1;
            self.bytes += TRACE_OVERHEAD;
            Trace::new(now)
        });
        if trace.holds(&span) {
            return Outcome::Duplicate;
        }
        self.bytes += span.footprint();
        trace.push(span);
        trace.last = now;
        if trace.closed.is_none() {
            return Outcome::Kept;
        }
        if !std::mem::replace(&mut trace.stirred, true) {
            trace.first = now;
            self.due.push(Reverse((now + wait, id)));
        }
        Outcome::Late
    }

    /// Closes every trace that fell quiet by `now`, oldest first, and forgets what was kept long enough.
    pub fn close_due(&mut self, now: u64, mut emit: impl FnMut(Closing)) {
        while let Some(&Reverse((at, id))) = self.due.peek() {
            if at > now {
                break;
            }
            self.due.pop();
            if let Some(later) = self.put_off(&id, now) {
                self.due.push(Reverse((later, id)));
            } else if let Some(closing) = self.close(id, now) {
                emit(closing);
            }
        }
        let keep = self.settings.keep.as_nanos() as u64;
        while self.kept.front().is_some_and(|&(closed, _)| closed.saturating_add(keep) <= now) {
            let Some((_, id)) = self.kept.pop_front() else { break };
            self.forget(id);
        }
    }

    /// Closes everything that is open, in the order of the traces' first spans.
    pub fn close_all(&mut self, now: u64, mut emit: impl FnMut(Closing)) {
        let mut open: Vec<(u64, TraceId)> = self
            .traces
            .iter()
            .filter(|(_, trace)| trace.closed.is_none() || trace.stirred)
            .map(|(id, trace)| (trace.first, *id))
            .collect();
        open.sort_unstable();
        self.due.clear();
        for (_, id) in open {
            if let Some(closing) = self.close(id, now) {
                emit(closing);
            }
        }
    }

    /// Traces that are open, and traces that are closed and kept.
    pub fn len(&self) -> (usize, usize) {
        (self.open, self.traces.len() - self.open)
    }

    /// Bytes that the spans occupy, as they are budgeted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When an open trace is due later than `now`, because spans of it came meanwhile.
    fn put_off(&self, id: &TraceId, now: u64) -> Option<u64> {
        let trace = self.traces.get(id)?;
        let quiet = trace.last + self.settings.wait.as_nanos() as u64;
        let bound = trace.first + self.settings.max_open.as_nanos() as u64;
        let due = quiet.min(bound);
        (due > now).then_some(due)
    }

    fn close(&mut self, id: TraceId, now: u64) -> Option<Closing> {
        let mut trace = self.traces.remove(&id)?;
        let assembly = assemble(&trace.spans, self);
        let before = trace.closed.replace(assembly.clone());
        trace.stirred = false;
        self.traces.insert(id, trace);
        let Some(before) = before else {
            self.open -= 1;
            self.kept.push_back((now, id));
            return Some(Closing { trace: id, late: false, added: assembly, removed: Assembly::default() });
        };
        let (removed, added) = difference(before, assembly);
        Some(Closing { trace: id, late: true, added, removed })
    }

    fn forget(&mut self, id: TraceId) {
        let Some(trace) = self.traces.remove(&id) else { return };
        let spans: usize = trace.spans.iter().map(Span::footprint).sum();
        self.bytes = self.bytes.saturating_sub(spans + TRACE_OVERHEAD);
        if trace.closed.is_none() {
            self.open -= 1;
        }
    }
}

impl Surroundings for Table {
    fn producer(&self, trace: TraceId, span: SpanId) -> Option<Producer> {
        let found = self.traces.get(&trace)?.spans.iter().find(|s| s.id == span && s.service.is_some())?;
        Some(producer_of(found))
    }

    fn is_workload(&self, address: &str) -> bool {
        self.workloads.contains(address)
    }
}

/// What only the first holds, and what only the second holds.
fn difference(before: Assembly, after: Assembly) -> (Assembly, Assembly) {
    let (visits_gone, visits) = split(before.visits, after.visits, |v| v.span);
    let (calls_gone, calls) = split(before.calls, after.calls, |c| c.span);
    let (flows_gone, flows) = split(before.flows, after.flows, |f| f.span);
    let unnamed_peers = after.unnamed_peers.saturating_sub(before.unnamed_peers);
    (
        Assembly { visits: visits_gone, calls: calls_gone, flows: flows_gone, unnamed_peers: 0 },
        Assembly { visits, calls, flows, unnamed_peers },
    )
}

fn split<T: PartialEq>(before: Vec<T>, after: Vec<T>, key: impl Fn(&T) -> SpanId) -> (Vec<T>, Vec<T>) {
    let mut held: HashMap<SpanId, Vec<T>> = HashMap::new();
    for item in before {
        held.entry(key(&item)).or_default().push(item);
    }
    let mut added = Vec::new();
    for item in after {
        let same = held.get_mut(&key(&item));
        match same.and_then(|same| same.iter().position(|old| *old == item).map(|at| same.swap_remove(at))) {
            Some(_) => {}
            None => added.push(item),
        }
    }
    let mut removed: Vec<T> = held.into_values().flatten().collect();
    removed.sort_by_key(|item| key(item));
    (removed, added)
}
