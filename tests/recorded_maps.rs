//! Maps of recorded systems, drawn by the command, against calls counted without it.
//!
//! In: `fixtures/`, whose README says where they come from and how they were counted. Out: every pair of services, with
//! its number of calls, compared exactly; what differs stands here with its reason.
//! Left out on purpose: edges from `user` and to what reports no spans; the counts hold services only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Edges = BTreeMap<(String, String), u64>;

#[test]
fn the_map_of_train_ticket_has_every_call_and_none_else() {
    let found = between_services(&["tests/fixtures/trainticket/spans.jsonl.gz"]);
    assert_eq!(found, counted("trainticket"));
    assert_eq!(
        found.values().sum::<u64>(),
        642,
        "calls over 53 edges in 52 traces"
    );
}

#[test]
fn the_map_of_online_boutique_has_every_call_and_none_else() {
    let found = between_services(&["tests/fixtures/onlineboutique/spans.jsonl.gz"]);
    assert_eq!(found, counted("onlineboutique"));
    assert_eq!(
        found.values().sum::<u64>(),
        632,
        "calls over 13 edges in 60 traces"
    );
}

#[test]
fn the_map_of_the_hotel_reservation_has_every_call_and_none_else() {
    let found = between_services(&["tests/fixtures/hotel-jaeger/hotel_load150.jsonl.gz"]);
    assert_eq!(found, counted("hotel-jaeger"));
}

#[test]
fn the_map_of_bookinfo_is_the_known_topology() {
    let found = between_services(&["otlp/tests/fixtures/kiali-bookinfo/responseTrace.json"]);
    let known = edges(&[
        ("istio-ingressgateway.istio-system", "productpage.bookinfo", 1),
        ("productpage.bookinfo", "details.bookinfo", 1),
        ("productpage.bookinfo", "reviews.bookinfo", 1),
        ("reviews.bookinfo", "ratings.bookinfo", 1),
    ]);
    assert_eq!(found, known);
}

#[test]
fn the_maps_of_the_zipkin_sites_differ_from_a_plain_join_only_where_a_reason_is_known() {
    let files = ["ascend", "envoy", "messaging", "messaging2", "skew", "yelp"];
    let mut paths: Vec<String> = files
        .iter()
        .map(|f| format!("otlp/tests/fixtures/zipkin/{f}.json"))
        .collect();
    paths.push("tests/fixtures/zipkin/smartthings-oauth-authorization.json.gz".to_owned());
    let found = between_services(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut expected = counted("zipkin");
    // Five SERVER spans of one trace share span id, kind and service: repeats of one (DESIGN §3.6).
    assert_eq!(expected.insert(pair("bouncer", "pusher"), 1), Some(5));
    // A child of an id that two halves share belongs to the serving half; the join took the first half it met.
    assert_eq!(expected.remove(&pair("unknown", "yelp-main")), Some(2));
    assert_eq!(expected.insert(pair("yelp_main/api_proxy", "yelp-main"), 2), None);
    // A broker whose queue nobody names stands between services that no span joins; the join does not see it.
    let brokers = edges(&[
        ("rabbitmq", "notification-service", 1),
        ("transfer-service", "rabbitmq", 1),
    ]);
    expected.extend(brokers);
    assert_eq!(found, expected);
}

#[test]
fn repeated_files_change_no_count() {
    let file = "tests/fixtures/hotel-jaeger/hotel_load150.jsonl.gz";
    assert_eq!(between_services(&[file, file]), counted("hotel-jaeger"));
}

/// Edges whose ends both are services or queues: those without a label, or with that of a broker.
fn between_services(files: &[&str]) -> Edges {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<PathBuf> = files.iter().map(|file| root.join(file)).collect();
    let done = Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .arg("map")
        .args(&files)
        .args(["--format", "csv"])
        .output()
        .expect("the command starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let csv = String::from_utf8(done.stdout).expect("CSV is text");
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("caller,callee,connection_type,requests,failed")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.is_sorted_by_key(|row| row[..3].to_vec()), "{csv}");
    let pairs: BTreeSet<_> = rows.iter().map(|row| &row[..3]).collect();
    assert_eq!(pairs.len(), rows.len(), "no edge stands twice: {csv}");
    let direct = rows
        .iter()
        .filter(|row| matches!(row[2], "" | "messaging_system"));
    direct
        .map(|row| (pair(row[0], row[1]), row[3].parse().expect("a whole count")))
        .collect()
}

fn counted(set: &str) -> Edges {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(set)
        .join("edges.csv");
    let csv = std::fs::read_to_string(path).expect("the fixture is there");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (pair(cells[0], cells[1]), cells[2].parse().expect("a count"))
    };
    csv.lines().skip(1).map(row).collect()
}

fn edges(rows: &[(&str, &str, u64)]) -> Edges {
    rows.iter()
        .map(|&(caller, callee, requests)| (pair(caller, callee), requests))
        .collect()
}

fn pair(caller: &str, callee: &str) -> (String, String) {
    (caller.to_owned(), callee.to_owned())
}
