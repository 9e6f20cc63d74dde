//! Random systems as clusters run them: several instances of every service, each with a clock and an exporter of its own.
//!
//! In: random call trees; instances, clock skew, export requests that come in any order, twice or never. Out: counts,
//! compared with the calls that were made, and the counters that explain what is missing.
//! Left out on purpose: the collector's own rules for one trace; the tests of pairing have them.

use std::collections::{BTreeMap, BTreeSet};

use collector::engine::Engine;
use collector::read::{Extracted, Reader, Received};
use collector::shard::Outcomes;
use collector::span::TraceId;
use map::NodeKind;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;

use crate::scene::{SECOND, settings};
use crate::system::{Asked, Rendered, render, requests};

/// Instances of a service.
const INSTANCES: usize = 3;

/// How the cluster is run.
#[derive(Clone, Debug)]
struct Cluster {
    /// Which instance serves a visit, by the number of the visit; repeated.
    balance: Vec<usize>,
    /// What the clock of an instance is ahead of the right time, in milliseconds; repeated.
    skew: Vec<i64>,
    /// How many spans an instance exports in one request; repeated.
    sizes: Vec<usize>,
    /// Ranks of the export requests, by which they arrive; repeated.
    order: Vec<u32>,
    /// Which requests are sent again, as by an exporter that was not answered; repeated.
    again: Vec<bool>,
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let several = || prop::collection::vec(any::<u32>(), 1..20);
    let fields = (
        prop::collection::vec(0..INSTANCES, 1..20),
        prop::collection::vec(-5_000..5_000_i64, 1..9),
        prop::collection::vec(1..8_usize, 1..6),
        several(),
        prop::collection::vec(prop::bool::weighted(0.2), 1..12),
    );
    fields.prop_map(|(balance, skew, sizes, order, again)| Cluster {
        balance,
        skew,
        sizes,
        order,
        again,
    })
}

fn nth<T: Copy>(repeated: &[T], n: usize) -> T {
    repeated[n % repeated.len()]
}

/// A service, and which of its instances.
type Instance = (String, usize);

/// One export: whose, and the spans by their place among all.
struct Export {
    instance: Instance,
    spans: Vec<usize>,
}

impl Cluster {
    /// Which instance each span is of. The spans of a visit are of one.
    fn instances(&self, spans: &[Received]) -> Vec<Instance> {
        let mut found: Vec<Instance> = Vec::new();
        for read in spans {
            let service = service(read);
            let parent = spans
                .iter()
                .position(|p| p.trace == read.trace && p.span.id == read.span.parent_id);
            let same = parent
                .and_then(|at| found.get(at))
                .filter(|(name, _)| *name == service);
            let instance = same
                .cloned()
                .unwrap_or_else(|| (service, nth(&self.balance, found.len())));
            found.push(instance);
        }
        found
    }

