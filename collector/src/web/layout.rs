//! Where the nodes of a map stand in a picture: callers left of callees, few crossings.
//!
//! In: the map. Out: a layer and a place for every node. Layers are longest paths over the edges that do not close a
//! cycle; places are sorted by the mean place of the neighbours, a few times back and forth (Sugiyama's method).
//! Left out on purpose: routing of edges around nodes. Curves are clear enough for the maps that fit a page.

use std::collections::{BTreeMap, BTreeSet};

use map::{Map, NodeId};

/// A node's column and row. A row may be a half: columns are centred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) row: f64,
}

/// Where everything stands.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Nodes.
    pub(super) nodes: BTreeMap<NodeId, Place>,
    /// For an edge over several layers, where it passes between the nodes of each layer, from caller to callee.
    pub(super) bends: BTreeMap<(NodeId, NodeId), Vec<Place>>,
}

/// Lays out the map.
pub(super) fn place(map: &Map) -> Layout {
    let ids: Vec<&NodeId> = map.nodes.keys().collect();
    let index: BTreeMap<&NodeId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut edges: BTreeSet<(usize, usize)> = BTreeSet::new();
    for key in map.edges.keys().filter(|key| key.client != key.server) {
        if let (Some(&from), Some(&to)) = (index.get(&key.client), index.get(&key.server)) {
            edges.insert((from, to));
        }
    }
    let forward = without_cycles(ids.len(), &edges);
    let mut layers = layered(ids.len(), &forward);
    let (short, chains) = split_long(&forward, &mut layers);
    let rows = ordered(layers.len(), &layers, &short);
    let at = |i: usize| Place {
        layer: layers[i],
        row: rows[i],
    };
    Layout {
        nodes: ids
            .iter()
            .enumerate()
            .map(|(i, id)| ((*id).clone(), at(i)))
            .collect(),
        bends: chains
            .into_iter()
            .map(|((from, to), chain)| {
                let ends = (ids[from].clone(), ids[to].clone());
                (ends, chain.into_iter().map(at).collect())
            })
            .collect(),
    }
}

type Chains = BTreeMap<(usize, usize), Vec<usize>>;

/// Edges over several layers become chains over stand-ins, one in each layer between; the stand-ins join `layers`.
fn split_long(edges: &[(usize, usize)], layers: &mut Vec<usize>) -> (Vec<(usize, usize)>, Chains) {
    let (mut short, mut chains) = (Vec::new(), Chains::new());
    for &(from, to) in edges {
        let (mut at, mut chain) = (from, Vec::new());
        for layer in layers[from] + 1..layers[to] {
            layers.push(layer);
            let stand_in = layers.len() - 1;
            short.push((at, stand_in));
            chain.push(stand_in);
            at = stand_in;
        }
        short.push((at, to));
        if !chain.is_empty() {
            chains.insert((from, to), chain);
        }
    }
    (short, chains)
}

/// The edges without those that lead back to a node on the path to them.
fn without_cycles(n: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); n];
    let mut has_caller = vec![false; n];
    for &(from, to) in edges {
        out[from].push(to);
        has_caller[to] = true;
    }
    let mut state = vec![0u8; n]; // 0 new, 1 on the path, 2 done
    let mut kept = Vec::new();
    let mut roots: Vec<usize> = (0..n).collect();
    roots.sort_by_key(|&i| has_caller[i]);
    for root in roots {
        if state[root] != 0 {
            continue;
        }
        let mut path = vec![(root, 0)];
        state[root] = 1;
        while let Some((at, next)) = path.pop() {
            let Some(&to) = out[at].get(next) else {
                state[at] = 2;
                continue;
            };
            path.push((at, next + 1));
            if state[to] != 1 {
                kept.push((at, to));
            }
            if state[to] == 0 {
                state[to] = 1;
                path.push((to, 0));
            }
        }
    }
    kept
}

