//! A shard: the traces whose ids fall to it, and the metrics of their spans.
//!
//! In: batches of spans in the order of the journal, ticks, and what other shards say of links. Out: a [`Report`] for
//! the ledger: closings, deltas of span metrics, and what became of every span.
//! Left out on purpose: threads and channels. Whoever owns a shard decides when it is called.

mod latency;
mod spans;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use crate::table::{Closing, CutShort, LinkMessage, Root, shard_of};
pub use latency::Latency;
pub use spans::SpanDelta;

use crate::read::{Place, Received};
use crate::skew::{Skew, Waits};
use crate::span::{Address, TraceId};
use crate::table::{Outcome, Table, TableSettings};
use spans::SpanMetrics;

/// Spans of one record of the journal that fall to one shard.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// When they came, nanoseconds since 1970; never goes back.
    pub time: u64,
    /// The record's position in the journal; never goes back. 0 without one.
    pub position: u64,
    /// The spans.
    pub spans: Vec<Received>,
    /// Addresses that workloads claim, by any span of the record: every shard is told.
    pub workloads: Arc<[Address]>,
}

/// What a shard did since its last report.
#[derive(Debug, Default)]
pub struct Report {
    /// The shard's time, nanoseconds since 1970.
    pub time: u64,
    /// Span metrics that changed.
    pub spans: Vec<SpanDelta>,
    /// Traces that fell quiet.
    pub closings: Vec<Closing>,
    /// What became of spans.
    pub outcomes: Outcomes,
    /// Halves of calls that came long after the other.
    pub skews: Vec<Skew>,
    /// Traces for which there was no room.
    pub cut_short: CutShort,
}

/// What tail sampling needs of a closed trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Which one.
    pub trace: TraceId,
    /// Its root, where that came.
    pub root: Option<Root>,
    /// How many spans it has.
    pub spans: u32,
    /// From its first start to its last end, nanoseconds.
    pub duration: u64,
    /// True where it was closed before.
    pub late: bool,
    /// True where any span is an error.
    pub any_error: bool,
    /// Bits of the predicates that any of its spans fulfils.
    pub predicates: u64,
    /// Where its spans are, those left out that were told when it was closed before: the position of the batch in the
    /// journal, and the place in it.
    pub places: Vec<(u64, Place)>,
    /// What was decided when it was closed before, if somebody told.
    pub sampled: Option<bool>,
    /// Traces whose messages it consumed.
    pub consumed: Vec<TraceId>,
}

impl Report {
    /// True where nothing happened.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
            && self.closings.is_empty()
            && self.skews.is_empty()
            && self.cut_short == CutShort::default()
            && self.outcomes == Outcomes::default()
    }

    /// What tail sampling needs of each closing, in their order. The places are taken out.
    pub fn take_evidence(&mut self) -> Vec<Evidence> {
        let take = |closing: &mut Closing| Evidence {
            trace: closing.trace,
            root: closing.root,
            spans: closing.spans,
            duration: closing.duration,
            late: closing.late,
            any_error: closing.any_error,
            predicates: closing.predicates,
            places: std::mem::take(&mut closing.places),
            sampled: closing.sampled,
            consumed: std::mem::take(&mut closing.consumed),
        };
        self.closings.iter_mut().map(take).collect()
    }
}

/// How many spans came to each end; each span is in exactly one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// In the table before their trace was closed.
    pub kept: u64,
    /// In the table after it.
    pub late: u64,
    /// Came before.
    pub duplicate: u64,
    /// Without a service: they bridge their neighbours and are nobody's.
    pub no_service: u64,
    /// Of traces that are too large: counted in the span metrics, not paired.
    pub beyond: u64,
}

impl Outcomes {
    /// Adds what another shard, or this one before, did.
    pub fn add(&mut self, other: &Self) {
        self.kept += other.kept;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.no_service += other.no_service;
        self.beyond += other.beyond;
    }
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    table: Table,
    metrics: SpanMetrics,
    outcomes: Outcomes,
    time: u64,
    muted: bool,
}

