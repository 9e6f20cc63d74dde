//! What follows from the shape of a graph: loops, the longest way, and who waits for whom at last.
//!
//! In: who waits for whom. Out: strongly connected components (Tarjan, 1972), the longest chain of them, and the transitive closure.
//! Nothing recurses, so the depth of a map costs no stack.
//! Left out on purpose: statistics.

use std::collections::{BTreeMap, BTreeSet};

use map::NodeId;

pub(super) type Waits<'a> = BTreeMap<&'a NodeId, BTreeSet<&'a NodeId>>;

fn callees<'a>(waits: &Waits<'a>, id: &NodeId) -> Vec<&'a NodeId> {
    waits.get(id).into_iter().flatten().copied().collect()
}

/// Groups of nodes that all reach each other, callees before callers; most are of one node.
pub(super) fn components<'a>(waits: &Waits<'a>) -> Vec<Vec<&'a NodeId>> {
    let all: BTreeSet<&NodeId> = waits
        .keys()
        .copied()
        .chain(waits.values().flatten().copied())
        .collect();
    let mut found = Vec::new();
    let mut number: BTreeMap<&NodeId, usize> = BTreeMap::new();
    let mut low: BTreeMap<&NodeId, usize> = BTreeMap::new();
    let (mut open, mut is_open): (Vec<&NodeId>, BTreeSet<&NodeId>) = (Vec::new(), BTreeSet::new());
    for root in all {
        if number.contains_key(root) {
            continue;
        }
        let mut path = vec![(root, callees(waits, root))];
        begin(root, &mut number, &mut low, &mut open, &mut is_open);
        while let Some((at, left)) = path.last_mut() {
            let at = *at;
            if let Some(next) = left.pop() {
                if !number.contains_key(next) {
                    begin(next, &mut number, &mut low, &mut open, &mut is_open);
                    path.push((next, callees(waits, next)));
                } else if is_open.contains(next) {
                    let lowest = low[at].min(number[next]);
                    low.insert(at, lowest);
                }
                continue;
            }
            path.pop();
            if let Some((caller, _)) = path.last() {
                let lowest = low[*caller].min(low[at]);
                low.insert(caller, lowest);
            }
            if low[at] == number[at] {
                let mut group = Vec::new();
                while let Some(member) = open.pop() {
                    is_open.remove(member);
                    group.push(member);
                    if member == at {
                        break;
                    }
                }
                group.sort_unstable();
                found.push(group);
            }
        }
    }
    found
}

fn begin<'a>(
    id: &'a NodeId,
    number: &mut BTreeMap<&'a NodeId, usize>,
    low: &mut BTreeMap<&'a NodeId, usize>,
    open: &mut Vec<&'a NodeId>,
    is_open: &mut BTreeSet<&'a NodeId>,
) {
    let next = number.len();
    number.insert(id, next);
    low.insert(id, next);
    open.push(id);
    is_open.insert(id);
}

/// The longest way from a node, the node first. A loop is passed by one of its nodes only, since how often it is gone round is
/// not known.
pub(super) fn longest_from<'a>(waits: &Waits<'a>, from: &'a NodeId) -> Vec<&'a NodeId> {
    let groups = components(waits);
    let mut group_of: BTreeMap<&NodeId, usize> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        group_of.extend(group.iter().map(|id| (*id, at)));
    }
    // Callees come before callers, so what a group leads to is known before the group.
    let mut longest: Vec<(usize, Option<&NodeId>)> = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        let onwards = group.iter().flat_map(|id| callees(waits, id));
        let onwards = onwards.filter(|id| group_of[id] != at);
        let best = onwards
            .map(|id| (longest[group_of[id]].0 + 1, Some(id)))
            .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
        longest.push(best.unwrap_or((0, None)));
    }
    let step = |id: &&'a NodeId| group_of.get(*id).and_then(|at| longest[*at].1);
    std::iter::successors(Some(from), step).collect()
}

/// Who waits for whom at last, over however many calls; a bit for each pair.
///
/// Five thousand nodes take 3 MB.
#[derive(Debug)]
pub(super) struct Closure<'a> {
    places: BTreeMap<&'a NodeId, usize>,
    /// By place of a node, whom it waits for.
    callees: Vec<Vec<u64>>,
    /// By place of a node, who waits for it.
    callers: Vec<Vec<u64>>,
}

