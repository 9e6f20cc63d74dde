//! Services that share a database.
//!
//! In: edges to databases. Out: a finding for each that several services call.
//! Left out on purpose: caches, which are shared without a schema; replicas, which the map shows as databases of their own.

use std::collections::BTreeSet;

use map::{NodeId, NodeKind};

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "shared-database",
    severity: Severity::Warning,
    summary: "several services call one database",
    meaning: "A slow query or a lock of one service is the outage of the others, and a change of the schema is a change of all of \
              them at once: they are deployed together or not at all.",
    action: "let one service own the data and the others ask it, or give each a schema and a user of its own; until then limit the \
             connections of each",
    keys: &["sharing"],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let databases = seen
        .map
        .nodes
        .iter()
        .filter(|(_, node)| node.kind == NodeKind::Database);
    databases.filter_map(|(id, _)| shared(seen, id)).collect()
}

fn shared(seen: &Seen<'_>, database: &NodeId) -> Option<Finding> {
    let services = seen.map.callers(database).map(|(key, _)| &key.client);
    let services: BTreeSet<&NodeId> = services
        .filter(|id| seen.map.kind(id) == NodeKind::Service)
        .collect();
    if services.len() < seen.settings.sharing {
        return None;
    }
    let requests: f64 = seen
        .map
        .callers(database)
        .map(|(_, edge)| edge.stats.requests)
        .sum();
    let example = seen
        .map
        .callers(database)
        .find_map(|(_, edge)| edge.examples.last().cloned());
    let message = format!("{} services call the database `{database}`", services.len());
    let finding = Finding::new(&KIND, vec![database.to_string()], message)
        .names("services", services)
        .count("requests", requests);
    Some(finding.traces(example.as_slice()))
}
