//! Random systems: what the map says equals what happened, whatever the order, the repeats and the losses.
//!
//! In: random call trees, rendered to spans with the layers that agents and SDKs add. Out: counts, compared with the
//! tree that they came from.
//! Left out on purpose: brokers and aliases; they have examples.

use std::collections::BTreeMap;

use collector::engine::Engine;
use collector::names::{End, Node, Operation};
use collector::read::{Extracted, Place, Received};
use collector::span::{Address, Extra, Hint, Message, MessageRole, Span, TraceId};
use map::NodeKind;
use otlp::{Kind, StatusCode};
use proptest::prelude::*;

use crate::scene::{SECOND, settings};
use crate::system::{Asked, render, requests};

/// Counts of the map's edges by their ends.
fn edges(engine: &Engine) -> BTreeMap<(String, String), u64> {
    let map = engine.map();
    let edges = map.edges.iter();
    edges
        .map(|(key, edge)| {
            (
                (key.client.to_string(), key.server.to_string()),
                edge.stats.requests as u64,
            )
        })
        .collect()
}

fn visits(engine: &Engine) -> BTreeMap<String, u64> {
    let map = engine.map();
    let served = map.nodes.iter().filter(|(_, node)| node.stats.requests > 0.0);
    served
        .map(|(id, node)| (id.to_string(), node.stats.requests as u64))
        .collect()
}

fn counted<'a>(services: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    services.fold(BTreeMap::new(), |mut counts, service| {
        *counts.entry(service.to_owned()).or_default() += 1;
        counts
    })
}

/// An engine that forgets no trace during a test.
fn engine() -> Engine {
    let mut settings = settings();
    settings.table.keep = std::time::Duration::from_secs(1_000_000);
    Engine::new(settings)
}

fn batch(spans: &[Received]) -> Extracted {
    Extracted {
        spans: spans.to_vec(),
        ..Extracted::default()
    }
}

/// Counters and histograms by series.
fn counters(engine: &Engine) -> BTreeMap<String, f64> {
    let text = engine.metrics();
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let line = line.split(" # ").next()?;
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            let counts = ["_total", "_count", "_sum", "_bucket"]
                .iter()
                .any(|end| name.ends_with(end));
            counts.then(|| Some((series.to_owned(), value.parse().ok()?)))?
        });
    samples.collect()
}

/// The spans in an order, each batch with the seconds after it; some spans come twice.
fn delivered(
    spans: &[Received],
    order: &[u32],
    cuts: &[(usize, u64)],
    twice: &[bool],
) -> Vec<(Vec<Received>, u64)> {
    let mut keyed: Vec<(u32, &Received)> = Vec::new();
    for (i, span) in spans.iter().enumerate() {
        let key = |n: usize| {
            order
                .get(n % order.len())
                .copied()
                .unwrap_or(0)
                .wrapping_mul(2_654_435_761)
                ^ n as u32
        };
        keyed.push((key(i), span));
        if twice.get(i % twice.len().max(1)).copied().unwrap_or(false) {
            keyed.push((key(i + spans.len()), span));
        }
    }
    keyed.sort_by_key(|(key, _)| *key);
    let mut rest = keyed.into_iter().map(|(_, span)| span.clone()).peekable();
    let (mut batches, mut cuts) = (Vec::new(), cuts.iter().cycle());
    while rest.peek().is_some() {
        let &(size, seconds) = cuts.next().unwrap_or(&(100, 0));
        batches.push((rest.by_ref().take(size).collect(), seconds));
    }
    batches
}

