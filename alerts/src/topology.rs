//! What planting a fault needs to know of a map, computed once: who waits for whom, and which edges are judged.
//!
//! In: the map. Out: waiters of a node, judged edges at a node, strongly connected components.
//! Left out on purpose: `user` and `unknown`, who neither wait nor are waited for, and consumers of a queue: whoever sends to
//! a destination does not wait for who reads from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use map::{EdgeKey, Map, NodeId, NodeKind};

/// An edge with own time, which is measured at the caller: its caller is a service.
pub(crate) struct JudgedEdge<'a> {
    /// The label `id` of its series.
    pub(crate) id: String,
    /// Its ends.
    pub(crate) key: &'a EdgeKey,
}

/// The map by index. A node's index is its place in the order of ids.
pub(crate) struct Topology<'a> {
    map: &'a Map,
    nodes: Vec<&'a NodeId>,
    /// By node, who waits for it directly, and whom it waits for directly.
    waited_by: Vec<Vec<usize>>,
    waits_for: Vec<Vec<usize>>,
    /// One for each id: edges that differ in their connection only can have one id, and their counters are one.
    judged: Vec<JudgedEdge<'a>>,
    /// By node, its judged edges. One from a node to itself stands there twice: it is an edge of the caller and of the callee.
    at: BTreeMap<&'a NodeId, Vec<usize>>,
    entry_points: BTreeSet<NodeId>,
}

/// True for the two nodes whom nobody can mend.
pub(crate) fn is_nobody(id: &NodeId) -> bool {
    matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN)
}

impl<'a> Topology<'a> {
    pub(crate) fn new(map: &'a Map) -> Self {
        let ends = map.edges.keys().flat_map(|key| [&key.client, &key.server]);
        let nodes: BTreeSet<&NodeId> = map.nodes.keys().chain(ends).filter(|id| !is_nobody(id)).collect();
        let nodes: Vec<&NodeId> = nodes.into_iter().collect();
        let mut topology = Self {
            map,
            waited_by: vec![Vec::new(); nodes.len()],
            waits_for: vec![Vec::new(); nodes.len()],
            nodes,
            judged: Vec::new(),
            at: BTreeMap::new(),
            entry_points: map.entry_points(),
        };
        topology.join();
        topology.judge();
        topology
    }

    fn join(&mut self) {
        for key in self.map.edges.keys() {
            let waits = self.map.kind(&key.client) != NodeKind::Destination;
            if let (true, Some(client), Some(server)) =
                (waits, self.index(&key.client), self.index(&key.server))
            {
                self.waited_by[server].push(client);
                self.waits_for[client].push(server);
            }
        }
    }

    fn judge(&mut self) {
        let services = self.map.edges.keys().filter(|key| self.is_service(&key.client));
        let by_id: BTreeMap<String, &EdgeKey> = services.map(|key| (self.map.edge_id(key), key)).collect();
        for (place, (id, key)) in by_id.into_iter().enumerate() {
            for end in [&key.client, &key.server] {
                self.at.entry(end).or_default().push(place);
            }
            self.judged.push(JudgedEdge { id, key });
        }
    }

    fn index(&self, id: &NodeId) -> Option<usize> {
        self.nodes.binary_search(&id).ok()
    }

