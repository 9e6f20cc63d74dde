//! What the plan wants to know beside the map.
//!
//! In: baselines and series. Out: edges that are degraded, how a service's requests divide among its operations, spans so far.
//! Left out on purpose: the plan itself.

use std::collections::{BTreeMap, BTreeSet};

use baseline::Measure;
use map::{EdgeKey, Map, NodeId};

use super::Ledger;

/// Kinds of spans with which a service is entered.
const ENTRIES: [&str; 2] = ["SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER"];

impl Ledger {
    /// Edges of `map` that are degraded at `now`: by their own time, or because whom they lead to is.
    pub(crate) fn degraded_edges(&self, map: &Map, now: u64) -> BTreeSet<EdgeKey> {
        let degraded = |id: &str| {
            let entity = self.series.find_entity(id);
            entity.is_some_and(|at| self.judge.is_degraded(at, Measure::Own, now))
        };
        let nodes: BTreeSet<&NodeId> = map.nodes.keys().filter(|id| degraded(id.as_str())).collect();
        let edges = map.edges.keys();
        edges
            .filter(|key| nodes.contains(&key.server) || degraded(&map.edge_id(key)))
            .cloned()
            .collect()
    }

    /// Which share of a service's requests each of its operations is, by its entry spans.
    pub(crate) fn operation_shares(&self) -> BTreeMap<NodeId, Vec<f64>> {
        let mut calls: BTreeMap<NodeId, BTreeMap<&str, f64>> = BTreeMap::new();
        for (key, series) in self.series.spans_sorted() {
            if ENTRIES.contains(&key.kind.as_str()) {
                let of = calls.entry(key.service.clone()).or_default();
                *of.entry(&key.name).or_default() += series.calls;
            }
        }
        let shares = |(node, of): (NodeId, BTreeMap<&str, f64>)| {
            let all: f64 = of.values().sum();
            (
                node,
                of.values()
                    .map(|calls| calls / all.max(f64::MIN_POSITIVE))
                    .collect(),
            )
        };
        calls.into_iter().map(shares).collect()
    }

    /// Spans of traces that closed so far, and those that came to none of them, repeats left out. Those without a service are in traces too.
    pub(crate) fn spans_closed(&self) -> u64 {
        let outcomes = &self.counts.outcomes;
        self.roots.spans() + outcomes.late + outcomes.beyond
    }

    /// Spans that were taken so far, repeats left out.
    pub(crate) fn spans_taken(&self) -> u64 {
        let outcomes = &self.counts.outcomes;
        outcomes.kept + outcomes.late + outcomes.no_service + outcomes.beyond
    }
}
