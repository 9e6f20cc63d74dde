//! What holds for numbers of any map.
//!
//! In: maps drawn at random, with cycles, queues, databases, promises and pins. Out: timeouts that fit into
//! each other, repeats at one place of a chain, pools that are not empty.
//! Left out on purpose: whether the numbers are wise.

use std::collections::BTreeSet;

use instrumentation::resilience::{EdgeNumbers, Resilience, ResilienceSettings, contradictions, resilience};
use map::{ConnectionType, Map};
use proptest::prelude::*;

use crate::scene::{Calls, add, calls, state, visits};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

#[derive(Clone, Debug)]
struct Drawn {
    edges: Vec<(usize, usize, u8, u64, f64, u64)>,
    idempotent: BTreeSet<usize>,
    pins: Vec<(usize, u64)>,
    objectives: Vec<(usize, u64)>,
    own: Vec<(usize, f64, f64)>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let node = 0..NAMES.len();
    let edge = (
        node.clone(),
        node.clone(),
        0..10_u8,
        150..400_u64,
        1.0..300.0,
        1..5_u64,
    );
    (
        proptest::collection::vec(edge, 1..14),
        proptest::collection::btree_set(node.clone(), 0..5),
        proptest::collection::vec((node.clone(), 500..4000_u64), 0..2),
        proptest::collection::vec((node.clone(), 1000..5000_u64), 0..3),
        proptest::collection::vec((node, 0.1..50.0, 1.0..500.0), 0..4),
    )
        .prop_map(|(edges, idempotent, pins, objectives, own)| Drawn {
            edges,
            idempotent,
            pins,
            objectives,
            own,
        })
}

fn map_of(drawn: &Drawn) -> Map {
    let mut map = Map::default();
    for &(client, server, kind, requests, slow, per_visit) in &drawn.edges {
        let of = |connection| (NAMES[client].to_owned(), NAMES[server].to_owned(), connection);
        let (client, server, connection) = match kind {
            0 | 1 => (
                "user".to_owned(),
                NAMES[server].to_owned(),
                ConnectionType::VirtualNode,
            ),
            2 => of(ConnectionType::MessagingSystem),
            3 => (
                NAMES[client].to_owned(),
                "topic:t".to_owned(),
                ConnectionType::MessagingSystem,
            ),
            4 => (
                NAMES[client].to_owned(),
                "db".to_owned(),
                ConnectionType::Database,
            ),
            _ => of(ConnectionType::Direct),
        };
        let seen = Calls {
            per_visit,
            failed: requests % 7,
            ..calls(requests, slow / 3.0, slow)
        };
        add(&mut map, &client, &server, connection, seen);
    }
    for &(node, own, waited) in &drawn.own {
        if map.nodes.contains_key(NAMES[node]) {
            visits(&mut map, NAMES[node], 300, own, own + waited);
        }
    }
    let mut stated: Vec<(String, String)> = Vec::new();
    for (i, name) in NAMES.iter().enumerate() {
        let pin = drawn.pins.iter().find(|(node, _)| *node == i);
        let pin = pin
            .map(|(_, ms)| format!("timeout: {ms}ms, "))
            .unwrap_or_default();
        let is_idempotent = drawn.idempotent.contains(&i);
        let objective = drawn.objectives.iter().find(|(node, _)| *node == i);
        let objective =
            objective.map(|(_, ms)| format!("objectives: [{{latency: {ms}ms, target: 0.9, window: 30d}}], "));
        stated.push((
            (*name).to_owned(),
            format!(
                "{}resilience: {{{pin}idempotent: {is_idempotent}}}",
                objective.unwrap_or_default()
            ),
        ));
    }
    stated.push(("db".to_owned(), "resilience: {idempotent: true}".to_owned()));
    let lines: Vec<String> = stated
        .iter()
        .map(|(name, said)| format!("  {name}: {{{said}}}"))
        .collect();
    state(&mut map, &lines.join("\n"));
    map
}

fn millis(numbers: &EdgeNumbers) -> Option<(u128, u128)> {
    let timeout = numbers.timeout?;
    Some((timeout.total.get().as_millis(), timeout.attempt.get().as_millis()))
}

/// Calls that somebody waits for and whose time is in that of their callers.
fn nested(numbers: &Resilience) -> impl Iterator<Item = &EdgeNumbers> {
    numbers
        .edges
        .iter()
        .filter(|edge| edge.timeout.is_some() && !edge.because.timeout.contains("leads back"))
}

/// The map without messages from service to service: nobody waits for who reads them, so no failure comes
/// back that way.
fn waited_for(map: &Map) -> Map {
    let mut map = map.clone();
    map.edges.retain(|key, _| {
        key.connection_type != ConnectionType::MessagingSystem || key.server.as_str().starts_with("topic")
    });
    map
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_attempt_is_as_long_as_everything_that_its_callee_waits_for(drawn in drawn()) {
        let map = map_of(&drawn);
        let settings = ResilienceSettings::default();
        prop_assume!(contradictions(&map, &settings).is_empty());
        let numbers = resilience(&map, &settings, None);
        for edge in nested(&numbers) {
            let (total, attempt) = millis(edge).unwrap();
            prop_assert!(attempt <= total);
            let callee = &edge.edge.server;
            // A pin that is below what was observed stays, and is told.
            if numbers.out_of_reach.contains_key(callee) && edge.because.timeout.starts_with("stated in") {
                continue;
            }
            let inner = numbers.edges.iter().filter(|e| e.edge.client == *callee);
            let inner: Vec<u128> = inner.filter_map(millis).map(|(total, _)| total).collect();
            let overlap = numbers.services.get(callee).and_then(|s| s.observed.overlap).unwrap_or(1.0);
            let longest = inner.iter().copied().max().unwrap_or(0);
            let sum = inner.iter().sum::<u128>() as f64 * overlap;
            let key = &edge.edge;
            prop_assert!(attempt >= longest, "{key:?}: {attempt}, callee {longest}\n{}", numbers.to_yaml());
            let fits = attempt as f64 + 1e-6 >= sum;
            prop_assert!(fits, "{key:?}: {attempt}, callee {sum}\n{}", numbers.to_yaml());
        }
    }

    #[test]
    fn no_chain_of_calls_repeats_at_two_places(drawn in drawn()) {
        let map = map_of(&drawn);
        let numbers = resilience(&map, &ResilienceSettings::default(), None);
        let repeated = numbers.edges.iter().filter(|edge| edge.retries.is_some());
        let repeated: Vec<&EdgeNumbers> = repeated.collect();
        let (pairs, _) = map::reach::reach(&waited_for(&map), usize::MAX);
        let leads = |from: &EdgeNumbers, to: &EdgeNumbers| {
            pairs.iter().any(|p| p.id == from.edge.server && p.culprit == to.edge.client)
        };
        for one in &repeated {
            for other in &repeated {
                prop_assert!(!leads(one, other), "{:?} and {:?}", one.edge, other.edge);
            }
        }
    }

    #[test]
    fn pools_are_not_empty_and_the_same_map_stays_as_it_is(drawn in drawn()) {
        let map = map_of(&drawn);
        let settings = ResilienceSettings { min_pool: 1, ..ResilienceSettings::default() };
        let numbers = resilience(&map, &settings, None);
        prop_assert!(numbers.edges.iter().all(|edge| edge.pool != Some(0)));
        prop_assert_eq!(resilience(&map, &settings, Some(&numbers)), numbers);
    }
}
