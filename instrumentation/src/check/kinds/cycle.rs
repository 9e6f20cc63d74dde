//! Services that call each other in a ring.
//!
//! In: who waits for whom. Out: a finding for each group of nodes that all reach each other.
//! Left out on purpose: rings that a queue closes, in which nobody waits; a service that calls itself.

use std::collections::BTreeSet;

use map::NodeId;

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;
use super::super::shape::components;

pub(super) const KIND: Kind = Kind {
    name: "cycle",
    severity: Severity::Warning,
    summary: "services call each other in a ring",
    meaning: "None of them starts or recovers without the others: after an outage they wait for each other, and a request that goes \
              round may hold a thread of each until nobody has one left. They cannot be deployed one before the other.",
    action: "take one direction out: hand over what the callee asks back for, or let it listen to events",
    keys: &[],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let rings = components(&seen.waits)
        .into_iter()
        .filter(|group| group.len() > 1);
    rings.map(|ring| told(seen, &ring)).collect()
}

fn told(seen: &Seen<'_>, ring: &[&NodeId]) -> Finding {
    let members: BTreeSet<&NodeId> = ring.iter().copied().collect();
    let within = seen.map.edges.iter().filter(|(key, _)| {
        members.contains(&key.client) && members.contains(&key.server) && key.client != key.server
    });
    let rarest = within
        .clone()
        .min_by(|(_, a), (_, b)| a.stats.requests.total_cmp(&b.stats.requests));
    let names: Vec<String> = ring.iter().map(ToString::to_string).collect();
    let message = format!("{} nodes call each other in a ring", ring.len());
    let finding =
        Finding::new(&KIND, names, message).names("edges", within.map(|(key, _)| seen.map.edge_id(key)));
    match rarest {
        Some((key, edge)) => finding
            .names("rarest_edge", [seen.map.edge_id(key)])
            .count("requests_on_it", edge.stats.requests)
            .traces(&edge.examples),
        None => finding,
    }
}
