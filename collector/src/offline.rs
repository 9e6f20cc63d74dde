//! A map from recorded traces, without a collector running.
//!
//! In: requests of any recording. Out: the [`Map`] that the collector would have drawn from them.
//! Left out on purpose: counters and baselines. A recording has no scraper.

use bytes::Bytes;
use map::{Map, Services};
use otlp::view::Malformed;

use crate::engine::{Engine, EngineSettings};
use crate::ledger::{LedgerSettings, MapBudget};
use crate::read::Reader;
use crate::table::TableSettings;

/// Draws a map from requests in any order; ask for it with [`OfflineMap::finish`].
#[derive(Debug)]
pub struct OfflineMap {
    engine: Engine,
    reader: Reader,
    summary: Summary,
}

/// What a recording held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Spans read.
    pub spans: u64,
    /// Traces they belong to.
    pub traces: u64,
    /// Repeats of spans that came before; counted once.
    pub duplicates: u64,
    /// Spans with ids that no trace can have.
    pub rejected: u64,
    /// Spans without `service.name`; they join others but are no node.
    pub without_service: u64,
    /// CLIENT spans whose far side nothing names.
    pub unnamed_peers: u64,
}

impl Default for OfflineMap {
    fn default() -> Self {
        let table = TableSettings {
            max_bytes: usize::MAX,
            max_trace_bytes: Some(usize::MAX),
            ..TableSettings::default()
        };
        // Nobody asks a recording what is slow.
        let baseline = baseline::Settings {
            min_requests: u64::MAX,
            hours: false,
            ..baseline::Settings::default()
        };
        let ledger = LedgerSettings::new(baseline, MapBudget::default(), Services::new());
        Self {
            engine: Engine::new(EngineSettings {
                table,
                ledger,
                shards: 1,
            }),
            reader: Reader::default(),
            summary: Summary::default(),
        }
    }
}

impl OfflineMap {
    /// Takes the spans of one request.
    ///
    /// # Errors
    /// [`Malformed`] where `body` is not an `ExportTraceServiceRequest`.
    pub fn take(&mut self, body: &Bytes) -> Result<(), Malformed> {
        let extracted = self.reader.read(body)?;
        self.summary.rejected += extracted.rejected.len() as u64;
        self.summary.spans += (extracted.spans.len() + extracted.rejected.len()) as u64;
        // Time stands still, so that no trace closes before everything came, and the table has no bound.
        let taken = self.engine.take(extracted, 0);
        debug_assert!(taken.is_ok(), "a table without a bound is never full");
        Ok(())
    }

    /// The map, once everything came.
    pub fn finish(mut self) -> (Map, Summary) {
        self.summary.traces = self.engine.open_traces() as u64;
        self.engine.finish(0);
        let outcomes = self.engine.outcomes();
        self.summary.duplicates = outcomes.duplicate;
        self.summary.without_service = outcomes.no_service;
        self.summary.unnamed_peers = self.engine.unnamed_peers();
        (self.engine.map(), self.summary)
    }
}
