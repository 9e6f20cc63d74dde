//! Spans from anywhere, in any order and at any time: the collector's engine counts them all and goes on after a restart.
//!
//! In: requests of spans, and time that passes. Out: a panic where reading, pairing, counting, writing or restoring does,
//! where a span is in no counter, or where a restart changes the map.
//! Left out on purpose: bytes that are no request, which `view_against_prost` has; which edges are right.

#![no_main]

use arbitrary::Arbitrary;
use collector::engine::{Engine, EngineSettings};
use collector::ledger::{LedgerSettings, MapBudget};
use collector::read::Reader;
use collector::table::TableSettings;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

const SERVICES: [&str; 6] = ["web", "cart", "payment", "mail", "", "user"];
const NAMES: [&str; 5] = ["GET /", "POST /cart", "", "send", "orders process"];
const STATES: [&str; 6] = [
    "",
    "ot=th:8",
    "ot=th:ffffffffffffff",
    "tm=c:web;k:h;t:1;q:1",
    "tm=c:shop/mail;k:m;t:fffffffffffff",
    "tm=c:cart;k:h;t:63a0e6d3c2000;q:1,ot=th:c",
];
/// Attributes that pairing reads, of spans and of resources.
const KEYS: [&str; 30] = [
    "service.peer.name",
    "peer.service",
    "db.system.name",
    "db.system",
    "db.namespace",
    "db.name",
    "messaging.destination.template",
    "messaging.destination.name",
    "messaging.system",
    "messaging.operation.type",
    "messaging.operation",
    "messaging.batch.message_count",
    "server.address",
    "net.peer.name",
    "http.host",
    "network.peer.address",
    "client.address",
    "rpc.service",
    "rpc.system",
    "url.full",
    "http.url",
    "server.port",
    "net.peer.port",
    "http.request.resend_count",
    "service.namespace",
    "deployment.environment.name",
    "k8s.pod.ip",
    "service.version",
    "host.name",
    "correlation.id",
];
const TEXTS: [&str; 12] = [
    "web",
    "cart",
    "postgresql",
    "redis",
    "kafka",
    "orders",
    "receive",
    "process",
    "10.0.0.7:8080",
    "http://cart:80/x",
    "[::1]:99999",
    "80",
];

#[derive(Debug, Arbitrary)]
enum Plain<'a> {
    Known(u8),
    Text(&'a str),
    Int(i64),
    Bool(bool),
    Double(f64),
    Nothing,
}

#[derive(Debug, Arbitrary)]
struct OneSpan<'a> {
    trace: u8,
    id: u8,
    parent: u8,
    wrong_id: Option<&'a [u8]>,
    name: u8,
    kind: u8,
    start: Time,
    length: Time,
    failed: bool,
    state: u8,
    flags: u32,
    attributes: Vec<(u8, Plain<'a>)>,
    links: Vec<(u8, u8)>,
}

#[derive(Debug, Arbitrary)]
enum Time {
    Millis(u16),
    Nanos(u64),
}

#[derive(Debug, Arbitrary)]
struct Request<'a> {
    service: u8,
    resource: Vec<(u8, Plain<'a>)>,
    spans: Vec<OneSpan<'a>>,
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Take(Vec<Request<'a>>),
    Millis(u16),
    Hours(u8),
    Finish,
    Restart,
}

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    shards: u8,
    small: bool,
    steps: Vec<Step<'a>>,
}

const BASE: u64 = 1_795_320_000_000_000_000;

impl Time {
    fn from(&self, base: u64) -> u64 {
        match self {
            Self::Millis(millis) => base.saturating_add(u64::from(*millis) * 1_000_000),
            Self::Nanos(nanos) => *nanos,
        }
    }
}