    pub(crate) fn map(&self) -> &'a Map {
        self.map
    }

    /// Every node of the map that somebody answers for.
    pub(crate) fn nodes(&self) -> &[&'a NodeId] {
        &self.nodes
    }

    pub(crate) fn is_service(&self, id: &NodeId) -> bool {
        self.map.kind(id) == NodeKind::Service && !is_nobody(id)
    }

    pub(crate) fn is_entry_point(&self, id: &NodeId) -> bool {
        self.entry_points.contains(id)
    }

    /// All judged edges, by id.
    pub(crate) fn judged_edges(&self) -> &[JudgedEdge<'a>] {
        &self.judged
    }

    /// The judged edges into and out of a node; one from the node to itself twice.
    pub(crate) fn judged_at(&self, id: &NodeId) -> impl Iterator<Item = &JudgedEdge<'a>> {
        let places = self.at.get(id).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.judged.get(*place))
    }

    /// Who waits for the node and over how many calls, the nearest first, itself over 0.
    pub(crate) fn waiters(&self, id: &NodeId) -> Vec<(u32, &'a NodeId)> {
        self.index(id).map_or_else(Vec::new, |at| {
            let found = reached(at, &self.waited_by);
            found
                .into_iter()
                .map(|(hops, node)| (hops, self.nodes[node]))
                .collect()
        })
    }

    /// The strongly connected components of more than one node, each in the order of ids: everyone in one waits for everyone.
    pub(crate) fn cycles(&self) -> Vec<Vec<&'a NodeId>> {
        let mut placed = vec![false; self.nodes.len()];
        let mut found = Vec::new();
        for start in 0..self.nodes.len() {
            if placed[start] || self.waited_by[start].is_empty() || self.waits_for[start].is_empty() {
                continue;
            }
            let waits: BTreeSet<usize> = reached(start, &self.waits_for).into_iter().map(|r| r.1).collect();
            let waiters = reached(start, &self.waited_by).into_iter().map(|r| r.1);
            let members: BTreeSet<usize> = waiters.filter(|node| waits.contains(node)).collect();
            for node in &members {
                placed[*node] = true;
            }
            if members.len() > 1 {
                found.push(members.into_iter().map(|node| self.nodes[node]).collect());
            }
        }
        found
    }
}

/// The nodes that are reached from one, and over how many steps, the nearest first.
fn reached(from: usize, next: &[Vec<usize>]) -> Vec<(u32, usize)> {
    let mut seen = vec![false; next.len()];
    let (mut found, mut queue) = (Vec::new(), VecDeque::from([(0, from)]));
    seen[from] = true;
    while let Some((hops, at)) = queue.pop_front() {
        found.push((hops, at));
        for to in &next[at] {
            if !std::mem::replace(&mut seen[*to], true) {
                queue.push_back((hops + 1, *to));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(edges: &str) -> Map {
        map::file::map_from_yaml(&format!(
            "version: 1\nnodes: {{q: {{kind: destination}}}}\nedges: [{edges}]\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_component_holds_those_that_wait_for_each_other_and_none_that_only_one_side_waits_for() {
        let map = map(
            "{client: user, server: a}, {client: a, server: b}, {client: b, server: c}, \
             {client: c, server: b}, {client: c, server: d}, {client: e, server: f}, {client: f, server: e}, \
             {client: g, server: g}, {client: d, server: q}, {client: q, server: d}",
        );
        let found = Topology::new(&map).cycles();
        let found: Vec<Vec<&str>> = found
            .iter()
            .map(|members| members.iter().map(|id| id.as_str()).collect())
            .collect();
        assert_eq!(found, [["b", "c"], ["e", "f"]]);
    }

    #[test]
    fn waiters_are_those_of_the_reach_series() {
        let map = map(
            "{client: user, server: a}, {client: a, server: b}, {client: b, server: c}, \
             {client: c, server: b}, {client: b, server: q}, {client: q, server: w}, {client: unknown, server: w}",
        );
        let topology = Topology::new(&map);
        let mut waiters: Vec<(u32, &str, &str)> = topology
            .nodes()
            .iter()
            .flat_map(|id| {
                topology
                    .waiters(id)
                    .into_iter()
                    .map(|(hops, who)| (hops, who.as_str(), id.as_str()))
            })
            .collect();
        waiters.sort_unstable();
        let series = map::reach::reach(&map, usize::MAX).0;
        let series: Vec<(u32, &str, &str)> = series
            .iter()
            .map(|pair| (pair.hops, pair.id.as_str(), pair.culprit.as_str()))
            .collect();
        assert_eq!(waiters, series);
    }
}
