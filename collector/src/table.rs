//! The traces of one shard that are still coming in, and those that are kept a while for late spans.
//!
//! In: spans with the time they came. Out: for each trace that fell quiet a [`Closing`]: what it says, and, where it
//! was closed before, what it no longer says.
//! Left out on purpose: clocks (time is an argument), and the map. Memory is bounded by a budget in bytes: closed
//! traces go first, then open ones are closed early. What the table does follows from the sequence of times and spans
//! alone, wherever ticks fall between them, so that a replay of the journal repeats it.

mod difference;
mod halves;
mod links;
mod trace;
mod wheel;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use otlp::StatusCode;
use sampling::SpanBits;

use crate::assemble::{Assembly, Producer, Workspace, assemble, producer_of};
use crate::names::Operation;
use crate::read::{Place, Received};
use crate::skew::{Skew, Waits};
use crate::span::{Address, Span, SpanId, TraceId};
use difference::difference;
use links::{Awaited, Sent};
use trace::{LinkTo, State, Trace};
use wheel::Wheel;

/// How long traces are waited for and kept. Times are exact to a tenth of a second.
#[derive(Clone, Copy, Debug)]
pub struct TableSettings {
    /// A trace is closed when no span of it came for this long, and longer only where [`Table::set_waits`] says so.
    pub wait: Duration,
    /// A trace that never falls quiet is closed this long after its first span.
    pub max_open: Duration,
    /// A closed trace is kept this long, so that late spans find it and repeated ones are recognised.
    pub keep: Duration,
    /// Bytes of spans that the table may hold.
    pub max_bytes: usize,
    /// Bytes of spans that one trace may hold; `None` for an eighth of `max_bytes`. Never below 1 MiB. A trace that
    /// reaches it is closed, and further spans of it are counted but not paired.
    pub max_trace_bytes: Option<usize>,
    /// True where it is noted where in the journal every span lies, so that a trace can be stored when it closes. It
    /// costs 24 bytes per span of open traces.
    pub places: bool,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(2),
            max_open: Duration::from_secs(30),
            keep: Duration::from_mins(1),
            max_bytes: 256 << 20,
            max_trace_bytes: None,
            places: false,
        }
    }
}

/// Below this no trace is too large, however small the table is.
const MIN_TRACE_BYTES: usize = 1 << 20;

impl TableSettings {
    fn trace_bytes(&self) -> usize {
        let bound = self.max_trace_bytes.unwrap_or(self.max_bytes / 8);
        bound.max(MIN_TRACE_BYTES)
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
    /// Its trace is as large as a trace may be; it is not paired.
    Beyond,
}

/// Traces for which there was no room as long as there should have been. Halves that come later begin a trace of their
/// own, and a call may count twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutShort {
    /// Closed before they fell quiet.
    pub closed: u64,
    /// Forgotten before [`TableSettings::keep`] was over.
    pub forgotten: u64,
}

/// The span with which a trace began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Root {
    /// What it does.
    pub operation: Operation,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Duration in seconds.
    pub total: f64,
    /// True where it is an error.
    pub failed: bool,
}

/// A trace fell quiet.
#[derive(Debug, Default)]
pub struct Closing {
    /// Which one.
    pub trace: TraceId,
    /// When, nanoseconds since 1970: by the table's time, so that a replay says the same.
    pub time: u64,
    /// True where it was closed before.
    pub late: bool,
    /// What it says now and did not say when it was closed before.
    pub added: Assembly,
    /// What it said when it was closed before and no longer says.
    pub removed: Assembly,
    /// How many spans it has.
    pub spans: u32,
    /// Its root, where that came.
    pub root: Option<Root>,
    /// From the first start to the last end, nanoseconds.
    pub duration: u64,
    /// True where any span is an error.
    pub any_error: bool,
    /// Bits of the tail sampling predicates that any of its spans fulfils, its statuses among them.
    pub predicates: u64,
    /// Where the spans that came since it was closed before lie: the position of the batch in the journal, and the
    /// place in it. Empty without [`TableSettings::places`].
    pub places: Vec<(u64, Place)>,
    /// What was decided by [`Table::decide`] when it was closed before.
    pub sampled: Option<bool>,
    /// Traces whose messages it consumed, each once and no more than a few. Empty without [`TableSettings::places`].
    pub consumed: Vec<TraceId>,
}

