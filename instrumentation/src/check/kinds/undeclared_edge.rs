//! Calls that the committed map does not know.
//!
//! In: the map and a contract. Out: a finding for each pair that calls and may not.
//! Left out on purpose: callers that did not report and nodes that stand for many: a contract cannot name them.

use map::NodeKind;

use super::super::contract::pairs;
use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "undeclared-edge",
    severity: Severity::Error,
    summary: "a call that the committed map does not know",
    meaning: "Somebody depends on somebody who was not asked: nobody planned the capacity, and the callee's on-call does not know \
              whom an outage hits.",
    action: "take the call out, or add the edge to the committed map in a change that both teams review",
    keys: &[],
    needs: Needs::Contract,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(contract) = seen.contract else {
        return Vec::new();
    };
    let declared = pairs(contract);
    let nobody = |id| matches!(seen.map.kind(id), NodeKind::Unknown | NodeKind::Overflow);
    let undeclared = seen.map.edges.iter().filter(|(key, _)| {
        !declared.contains(&(&key.client, &key.server)) && !nobody(&key.client) && !nobody(&key.server)
    });
    undeclared
        .map(|(key, edge)| {
            let is_new = |id| !contract.nodes.contains_key(id);
            let message = match (is_new(&key.client), is_new(&key.server)) {
                (false, false) => format!(
                    "`{}` calls `{}`, which the committed map does not have",
                    key.client, key.server
                ),
                (true, _) => format!(
                    "`{}`, which calls `{}`, is not on the committed map",
                    key.client, key.server
                ),
                (false, true) => format!(
                    "`{}`, which `{}` calls, is not on the committed map",
                    key.server, key.client
                ),
            };
            Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
                .count("requests", edge.stats.requests)
                .traces(&edge.examples)
        })
        .collect()
}
