//! Edges on which much of the load is repetition.
//!
//! In: requests that repeat a failed one. Out: a finding for each edge with a larger share of them than the limit.
//! Left out on purpose: intent; a loop that goes on after a failure looks like a retry and loads the callee like one.

use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "retry-storm",
    severity: Severity::Error,
    summary: "much of an edge's load is repetition of what failed",
    meaning: "The callee gets more requests the worse it is, which keeps it down after the cause is gone. Where callers of callers \
              retry as well the factors multiply: three layers of three tries are 27.",
    action: "retry in one layer only, with backoff, jitter and a budget (say 10 % of the requests), and never what is not idempotent",
    keys: &["retries", "min_requests"],
    needs: Needs::Failures,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let limit = seen.settings.retries;
    let stormy = seen
        .busy()
        .filter(|(_, edge)| edge.stats.retries >= limit * edge.stats.requests);
    stormy
        .map(|(key, edge)| {
            let stats = &edge.stats;
            let share = stats.retries / stats.requests;
            let message = format!(
                "{} of what `{}` asks `{}` repeats a request that failed",
                percent(share),
                key.client,
                key.server
            );
            Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", stats.requests)
                .count("failed", stats.failed)
                .count("retries", stats.retries)
                .traces(&edge.examples)
        })
        .collect()
}
