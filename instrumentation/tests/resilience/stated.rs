//! What people state: promises, pins, idempotence; and what nobody observed.
//!
//! In: small maps. Out: numbers that keep to it, and messages where they cannot.
//! Left out on purpose: where settings are read.

use instrumentation::resilience::{Resilience, ResilienceSettings, contradictions, resilience};
use map::file::map_from_yaml;
use map::{ConnectionType, Map};

use crate::scene::{Calls, add, calls, edge, shop, state, total};

const DIRECT: ConnectionType = ConnectionType::Direct;

fn numbers(map: &Map) -> Resilience {
    resilience(map, &ResilienceSettings::default(), None)
}

/// user -> web -> api -> store, each 100 ms at the slowest.
fn chain() -> Map {
    let mut map = Map::default();
    for (client, server) in [("user", "web"), ("web", "api"), ("api", "store")] {
        add(&mut map, client, server, DIRECT, calls(10_000, 20.0, 100.0));
    }
    map
}

#[test]
fn a_map_without_statistics_has_reasons_and_no_numbers() {
    let map =
        map_from_yaml("version: 1\nedges:\n- {client: user, server: a}\n- {client: a, server: b}\n").unwrap();
    let numbers = numbers(&map);
    for edge in &numbers.edges {
        assert_eq!(
            (edge.timeout, edge.retries, edge.breaker, edge.pool),
            (None, None, None, None)
        );
        assert_eq!(edge.because.timeout, "nothing observed");
    }
    assert!(numbers.services.is_empty(), "{:?}", numbers.services);
}

#[test]
fn too_few_requests_are_told_and_not_guessed_from() {
    let mut map = Map::default();
    add(&mut map, "a", "b", DIRECT, calls(199, 20.0, 100.0));
    let few = numbers(&map);
    let few = edge(&few, "a", "b");
    assert_eq!(few.timeout, None);
    assert_eq!(
        few.because.timeout,
        "not enough data: fewer than 200 requests were timed"
    );
    add(&mut map, "a", "b", DIRECT, calls(200, 20.0, 100.0));
    assert!(total(&numbers(&map), "a", "b").is_some());
}

#[test]
fn an_objective_is_the_entry_points_timeout_and_what_lies_behind_fits_into_it() {
    let mut map = chain();
    let free = numbers(&map);
    // 100 ms × 1.5, where nothing else asks for more.
    assert_eq!(total(&free, "api", "store"), Some(150));
    state(
        &mut map,
        "  web: {objectives: [{latency: 1s, target: 0.9, window: 30d}, {latency: 120ms, target: 0.5, \
         window: 30d}]}\n",
    );
    let wide = numbers(&map);
    assert_eq!(total(&wide, "user", "web"), Some(1000), "the longest promise");
    assert_eq!(total(&wide, "api", "store"), Some(150), "there is room enough");
    state(
        &mut map,
        "  web: {objectives: [{latency: 90ms, target: 0.9, window: 30d}]}\n",
    );
    let tight = numbers(&map);
    assert_eq!(total(&tight, "user", "web"), Some(90));
    let store = edge(&tight, "api", "store");
    assert!(store.timeout.is_some_and(|t| t.cuts_off.is_some()), "{store:?}");
    assert!(
        store
            .because
            .timeout
            .contains("because `web` promises an answer within 90ms"),
        "{store:?}"
    );
    assert!(
        total(&tight, "web", "api") <= Some(90)
            && total(&tight, "api", "store") <= total(&tight, "web", "api")
    );
}

#[test]
fn an_objective_that_would_end_more_than_a_twentieth_of_the_calls_bounds_nothing_and_is_told() {
    let mut map = chain();
    // 95 % of the calls take 20 ms, each of the three.
    state(
        &mut map,
        "  web: {objectives: [{latency: 15ms, target: 0.9, window: 30d}]}\n",
    );
    let numbers = numbers(&map);
    let told = &numbers.out_of_reach["web"];
    assert!(told.contains("within 15ms") && told.contains("95 %"), "{told}");
    assert_eq!(total(&numbers, "api", "store"), Some(150));
    assert!(total(&numbers, "user", "web") >= total(&numbers, "web", "api"));
}

#[test]
fn no_timeout_is_cut_below_what_95_percent_of_the_calls_took() {
    let mut map = chain();
    // A callee with a long tail beside a quick one: the tail must not take the time of the quick one.
    add(&mut map, "web", "quick", DIRECT, calls(10_000, 9.0, 10.0));
    add(&mut map, "web", "tail", DIRECT, calls(10_000, 30.0, 9000.0));
    add(&mut map, "web", "other", DIRECT, calls(10_000, 30.0, 7000.0));
    state(
        &mut map,
        "  web: {objectives: [{latency: 200ms, target: 0.9, window: 30d}]}\n",
    );
    let numbers = numbers(&map);
    assert!(numbers.out_of_reach.is_empty(), "{:?}", numbers.out_of_reach);
    let times = ["api", "quick", "tail", "other"].map(|callee| total(&numbers, "web", callee).unwrap());
    assert!(times[0] >= 20 && times[1] >= 9 && times[2] >= 30, "{times:?}");
    assert!(times.iter().sum::<u128>() <= 200, "{times:?}");
    assert!(
        times[2] == times[3] && times[2] > 50,
        "each has an even part: {times:?}"
    );
}

