//! Which nodes can be slow because of which others.
//!
//! In: the map. Out: pairs of a node and a possible culprit, with the number of calls between them.
//! Left out on purpose: consumers of a queue. Whoever sends to a destination does not wait for who reads from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{NodeId, NodeKind};
use crate::model::Map;

/// `id` waits for `culprit`, over `hops` calls; 0 where they are the same node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Calls between the two.
    pub hops: u32,
    /// The node that waits.
    pub id: NodeId,
    /// The node that is waited for.
    pub culprit: NodeId,
}

/// All pairs, nearest first, at most `budget` of them; the second value is how many were left out.
///
/// `user` and `unknown` neither wait nor are waited for.
pub fn reach(map: &Map, budget: usize) -> (Vec<Reach>, usize) {
    let mut waits_for: BTreeMap<&NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
    let mut nodes: BTreeSet<&NodeId> = map.nodes.keys().collect();
    for key in map.edges.keys() {
        nodes.extend([&key.client, &key.server]);
        if map.kind(&key.client) != NodeKind::Destination {
            waits_for.entry(&key.client).or_default().insert(&key.server);
        }
    }
    nodes.retain(|id| !matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN));
    let mut pairs: Vec<Reach> = nodes.iter().flat_map(|from| from_one(from, &waits_for)).collect();
    pairs.sort_unstable();
    let left_out = pairs.len().saturating_sub(budget);
    pairs.truncate(budget);
    (pairs, left_out)
}

fn from_one(from: &NodeId, waits_for: &BTreeMap<&NodeId, BTreeSet<&NodeId>>) -> Vec<Reach> {
    let mut hops: BTreeMap<&NodeId, u32> = BTreeMap::from([(from, 0)]);
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        let next = hops[at] + 1;
        for callee in waits_for.get(at).into_iter().flatten() {
            if !hops.contains_key(callee) {
                hops.insert(callee, next);
                queue.push_back(callee);
            }
        }
    }
    let pair = |(culprit, hops): (&NodeId, u32)| Reach {
        hops,
        id: from.clone(),
        culprit: culprit.clone(),
    };
    hops.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::map_from_yaml;

    fn pairs(yaml: &str) -> Vec<String> {
        let map = map_from_yaml(yaml).unwrap();
        let (pairs, left_out) = reach(&map, 1000);
        assert_eq!(left_out, 0);
        pairs
            .iter()
            .filter(|p| p.hops > 0)
            .map(|p| format!("{}~{}~{}", p.id, p.culprit, p.hops))
            .collect()
    }

    #[test]
    fn a_chain_waits_for_everything_behind_it() {
        let found = pairs(
            "version: 1\nedges:\n- {client: user, server: a}\n- {client: a, server: b}\n- {client: b, server: c}\n",
        );
        assert_eq!(found, ["a~b~1", "b~c~1", "a~c~2"]);
    }

    #[test]
    fn a_cycle_ends_and_each_waits_for_the_other() {
        let found = pairs("version: 1\nedges:\n- {client: g, server: h}\n- {client: h, server: g}\n");
        assert_eq!(found, ["g~h~1", "h~g~1"]);
    }

    #[test]
    fn a_producer_waits_for_the_broker_and_not_for_the_consumer() {
        let found = pairs(
            "version: 1\nnodes:\n  orders: {kind: destination}\nedges:\n\
             - {client: shop, server: orders, connection_type: messaging_system}\n\
             - {client: orders, server: worker, connection_type: messaging_system}\n",
        );
        assert_eq!(found, ["shop~orders~1"]);
    }

    #[test]
    fn the_budget_keeps_the_nearest_and_counts_the_rest() {
        let map = map_from_yaml("version: 1\nedges:\n- {client: a, server: b}\n- {client: b, server: c}\n")
            .unwrap();
        let (kept, left_out) = reach(&map, 5);
        assert_eq!((kept.len(), left_out), (5, 1));
        assert!(kept.iter().all(|p| p.hops < 2));
    }
}
