//! Callers that wait longer than they should.
//!
//! In: how long calls took, what callers and entry points promise. Out: a finding for each edge whose 99th percentile is longer than
//! the shortest promise that hangs on it, or than the limit where nobody promises anything.
//! Left out on purpose: what a good timeout is; see `resilience`.

use std::collections::{BTreeMap, BTreeSet};

use map::NodeId;
use map::services::settings_of;

use super::super::finding::{Finding, Kind, Needs, Severity, seconds};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "long-wait",
    severity: Severity::Warning,
    summary: "a caller waits longer for a callee than it may take itself",
    meaning: "No timeout stands between a slow callee and the caller's threads and connections: when the callee hangs, the caller runs \
              out of them and hangs as well, and so on up to the users.",
    action: "set a timeout below what the caller promises, and decide what is answered when it strikes",
    keys: &["wait", "min_requests"],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let promises = promises(seen);
    let long = seen.busy().filter_map(|(key, edge)| {
        let p99 = edge.stats.client.quantile(0.99)?;
        let general = (seen.settings.wait.get().as_secs_f64(), None);
        let (limit, whose) = promises
            .get(&key.client)
            .map_or(general, |(limit, who)| (*limit, Some(*who)));
        if p99 <= limit {
            return None;
        }
        let against = match whose {
            Some(who) => format!("`{who}` promises {}", seconds(limit)),
            None => format!("the limit is {}", seconds(limit)),
        };
        let message = format!(
            "`{}` waits {} for `{}` at the 99th percentile, and {against}",
            key.client,
            seconds(p99),
            key.server
        );
        let finding = Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
            .count("requests", edge.stats.requests)
            .measure("p50_seconds", edge.stats.client.quantile(0.5).unwrap_or(0.0))
            .measure("p99_seconds", p99)
            .measure("limit_seconds", limit);
        Some(finding.traces(&edge.examples))
    });
    long.collect()
}

/// The shortest latency that a node, or an entry point that waits for it, promises, and who promises it.
fn promises<'a>(seen: &Seen<'a>) -> BTreeMap<&'a NodeId, (f64, &'a NodeId)> {
    let mut found: BTreeMap<&NodeId, (f64, &NodeId)> = BTreeMap::new();
    for id in seen.map.nodes.keys() {
        let stated = settings_of(&seen.map.services, id).map(|settings| &settings.objectives);
        let latencies = stated
            .into_iter()
            .flatten()
            .map(|objective| objective.latency.get().as_secs_f64());
        let Some(shortest) = latencies.min_by(f64::total_cmp) else {
            continue;
        };
        let (mut reached, mut next) = (BTreeSet::from([id]), vec![id]);
        while let Some(at) = next.pop() {
            let known = found.entry(at).or_insert((shortest, id));
            if shortest < known.0 {
                *known = (shortest, id);
            }
            if !seen.entries.contains(id) {
                break;
            }
            let onwards = seen.waits.get(at).into_iter().flatten();
            next.extend(onwards.copied().filter(|callee| reached.insert(callee)));
        }
    }
    found
}
