//! The ledger by itself: closings in, map and series out.

use std::time::Duration;

use map::{ConnectionType, Histogram, Language, NodeKind};
use otlp::{Kind, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::assemble::{Basis, UnnamedPeer};
use crate::engine::{Engine, EngineSettings};
use crate::names::{End, Operation, Version};
use crate::read::{Extracted, Place, Received};
use crate::shard::{Latency as SpanLatency, Outcomes};
use crate::span::Span;
use crate::table::TableSettings;

const SECOND: u64 = 1_000_000_000;

fn settings() -> LedgerSettings {
    let baseline = baseline::Settings {
        learn: Duration::from_mins(10),
        ..baseline::Settings::default()
    };
    LedgerSettings::new(baseline, MapBudget::default(), Services::new())
}

fn service(name: &str) -> Node {
    Node::service(name.into())
}

fn peer(address: &str) -> Node {
    Node::of(&End {
        id: address.into(),
        kind: NodeKind::External,
        address: Some(address.into()),
    })
}

fn call(span: u64, client: Node, server: Node, milliseconds: u32) -> Call {
    let seconds = f64::from(milliseconds) / 1000.0;
    Call {
        span,
        calling: Some(span),
        visit: 0,
        client,
        server,
        connection: None,
        operation: Operation::of(Some(server), "op"),
        start: SECOND,
        client_seconds: Some(seconds),
        server_seconds: Some(seconds / 2.0),
        own: Some(seconds / 2.0),
        queue: None,
        critical: 0.0,
        weight: 1.0,
        messages: 1,
        failed: milliseconds.is_multiple_of(3),
        own_failed: false,
        passed_on: None,
        skew: 0.0,
        without_context: false,
        retry: false,
        counted_elsewhere: false,
        evidence: Basis::Paired,
    }
}

fn closing(added: Vec<Call>, removed: Vec<Call>, time: u64) -> Closing {
    let of = |calls| Assembly {
        calls,
        ..Assembly::default()
    };
    Closing {
        trace: [7; 16],
        time,
        added: of(added),
        removed: of(removed),
        ..Closing::default()
    }
}

fn reported(services: &[Node], time: u64) -> Report {
    let delta = |service: &Node| SpanDelta {
        operation: Operation::of(Some(*service), "op"),
        kind: Kind::Server,
        status: StatusCode::Unset,
        calls: 1.0,
        latency: SpanLatency::default(),
        first: SECOND,
        last: SECOND,
        exemplar: None,
    };
    Report {
        time,
        spans: services.iter().map(delta).collect(),
        ..Report::default()
    }
}

fn take(ledger: &mut Ledger, closing: Closing) -> Vec<Judged> {
    ledger.take(Report {
        time: closing.time,
        closings: vec![closing],
        ..Report::default()
    })
}

/// The map's edges with their requests, and the service graph's.
fn told(ledger: &Ledger) -> (Vec<String>, Vec<String>) {
    let name = |key: &EdgeKey| {
        format!(
            "{}->{} [{}]",
            key.client,
            key.server,
            key.connection_type.as_str()
        )
    };
    let edges = ledger.map().edges;
    let map = edges
        .iter()
        .map(|(key, edge)| format!("{} {}", name(key), edge.stats.requests));
    let graph = ledger.series.graph_sorted();
    (
        map.collect(),
        graph
            .map(|(key, s)| format!("{} {}", name(key), s.requests))
            .collect(),
    )
}

#[test]
fn a_peer_merges_into_the_service_at_its_address_and_parts_again_when_another_claims_it() {
    let (web, cart, stock) = (service("web"), service("cart"), service("stock"));
    let (address, mut ledger) = ("10.0.0.7:80".into(), Ledger::new(settings()));
    ledger.take(reported(&[web, cart, stock], SECOND));
    take(
        &mut ledger,
        closing(vec![call(1, web, peer("10.0.0.7:80"), 10)], vec![], SECOND),
    );
    ledger.claim(&address, cart);
    assert_eq!(
        told(&ledger),
        (
            vec!["web->cart [] 1".to_owned()],
            vec!["web->cart [] 0".to_owned()]
        ),
        "its old series ended, the new one begins at 0"
    );
    take(
        &mut ledger,
        closing(vec![call(2, web, peer("10.0.0.7:80"), 10)], vec![], SECOND),
    );
    assert_eq!(
        told(&ledger).1,
        ["web->cart [] 1"],
        "the new one counts what comes later"
    );
    assert!(ledger.map().nodes["cart"].aliases.contains("10.0.0.7:80"));
    take(&mut ledger, closing(vec![call(3, web, cart, 10)], vec![], SECOND));
    ledger.claim(&address, stock);
    let (map, graph) = told(&ledger);
    assert_eq!(map, ["web->10.0.0.7:80 [virtual_node] 2", "web->cart [] 1"]);
    assert_eq!(
        graph,
        ["web->10.0.0.7:80 [virtual_node] 0", "web->cart [] 2"],
        "a counter of an edge that stays does not fall"
    );
    let shared: Vec<_> = ledger.map().nodes["10.0.0.7:80"]
        .shared_by
        .iter()
        .cloned()
        .collect();
    assert_eq!(shared, ["cart".into(), "stock".into()]);
}

#[test]
fn a_call_that_an_agent_counts_is_evidence_and_no_request_more() {
    let (web, cart, mut ledger) = (service("web"), service("cart"), Ledger::new(settings()));
    let mut seconds = Histogram::default();
    (0..5).for_each(|_| seconds.observe(0.1));
    ledger.take(reported(&[web, cart], SECOND));
    let counts = EdgeCounts {
        client: web,
        server: cart,
        connection: None,
        requests: 5,
        failed: 2,
        client_seconds: seconds,
        start: SECOND,
        end: 2 * SECOND,
    };
    ledger.count_edge(&counts, 2 * SECOND);
    let stamped = Call {
        counted_elsewhere: true,
        evidence: Basis::Hinted,
        ..call(1, web, cart, 40)
    };
    take(&mut ledger, closing(vec![stamped], vec![], 2 * SECOND));
    assert_eq!(
        told(&ledger),
        (
            vec!["web->cart [] 5".to_owned()],
            vec!["web->cart [] 5".to_owned()]
        )
    );
    let edge = ledger.map().edges.into_values().next().unwrap();
    assert_eq!(
        (edge.evidence.hinted, edge.evidence.counted, edge.examples.len()),
        (1, 5, 1)
    );
    assert_eq!(
        (
            edge.stats.client.count(),
            edge.stats.server.count(),
            edge.stats.failed as u32
        ),
        (5, 1, 2)
    );
    let series = ledger.series.graph_sorted().next().unwrap().1;
    assert_eq!((series.client.count(), series.server.count()), (5.0, 1.0));
}

#[test]
fn an_edge_that_nothing_was_seen_of_for_a_day_ends_with_its_series_and_is_counted() {
    let (web, cart, mut ledger) = (service("web"), service("cart"), Ledger::new(settings()));
    let day = 24 * 3600 * SECOND;
    ledger.take(reported(&[web, cart], SECOND));
    take(
        &mut ledger,
        closing(
            vec![call(1, web, cart, 10), call(2, web, peer("db:1"), 10)],
            vec![],
            SECOND,
        ),
    );
    take(
        &mut ledger,
        closing(vec![call(3, web, cart, 10)], vec![], day / 2),
    );
    ledger.take(reported(&[web], day + 2 * SECOND));
    assert_eq!(told(&ledger).0, ["web->cart [] 2"]);
    assert_eq!(ledger.map().nodes.len(), 2);
    ledger.take(reported(&[web], 2 * day));
    assert_eq!(told(&ledger), (vec![], vec![]));
    assert_eq!(
        ledger.map().nodes.keys().map(NodeId::as_str).collect::<Vec<_>>(),
        ["web"]
    );
    assert_eq!(ledger.counts.get(counts::Family::Ended, "edge"), 2);
    assert_eq!(ledger.counts.get(counts::Family::Ended, "node"), 1);
    take(
        &mut ledger,
        closing(vec![call(4, web, cart, 10)], vec![], 2 * day),
    );
    assert_eq!(told(&ledger).1, ["web->cart [] 1"], "what comes back begins anew");
}

#[test]
fn retries_fan_out_and_the_critical_path_are_counted_once_and_corrected_in_the_map() {
    let (web, cart, mut ledger) = (service("web"), service("cart"), Ledger::new(settings()));
    ledger.take(reported(&[web, cart], SECOND));
    let again = Call {
        retry: true,
        critical: 0.25,
        weight: 2.0,
        ..call(2, web, cart, 20)
    };
    let mut first = closing(vec![call(1, web, cart, 10), again], vec![], SECOND);
    first.added.fan_outs = vec![FanOut {
        visit: 9,
        client: web,
        server: cart,
        calls: 2,
    }];
    take(&mut ledger, first);
    let mut late = closing(vec![call(2, web, cart, 30)], vec![again], SECOND);
    late.removed.fan_outs = vec![FanOut {
        visit: 9,
        client: web,
        server: cart,
        calls: 2,
    }];
    late.added.fan_outs = vec![FanOut {
        visit: 9,
        client: web,
        server: cart,
        calls: 3,
    }];
    take(&mut ledger, late);
    let series = ledger
        .series
        .entities_sorted()
        .find(|(_, s)| &*s.id == "web->cart")
        .unwrap()
        .1;
    assert_eq!(
        (series.requests, series.retries, series.critical),
        (3.0, 2.0, 0.5)
    );
    assert_eq!((series.fan_out.sum(), series.fan_out.cumulative()[1]), (2, 1.0));
    let stats = ledger.map().edges.into_values().next().unwrap().stats;
    assert_eq!((stats.requests, stats.retries, stats.critical), (2.0, 0.0, 0.0));
    assert_eq!((stats.fan_out.count(), stats.fan_out.sum()), (1, 3.0));
}

#[test]
fn an_edge_is_judged_by_the_same_number_in_every_run() {
    let (web, cart, mut ledger) = (service("web"), service("cart"), Ledger::new(settings()));
    ledger.take(reported(&[web, cart], SECOND));
    let judged = take(&mut ledger, closing(vec![call(1, web, cart, 9)], vec![], SECOND));
    assert_eq!(
        judged,
        [Judged {
            slow: false,
            edges: vec![(0xdd0f_c75f_0567_fe5c, true)]
        }]
    );
}

#[test]
fn what_is_saved_by_another_version_is_refused_by_its_number() {
    let error = Ledger::restore(settings(), b"{\"format\":7}")
        .unwrap_err()
        .to_string();
    assert!(error.contains("format 7"), "{error}");
    assert!(Ledger::restore(settings(), b"[").is_err());
}

/// Five ends of which two can turn out to be services, one by name and one by address.
fn ends() -> [Node; 5] {
    let named = Node::of(&End::new("cart".into(), NodeKind::External));
    [
        service("web"),
        service("cart"),
        named,
        peer("cart:80"),
        Node::unknown(),
    ]
}

/// What one trace says at one time.
fn reading() -> impl Strategy<Value = Vec<(u8, u32)>> {
    prop::collection::vec((0..5u8, 1..200u32), 0..4)
}

fn calls(reading: &[(u8, u32)]) -> Vec<Call> {
    let ends = ends();
    // Only a service that reports calls anybody; `cart` does not yet.
    let one =
        |(i, &(server, ms)): (usize, &(u8, u32))| call(i as u64 + 1, ends[0], ends[usize::from(server)], ms);
    reading.iter().enumerate().map(one).collect()
}

/// An edge with its requests, failures, evidence and buckets.
type Counted = (EdgeKey, u64, u64, map::Evidence, Vec<(u64, u64)>);

/// All of a map that corrections must leave as if they had not been needed.
fn counted(ledger: &Ledger) -> Vec<Counted> {
    let bits = |h: &Histogram| h.buckets().map(|(s, n)| (s.to_bits(), n)).collect();
    let edge = |(key, e): (EdgeKey, map::Edge)| {
        (
            key,
            e.stats.requests as u64,
            e.stats.failed as u64,
            e.evidence,
            bits(&e.stats.client),
        )
    };
    ledger.map().edges.into_iter().map(edge).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn corrections_and_what_is_learned_meanwhile_give_the_map_of_the_final_readings(
        traces in prop::collection::vec(prop::collection::vec(reading(), 1..4), 1..6),
        learned in 0..12usize,
        restarted in 0..12usize,
    ) {
        let [web, cart, ..] = ends();
        let (mut ledger, mut last) = (Ledger::new(settings()), vec![Vec::new(); traces.len()]);
        ledger.take(reported(&[web], SECOND));
        let mut step = 0;
        for round in 0..3 {
            for (trace, readings) in traces.iter().enumerate() {
                let Some(reading) = readings.get(round) else { continue };
                if step == learned {
                    ledger.take(reported(&[cart], SECOND));
                    ledger.claim(&"cart:80".into(), cart);
                }
                if step == restarted {
                    let again = Ledger::restore(settings(), &ledger.save()).unwrap();
                    prop_assert_eq!(again.map(), ledger.map());
                    prop_assert_eq!(told(&again), told(&ledger));
                    ledger = again;
                }
                let now = calls(reading);
                let before = std::mem::replace(&mut last[trace], now.clone());
                take(&mut ledger, closing(now, before, SECOND));
                step += 1;
            }
        }
        ledger.take(reported(&[cart], SECOND));
        ledger.claim(&"cart:80".into(), cart);
        let mut plain = Ledger::new(settings());
        plain.take(reported(&[web, cart], SECOND));
        plain.claim(&"cart:80".into(), cart);
        for calls in last {
            take(&mut plain, closing(calls, vec![], SECOND));
        }
        prop_assert_eq!(counted(&ledger), counted(&plain));
    }

    #[test]
    fn counters_never_fall_while_their_series_live(
        traces in prop::collection::vec((reading(), reading(), any::<bool>()), 1..12),
    ) {
        let [web, cart, ..] = ends();
        let mut ledger = Ledger::new(settings());
        ledger.take(reported(&[web], SECOND));
        let mut before: HashMap<Arc<str>, f64> = HashMap::new();
        for (first, second, learn) in traces {
            take(&mut ledger, closing(calls(&first), vec![], SECOND));
            take(&mut ledger, closing(calls(&second), calls(&first), SECOND));
            if learn {
                ledger.take(reported(&[cart], SECOND));
            }
            let read = |s: &crate::series::EntitySeries| (Arc::clone(&s.id), s.requests);
            let after: HashMap<_, _> = ledger.series.entities_sorted().map(|(_, s)| read(s)).collect();
            for (id, requests) in &before {
                prop_assert!(after.get(id).is_none_or(|now| now >= requests), "{}", id);
            }
            before = after;
        }
    }
}

#[test]
fn every_counter_survives_a_restart() {
    let mut ledger = Ledger::new(settings());
    ledger.take(reported(&[service("web")], SECOND));
    ledger.reject(Rejection::SpanId, 3);
    let outcomes = Outcomes {
        kept: 1,
        late: 2,
        duplicate: 3,
        no_service: 4,
        beyond: 5,
    };
    let mut report = Report {
        time: SECOND,
        outcomes,
        ..Report::default()
    };
    let removed = vec![call(2, service("web"), service("cart"), 5)];
    report.closings = vec![closing(
        vec![call(1, service("web"), service("cart"), 4)],
        removed,
        SECOND,
    )];
    report.closings[0].added.unnamed_peers = 6;
    ledger.take(report);
    let again = Ledger::restore(settings(), &ledger.save()).unwrap();
    assert_eq!(format!("{:?}", again.counts), format!("{:?}", ledger.counts));
    assert_eq!(again.counts.get(counts::Family::Corrections, "call"), 1);
    assert_eq!(
        again
            .counts
            .get(counts::Family::Rejected, Rejection::SpanId.as_str()),
        3
    );
    assert_eq!(again.counts.outcomes, outcomes);
}

#[test]
fn ten_thousand_edges_whose_times_span_eight_octaves_stay_within_twelve_kilobytes_each() {
    let mut ledger = Ledger::new(settings());
    let services: Vec<Node> = (0..1000).map(|n| service(&format!("s{n}"))).collect();
    ledger.take(reported(&services, SECOND));
    for round in 1..20u32 {
        let added = (0..10_000).map(|n| {
            let (client, server) = (services[n % 1000], services[(n / 1000 * 7 + n + 1) % 1000]);
            call(n as u64, client, server, round * round)
        });
        take(&mut ledger, closing(added.collect(), vec![], SECOND));
    }
    assert_eq!(ledger.map().edges.len(), 10_000);
    assert!(
        ledger.footprint() < 10_000 * 12_288,
        "{} bytes an edge",
        ledger.footprint() / 10_000
    );
}

#[test]
fn messages_are_labelled_by_their_broker_and_flows_by_producer_and_consumer() {
    let (shop, mail, mut ledger) = (service("shop"), service("mail"), Ledger::new(settings()));
    let orders = Node::destination("orders");
    let broker = |call| Call {
        connection: Some(ConnectionType::MessagingSystem),
        ..call
    };
    ledger.take(reported(&[shop, mail], SECOND));
    let mut first = closing(
        vec![broker(call(1, shop, orders, 5)), broker(call(2, orders, mail, 8))],
        vec![],
        SECOND,
    );
    let flow = FlowSeen {
        span: 2,
        key: 77,
        producer: shop,
        destination: Some(orders),
        consumer: mail,
        queue: 0.5,
        client_seconds: Some(0.005),
        server_seconds: 0.008,
        failed: false,
        weight: 1.0,
    };
    first.added.flows = vec![flow];
    take(&mut ledger, first);
    let mut replayed = closing(vec![], vec![], SECOND);
    replayed.added.flows = vec![flow];
    take(&mut ledger, replayed);
    let (map, graph) = told(&ledger);
    assert_eq!(
        map,
        [
            "orders->mail [messaging_system] 1",
            "shop->orders [messaging_system] 1"
        ]
    );
    assert_eq!(
        graph,
        ["shop->mail [messaging_system] 1"],
        "the replay tells of the same message"
    );
    assert_eq!(
        ledger
            .map()
            .flows
            .values()
            .map(|f| f.requests as u64)
            .sum::<u64>(),
        1
    );
}

/// Requests to `cart`, one each two seconds from `now` on, each by the version that `version` says; how many were slow.
fn visits(
    ledger: &mut Ledger,
    now: &mut u64,
    count: usize,
    ms: u32,
    version: impl Fn(usize) -> String,
) -> usize {
    let cart = service("cart");
    ledger.take(reported(&[cart], *now));
    let seconds = f64::from(ms) / 1000.0;
    let slow = (0..count).filter(|&n| {
        *now += 2 * SECOND;
        let visit = Visit {
            span: *now,
            operation: Operation::of(Some(cart), "op").with_version(Version::of(cart, &version(n))),
            start: *now,
            total: seconds,
            own: seconds * (0.9 + (n % 10) as f64 / 50.0),
            critical: 0.0,
            complete: true,
            failed: false,
            own_failed: false,
            chain: 0,
            weight: 1.0,
        };
        let mut closing = closing(vec![], vec![], *now);
        closing.added.visits.push(visit);
        take(ledger, closing).iter().any(|judged| judged.slow)
    });
    slow.count()
}

#[test]
fn a_new_version_that_is_slower_is_judged_by_the_one_before_also_after_a_restart() {
    let (mut ledger, mut now) = (Ledger::new(settings()), 1_800_230_400 * SECOND);
    visits(&mut ledger, &mut now, 600, 100, |_| "1.4".to_owned());
    let normal = ledger.learned("cart").expect("ten minutes are enough");
    assert_eq!(normal.source, baseline::Source::AllHours);
    for step in 0..4 {
        let slow = visits(&mut ledger, &mut now, 200, 300, |_| "1.5".to_owned());
        assert_eq!(slow, 200, "in step {step}");
        let learned = ledger.learned("cart").expect("it stays known");
        assert_eq!(
            (learned.source, learned.own),
            (baseline::Source::PreviousVersion, normal.own)
        );
        ledger = Ledger::restore(settings(), &ledger.save()).expect("what was saved is readable");
    }
    let series = ledger.series.entities_sorted().filter(|(_, s)| &*s.id == "cart");
    assert_eq!(
        series.map(|(_, s)| s.requests).collect::<Vec<_>>(),
        [1400.0],
        "one series for both"
    );
}

#[test]
fn a_new_version_that_is_faster_has_its_own_normal_before_the_old_one_is_forgotten() {
    let learned = |version: &str| {
        let (mut ledger, mut now) = (Ledger::new(settings()), 1_800_230_400 * SECOND);
        visits(&mut ledger, &mut now, 600, 300, |_| "1.4".to_owned());
        visits(&mut ledger, &mut now, 600, 50, |_| version.to_owned());
        ledger.learned("cart").expect("ten minutes are enough").own
    };
    assert!(
        learned("1.5") < 0.1 && learned("1.4") > 0.2,
        "{} {}",
        learned("1.5"),
        learned("1.4")
    );
}

#[test]
fn a_service_that_names_another_version_with_each_request_is_judged_all_the_same() {
    let (mut ledger, mut now) = (Ledger::new(settings()), 1_800_230_400 * SECOND);
    let build = |n| format!("build-{n}");
    assert_eq!(visits(&mut ledger, &mut now, 2000, 100, build), 0);
    assert_eq!(visits(&mut ledger, &mut now, 50, 300, |n| build(n + 2000)), 50);
    assert_eq!(ledger.baseline_stats().operations, 1);
    assert_eq!(ledger.series.entities.len(), 1);
}

/// A span of `name` from 10 to 20 ms.
fn span(name: &str, kind: Kind, trace: u8, id: u64, parent_id: u64) -> Received {
    let span = Span {
        id,
        parent_id,
        operation: Operation::of(Some(service(name)), "op"),
        start: SECOND,
        end: SECOND + 10_000_000,
        peer: None,
        extra: None,
        weight: 1.0,
        kind,
        status: StatusCode::Unset,
        counted: false,
    };
    Received {
        trace: [trace; 16],
        span,
        place: Place::default(),
    }
}

#[test]
fn a_call_that_names_no_far_side_is_why_an_edge_is_missing_until_its_callee_comes_late() {
    let settings = EngineSettings {
        table: TableSettings::default(),
        ledger: settings(),
        shards: 2,
    };
    let mut engine = Engine::new(settings.clone());
    let spans = |spans| Extracted {
        spans,
        ..Extracted::default()
    };
    let early = vec![
        span("web", Kind::Server, 1, 1, 0),
        span("web", Kind::Client, 1, 2, 1),
        span("web", Kind::Client, 1, 3, 1),
        span("stock", Kind::Server, 2, 1, 0),
    ];
    engine.take(spans(early), 0).expect("the table has room");
    engine.tick(5 * SECOND);
    let unnamed = |calls| map::why::Why::UnnamedPeers {
        client: "web".into(),
        calls,
    };
    assert_eq!(engine.map().why("web", "stock"), unnamed(2));
    assert_ne!(
        engine.map().why("stock", "web"),
        unnamed(2),
        "of the caller alone"
    );
    let restored = Engine::restore(settings, &engine.save()).expect("what was saved is readable");
    assert_eq!(restored.map().why("web", "stock"), unnamed(2));
    engine
        .take(spans(vec![span("cart", Kind::Server, 1, 4, 2)]), 6 * SECOND)
        .expect("the table has room");
    engine.tick(10 * SECOND);
    assert_eq!(
        engine.map().why("web", "stock"),
        unnamed(1),
        "one of the two is named by its callee"
    );
    engine
        .take(spans(vec![span("cart", Kind::Server, 1, 5, 3)]), 11 * SECOND)
        .expect("the table has room");
    engine.tick(15 * SECOND);
    assert_eq!(engine.map().nodes["web"].stats.unnamed_peers, 0);
    assert_eq!(engine.unnamed_peers(), 2, "the counter does not fall");
}

#[test]
fn unnamed_peers_are_taken_back_from_the_node_that_they_were_counted_at_and_no_other() {
    let (web, cart, mut ledger) = (service("web"), service("cart"), Ledger::new(settings()));
    ledger.take(reported(&[web, cart], SECOND));
    let peer = |span, client| UnnamedPeer { span, client };
    let mut first = closing(vec![], vec![], SECOND);
    first.added.unnamed = vec![peer(1, web), peer(2, web), peer(3, cart)];
    first.added.unnamed_peers = 3;
    take(&mut ledger, first);
    let mut late = closing(vec![], vec![], SECOND);
    late.removed.unnamed = vec![peer(2, web)];
    late.added.unnamed = vec![peer(9, cart)];
    late.added.unnamed_peers = 1;
    take(&mut ledger, late);
    let nodes = ledger.map().nodes;
    let found = ["web", "cart"].map(|id| nodes[id].stats.unnamed_peers);
    assert_eq!((found, ledger.counts.unnamed_peers), ([1, 2], 4));
}

#[test]
fn a_service_of_several_sdks_has_one_language_in_whatever_order_they_came() {
    let cart = service("cart-of-languages");
    for order in [[Language::Cpp, Language::Java], [Language::Java, Language::Cpp]] {
        let mut ledger = Ledger::new(settings());
        ledger.speaks(service("never-seen"), Language::Go);
        for language in order {
            ledger.speaks(cart, language);
        }
        ledger.service_seen(cart, SECOND, SECOND);
        let restored = Ledger::restore(settings(), &ledger.save()).expect("what was saved is readable");
        for ledger in [ledger, restored] {
            let nodes = ledger.map().nodes;
            assert_eq!(nodes["cart-of-languages"].language, Some(Language::Java));
            assert_eq!(nodes.len(), 1, "a language alone makes no node: {nodes:?}");
        }
    }
}

/// A trace in which `web` calls `cart`, which gives `stock` up, whose clock is behind.
fn chained(trace: u8, now: u64) -> Closing {
    let (web, cart, stock) = (service("web"), service("cart"), service("stock"));
    let visit = |span, of, chain| Visit {
        span,
        operation: Operation::of(Some(of), "op"),
        start: now,
        total: 0.1,
        own: 0.1,
        critical: 0.0,
        complete: true,
        failed: false,
        own_failed: false,
        chain,
        weight: 1.0,
    };
    let given_up = Call {
        visit: 2,
        failed: true,
        passed_on: Some(false),
        skew: -0.25,
        client_seconds: Some(0.5),
        server_seconds: Some(2.0),
        ..call(3, cart, stock, 10)
    };
    let calls = vec![
        given_up,
        Call {
            visit: 1,
            ..call(2, web, cart, 10)
        },
    ];
    let mut closing = closing(calls, vec![], now);
    closing.trace = [trace; 16];
    closing.added.visits = vec![visit(1, web, 3), visit(2, cart, 0), visit(3, stock, 0)];
    closing
}

#[test]
fn the_longest_chain_keeps_whom_it_passed_and_survives_a_restart() {
    let mut ledger = Ledger::new(settings());
    let services = [service("web"), service("cart"), service("stock")];
    ledger.take(reported(&services, SECOND));
    take(&mut ledger, chained(7, SECOND));
    let map = ledger.map();
    let stats = &map.nodes["web"].stats;
    assert_eq!(
        (stats.chains.as_slice(), stats.deepest()),
        (&[0, 0, 1][..], Some(2))
    );
    let chain = stats.longest_chain.as_ref().unwrap();
    assert_eq!(chain.nodes, ["web".into(), "cart".into(), "stock".into()]);
    assert_eq!(chain.trace, "07".repeat(16));
    assert!(map.nodes["cart"].stats.chains.is_empty(), "somebody called it");
    let restored = Ledger::restore(settings(), &ledger.save()).unwrap();
    assert_eq!(restored.map(), map);

    let Closing { added, trace, .. } = chained(7, SECOND);
    let taken_back = Closing {
        removed: added,
        trace,
        ..closing(vec![], vec![], 2 * SECOND)
    };
    take(&mut ledger, taken_back);
    assert_eq!(ledger.map().nodes["web"].stats.longest_chain, None);
}

#[test]
fn a_call_that_was_given_up_is_counted_with_the_time_until_then_and_taken_back_whole() {
    let mut ledger = Ledger::new(settings());
    let stats = |ledger: &Ledger| {
        let key = EdgeKey::new("cart".into(), "stock".into(), ConnectionType::Direct);
        ledger.map().edges[&key].stats.clone()
    };
    take(&mut ledger, chained(7, SECOND));
    let before = stats(&ledger);
    assert_eq!((before.given_up, before.given_up_seconds), (1.0, 0.5));
    assert_eq!((before.handled, before.passed_on), (1.0, 0.0));
    assert_eq!((before.skewed, before.skew), (1, -0.25));
    take(&mut ledger, chained(8, SECOND));
    let second = chained(8, SECOND).added.calls.swap_remove(0);
    take(&mut ledger, closing(vec![], vec![second], 2 * SECOND));
    assert_eq!(stats(&ledger), before);
}