/// What shards tell each other of links across traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkMessage {
    /// A consumer of shard `from` asks for its producer, of the shard that is told.
    Seek {
        /// The producer's trace and span.
        producer: (TraceId, SpanId),
        /// The consumer's trace.
        consumer: TraceId,
        /// The consumer's shard.
        from: usize,
    },
    /// A message was sent that a broker named, to the shard that the name falls to.
    Sent {
        /// What links of its consumers name, by [`crate::span::place_id`].
        place: (TraceId, SpanId),
        /// Who sent it.
        found: Producer,
    },
    /// The producer came.
    Found {
        /// The consumer's trace, of the shard that is told.
        consumer: TraceId,
        /// The producer's trace and span.
        producer: (TraceId, SpanId),
        /// What it sent.
        found: Producer,
    },
}

/// The shard, of `shards`, that owns a trace. The same in every process.
pub fn shard_of(trace: &TraceId, shards: usize) -> usize {
    let number = u128::from_be_bytes(*trace);
    let half = (number >> 64) as u64;
    let mixed =
        (half.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((u128::from(mixed ^ mixed >> 32) * shards as u128) >> 64) as usize
}

/// The traces.
#[derive(Debug)]
pub struct Table {
    settings: TableSettings,
    index: usize,
    shards: usize,
    by_id: HashMap<TraceId, u32, RandomState>,
    traces: Vec<Trace>,
    free: Vec<u32>,
    /// When to look at an unsettled trace next; traces that got spans meanwhile are put off.
    wheel: Wheel,
    /// Closed traces in the order of closing.
    kept: VecDeque<u32>,
    awaited: Awaited,
    sent: Sent,
    workloads: HashSet<Address, RandomState>,
    /// Positions in the journal, each with how many traces began there.
    positions: VecDeque<(u64, u32)>,
    bytes: usize,
    open: usize,
    muted: bool,
    workspace: Workspace,
    links: Vec<(LinkTo, bool)>,
    closings: Vec<Closing>,
    messages: Vec<(usize, LinkMessage)>,
    waits: Arc<Waits>,
    skews: Vec<Skew>,
    cut_short: CutShort,
}

/// Of more links than this tail sampling is not told: a batch of messages is linked to the traces of all of them.
const MAX_CONSUMED: usize = 64;
/// When so many late halves were noted and nobody took them, no more are.
const MAX_SKEWS: usize = 1 << 12;
/// Beyond this many addresses of workloads the table starts afresh; those in use are claimed again by their next spans.
const MAX_WORKLOADS: usize = 100_000;
/// What a trace occupies besides its spans: itself, its entry in the map of traces at the usual load of that map, its
/// places in the queues, and the spare room and the allocator's share of its vectors.
const TRACE_OVERHEAD: usize = 512;

impl Table {
    /// An empty table: that of shard `index` of `shards`.
    pub fn new(settings: TableSettings, index: usize, shards: usize) -> Self {
        let horizon = nanos(settings.max_open).max(nanos(settings.wait));
        Self {
            settings,
            index,
            shards,
            by_id: HashMap::default(),
            traces: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(horizon),
            kept: VecDeque::new(),
            awaited: Awaited::default(),
            sent: Sent::default(),
            workloads: HashSet::default(),
            positions: VecDeque::new(),
            bytes: 0,
            open: 0,
            muted: false,
            workspace: Workspace::default(),
            links: Vec::new(),
            closings: Vec::new(),
            messages: Vec::new(),
            waits: Arc::default(),
            skews: Vec::new(),
            cut_short: CutShort::default(),
        }
    }

    /// Traces for which there was no room since the last call.
    pub fn take_cut_short(&mut self) -> CutShort {
        std::mem::take(&mut self.cut_short)
    }

    /// How long other halves are waited for from here on, by the operation of the half that is there. It bears on
    /// traces that are looked at after this, never beyond [`TableSettings::max_open`].
    pub fn set_waits(&mut self, waits: Arc<Waits>) {
        self.waits = waits;
    }

    /// Halves that came long after the other since the last call; some of them, where there are very many.
    pub fn take_skews(&mut self) -> Vec<Skew> {
        std::mem::take(&mut self.skews)
    }

    /// Notes that a workload claims `address`, so that a caller from there is no user.
    pub fn claim(&mut self, address: Address) {
        if self.workloads.len() >= MAX_WORKLOADS && !self.workloads.contains(&address) {
            self.workloads.clear();
        }
        self.workloads.insert(address);
    }

    /// True while a batch can be taken without closing anything early. Senders are told to come back while it is not.
    pub fn has_room(&self) -> bool {
        self.bytes <= self.settings.max_bytes || !self.kept.is_empty()
    }

    /// Brings the table within its budget: closed traces go first. A quarter beyond it, as where senders were not told
    /// to come back, open traces are closed early, those that are due soonest first.
    pub fn make_room(&mut self, now: u64) {
        let (max, hard) = (
            self.settings.max_bytes,
            self.settings
                .max_bytes
                .saturating_add(self.settings.max_bytes / 4),
        );
        loop {
            while self.bytes > max {
                let Some(oldest) = self.kept.pop_front() else {
                    break;
                };
                self.let_go(oldest, now);
                self.cut_short.forgotten += u64::from(!self.muted);
            }
            if self.bytes <= hard {
                return;
            }
            let Some(soonest) = self.wheel.pop_soonest() else {
                return;
            };
            self.cut_short.closed +=
                u64::from(!self.muted && self.traces[soonest as usize].state == State::Open);
            self.look_at(soonest, now, true);
        }
    }

    /// Takes a span that came at `now`, nanoseconds on any clock that does not go back, with the batch at `position` of the journal. What
    /// was due before is closed before, by [`Table::advance`].
    pub fn insert(&mut self, received: Received, now: u64, position: u64) -> Outcome {
        let Received {
            trace: id,
            span,
            place,
        } = received;
        let at = match self.by_id.get(&id) {
            Some(&at) => at,
            None => self.open(id, now, position),
        };
        let trace = &mut self.traces[at as usize];
        if trace.holds(&span) {
            return Outcome::Duplicate;
        }
        if trace.large {
            return Outcome::Beyond;
        }
        let cost = trace.cost(&span)
            + if self.settings.places {
                size_of::<(u64, Place)>()
            } else {
                0
            };
        if trace.bytes + cost > self.settings.trace_bytes() {
            trace.large = true;
            self.close(at, now);
            return Outcome::Beyond;
        }
        let waiting = if self.awaited.next_end().is_some() && span.can_produce() {
            self.awaited.came(&(id, span.id))
        } else {
            VecDeque::new()
        };
        let found = (!waiting.is_empty()).then(|| ((id, span.id), producer_of(&span)));
        self.note_places(&span, now);
        let trace = &mut self.traces[at as usize];
        self.bytes += cost + trace.note_pause(now);
        trace.push(span, cost);
        if self.settings.places {
            trace.places.push((position, place));
        }
        trace.last = now;
        let late = trace.state == State::Closed;
        if late {
            self.stir(at, now);
        }
        if let Some((producer, found)) = found {
            for waiter in &waiting {
                self.answer(waiter, producer, found, now);
            }
        }
        if late { Outcome::Late } else { Outcome::Kept }
    }

    /// Closes every trace that fell quiet by `now` and forgets what was kept long enough, in the order in which that
    /// was due.
    pub fn advance(&mut self, now: u64) {
        while self.wheel.is_behind(now) {
            if self.wheel.is_empty() {
                let ends = [
                    self.next_forgotten(),
                    self.awaited.next_end(),
                    self.sent.next_end(),
                ];
                self.wheel.skip_to(ends.into_iter().flatten().fold(now, u64::min));
            }
            let time = self.wheel.turn();
            while let Some(at) = self.wheel.pop() {
                self.look_at(at, time, false);
            }
            while self.next_forgotten().is_some_and(|end| end <= time) {
                let Some(at) = self.kept.pop_front() else { break };
                self.let_go(at, time);
            }
            self.awaited.end_by(time);
            self.sent.end_by(time);
        }
    }

    /// Closes everything that is open, in the order of the traces' first spans.
    pub fn finish(&mut self, now: u64) {
        let unsettled = (0..).zip(&self.traces).filter(|(_, trace)| trace.is_unsettled());
        let mut unsettled: Vec<(u64, TraceId, u32)> =
            unsettled.map(|(at, trace)| (trace.first, trace.id, at)).collect();
        unsettled.sort_unstable();
        for (_, _, at) in unsettled {
            self.close(at, now);
        }
    }

    /// Takes what another shard says.
    pub fn receive(&mut self, message: LinkMessage, now: u64) {
        match message {
            LinkMessage::Seek {
                producer,
                consumer,
                from,
            } => {
                if let Some(found) = self.producer(&producer) {
                    let message = LinkMessage::Found {
                        consumer,
                        producer,
                        found,
                    };
                    self.messages.push((from, message));
                } else {
                    let until = now.saturating_add(nanos(self.settings.keep));
                    self.awaited.wait(producer, consumer, from as u32, until);
                }
            }
            LinkMessage::Sent { place, found } => self.was_sent(place, found, now),
            LinkMessage::Found {
                consumer,
                producer,
                found,
            } => {
                if let Some(&at) = self.by_id.get(&consumer) {
                    self.traces[at as usize].know(producer, found);
                    self.stir(at, now);
                }
            }
        }
    }

    /// Notes whether the spans of a closed trace are kept in the store, for its later closings.
    pub fn decide(&mut self, trace: &TraceId, sampled: bool) {
        if let Some(&at) = self.by_id.get(trace) {
            self.traces[at as usize].sampled = Some(sampled);
        }
    }

    /// While muted, traces are closed and nothing is said of it.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// What was closed since the last call, in order.
    pub fn take_closings(&mut self) -> Vec<Closing> {
        std::mem::take(&mut self.closings)
    }

    /// How many closings wait for [`Table::take_closings`].
    pub fn pending(&self) -> usize {
        self.closings.len()
    }

    /// What other shards are to be told, each with its index.
    pub fn take_messages(&mut self) -> Vec<(usize, LinkMessage)> {
        std::mem::take(&mut self.messages)
    }

    /// Traces that are open, and traces that are closed and kept.
    pub fn len(&self) -> (usize, usize) {
        (self.open, self.by_id.len() - self.open)
    }

    /// True where no trace is open or kept.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Bytes that the spans occupy, as they are budgeted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position in the journal from which a replay brings back all traces of the table; `None` where it is empty.
    pub fn oldest_position(&self) -> Option<u64> {
        self.positions.front().map(|&(position, _)| position)
    }

    fn open(&mut self, id: TraceId, now: u64, position: u64) -> u32 {
        let trace = Trace::open(id, now, position);
        let at = if let Some(at) = self.free.pop() {
            self.traces[at as usize] = trace;
            at
        } else {
            self.traces.push(trace);
            self.traces.len() as u32 - 1
        };
        self.by_id.insert(id, at);
        match self.positions.back_mut() {
            Some((last, count)) if *last >= position => *count += 1,
            _ => self.positions.push_back((position, 1)),
        }
        self.open += 1;
        self.bytes += TRACE_OVERHEAD;
        self.wake(at, now.saturating_add(nanos(self.settings.wait)));
        at
    }

    /// Looks at a trace again when `due`, or sooner where it is looked at sooner anyway.
    fn wake(&mut self, at: u32, due: u64) {
        let trace = &mut self.traces[at as usize];
        if !trace.timed {
            trace.timed = true;
            self.wheel.put(at, due);
        }
    }

    /// A closed trace is to be looked at again once it falls quiet.
    fn stir(&mut self, at: u32, now: u64) {
        if self.traces[at as usize].stir(now) {
            self.wake(at, now.saturating_add(nanos(self.settings.wait)));
        }
    }

    /// It is a trace's turn in the wheel.
    fn look_at(&mut self, at: u32, now: u64, early: bool) {
        let trace = &mut self.traces[at as usize];
        trace.timed = false;
        if trace.state == State::Gone {
            self.free.push(at);
        } else if trace.is_unsettled() {
            let mut wait = nanos(self.settings.wait);
            if !self.waits.is_empty() && trace.last.saturating_add(wait) <= now {
                wait = wait.max(halves::awaited(&trace.spans, &self.waits));
            }
            let quiet = trace.last.saturating_add(wait);
            let bound = trace.first.saturating_add(nanos(self.settings.max_open));
            let due = quiet.min(bound);
            if due > now && !early {
                self.wake(at, due);
            } else {
                self.close(at, now);
            }
        }
    }

    fn close(&mut self, at: u32, now: u64) {
        self.ask_around(at, now);
        let trace = &mut self.traces[at as usize];
        let late = trace.state == State::Closed;
        if self.muted {
            trace.places.clear();
        } else {
            if self.skews.len() < MAX_SKEWS {
                halves::pairing_skews(trace, &mut self.skews);
            }
            let mut closing = closing(trace, now, &mut self.workspace);
            if self.settings.places && trace.linked {
                closing.consumed = consumed(trace);
            }
            self.closings.push(closing);
        }
        trace.settle(now);
        if !late {
            self.open -= 1;
            self.kept.push_back(at);
        }
    }

    /// Tells a trace what the others know of its callers and producers, and asks for those that did not come.
    fn ask_around(&mut self, at: u32, now: u64) {
        let trace = &self.traces[at as usize];
        if trace.called {
            let claimed = trace.callers().filter(|caller| self.workloads.contains(caller));
            let claimed: Vec<Address> = claimed.collect();
            let trace = &mut self.traces[at as usize];
            for caller in claimed {
                trace.know_workload(caller);
            }
        }
        if !self.traces[at as usize].linked {
            return;
        }
        let trace = &self.traces[at as usize];
        let (consumer, mut links) = (trace.id, std::mem::take(&mut self.links));
        let all = trace.consumed_links(false).count() - trace.consumed_links(true).count();
        let numbered = trace.consumed_links(false).enumerate();
        links.extend(
            numbered
                .filter(|(_, link)| !trace.knows(link))
                .map(|(n, link)| (link, n >= all)),
        );
        for (link, is_new) in links.drain(..) {
            let owner = shard_of(&link.0, self.shards);
            let local = owner == self.index;
            let found = if local { self.producer(&link) } else { None };
            if let Some(found) = found {
                self.traces[at as usize].know(link, found);
            } else if is_new && local {
                let until = now.saturating_add(nanos(self.settings.keep));
                self.awaited.wait(link, consumer, self.index as u32, until);
            } else if is_new {
                let from = self.index;
                self.messages.push((
                    owner,
                    LinkMessage::Seek {
                        producer: link,
                        consumer,
                        from,
                    },
                ));
            }
        }
        self.links = links;
    }

    /// A producer came that somebody waited for.
    fn answer(&mut self, waiter: &links::Waiter, producer: LinkTo, found: Producer, now: u64) {
        let consumer = waiter.consumer;
        if waiter.shard as usize != self.index {
            let message = LinkMessage::Found {
                consumer,
                producer,
                found,
            };
            self.messages.push((waiter.shard as usize, message));
        } else if let Some(&at) = self.by_id.get(&consumer) {
            self.stir(at, now);
        }
    }

    fn producer(&self, link: &LinkTo) -> Option<Producer> {
        let Some(&at) = self.by_id.get(&link.0) else {
            return self.sent.get(link);
        };
        self.traces[at as usize].producer(link.1).map(producer_of)
    }

    /// A span sent messages that a broker named: whoever receives one names it likewise.
    fn note_places(&mut self, span: &Span, now: u64) {
        let places = span.extra.as_deref().map_or(&[][..], |extra| &extra.places);
        for &place in places {
            let (owner, found) = (shard_of(&place.0, self.shards), producer_of(span));
            if owner == self.index {
                self.was_sent(place, found, now);
            } else {
                self.messages.push((owner, LinkMessage::Sent { place, found }));
            }
        }
    }

    fn was_sent(&mut self, place: LinkTo, found: Producer, now: u64) {
        let until = now.saturating_add(nanos(self.settings.keep));
        self.sent.keep(place, found, until);
        for waiter in self.awaited.came(&place) {
            self.answer(&waiter, place, found, now);
        }
    }

    /// When the trace that was closed first is forgotten.
    fn next_forgotten(&self) -> Option<u64> {
        let &at = self.kept.front()?;
        Some(
            self.traces[at as usize]
                .closed_at
                .saturating_add(nanos(self.settings.keep)),
        )
    }

    /// Forgets a closed trace that is no longer in `kept`; what its last spans changed is not lost with it.
    fn let_go(&mut self, at: u32, now: u64) {
        if self.traces[at as usize].is_unsettled() {
            self.close(at, now);
        }
        let timed = self.traces[at as usize].timed;
        let gone = Trace::gone(timed);
        let trace = std::mem::replace(&mut self.traces[at as usize], gone);
        self.by_id.remove(&trace.id);
        self.bytes = self.bytes.saturating_sub(trace.bytes + TRACE_OVERHEAD);
        if !timed {
            self.free.push(at);
        }
        if let Ok(began) = self
            .positions
            .binary_search_by_key(&trace.position, |&(position, _)| position)
        {
            self.positions[began].1 -= 1;
        }
        while self.positions.front().is_some_and(|&(_, count)| count == 0) {
            self.positions.pop_front();
        }
    }
}

fn closing(trace: &mut Trace, time: u64, workspace: &mut Workspace) -> Closing {
    let (spans, known) = trace.now();
    let after = assemble(trace.id, spans, &known, workspace);
    let before = trace.before();
    let late = before.is_some();
    let (removed, added) = match before {
        Some((spans, known)) => difference(assemble(trace.id, spans, &known, workspace), after),
        None => (Assembly::default(), after),
    };
    let (mut any_error, mut predicates, mut first, mut last) = (false, 0, u64::MAX, 0);
    for span in &trace.spans {
        any_error |= span.failed();
        (first, last) = (first.min(span.start), last.max(span.end));
        predicates |= status_bit(span.status);
        predicates |= span.extra.as_deref().map_or(0, |extra| extra.predicates);
    }
    Closing {
        trace: trace.id,
        time,
        late,
        added,
        removed,
        spans: trace.spans.len() as u32,
        root: trace.root(),
        duration: last.saturating_sub(first),
        any_error,
        predicates,
        places: std::mem::take(&mut trace.places),
        sampled: trace.sampled,
        consumed: Vec::new(),
    }
}

/// Traces that a trace consumed messages of, each once.
fn consumed(trace: &Trace) -> Vec<TraceId> {
    let mut found: Vec<TraceId> = trace
        .consumed_links(false)
        .map(|(id, _)| id)
        .take(MAX_CONSUMED)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The bit of a status, where `sampling::SpanBits` has it: above those of the conditions.
fn status_bit(status: StatusCode) -> u64 {
    let mut bits = SpanBits::default();
    bits.note_status(status);
    bits.0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
