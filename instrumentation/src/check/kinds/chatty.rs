//! Pairs that talk many times for one request.
//!
//! In: how often one request of the caller calls the callee. Out: a finding for each edge with as many calls in the mean as the
//! limit; stores may be asked more often than services.
//! Left out on purpose: pairs of which only some requests are large; these are `n-plus-one`.

use map::{Edge, NodeKind};

use super::super::finding::{Finding, Kind, Needs, Severity, figures, seconds};
use super::super::seen::Seen;
use super::n_plus_one::grows;

pub(super) const KIND: Kind = Kind {
    name: "chatty",
    severity: Severity::Warning,
    summary: "one request calls the same callee many times",
    meaning: "Network and queueing are paid for every call: a callee that becomes 5 ms slower makes the caller slower by as many times \
              that. The callee's load grows by the factor whenever the caller's does.",
    action: "ask once for all of it (a batch, a join, a field more in the answer), or keep what does not change between calls",
    keys: &["chatty", "queries", "min_requests"],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let chatty = seen.busy().filter(|(key, edge)| {
        let limit = match seen.map.kind(&key.server) {
            NodeKind::Database | NodeKind::Cache => seen.settings.queries,
            _ => seen.settings.chatty,
        };
        calls(edge) >= limit && edge.stats.fan_out.count() >= MIN_CALLING && !grows(edge, seen.settings.burst)
    });
    chatty
        .map(|(key, edge)| {
            let message = format!(
                "`{}` calls `{}` {} times for one request",
                key.client,
                key.server,
                figures(calls(edge))
            );
            let finding = Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", edge.stats.requests)
                .count("calling_requests", edge.stats.fan_out.count() as f64)
                .measure("calls_mean", calls(edge))
                .traces(&edge.examples);
            match edge.stats.client.mean() {
                Some(each) => {
                    let message = format!("{}, each {} long", finding.message, seconds(each));
                    Finding { message, ..finding }.measure("call_mean_seconds", each)
                }
                None => finding,
            }
        })
        .collect()
}

/// With fewer requests that call nothing is said: one of them may have been about much.
pub(super) const MIN_CALLING: u64 = 5;

/// Calls for one request, in the mean of those that call at all.
fn calls(edge: &Edge) -> f64 {
    edge.stats.fan_out.mean().unwrap_or(0.0)
}