impl Shard {
    /// Shard `index` of `shards`. The settings are this shard's: a budget for all is to be divided before.
    pub fn new(index: usize, shards: usize, settings: TableSettings) -> Self {
        Self {
            table: Table::new(settings, index, shards),
            metrics: SpanMetrics::default(),
            outcomes: Outcomes::default(),
            time: 0,
            muted: false,
        }
    }

    /// Takes a batch, after everything that was due before it came.
    pub fn take(&mut self, batch: Batch) {
        self.advance(batch.time);
        self.table.make_room(self.time);
        for &address in batch.workloads.iter() {
            self.table.claim(address);
        }
        for received in batch.spans {
            let seen = spans::Seen::of(&received.trace, &received.span);
            let outcome = self.table.insert(received, self.time, batch.position);
            if self.muted {
                continue;
            }
            if outcome != Outcome::Duplicate {
                self.metrics.count(&seen);
            }
            self.count(outcome, seen.operation.service.is_some());
        }
    }

    /// Closes the traces that fell quiet by `now`. Times that go back are taken as the latest one.
    pub fn advance(&mut self, now: u64) {
        self.time = self.time.max(now);
        self.table.advance(self.time);
    }

    /// Closes everything, as at the end of a recording.
    pub fn finish(&mut self, now: u64) {
        self.advance(now);
        self.table.finish(self.time);
    }

    /// Takes what another shard says.
    pub fn receive(&mut self, message: LinkMessage) {
        self.table.receive(message, self.time);
    }

    /// What other shards are to be told, each with its index.
    pub fn messages(&mut self) -> Vec<(usize, LinkMessage)> {
        self.table.take_messages()
    }

    /// What happened since the last report. Nothing is in two reports.
    pub fn report(&mut self) -> Report {
        Report {
            time: self.time,
            spans: self.metrics.take(),
            closings: self.table.take_closings(),
            outcomes: std::mem::take(&mut self.outcomes),
            skews: self.table.take_skews(),
            cut_short: self.table.take_cut_short(),
        }
    }

    /// While muted, everything runs and nothing is reported: so a replay brings back the traces that a snapshot has
    /// already counted. Before it is ended, no message between shards may be on its way.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        self.table.set_muted(muted);
    }

    /// How long halves are waited for from here on.
    pub fn set_waits(&mut self, waits: Arc<Waits>) {
        self.table.set_waits(waits);
    }

    /// True while nothing is reported.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Notes whether a closed trace is kept in the store; later closings of it tell it.
    pub fn decide(&mut self, trace: &TraceId, sampled: bool) {
        self.table.decide(trace, sampled);
    }

    /// True where a batch more would close traces early: senders are told to come back.
    pub fn is_full(&self) -> bool {
        !self.table.has_room()
    }

    /// How many closings wait for a report.
    pub fn pending(&self) -> usize {
        self.table.pending()
    }

    /// Bytes that the spans occupy, as they are budgeted.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// The position in the journal from which a replay brings back all traces; `None` where there are none.
    pub fn oldest_position(&self) -> Option<u64> {
        self.table.oldest_position()
    }

    /// Traces that are open, and traces that are closed and kept.
    pub fn len(&self) -> (usize, usize) {
        self.table.len()
    }

    /// True where no trace is open or kept.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn count(&mut self, outcome: Outcome, has_service: bool) {
        let counter = match outcome {
            Outcome::Duplicate => &mut self.outcomes.duplicate,
            _ if !has_service => &mut self.outcomes.no_service,
            Outcome::Kept => &mut self.outcomes.kept,
            Outcome::Late => &mut self.outcomes.late,
            Outcome::Beyond => &mut self.outcomes.beyond,
        };
        *counter += 1;
    }
}