impl<'a> Closure<'a> {
    pub(super) fn of(waits: &Waits<'a>) -> Self {
        let groups = components(waits);
        let ids = groups.iter().flatten().copied();
        let places: BTreeMap<&NodeId, usize> = ids.enumerate().map(|(place, id)| (id, place)).collect();
        let words = places.len().div_ceil(64);
        let mut callees = vec![vec![0_u64; words]; places.len()];
        let mut callers = callees.clone();
        // Callees come before callers, so what they wait for is known first.
        for group in &groups {
            let mut all = vec![0_u64; words];
            for callee in group.iter().flat_map(|id| self::callees(waits, id)) {
                let place = places[callee];
                all[place / 64] |= 1 << (place % 64);
                let further = callees[place].iter();
                all.iter_mut().zip(further).for_each(|(word, more)| *word |= more);
            }
            for id in group {
                callees[places[id]].clone_from(&all);
            }
        }
        for (caller, waited_for) in callees.iter().enumerate() {
            for callee in set(waited_for) {
                callers[callee][caller / 64] |= 1 << (caller % 64);
            }
        }
        Self {
            places,
            callees,
            callers,
        }
    }

    /// Whom a node waits for; itself where it is in a loop.
    pub(super) fn below(&self, id: &NodeId) -> BTreeSet<&'a NodeId> {
        self.named(id, &self.callees)
    }

    /// Who waits for a node.
    pub(super) fn above(&self, id: &NodeId) -> BTreeSet<&'a NodeId> {
        self.named(id, &self.callers)
    }

    fn named(&self, id: &NodeId, of: &[Vec<u64>]) -> BTreeSet<&'a NodeId> {
        let Some(bits) = self.places.get(id).and_then(|place| of.get(*place)) else {
            return BTreeSet::new();
        };
        let is_set = |place: usize| bits[place / 64] & (1 << (place % 64)) != 0;
        let named = self.places.iter().filter(|(_, place)| is_set(**place));
        named.map(|(id, _)| *id).collect()
    }
}

/// The places of the bits that are set.
fn set(bits: &[u64]) -> impl Iterator<Item = usize> {
    let words = bits.iter().enumerate().filter(|(_, word)| **word != 0);
    words.flat_map(|(at, word)| {
        (0..64)
            .filter(move |bit| word & (1 << bit) != 0)
            .map(move |bit| at * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(edges: &str) -> Vec<(NodeId, NodeId)> {
        let pair = |edge: &str| {
            let (client, server) = edge.split_once('>').expect("an edge is written `a>b`");
            (client.into(), server.into())
        };
        edges.split(' ').map(pair).collect()
    }

    fn graph(edges: &[(NodeId, NodeId)]) -> Waits<'_> {
        let mut waits = Waits::new();
        for (client, server) in edges {
            waits.entry(client).or_default().insert(server);
        }
        waits
    }

    fn names(ids: &[&NodeId]) -> String {
        ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_loop_is_one_component_and_what_hangs_on_it_is_not() {
        let edges = ids("a>b b>c c>a c>d e>a x>y y>x");
        let found = components(&graph(&edges));
        let loops: Vec<String> = found.iter().filter(|g| g.len() > 1).map(|g| names(g)).collect();
        assert_eq!(loops, ["a b c", "x y"]);
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn the_longest_way_is_found_past_a_loop() {
        let edges = ids("a>b a>c b>c c>b c>d d>e a>e");
        let found = graph(&edges);
        let way = longest_from(&found, &edges[0].0);
        assert_eq!(names(&way), "a b d e", "by one node of the loop of b and c");
    }

    #[test]
    fn a_chain_of_fifty_thousand_nodes_costs_no_stack() {
        let edges: Vec<(NodeId, NodeId)> = (0..50_000)
            .map(|i| {
                (
                    NodeId::new(format!("n{i:05}")),
                    NodeId::new(format!("n{:05}", i + 1)),
                )
            })
            .collect();
        let waits = graph(&edges);
        assert_eq!(longest_from(&waits, &edges[0].0).len(), 50_001);
    }

    #[test]
    fn who_waits_for_whom_at_last_is_known_past_loops() {
        let edges = ids("e>a e>b a>hub b>hub hub>x x>hub x>y");
        let waits = graph(&edges);
        let closure = Closure::of(&waits);
        let all = |ids: BTreeSet<&NodeId>| names(&ids.into_iter().collect::<Vec<_>>());
        assert_eq!(all(closure.above(&"hub".into())), "a b e hub x");
        assert_eq!(all(closure.below(&"a".into())), "hub x y");
        assert_eq!(all(closure.below(&"y".into())), "");
    }
}
