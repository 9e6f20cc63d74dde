//! Clocks that differ.
//!
//! In: requests whose callee began before it was called, or ended after it was answered. Out: a finding for each edge with a larger
//! share of them than the limit, by more than the limit in the mean.
//! What is told is the least difference that explains the spans; the true one is larger by the time on the network.
//! Left out on purpose: which of the two clocks is wrong; where one node has several such edges, it is that one.

use super::super::finding::{Finding, Kind, Needs, Severity, percent, seconds};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "clock-skew",
    severity: Severity::Warning,
    summary: "the clocks of two nodes differ",
    meaning: "Traces show answers before questions, and log lines of the two nodes sort wrongly: the first cause seems to come last. \
              Durations, and so own times and alerts, do not suffer.",
    action: "look at NTP or chrony on the nodes of both (`chronyc tracking`), and at virtual machines that were suspended",
    keys: &["skew", "skewed", "min_requests"],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let (least, share) = (seen.settings.skew.get().as_secs_f64(), seen.settings.skewed);
    let skewed = seen.busy().filter_map(|(key, edge)| {
        let stats = &edge.stats;
        let pairs = (edge.evidence.paired + edge.evidence.bridged) as f64;
        let mean = stats.skew / stats.skewed.max(1) as f64;
        if (stats.skewed as f64) < (share * pairs).max(1.0) || mean.abs() < least {
            return None;
        }
        let side = if mean < 0.0 { "behind" } else { "ahead of" };
        let message = format!(
            "the clock of `{}` is at least {} {side} that of `{}`, by {} of their requests",
            key.server,
            seconds(mean.abs()),
            key.client,
            percent((stats.skewed as f64 / pairs).min(1.0))
        );
        let finding = Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
            .count("requests", pairs)
            .count("skewed", stats.skewed as f64)
            .measure("skew_mean_seconds", mean);
        Some(finding.traces(&edge.examples))
    });
    skewed.collect()
}
