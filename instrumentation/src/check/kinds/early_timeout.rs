//! Callers that give up before their callee is done.
//!
//! In: failed calls that the callee went on with after the caller's span had ended. Out: a finding for each edge with a larger share
//! of them than the limit. Durations are compared, not times, so that clocks need not agree.
//! Left out on purpose: what a good timeout is; see `resilience`.

use super::super::finding::{Finding, Kind, Needs, Severity, percent, seconds};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "early-timeout",
    severity: Severity::Error,
    summary: "a caller gives up before its callee is done",
    meaning: "The user gets an error for work that succeeds a moment later, and may do it again: orders that are placed twice. The \
              callee works for nobody, most of all when it is overloaded.",
    action: "set the timeout above the callee's 99th percentile, or make the callee faster; let the deadline travel with the request so \
             that the callee stops as well",
    keys: &["given_up", "min_requests"],
    needs: Needs::Failures,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let limit = seen.settings.given_up;
    let early = seen
        .busy()
        .filter(|(_, edge)| edge.stats.given_up > 0.0 && edge.stats.given_up >= limit * edge.stats.requests);
    early
        .map(|(key, edge)| {
            let stats = &edge.stats;
            let after = stats.given_up_seconds / stats.given_up;
            let p99 = stats.server.quantile(0.99).unwrap_or(0.0);
            let message = format!(
                "`{}` gives up on {} of its requests to `{}`, after {} in the mean; the callee takes {} at its 99th percentile",
                key.client,
                percent(stats.given_up / stats.requests),
                key.server,
                seconds(after),
                seconds(p99)
            );
            Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", stats.requests)
                .count("given_up", stats.given_up)
                .measure("given_up_after_seconds", after)
                .measure("callee_p99_seconds", p99)
                .traces(&edge.examples)
        })
        .collect()
}
