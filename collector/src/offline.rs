//! A map from recorded traces, without a collector running.
//!
//! In: requests of any recording. Out: the [`Map`] that the collector would have drawn from them.
//! Left out on purpose: counters and baselines. A recording has no scraper.

use bytes::Bytes;
use map::Map;
use otlp::view::Malformed;

use crate::assemble::Assembly;
use crate::builder::{Builder, MapBudget};
use crate::span::{Interner, Span, extract};
use crate::table::{Outcome, Table, TableSettings};

/// Draws a map from requests in any order; ask for it with [`OfflineMap::finish`].
#[derive(Debug)]
pub struct OfflineMap {
    table: Table,
    builder: Builder,
    names: Interner,
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
        let settings = TableSettings {
            max_bytes: usize::MAX,
            ..TableSettings::default()
        };
        Self {
            table: Table::new(settings),
            builder: Builder::new(map::Services::new(), MapBudget::default()),
            names: Interner::default(),
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
        let extracted = extract(body, &mut self.names)?;
        self.summary.rejected += extracted.rejected.len() as u64;
        self.summary.spans += (extracted.spans.len() + extracted.rejected.len()) as u64;
        extracted
            .workload_addresses
            .into_iter()
            .for_each(|address| self.table.claim(address));
        for (trace, span) in extracted.spans {
            self.note(&span);
            if self.table.insert(trace, span, 0) == Outcome::Duplicate {
                self.summary.duplicates += 1;
            }
        }
        Ok(())
    }

    fn note(&mut self, span: &Span) {
        let Some(service) = &span.service else {
            self.summary.without_service += 1;
            return;
        };
        let node = self.builder.note_service(service, span.start);
        if let Some(address) = span.extra.as_deref().and_then(|extra| extra.own_address.as_ref()) {
            self.builder.note_address(address, &node);
        }
    }

    /// The map, once everything came.
    pub fn finish(mut self) -> (Map, Summary) {
        self.summary.traces = self.table.len().0 as u64;
        let mut unnamed = 0;
        self.table.close_all(0, |closing| {
            let Assembly {
                visits,
                calls,
                flows,
                unnamed_peers,
            } = closing.added;
            unnamed += unnamed_peers;
            for visit in &visits {
                self.builder.add_visit(visit);
            }
            for call in &calls {
                self.builder.add_call(call, &closing.trace);
            }
            for flow in &flows {
                self.builder.add_flow(flow);
            }
        });
        self.summary.unnamed_peers = unnamed;
        (self.builder.map().clone(), self.summary)
    }
}