    /// What is sent, in the order in which it arrives.
    fn exports(&self, spans: &[Received]) -> Vec<Export> {
        let mut of: BTreeMap<Instance, Vec<usize>> = BTreeMap::new();
        for (at, instance) in self.instances(spans).into_iter().enumerate() {
            of.entry(instance).or_default().push(at);
        }
        let mut exports = Vec::new();
        for (instance, all) in of {
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                let size = nth(&self.sizes, exports.len()).min(rest.len());
                let (now, later) = rest.split_at(size);
                exports.push(Export {
                    instance: instance.clone(),
                    spans: now.to_vec(),
                });
                rest = later;
            }
        }
        let mut ranked: Vec<_> = exports.into_iter().enumerate().collect();
        ranked.sort_by_key(|(number, _)| nth(&self.order, *number).rotate_left(*number as u32));
        ranked.into_iter().map(|(_, export)| export).collect()
    }

    /// The request as the instance writes it.
    fn request(&self, export: &Export, spans: &[Received]) -> Vec<u8> {
        let (service, number) = &export.instance;
        let attributes = vec![
            attribute("service.name", service),
            attribute("service.instance.id", &format!("{service}-{number}")),
            attribute(
                "k8s.pod.ip",
                &format!("10.0.{number}.{}", service.trim_start_matches('s')),
            ),
        ];
        let skew = nth(
            &self.skew,
            number + service.bytes().map(usize::from).sum::<usize>(),
        ) * 1_000_000;
        let wire = export.spans.iter().map(|at| wire(&spans[*at], skew)).collect();
        let resource_spans = vec![ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: wire,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

fn service(read: &Received) -> String {
    let service = read
        .span
        .operation
        .get()
        .service
        .map(|node| node.get().id.to_string());
    service.expect("every span that is rendered has a service")
}

fn wire(read: &Received, skew: i64) -> Span {
    let span = &read.span;
    let database = span.peer.as_ref().map(|peer| peer.get().id.to_string());
    let attributes = database.map_or_else(Vec::new, |id| {
        let (system, host) = id
            .split_once('@')
            .expect("databases are rendered as `system@host`");
        vec![
            attribute("db.system.name", system),
            attribute("server.address", host),
        ]
    });
    Span {
        trace_id: read.trace.to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: match span.parent_id {
            0 => Vec::new(),
            id => id.to_be_bytes().to_vec(),
        },
        kind: span.kind as i32,
        name: "op".to_owned(),
        start_time_unix_nano: (span.start + 10 * SECOND).saturating_add_signed(skew),
        end_time_unix_nano: (span.end + 10 * SECOND).saturating_add_signed(skew),
        attributes,
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A collector that forgets no trace during a test, and how many spans it was sent.
struct Run {
    engine: Engine,
    reader: Reader,
    sent: u64,
    now: u64,
}

impl Run {
    fn new(shards: usize) -> Self {
        let mut settings = settings();
        settings.table.keep = std::time::Duration::from_secs(1_000_000);
        settings.shards = shards;
        Self {
            engine: Engine::new(settings),
            reader: Reader::default(),
            sent: 0,
            now: 0,
        }
    }

    /// Takes a request, and another time if it is sent again.
    fn take(&mut self, body: &[u8], again: bool) {
        for _ in 0..=usize::from(again) {
            let read: Extracted = self.reader.read(body).expect("what was encoded is well-formed");
            self.sent += read.spans.len() as u64;
            assert!(self.engine.take(read, self.now).is_ok(), "the table has room");
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        self.engine.tick(self.now);
    }

    /// Every span that was sent came to one end.
    fn accounted(&self) -> bool {
        let Outcomes {
            kept,
            late,
            duplicate,
            no_service,
            beyond,
        } = self.engine.outcomes();
        kept + late + duplicate + no_service + beyond == self.sent
    }

    fn edges(&self) -> BTreeMap<(String, String), u64> {
        let map = self.engine.map();
        let counted = map.edges.iter().map(|(key, edge)| {
            let ends = (key.client.to_string(), key.server.to_string());
            (ends, edge.stats.requests as u64)
        });
        counted.collect()
    }

    fn visits(&self) -> BTreeMap<String, u64> {
        let map = self.engine.map();
        let services = map
            .nodes
            .iter()
            .filter(|(_, node)| node.kind == NodeKind::Service);
        services
            .map(|(id, node)| (id.to_string(), node.stats.requests as u64))
            .filter(|(_, requests)| *requests > 0)
            .collect()
    }
}

fn counted(truth: &Rendered, arrived: impl Fn(&(TraceId, u64)) -> bool) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for visit in truth
        .visits
        .iter()
        .filter(|visit| visit.spans.iter().any(&arrived))
    {
        *counts.entry(visit.service.clone()).or_default() += 1;
    }
    counts
}

/// Requests into services by the map, whoever called.
fn into_services(edges: &BTreeMap<(String, String), u64>) -> BTreeMap<String, u64> {
    let mut into = BTreeMap::new();
    for ((_, server), count) in edges.iter().filter(|((_, server), _)| server.starts_with('s')) {
        *into.entry(server.clone()).or_default() += count;
    }
    into
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_with_clocks_of_their_own_make_the_map_of_what_happened(
        requests in requests(),
        cluster in cluster(),
        shards in 1..6_usize,
        pauses in prop::collection::vec(0..6_u64, 1..8),
    ) {
        let truth = render(&requests);
        let mut run = Run::new(shards);
        for (number, export) in cluster.exports(&truth.spans).iter().enumerate() {
            run.take(&cluster.request(export, &truth.spans), nth(&cluster.again, number));
            run.pass(nth(&pauses, number));
        }
        run.engine.finish(run.now);
        prop_assert!(run.accounted(), "{:?} of {}", run.engine.outcomes(), run.sent);
        prop_assert_eq!(run.visits(), counted(&truth, |_| true));
        prop_assert_eq!(run.edges(), truth.edges);
    }

    #[test]
    fn whatever_the_number_of_shards_the_map_and_the_outcomes_are_the_same(
        requests in requests(),
        cluster in cluster(),
        pauses in prop::collection::vec(0..6_u64, 1..8),
    ) {
        let truth = render(&requests);
        let [one, many] = [1, 5].map(|shards| {
            let mut run = Run::new(shards);
            for (number, export) in cluster.exports(&truth.spans).iter().enumerate() {
                run.take(&cluster.request(export, &truth.spans), nth(&cluster.again, number));
                run.pass(nth(&pauses, number));
            }
            run.engine.finish(run.now);
            run
        });
        prop_assert_eq!(one.engine.outcomes(), many.engine.outcomes());
        prop_assert_eq!(one.engine.unnamed_peers(), many.engine.unnamed_peers());
        prop_assert_eq!(one.edges(), many.edges());
        let graph = |run: &Run| {
            let metrics = run.engine.metrics();
            let lines = metrics.lines().filter(|line| line.starts_with("traces_service_graph_request_total"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        prop_assert_eq!(graph(&one), graph(&many));
    }

    #[test]
    fn where_exports_are_lost_the_map_says_less_and_counters_say_how_much(
        requests in requests(),
        cluster in cluster(),
        shards in 1..6_usize,
        lost in prop::collection::vec(prop::bool::weighted(0.3), 1..20),
    ) {
        let truth = render(&requests);
        let mut run = Run::new(shards);
        let mut arrived: BTreeSet<(TraceId, u64)> = BTreeSet::new();
        for (number, export) in cluster.exports(&truth.spans).iter().enumerate() {
            if nth(&lost, number) {
                continue;
            }
            run.take(&cluster.request(export, &truth.spans), nth(&cluster.again, number));
            arrived.extend(export.spans.iter().map(|at| (truth.spans[*at].trace, truth.spans[*at].span.id)));
        }
        run.engine.finish(run.now);
        let here = |id: &(TraceId, u64)| arrived.contains(id);
        prop_assert!(run.accounted(), "{:?} of {}", run.engine.outcomes(), run.sent);
        prop_assert_eq!(run.engine.outcomes().kept as usize, arrived.len(), "a repeat is counted as one");

        let edges = run.edges();
        for ((client, server), count) in edges.iter().filter(|((client, _), _)| client != "unknown") {
            let happened = truth.edges.get(&(client.clone(), server.clone())).copied().unwrap_or(0);
            prop_assert!(*count <= happened, "{} -> {}: {} of {}", client, server, count, happened);
        }
        prop_assert_eq!(into_services(&edges), counted(&truth, here), "whoever's caller is lost is called by `unknown`");
        let cut = |asked: &&Asked| {
            let joined = asked.clients.last().is_some_and(here) && here(&asked.arrived);
            !joined && asked.clients.iter().any(here)
        };
        prop_assert_eq!(run.engine.unnamed_peers() as usize, truth.asked.iter().filter(cut).count());
    }
}
