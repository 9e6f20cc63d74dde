//! The traces that are still coming in, and those that are kept a while for late spans.
//!
//! In: spans with the time they came. Out: for each trace that fell quiet a [`Closing`]: what it says, and, where it
//! was closed before, what it no longer says.
//! Left out on purpose: clocks (time is an argument), and the map. Memory is bounded by a budget in bytes: closed
//! traces go first, then new spans are refused.

mod difference;
mod trace;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::assemble::{Assembly, Producer, Surroundings, assemble, producer_of};
use crate::span::{Span, SpanId, TraceId};
use difference::difference;
use trace::Trace;

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
            keep: Duration::from_mins(1),
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
    /// Producers that links of closed traces name and that did not come yet, with those traces.
    awaited: HashMap<(TraceId, SpanId), Vec<TraceId>>,
    /// Traces that had to make room before their late spans were looked at.
    hurried: Vec<Closing>,
    workloads: HashSet<Arc<str>>,
    bytes: usize,
    open: usize,
}

/// Beyond this many addresses of workloads the table starts afresh; those in use are claimed again by their next spans.
const MAX_WORKLOADS: usize = 100_000;
/// What a trace occupies besides its spans: its entry in the map of traces at the usual load of that map, its places in
/// the two queues, and the allocator's share of its vectors.
const TRACE_OVERHEAD: usize = 512;

impl Table {
    /// An empty table.
    pub fn new(settings: TableSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Notes that a workload claims `address`, so that a caller from there is no user.
    pub fn claim(&mut self, address: Arc<str>) {
        if self.workloads.len() >= MAX_WORKLOADS && !self.workloads.contains(&address) {
            self.workloads.clear();
        }
        self.workloads.insert(address);
    }

    /// True while a batch can be taken; the table may exceed its budget by that one batch.
    pub fn has_room(&mut self) -> Result<(), Full> {
        while self.bytes > self.settings.max_bytes {
            let Some((_, oldest)) = self.kept.pop_front() else {
                return Err(Full);
            };
            let last = self.let_go(oldest);
            self.hurried.extend(last);
        }
        Ok(())
    }

    /// Takes a span that came at `now`, nanoseconds on any clock that does not go back.
    pub fn insert(&mut self, id: TraceId, span: Span, now: u64) -> Outcome {
        let due = now.saturating_add(nanos(self.settings.wait));
        let trace = self.traces.entry(id).or_insert_with(|| {
            self.due.push(Reverse((due, id)));
            self.open += 1;
            self.bytes += TRACE_OVERHEAD;
            Trace::new(now)
        });
        if trace.holds(&span) {
            return Outcome::Duplicate;
        }
        let waiting = if span.can_produce() {
            self.awaited.remove(&(id, span.id))
        } else {
            None
        };
        self.bytes += trace.push(span);
        trace.last = now;
        let late = trace.is_closed();
        if late {
            self.stir(id, now);
        }
        waiting
            .into_iter()
            .flatten()
            .for_each(|consumer| self.stir(consumer, now));
        if late { Outcome::Late } else { Outcome::Kept }
    }

    /// Closes every trace that fell quiet by `now`, oldest first, and forgets what was kept long enough.
    pub fn close_due(&mut self, now: u64, mut emit: impl FnMut(Closing)) {
        self.hurried.drain(..).for_each(&mut emit);
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
        let keep = nanos(self.settings.keep);
        while self
            .kept
            .front()
            .is_some_and(|&(closed, _)| closed.saturating_add(keep) <= now)
        {
            let Some((_, id)) = self.kept.pop_front() else {
                break;
            };
            self.let_go(id).into_iter().for_each(&mut emit);
        }
    }

    /// Closes everything that is open, in the order of the traces' first spans.
    pub fn close_all(&mut self, now: u64, mut emit: impl FnMut(Closing)) {
        self.hurried.drain(..).for_each(&mut emit);
        let mut open: Vec<(u64, TraceId)> = self
            .traces
            .iter()
            .filter(|(_, trace)| trace.is_unsettled())
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

    /// A closed trace is to be looked at again once it falls quiet.
    fn stir(&mut self, id: TraceId, now: u64) {
        if self.traces.get_mut(&id).is_some_and(|trace| trace.stir(now)) {
            self.due
                .push(Reverse((now.saturating_add(nanos(self.settings.wait)), id)));
        }
    }

    /// When an open trace is due later than `now`, because spans of it came meanwhile.
    fn put_off(&self, id: &TraceId, now: u64) -> Option<u64> {
        let trace = self.traces.get(id)?;
        let quiet = trace.last.saturating_add(nanos(self.settings.wait));
        let bound = trace.first.saturating_add(nanos(self.settings.max_open));
        let due = quiet.min(bound);
        (due > now && due < u64::MAX).then_some(due)
    }

    fn close(&mut self, id: TraceId, now: u64) -> Option<Closing> {
        let mut trace = self.traces.remove(&id)?;
        if !trace.is_unsettled() {
            self.traces.insert(id, trace);
            return None;
        }
        let assembly = assemble(id, &trace.spans, self);
        self.bytes += assembly.footprint();
        let before = trace.settle(assembly.clone());
        // A kept trace rarely grows again, and a vector's spare room is in nobody's budget.
        trace.spans.shrink_to_fit();
        self.await_producers(id, &trace);
        self.traces.insert(id, trace);
        let Some(before) = before else {
            self.open -= 1;
            self.kept.push_back((now, id));
            return Some(Closing {
                trace: id,
                late: false,
                added: assembly,
                removed: Assembly::default(),
            });
        };
        self.bytes = self.bytes.saturating_sub(before.footprint());
        let (removed, added) = difference(before, assembly);
        Some(Closing {
            trace: id,
            late: true,
            added,
            removed,
        })
    }

    /// Notes which producers shall bring the trace back when they come, as long as it is kept.
    fn await_producers(&mut self, id: TraceId, trace: &Trace) {
        for link in trace.consumed_links().filter(|link| link.0 != id) {
            if self.producer(link.0, link.1).is_none() {
                let waiting = self.awaited.entry(link).or_default();
                if !waiting.contains(&id) {
                    waiting.push(id);
                }
            }
        }
    }

    /// Forgets a closed trace; what its last spans changed is not lost with it.
    fn let_go(&mut self, id: TraceId) -> Option<Closing> {
        let unsettled = self.traces.get(&id).is_some_and(Trace::is_unsettled);
        let last = if unsettled { self.close(id, 0) } else { None };
        let trace = self.traces.remove(&id)?;
        for link in trace.consumed_links() {
            let waiting = self.awaited.get_mut(&link);
            if waiting.is_some_and(|waiting| {
                waiting.retain(|other| *other != id);
                waiting.is_empty()
            }) {
                self.awaited.remove(&link);
            }
        }
        self.bytes = self.bytes.saturating_sub(trace.footprint() + TRACE_OVERHEAD);
        last
    }
}

impl Surroundings for Table {
    fn producer(&self, trace: TraceId, span: SpanId) -> Option<Producer> {
        self.traces.get(&trace)?.producer(span).map(producer_of)
    }

    fn is_workload(&self, address: &str) -> bool {
        self.workloads.contains(address)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