#[test]
fn where_an_objective_leaves_less_repeats_go_before_any_time_below_what_was_observed() {
    let mut map = chain();
    state(
        &mut map,
        "  store: {resilience: {idempotent: true}}\n  web: {objectives: [{latency: 2s, target: 0.9, \
         window: 30d}]}\n",
    );
    let wide = numbers(&map);
    let store = edge(&wide, "api", "store");
    assert_eq!(store.retries.map(|r| r.attempts), Some(1), "{store:?}");
    assert!(total(&wide, "web", "api") >= total(&wide, "api", "store"));
    state(
        &mut map,
        "  web: {objectives: [{latency: 200ms, target: 0.9, window: 30d}]}\n",
    );
    let tight = numbers(&map);
    let store = edge(&tight, "api", "store");
    assert_eq!((store.retries, total(&tight, "api", "store")), (None, Some(150)));
    assert!(
        store.because.retries.contains("no time for a second attempt"),
        "{store:?}"
    );
}

#[test]
fn only_what_is_stated_to_be_idempotent_is_repeated_and_no_message_ever() {
    let mut map = chain();
    add(
        &mut map,
        "api",
        "topic:x",
        ConnectionType::MessagingSystem,
        calls(10_000, 1.0, 5.0),
    );
    let none = numbers(&map);
    assert!(none.edges.iter().all(|edge| edge.retries.is_none()));
    assert!(
        edge(&none, "api", "store")
            .because
            .retries
            .contains("services.store.resilience.idempotent")
    );
    state(
        &mut map,
        "  store: {resilience: {idempotent: true}}\n  api: {resilience: {idempotent: true}}\n  topic:x: \
         {resilience: {idempotent: true}}\n",
    );
    let some = numbers(&map);
    assert!(edge(&some, "api", "store").retries.is_some());
    assert!(edge(&some, "api", "topic:x").retries.is_none());
    let api = edge(&some, "web", "api");
    assert!(
        api.retries.is_none()
            && api
                .because
                .retries
                .contains("`api->store` is where this chain repeats"),
        "{api:?}"
    );
}

#[test]
fn a_caller_that_repeats_by_itself_is_the_only_one_on_its_chain() {
    let mut map = chain();
    state(&mut map, "  store: {resilience: {idempotent: true}}\n");
    let key = map
        .edges
        .keys()
        .find(|key| key.server.as_str() == "api")
        .unwrap()
        .clone();
    map.edges.get_mut(&key).unwrap().stats.retries = 100.0;
    let numbers = numbers(&map);
    let store = edge(&numbers, "api", "store");
    assert!(
        store.retries.is_none()
            && store
                .because
                .retries
                .contains("`web->api` is repeated by its caller"),
        "{store:?}"
    );
    // 150 ms twice, and 25 ms between.
    assert!(
        total(&numbers, "web", "api") >= Some(325),
        "{:?}",
        edge(&numbers, "web", "api")
    );
}

#[test]
fn a_proxy_waits_for_one_attempt_of_a_caller_that_repeats_by_itself() {
    let mut map = chain();
    let key = map
        .edges
        .keys()
        .find(|key| key.server.as_str() == "api")
        .unwrap()
        .clone();
    map.edges.get_mut(&key).unwrap().stats.retries = 100.0;
    let api = edge(&numbers(&map), "web", "api").timeout.unwrap();
    assert!(api.total > api.attempt, "{api:?}");
    let files = instrumentation::resilience::files(&map, &super::golden::settings(), None);
    let istio = &files["resilience/istio/api.yaml"];
    let waits = format!("timeout: {}\n", api.attempt);
    assert!(
        istio.contains(&waits) && !istio.contains(&api.total.to_string()),
        "{istio}"
    );
}

#[test]
fn what_fails_too_often_is_not_repeated() {
    let mut map = chain();
    state(&mut map, "  store: {resilience: {idempotent: true}}\n");
    add(
        &mut map,
        "api",
        "store",
        DIRECT,
        Calls {
            failed: 2_000,
            ..calls(10_000, 20.0, 100.0)
        },
    );
    let numbers = numbers(&map);
    let store = edge(&numbers, "api", "store");
    assert!(
        store.retries.is_none() && store.because.retries.contains("20 %"),
        "{store:?}"
    );
}

#[test]
fn a_pin_holds_whatever_was_observed_and_what_is_behind_it_fits() {
    let mut map = chain();
    state(&mut map, "  api: {resilience: {timeout: 100ms}}\n");
    let numbers = numbers(&map);
    assert_eq!(total(&numbers, "web", "api"), Some(100));
    let store = edge(&numbers, "api", "store");
    assert_eq!(total(&numbers, "api", "store"), Some(100));
    assert!(
        store
            .because
            .timeout
            .contains("callers wait for `api` only 100ms"),
        "{store:?}"
    );
}

