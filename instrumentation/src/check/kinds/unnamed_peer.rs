//! Calls of which nothing says where they went.
//!
//! In: CLIENT spans without a far side. Out: a finding for each node with a larger share of them than the limit.
//! Left out on purpose: guesses from span names.

use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "unnamed-peer",
    severity: Severity::Warning,
    summary: "calls name no far side, and no span of it came",
    meaning: "The service waits for somebody who is not on the map. When that somebody is slow the service is blamed for it.",
    action: "set `server.address` (or `service.peer.name`, `db.namespace`, `messaging.destination.name`) on its CLIENT spans, or send its \
             calls through an agent",
    keys: &["unnamed"],
    needs: Needs::Requests,
    find,
};

/// With fewer nothing is said: a span may get lost.
const MIN_CALLS: u64 = 5;

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let nodes = seen.map.nodes.iter().filter_map(|(id, node)| {
        let unnamed = node.stats.unnamed_peers;
        let named: f64 = seen.map.callees(id).map(|(_, edge)| edge.stats.requests).sum();
        let share = unnamed as f64 / (unnamed as f64 + named);
        if unnamed < MIN_CALLS || share < seen.settings.unnamed {
            return None;
        }
        let message = format!(
            "{} of the calls of `{id}` say nothing of where they go",
            percent(share)
        );
        let finding = Finding::new(&KIND, vec![id.to_string()], message);
        Some(
            finding
                .count("unnamed_calls", unnamed as f64)
                .count("named_calls", named),
        )
    });
    nodes.collect()
}
