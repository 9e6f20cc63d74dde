//! Calls of the committed map that nobody saw.
//!
//! In: the map and a contract. Out: a finding for each pair that may call and does not.
//! Left out on purpose: pairs of services that both report, which `broken-context` suspects.

use super::super::contract::pairs;
use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "unseen-edge",
    severity: Severity::Info,
    summary: "a call of the committed map that nobody saw",
    meaning: "The dependency is gone, is rarer than what was looked at, or is not instrumented. A map that promises more than there is \
              sends people to the wrong place.",
    action: "look at a longer time; take the edge out of the committed map, or instrument one of its ends",
    keys: &[],
    needs: Needs::Contract,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(contract) = seen.contract else {
        return Vec::new();
    };
    let found = pairs(seen.map);
    let unseen = contract
        .edges
        .keys()
        .filter(|key| !found.contains(&(&key.client, &key.server)));
    let unseen = unseen.filter(|key| !(seen.reports(&key.client) && seen.reports(&key.server)));
    unseen
        .map(|key| {
            let message = format!("`{}` was not seen to call `{}`", key.client, key.server);
            Finding::new(&KIND, vec![contract.edge_id(key)], message)
        })
        .collect()
}