#[test]
fn calls_side_by_side_count_once_and_calls_that_follow_each_other_add_up() {
    let with = |waited: f64| {
        let mut map = Map::default();
        add(&mut map, "web", "hub", DIRECT, calls(10_000, 20.0, 40.0));
        for leaf in ["x", "y", "z"] {
            add(&mut map, "hub", leaf, DIRECT, calls(10_000, 100.0, 200.0));
        }
        crate::scene::visits(&mut map, "hub", 10_000, 1.0, 1.0 + waited);
        numbers(&map)
    };
    // 300 ms each, three of them.
    let beside = total(&with(101.0), "web", "hub").unwrap();
    let after = total(&with(303.0), "web", "hub").unwrap();
    assert!((300..450).contains(&beside), "{beside}");
    assert!(after >= 900, "{after}");
}

#[test]
fn statements_that_cannot_hold_together_are_told_once_each() {
    let told = |services: &str| -> Vec<String> {
        let mut map = chain();
        state(&mut map, services);
        let found = contradictions(&map, &ResilienceSettings::default());
        found
            .into_iter()
            .map(|f| format!("{}: {}: {}", f.path, f.message, f.hint.unwrap_or_default()))
            .collect()
    };
    assert!(told("  api: {resilience: {timeout: 100ms}}\n").is_empty());
    assert_eq!(
        told(
            "  web: {objectives: [{latency: 300ms, target: 0.9, window: 30d}]}\n  store: {resilience: \
             {timeout: 2s}}\n"
        ),
        [
            "services.store.resilience.timeout: `timeout` of `store` is 2s, but the longest objective of \
             `web` is 300ms: write at most 300ms"
        ]
    );
    assert_eq!(
        told("  api: {resilience: {timeout: 100ms}}\n  store: {resilience: {timeout: 150ms}}\n"),
        [
            "services.store.resilience.timeout: `timeout` of `store` is 150ms, but callers wait for `api` \
             only 100ms: write at most 100ms"
        ]
    );
    assert_eq!(
        told("  store: {resilience: {timeout: 0s, host: a b}}\n").len(),
        2,
        "no time, and no host"
    );
    let mut map = shop();
    state(
        &mut map,
        "  shop/cart: {resilience: {timeout: 500ms}}\n  shop/rare: {resilience: {timeout: \
         300ms}}\n  Legacy Billing: {resilience: {timeout: 300ms}}\n",
    );
    let found = contradictions(&map, &ResilienceSettings::default());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(numbers(&map).contradictions, [found[0].message.clone()]);
    assert!(
        found[0].message.contains("together") || found[0].message.contains("in one request"),
        "{found:?}"
    );
}

#[test]
fn layers_that_double_end_at_ten_minutes_and_not_at_a_thousand_years() {
    let mut map = Map::default();
    add(&mut map, "user", "l0-a", DIRECT, calls(1_000, 20.0, 100.0));
    for layer in 0..40 {
        for (from, to) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            let (client, server) = (format!("l{layer}-{from}"), format!("l{}-{to}", layer + 1));
            add(&mut map, &client, &server, DIRECT, calls(1_000, 20.0, 100.0));
        }
    }
    let numbers = numbers(&map);
    let longest = numbers
        .edges
        .iter()
        .filter_map(|edge| edge.timeout)
        .map(|t| t.total)
        .max();
    assert_eq!(longest.unwrap().to_string(), "10m");
    let reasons = numbers.edges.iter().filter(|edge| edge.timeout.is_none());
    let reasons: Vec<&str> = reasons.map(|edge| edge.because.timeout.as_str()).collect();
    assert!(!reasons.is_empty());
    for why in reasons {
        assert!(why.contains("adds up to more than 600s"), "{why}");
    }
    // Where it is cut, it fits all the same.
    for edge in numbers.edges.iter().filter(|edge| edge.timeout.is_some()) {
        let inner = numbers
            .edges
            .iter()
            .filter(|other| other.edge.client == edge.edge.server);
        let inner: u128 = inner
            .filter_map(|other| other.timeout)
            .map(|t| t.total.get().as_millis())
            .sum();
        assert!(
            edge.timeout.unwrap().attempt.get().as_millis() >= inner,
            "{edge:?} {inner}"
        );
    }
}

#[test]
fn an_id_that_is_no_host_is_listed_with_what_to_do_unless_its_host_is_stated() {
    let mut map = shop();
    let settings = super::golden::settings();
    let listed = resilience(&map, &settings, None).not_in_mesh;
    let why = &listed["Legacy Billing"];
    assert!(why.contains("services.Legacy Billing.resilience.host"), "{why}");
    assert_eq!(listed.len(), 1, "{listed:?}");
    state(
        &mut map,
        "  Legacy Billing: {resilience: {host: billing.old.svc.cluster.local}}\n",
    );
    assert!(resilience(&map, &settings, None).not_in_mesh.is_empty());
    let files = instrumentation::resilience::files(&map, &settings, None);
    assert!(
        files.contains_key("resilience/istio/billing.old.svc.cluster.local.yaml"),
        "{:?}",
        files.keys()
    );
}