/// The longest path from a root to each node.
fn layered(n: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut waiting = vec![0usize; n];
    for &(_, to) in edges {
        waiting[to] += 1;
    }
    let mut ready: Vec<usize> = (0..n).filter(|&i| waiting[i] == 0).collect();
    let mut layer = vec![0; n];
    while let Some(at) = ready.pop() {
        for &(_, to) in edges.iter().filter(|&&(from, _)| from == at) {
            layer[to] = layer[to].max(layer[at] + 1);
            waiting[to] -= 1;
            if waiting[to] == 0 {
                ready.push(to);
            }
        }
    }
    layer
}

/// A row for each node in its layer, near its neighbours; columns are centred on the longest.
fn ordered(n: usize, layers: &[usize], edges: &[(usize, usize)]) -> Vec<f64> {
    let depth = layers.iter().max().map_or(0, |max| max + 1);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); depth];
    (0..n).for_each(|i| columns[layers[i]].push(i));
    let mut row = vec![0usize; n];
    let number = |columns: &[Vec<usize>], row: &mut [usize]| {
        for column in columns {
            column.iter().enumerate().for_each(|(at, &i)| row[i] = at);
        }
    };
    number(&columns, &mut row);
    for sweep in 0..6 {
        for column in &mut columns {
            let mean = |i: usize| {
                let near = edges.iter().filter_map(|&(from, to)| match sweep % 2 {
                    0 => (to == i).then_some(from),
                    _ => (from == i).then_some(to),
                });
                let rows: Vec<f64> = near.map(|j| row[j] as f64).collect();
                if rows.is_empty() {
                    row[i] as f64
                } else {
                    rows.iter().sum::<f64>() / rows.len() as f64
                }
            };
            let mut keyed: Vec<(f64, usize)> = column.iter().map(|&i| (mean(i), i)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            *column = keyed.into_iter().map(|(_, i)| i).collect();
            column.iter().enumerate().for_each(|(at, &i)| row[i] = at);
        }
        number(&columns, &mut row);
    }
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let mut centred = vec![0.0; n];
    for column in &columns {
        let offset = (longest - column.len()) as f64 / 2.0;
        column
            .iter()
            .enumerate()
            .for_each(|(at, &i)| centred[i] = at as f64 + offset);
    }
    centred
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(yaml: &str) -> BTreeMap<String, usize> {
        let map = map::file::map_from_yaml(yaml).unwrap();
        place(&map)
            .nodes
            .into_iter()
            .map(|(id, place)| (id.to_string(), place.layer))
            .collect()
    }

    #[test]
    fn callers_stand_left_of_what_they_call() {
        let found = places(
            "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n\
             - {client: web, server: db}\n- {client: cart, server: db}\n",
        );
        assert!(found["user"] < found["web"] && found["web"] < found["cart"] && found["cart"] < found["db"]);
    }

    #[test]
    fn a_cycle_is_placed_and_nobody_shares_a_place() {
        let yaml = "version: 1\nedges:\n- {client: a, server: b}\n- {client: b, server: c}\n- {client: c, server: a}\n- {client: b, server: d}\n";
        let map = map::file::map_from_yaml(yaml).unwrap();
        let taken: BTreeSet<_> = place(&map)
            .nodes
            .values()
            .map(|p| (p.layer, p.row.to_bits()))
            .collect();
        assert_eq!(taken.len(), 4);
    }

    #[test]
    fn an_edge_over_several_layers_passes_between_the_nodes() {
        let yaml = "version: 1\nedges:\n- {client: a, server: b}\n- {client: b, server: c}\n- {client: a, server: c}\n";
        let layout = place(&map::file::map_from_yaml(yaml).unwrap());
        let bends = &layout.bends[&("a".into(), "c".into())];
        assert_eq!(bends.len(), 1);
        assert_eq!(bends[0].layer, layout.nodes["b"].layer);
        assert!((bends[0].row - layout.nodes["b"].row).abs() >= 1.0, "{layout:?}");
    }
}
