//! A committed map: what the system may look like.
//!
//! In: a map. Out: the pairs that it lets call each other.
//! Left out on purpose: connection types. People write an edge; whether it goes by HTTP or by a queue is a detail of it.

use std::collections::BTreeSet;

use map::{Map, NodeId};

pub(super) fn pairs(map: &Map) -> BTreeSet<(&NodeId, &NodeId)> {
    map.edges.keys().map(|key| (&key.client, &key.server)).collect()
}
