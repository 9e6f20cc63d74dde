//! Pairs that talk once for each thing that a request is about.
//!
//! In: how often one request of the caller calls the callee. Out: a finding for each edge on which large requests call many times
//! and the usual request few times, so that the number follows the data.
//! Left out on purpose: pairs that always talk much; these are `chatty`.

use map::Edge;

use super::super::finding::{Finding, Kind, Needs, Severity, figures};
use super::super::seen::Seen;
use super::chatty::MIN_CALLING;

pub(super) const KIND: Kind = Kind {
    name: "n-plus-one",
    severity: Severity::Warning,
    summary: "the number of calls grows with what a request is about",
    meaning: "It is fast in tests and slow for the largest customer: a request about five hundred things calls five hundred times. \
              The callee meets it as bursts that no rate limit expected.",
    action: "ask for all of them at once (`WHERE id IN`, a bulk route), or in pages of a bounded size",
    keys: &["burst", "min_requests"],
    needs: Needs::Requests,
    find,
};

/// How many times the calls of the usual request those of a large one are at least.
const GROWTH: f64 = 4.0;

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let growing = seen.busy().filter(|(_, edge)| grows(edge, seen.settings.burst));
    growing
        .map(|(key, edge)| {
            let (usual, large) = sizes(edge);
            let message = format!(
                "`{}` usually calls `{}` {} times for one request, and {} times for one in a hundred",
                key.client,
                key.server,
                figures(usual.round()),
                figures(large.round())
            );
            Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", edge.stats.requests)
                .count("calling_requests", edge.stats.fan_out.count() as f64)
                .measure("calls_p50", usual)
                .measure("calls_p99", large)
                .traces(&edge.examples)
        })
        .collect()
}

/// True where large requests call often, and the usual one much less.
pub(super) fn grows(edge: &Edge, burst: f64) -> bool {
    let (usual, large) = sizes(edge);
    large >= burst && large >= GROWTH * usual && edge.stats.fan_out.count() >= MIN_CALLING
}

/// Calls for the usual request, and for one in a hundred.
fn sizes(edge: &Edge) -> (f64, f64) {
    let quantile = |q| edge.stats.fan_out.quantile(q).unwrap_or(0.0);
    (quantile(0.5), quantile(0.99))
}
