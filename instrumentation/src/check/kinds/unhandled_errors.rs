//! Edges on which every failure becomes the caller's.
//!
//! In: failed calls, and whether the caller failed as well. Out: a finding for each edge on which nearly always it did.
//! Left out on purpose: whether it could have done otherwise. Money that is not charged is no order; a missing picture is one.

use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "unhandled-errors",
    severity: Severity::Warning,
    summary: "whenever a callee fails, its caller fails as well",
    meaning: "The callee's outage is the caller's outage. Where the callee only adds something to the answer, that is an outage that \
              nobody needed to have.",
    action: "decide what is answered without this callee: a default, an older answer, or the part that is there; where it is \
             essential, silence this with that reason",
    keys: &["passed_on"],
    needs: Needs::Failures,
    find,
};

/// With fewer failures nothing is said: three that were passed on are no habit.
const MIN_FAILURES: f64 = 5.0;

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let limit = seen.settings.passed_on;
    let unhandled = seen.busy().filter(|(_, edge)| {
        let known = edge.stats.passed_on + edge.stats.handled;
        known >= MIN_FAILURES && edge.stats.passed_on >= limit * known
    });
    unhandled
        .map(|(key, edge)| {
            let stats = &edge.stats;
            let share = stats.passed_on / (stats.passed_on + stats.handled);
            let message = format!(
                "`{}` failed after {} of the calls to `{}` that failed",
                key.client,
                percent(share),
                key.server
            );
            Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", stats.requests)
                .count("failed_with_caller", stats.passed_on)
                .count("failed_without_caller", stats.handled)
                .traces(&edge.examples)
        })
        .collect()
}