fn pairs(pairs: &[(u8, Plain<'_>)]) -> Vec<KeyValue> {
    let value = |plain: &Plain<'_>| {
        Some(match plain {
            Plain::Known(which) => Value::StringValue(TEXTS[usize::from(*which) % TEXTS.len()].to_owned()),
            Plain::Text(text) => Value::StringValue((*text).to_owned()),
            Plain::Int(int) => Value::IntValue(*int),
            Plain::Bool(bool) => Value::BoolValue(*bool),
            Plain::Double(double) => Value::DoubleValue(*double),
            Plain::Nothing => return None,
        })
    };
    pairs
        .iter()
        .take(8)
        .map(|(key, plain)| KeyValue {
            key: KEYS[usize::from(*key) % KEYS.len()].to_owned(),
            value: value(plain).map(|value| AnyValue { value: Some(value) }),
            ..KeyValue::default()
        })
        .collect()
}

fn trace_id(n: u8) -> Vec<u8> {
    vec![n % 5; 16]
}

fn span_id(n: u8) -> Vec<u8> {
    vec![n % 13; 8]
}

fn span(one: &OneSpan<'_>) -> Span {
    let start = one.start.from(BASE);
    Span {
        trace_id: one.wrong_id.map_or_else(|| trace_id(one.trace), <[u8]>::to_vec),
        span_id: span_id(one.id),
        parent_span_id: if one.parent % 13 == 0 {
            Vec::new()
        } else {
            span_id(one.parent)
        },
        trace_state: STATES[usize::from(one.state) % STATES.len()].to_owned(),
        name: NAMES[usize::from(one.name) % NAMES.len()].to_owned(),
        kind: i32::from(one.kind % 7),
        start_time_unix_nano: start,
        end_time_unix_nano: one.length.from(start),
        flags: one.flags,
        attributes: pairs(&one.attributes),
        links: one
            .links
            .iter()
            .take(4)
            .map(|(trace, id)| Link {
                trace_id: trace_id(*trace),
                span_id: span_id(*id),
                ..Link::default()
            })
            .collect(),
        status: Some(Status {
            code: i32::from(one.failed) * 2,
            ..Status::default()
        }),
        ..Span::default()
    }
}

fn request(requests: &[Request<'_>]) -> (u64, Vec<u8>) {
    let mut sent = 0;
    let resource_spans = requests
        .iter()
        .take(4)
        .map(|request| {
            let mut attributes = pairs(&request.resource);
            let service = SERVICES[usize::from(request.service) % SERVICES.len()];
            if !service.is_empty() {
                attributes.push(KeyValue {
                    key: "service.name".to_owned(),
                    value: Some(AnyValue {
                        value: Some(Value::StringValue(service.to_owned())),
                    }),
                    ..KeyValue::default()
                });
            }
            let spans: Vec<_> = request.spans.iter().take(12).map(span).collect();
            sent += spans.len() as u64;
            ResourceSpans {
                resource: Some(Resource {
                    attributes,
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }
        })
        .collect();
    (sent, ExportTraceServiceRequest { resource_spans }.encode_to_vec())
}

fn settings(case: &Case<'_>) -> EngineSettings {
    let budget = if case.small {
        MapBudget { nodes: 3, edges: 3 }
    } else {
        MapBudget::default()
    };
    EngineSettings {
        table: TableSettings::default(),
        ledger: LedgerSettings::new(baseline::Settings::default(), budget, map::Services::new()),
        shards: usize::from(case.shards % 3) + 1,
    }
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    let (mut engine, mut reader) = (Engine::new(settings(&case)), Reader::default());
    let mut now = BASE;
    for step in case.steps.iter().take(24) {
        match step {
            Step::Take(requests) => {
                let (sent, body) = request(requests);
                let extracted = reader.read(&body).expect("what prost wrote is valid");
                assert_eq!(reader.read_valid(&body).spans, extracted.spans);
                let (spans, rejected) = (extracted.spans.len() as u64, extracted.rejected.len() as u64);
                assert_eq!(spans + rejected, sent);
                engine.take(extracted, now).expect("the table has room");
            }
            Step::Millis(millis) => {
                now += u64::from(*millis) * 1_000_000;
                engine.tick(now);
            }
            Step::Hours(hours) => {
                now += u64::from(*hours) * 3_600_000_000_000;
                engine.tick(now);
            }
            Step::Finish => engine.finish(now),
            Step::Restart => {
                engine.finish(now);
                let (before, saved) = (engine.map(), engine.save());
                engine = Engine::restore(settings(&case), &saved).expect("what we wrote is readable");
                assert_eq!(engine.map(), before);
                assert_eq!(engine.save(), saved);
            }
        }
    }
    engine.finish(now);
    assert_eq!(engine.open_traces(), 0);
    for edge in engine.map().edges.values() {
        let stats = &edge.stats;
        assert!(stats.requests.is_finite() && stats.requests >= 0.0, "{stats:?}");
        assert!(stats.failed.is_finite() && stats.failed >= 0.0, "{stats:?}");
    }
    assert!(!engine.metrics().contains("NaN"));
});
