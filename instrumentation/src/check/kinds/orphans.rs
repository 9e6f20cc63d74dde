//! Requests whose caller did not report.
//!
//! In: requests of a node that say that there is a caller. Out: a finding for each node with a larger share of them than the limit.
//! Left out on purpose: who the caller is; where an edge tells, `broken-context` names the hop.

use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;
use map::NodeId;

pub(super) const KIND: Kind = Kind {
    name: "orphans",
    severity: Severity::Warning,
    summary: "spans name a parent that never came",
    meaning: "The trace begins in the middle. What lies before it (a proxy, a mesh, another team's system, spans that were sampled out \
              or lost) is not on the map, so nobody is charged for the time that it takes.",
    action: "let the caller export its spans to the same collector, sample by parent (`parentbased_…`) everywhere, and look for losses \
             in the exporters' own counters",
    keys: &["orphans", "min_requests"],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let limit = seen.settings.orphans;
    let nodes =
        seen.map.nodes.iter().filter(|(id, node)| {
            seen.reports(id) && node.stats.orphans as f64 >= limit * node.stats.requests
        });
    nodes
        .map(|(id, node)| {
            let stats = &node.stats;
            let message = format!(
                "{} of the requests of `{id}` come from a caller that did not report",
                percent(stats.orphans as f64 / stats.requests)
            );
            let unknown = || seen.edges_between(NodeId::UNKNOWN, id);
            let without: u64 = unknown().map(|edge| edge.stats.without_context).sum();
            let traces = unknown().next().map_or(&[][..], |edge| &edge.examples);
            Finding::new(&KIND, vec![id.to_string()], message)
                .count("requests", stats.requests)
                .count("without_parent", stats.orphans.saturating_sub(without) as f64)
                .count("without_context_from_a_workload", without as f64)
                .traces(traces)
        })
        .collect()
}
