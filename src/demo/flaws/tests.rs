//! What is found of the office, and that nothing is found of it that is not there.
//!
//! In: rounds, through the collector's own pairing. Out: the ids of all findings.
//! Left out on purpose: sending; the shop's own tests have the receiver.

use collector::offline::OfflineMap;
use instrumentation::check::{CheckSettings, Date, KINDS, check};
use map::{Edge, EdgeKey, Map};

use super::*;

fn drawn(rounds: u64, only: impl Fn(usize) -> bool) -> Map {
    let mut offline = OfflineMap::default();
    for number in 0..rounds {
        let traces = round(number, 1_800_000_000_000_000_000 + number * 1_000_000_000);
        let kept: Vec<Trace> = traces
            .into_iter()
            .enumerate()
            .filter(|(i, _)| only(*i))
            .map(|(_, trace)| trace)
            .collect();
        offline.take(&trace::encode(&kept).1).unwrap();
    }
    offline.finish().0
}

fn found(map: &Map, contract: Option<&Map>) -> Vec<String> {
    let report = check(
        map,
        contract,
        &CheckSettings::default(),
        Date::of_unix(1_800_000_000),
    );
    report.findings.into_iter().map(|finding| finding.id).collect()
}

/// What is wrong with the office, and with nobody else.
const WRONG: [&str; 17] = [
    "broken-context:office->fax",
    "early-timeout:office->notary",
    "missing-service-name:spans",
    "retry-storm:office->courier",
    "chatty:desk->stamps",
    "clock-skew:office->warehouse",
    "cycle:printer,spooler",
    "deep-chain:office",
    "fan-out:switchboard",
    "long-wait:office->mainframe",
    "n-plus-one:desk->letters",
    "orphans:intercom",
    "queue-without-consumer:complaints",
    "shared-database:postgresql:files",
    "single-point:rules,office",
    "unhandled-errors:counter->cashier",
    "unnamed-peer:porter",
];

#[test]
fn every_flaw_of_the_office_is_found_and_no_other() {
    let map = drawn(120, |_| true);
    assert_eq!(found(&map, None), WRONG);
    let chain = map.nodes["office"].stats.longest_chain.as_ref().unwrap();
    assert!(
        chain.nodes.len() > 5 && chain.nodes[..4] == ["office", "desk", "clerk", "archive"].map(Into::into),
        "{chain:?}"
    );
}

#[test]
fn with_a_contract_every_kind_of_finding_is_in_the_office() {
    let map = drawn(120, |_| true);
    let mut contract = map.clone();
    contract.edges.retain(|key, _| key.server.as_str() != "vault");
    let planned = EdgeKey::new("office".into(), "robot".into(), map::ConnectionType::Direct);
    contract.edges.insert(planned, Edge::default());
    let found = found(&map, Some(&contract));
    assert!(
        found.contains(&"undeclared-edge:archive->vault".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"unseen-edge:office->robot".to_owned()),
        "{found:?}"
    );
    for kind in KINDS {
        let of = found
            .iter()
            .filter(|id| id.split(':').next() == Some(kind.name))
            .count();
        assert_eq!(of, 1, "{}: {found:?}", kind.name);
    }
}

#[test]
fn who_is_well_has_no_finding_beside_those_who_are_not() {
    // The counter alone, when the cashier does not fail: what is left is a service that calls another.
    let mut offline = OfflineMap::default();
    for number in (0..400).filter(|number| !u64::is_multiple_of(*number, 4)) {
        let traces = round(number, 1_800_000_000_000_000_000 + number * 1_000_000_000);
        let counter: Vec<Trace> = traces.into_iter().skip(1).take(1).collect();
        offline.take(&trace::encode(&counter).1).unwrap();
    }
    assert_eq!(found(&offline.finish().0, None), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_arrive_until_the_demo_stops() {
    let (receiver, endpoint) = crate::demo::tests::receiver::Receiver::start().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(run(endpoint, async { drop(stopped.await) }));
    let (spans, _) = trace::encode(&round(0, now()));
    let received = receiver.spans(spans as usize).await;
    assert!(received.iter().any(|span| span.service == "office"));
    assert_eq!(received.iter().filter(|span| span.service.is_empty()).count(), 1);
    drop(stop);
    running.await.unwrap();
}