fn delivery() -> impl Strategy<Value = (Vec<u32>, Vec<(usize, u64)>, Vec<bool>)> {
    (
        prop::collection::vec(any::<u32>(), 1..40),
        prop::collection::vec((1..12usize, 0..6u64), 1..8),
        prop::collection::vec(prop::bool::weighted(0.2), 1..20),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_map_equals_what_happened_in_any_order_with_any_repeats(requests in requests(), (order, cuts, twice) in delivery()) {
        let truth = render(&requests);
        let (mut engine, mut now) = (engine(), 0);
        for (spans, seconds) in delivered(&truth.spans, &order, &cuts, &twice) {
            prop_assert!(engine.take(batch(&spans), now).is_ok());
            now += seconds * SECOND;
            engine.tick(now);
        }
        engine.finish(now);
        prop_assert_eq!(edges(&engine), truth.edges);
        prop_assert_eq!(visits(&engine), counted(truth.visits.iter().map(|v| v.service.as_str())));
    }

    #[test]
    fn counters_never_fall(requests in requests(), (order, cuts, twice) in delivery()) {
        let truth = render(&requests);
        let (mut engine, mut now) = (engine(), 0);
        let mut before = counters(&engine);
        for (spans, seconds) in delivered(&truth.spans, &order, &cuts, &twice) {
            prop_assert!(engine.take(batch(&spans), now).is_ok());
            now += seconds * SECOND;
            engine.tick(now);
            let after = counters(&engine);
            for (series, value) in &after {
                if let Some(earlier) = before.get(series) {
                    prop_assert!(value >= earlier, "{} fell from {} to {}", series, earlier, value);
                }
            }
            before = after;
        }
    }

    #[test]
    fn where_nothing_was_late_the_counters_are_the_maps_numbers(requests in requests()) {
        let truth = render(&requests);
        let mut engine = engine();
        prop_assert!(engine.take(batch(&truth.spans), 0).is_ok());
        engine.finish(1);
        let counters = counters(&engine);
        for (key, edge) in &engine.map().edges {
            let series = format!("{{client=\"{}\",server=\"{}\",connection_type=\"{}\"}}", key.client, key.server, key.connection_type.as_str());
            let counted = counters.get(&format!("traces_service_graph_request_total{series}"));
            prop_assert_eq!(counted, Some(&edge.stats.requests), "{}", series);
        }
        for (id, node) in engine.map().nodes.iter().filter(|(_, node)| node.kind == NodeKind::Service) {
            let named = |series: &&String| series.starts_with(&format!("tracemap_total_seconds_count{{id=\"{id}\""));
            let counted = counters.keys().find(named).and_then(|series| counters.get(series));
            prop_assert_eq!(counted, Some(&node.stats.requests), "{}", id);
        }
    }

    #[test]
    fn with_spans_lost_nothing_is_invented_and_every_request_that_arrived_is_explained(
        requests in requests(),
        lost in prop::collection::vec(prop::bool::weighted(0.25), 1..60),
    ) {
        let truth = render(&requests);
        let is_lost = |i: usize| lost.get(i % lost.len()).copied().unwrap_or(false);
        let left: Vec<_> = truth.spans.iter().enumerate().filter(|(i, _)| !is_lost(*i)).map(|(_, s)| s.clone()).collect();
        let here = |(trace, id): &(TraceId, u64)| left.iter().any(|read| read.trace == *trace && read.span.id == *id);
        let mut engine = engine();
        prop_assert!(engine.take(batch(&left), 0).is_ok());
        engine.finish(1);
        let found = edges(&engine);
        let from_service = found.iter().filter(|((client, _), _)| client.starts_with('s'));
        for (pair, count) in from_service {
            let happened = truth.edges.get(pair).copied().unwrap_or(0);
            prop_assert!(*count <= happened, "{:?} is said to have happened {} times instead of {}", pair, count, happened);
        }
        let arrived = truth.visits.iter().filter(|v| v.spans.iter().any(here)).map(|v| v.service.as_str());
        let mut into: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, server), count) in found.iter().filter(|((_, server), _)| server.starts_with('s')) {
            *into.entry(server.clone()).or_default() += count;
        }
        prop_assert_eq!(into, counted(arrived), "requests that arrived are on edges, from unknown where the caller is lost");
        let cut = |asked: &&Asked| {
            let joined = asked.clients.last().is_some_and(here) && here(&asked.arrived);
            !joined && asked.clients.iter().any(here)
        };
        let unnamed = counters(&engine)["tracemap_collector_unnamed_peers_total"];
        prop_assert_eq!(unnamed as usize, truth.asked.iter().filter(cut).count());
    }

    #[test]
    fn a_restored_engine_goes_on_as_if_nothing_had_happened(first in requests(), second in requests()) {
        let (first, second) = (render(&first), render(&second));
        let mut whole = engine();
        prop_assert!(whole.take(batch(&first.spans), 0).is_ok());
        whole.finish(1);
        let mut restored = Engine::restore(settings(), &whole.save()).expect("what was saved can be restored");
        prop_assert_eq!(restored.map(), whole.map());
        let other = |read: &Received| Received { trace: [read.trace[0] + 100; 16], ..read.clone() };
        let later: Vec<_> = second.spans.iter().map(other).collect();
        for engine in [&mut whole, &mut restored] {
            prop_assert!(engine.take(batch(&later), 2).is_ok());
            engine.finish(3);
        }
        prop_assert_eq!(restored.map(), whole.map());
        let ours = |(series, _): &(String, f64)| !series.starts_with("tracemap_collector_");
        let series = |engine: &Engine| counters(engine).into_iter().filter(ours).collect::<BTreeMap<_, _>>();
        let (restored, whole) = (series(&restored), series(&whole));
        let differ: Vec<_> = restored.iter().filter(|(series, value)| whole.get(*series) != Some(*value)).collect();
        prop_assert!(differ.is_empty() && restored.len() == whole.len(), "{:?}", differ);
    }

    #[test]
    fn no_spans_whatever_make_the_engine_panic(
        batches in prop::collection::vec((prop::collection::vec(any_span(), 0..30), any::<u64>()), 1..6),
    ) {
        let mut engine = Engine::new(settings());
        let mut times: Vec<u64> = batches.iter().map(|(_, now)| *now).collect();
        times.sort_unstable();
        for ((spans, _), now) in batches.iter().zip(times) {
            let _ = engine.take(batch(spans), now);
            engine.tick(now);
        }
        engine.finish(u64::MAX);
        prop_assert!(!counters(&engine).is_empty());
        prop_assert!(Engine::restore(settings(), &engine.save()).is_ok());
        let total: f64 = counters(&engine).iter().filter(|(s, _)| s.starts_with("tracemap_collector_spans_total")).map(|(_, n)| n).sum();
        prop_assert_eq!(total as usize, batches.iter().map(|(spans, _)| spans.len()).sum::<usize>());
    }
}

