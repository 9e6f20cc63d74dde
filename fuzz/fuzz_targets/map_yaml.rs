//! `map.yaml` and `map.stats.yaml` from anywhere: no text panics, and what is read is written so that it reads the same.
//!
//! In: the texts of both, with a line of `---` between them. Out: a panic where reading, asking or writing the map does.
//! Left out on purpose: what is generated from it.

#![no_main]

use map::file::{map_from_yaml, map_to_yaml, read_stats, stats_to_yaml};

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (topology, stats) = input.split_once("\n---\n").unwrap_or((input, "version: 1"));
    let Ok(mut map) = map_from_yaml(topology) else {
        return;
    };
    let written = map_to_yaml(&map);
    let again = map_from_yaml(&written).expect("what we wrote is a map");
    assert_eq!(map_to_yaml(&again), written);
    if read_stats(&mut map, stats).is_err() {
        return;
    }
    for edge in map.edges.values_mut() {
        let stats = &mut edge.stats;
        stats.client.quantile(0.95);
        stats.client.edge(0.95);
        stats.client.buckets().take(1_000).for_each(drop);
        let other = stats.server.clone();
        stats.client.merge(&other);
        stats.client.subtract(&other);
        stats.client.observe(0.1);
        stats.client.count();
    }
    for node in map.nodes.keys() {
        map.owner(node);
    }
    map.entry_points();
    map.flat_edges();
    stats_to_yaml(&map);
});
