//! Shards and ledger without threads: spans in, map and counters out, in one place and one order.
//!
//! In: requests' spans with the time they came, and ticks. Out: [`Map`], `/metrics` as text, a state that can be saved
//! and restored.
//! Left out on purpose: sockets, clocks, threads and disk. The collector runs the same parts in a `pipeline`; recordings
//! and tests run them here.

use map::Map;

use crate::families;
use crate::ledger::{Ledger, LedgerSettings, RestoreError};
use crate::pipeline::{Tables, split};
use crate::planner::Glance;
use crate::read::{Claim, Extracted};
use crate::scrape::Scrape;
use crate::shard::{Batch, Outcomes, Shard};
use crate::table::TableSettings;

/// Everything that an engine needs to be told.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Waiting and keeping, of each shard.
    pub table: TableSettings,
    /// Learning, budgets, and what people state.
    pub ledger: LedgerSettings,
    /// How many shards share the traces; at least 1.
    pub shards: usize,
}

/// The collector without its rim.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<Shard>,
    ledger: Ledger,
    outcomes: Outcomes,
    unnamed_peers: u64,
}

/// The trace table is at its budget and nothing can be forgotten; the sender shall come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(settings: EngineSettings) -> Self {
        let EngineSettings {
            table,
            ledger,
            shards,
        } = settings;
        Self::of(Ledger::new(ledger), &table, shards)
    }

    /// An engine that goes on where [`Engine::save`] left off.
    ///
    /// # Errors
    /// [`RestoreError`] where this version did not write `saved`.
    pub fn restore(settings: EngineSettings, saved: &[u8]) -> Result<Self, RestoreError> {
        let EngineSettings {
            table,
            ledger,
            shards,
        } = settings;
        Ok(Self::of(Ledger::restore(ledger, saved)?, &table, shards))
    }

    fn of(ledger: Ledger, table: &TableSettings, shards: usize) -> Self {
        let shards = shards.max(1);
        Self {
            shards: (0..shards)
                .map(|index| Shard::new(index, shards, *table))
                .collect(),
            ledger,
            outcomes: Outcomes::default(),
            unnamed_peers: 0,
        }
    }

    /// Map, counters and baselines as bytes. Traces that are still open are not among them.
    pub fn save(&self) -> Vec<u8> {
        self.ledger.save()
    }

    /// Takes the spans of one request, all or none.
    ///
    /// `now` in nanoseconds; it must not go back.
    ///
    /// # Errors
    /// [`Full`] where a trace table is at its budget and nothing can be forgotten.
    pub fn take(&mut self, extracted: Extracted, now: u64) -> Result<(), Full> {
        if self.shards.iter().any(Shard::is_full) {
            return Err(Full);
        }
        let Extracted {
            spans,
            rejected,
            workloads,
            claims,
        } = extracted;
        for reason in rejected {
            self.ledger.reject(reason, 1);
        }
        for Claim { address, service } in claims {
            self.ledger.claim(&address, service);
        }
        let workloads: std::sync::Arc<[_]> = workloads.into();
        let parts = split(spans, self.shards.len());
        for (shard, spans) in self.shards.iter_mut().zip(parts) {
            shard.take(Batch {
                time: now,
                position: 0,
                spans,
                workloads: std::sync::Arc::clone(&workloads),
            });
        }
        self.settle();
        Ok(())
    }

    /// Closes the traces that fell quiet by `now`.
    pub fn tick(&mut self, now: u64) {
        self.shards.iter_mut().for_each(|shard| shard.advance(now));
        self.settle();
    }

    /// Closes everything, as at the end of a recording or before the process ends.
    pub fn finish(&mut self, now: u64) {
        self.shards.iter_mut().for_each(|shard| shard.finish(now));
        self.settle();
        // Links between shards arrive only once both sides are closed.
        self.shards.iter_mut().for_each(|shard| shard.finish(now));
        self.settle();
    }

    /// The map as it stands.
    pub fn map(&self) -> Map {
        self.ledger.map()
    }

    /// What a planner wants to know at `now`.
    pub(crate) fn glance(&self, now: u64) -> Glance {
        Glance::of(&self.ledger, now)
    }

    /// What became of the spans so far.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// CLIENT and sending spans whose far side neither reported nor is named.
    pub fn unnamed_peers(&self) -> u64 {
        self.unnamed_peers
    }

    /// Traces that are not closed.
    pub fn open_traces(&self) -> usize {
        self.shards.iter().map(|shard| shard.len().0).sum()
    }

    /// All series as the text format 0.0.4.
    pub fn metrics(&self) -> String {
        let mut encoder = exposition::TextEncoder::default();
        let mut out = Scrape::new(&mut encoder);
        families::write(&self.ledger, &mut out);
        let sum = |of: fn(&Shard) -> usize| self.shards.iter().map(of).sum();
        let tables = Tables {
            open: sum(|shard| shard.len().0),
            kept: sum(|shard| shard.len().1),
            bytes: sum(Shard::bytes),
        };
        families::tables(tables, &mut out);
        encoder.finish()
    }

    /// Tells what the rules of alerts read: judged counts of nodes and edges, and the map as series.
    pub fn tell_judged(&self, encoder: &mut dyn exposition::Encoder) {
        families::judged(&self.ledger, &mut Scrape::new(encoder));
    }

    /// Learns baselines from all that came so far, and nothing from then on; see [`baseline::Baselines::hold`].
    pub fn hold_baselines(&mut self, min_requests: u64, now: u64) {
        self.ledger.hold_baselines(min_requests, now);
    }

    /// Hands on what shards say to each other and to the ledger, until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let messages: Vec<_> = self.shards.iter_mut().flat_map(Shard::messages).collect();
            if messages.is_empty() {
                break;
            }
            for (to, message) in messages {
                if let Some(shard) = self.shards.get_mut(to) {
                    shard.receive(message);
                }
            }
        }
        for shard in &mut self.shards {
            let report = shard.report();
            self.outcomes.add(&report.outcomes);
            let closed = report.closings.iter();
            self.unnamed_peers += closed.map(|closing| closing.added.unnamed_peers).sum::<u64>();
            self.ledger.take(report);
        }
    }
}