fn any_span() -> impl Strategy<Value = Received> {
    let time = || prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..100u64];
    let service =
        || prop::option::of((0..3u8).prop_map(|n| Node::service(["a", "b", "user"][n as usize].into())));
    let ids = (1..6u64, 0..7u64, 1..4u8);
    (
        ids,
        service(),
        0..6i32,
        (time(), time()),
        0..3i32,
        (peer(), extra()),
    )
        .prop_map(
            |((id, parent_id, trace), service, kind, (a, b), status, (peer, extra))| Received {
                trace: [trace; 16],
                span: Span {
                    id,
                    parent_id,
                    operation: Operation::of(service, "op"),
                    start: a.min(b),
                    end: a.max(b),
                    peer,
                    extra,
                    weight: 1.0,
                    kind: Kind::from_number(kind),
                    status: StatusCode::from_number(status),
                    counted: false,
                },
                place: Place::default(),
            },
        )
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("q"), Just("user"), Just("10.0.0.1:80")]
}

fn peer() -> impl Strategy<Value = Option<Node>> {
    let kind = prop_oneof![
        Just(NodeKind::External),
        Just(NodeKind::Database),
        Just(NodeKind::Destination)
    ];
    prop::option::of((any_name(), kind).prop_map(|(id, kind)| {
        Node::of(&End {
            id: id.into(),
            kind,
            address: (kind == NodeKind::External).then(|| id.into()),
        })
    }))
}

fn extra() -> impl Strategy<Value = Option<Box<Extra>>> {
    let role = prop_oneof![
        Just(MessageRole::Send),
        Just(MessageRole::Receive),
        Just(MessageRole::Process),
        Just(MessageRole::Settle)
    ];
    let message = prop::option::of(
        (role, prop::option::of(any_name()), prop::option::of(0..4u32)).prop_map(
            |(role, destination, count)| Message {
                role,
                destination: destination.map(Node::destination),
                count,
            },
        ),
    );
    let links = prop::collection::vec((1..4u8, 1..6u64).prop_map(|(trace, id)| ([trace; 16], id)), 0..3);
    let caller = prop::option::of((0..3u64).prop_map(Address));
    let hint = prop::option::of((any_name(), any::<u64>(), any::<bool>()).prop_map(
        |(caller, sent, counted)| Hint {
            caller: Node::service(caller.into()),
            sent,
            counted,
        },
    ));
    let times = prop::collection::vec(0..4u32, 0..3);
    prop::option::of((message, links, times, caller, hint, 0..3u32).prop_map(
        |(message, links, times, caller, hint, resend)| {
            Box::new(Extra {
                message,
                links,
                times,
                caller,
                hint,
                resend,
                predicates: 0,
                places: Vec::new(),
            })
        },
    ))
}
