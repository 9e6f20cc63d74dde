//! Edges that agents count themselves.
//!
//! In: an agent's counts of an edge since its last report. Out: the same counts in map and series, where spans of such an
//! edge add no request (DESIGN §2).
//! Left out on purpose: reading OTLP metrics; the intake does it.

use map::{ConnectionType, Histogram};

use super::Ledger;
use crate::names::Node;

/// What an agent counted on one edge.
#[derive(Clone, Debug)]
pub struct EdgeCounts {
    /// Who called.
    pub client: Node,
    /// Who was called.
    pub server: Node,
    /// Set where the ends alone do not tell it.
    pub connection: Option<ConnectionType>,
    /// Requests.
    pub requests: u64,
    /// Of them failed.
    pub failed: u64,
    /// How long the caller waited.
    pub client_seconds: Histogram,
    /// When the counted time began, nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

/// An agent that says more is mistaken; sums of it do not overflow.
const MOST: u64 = 1 << 40;

impl Ledger {
    /// Adds what an agent counted, at `now` nanoseconds.
    pub fn count_edge(&mut self, counts: &EdgeCounts, now: u64) {
        if counts.requests == 0 {
            return;
        }
        let route = self.route((counts.client, counts.server, counts.connection));
        let requests = counts.requests.min(MOST);
        let failed = counts.failed.min(requests) as f64;
        if let Some(slot) = self.edges.slots.get_mut(route.edge) {
            slot.touched = slot.touched.max(now);
            slot.seen.note(counts.start);
            slot.seen.note(counts.end);
            slot.evidence.counted += requests;
            slot.stats.requests += requests as f64;
            slot.stats.failed += failed;
            slot.stats.client.merge_exponential(&counts.client_seconds);
        }
        if let Some(graph) = route.graph.and_then(|at| self.series.graph.get_mut(at)) {
            graph.requests += requests as f64;
            graph.failed += failed;
            graph.client.merge_exponential(&counts.client_seconds);
        }
        if let Some(series) = self.series.entities.get_mut(route.entity) {
            series.requests += requests as f64;
            series.failed += failed;
            series.total.merge_exponential(&counts.client_seconds);
        }
    }
}
