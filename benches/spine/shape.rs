//! What a request of the load looks like.
//!
//! In: which variant, which side of the calls, what services are called. Out: one `ExportTraceServiceRequest` whose ids
//! are still to be written.
//! Left out on purpose: anything rare. The requests are a fleet's of ordinary HTTP services, so that costs are ordinary.
//!
//! Fifty traces take two requests. Each trace is a chain through ten services with a database at its end, ten SERVER and
//! ten CLIENT spans; one request has all that CLIENT side, the other all that SERVER side. So each edge between services
//! has its halves in different requests, and each request has ten resources of fifty spans in two scopes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Services in each trace, and resources in each request.
pub(crate) const SERVICES: usize = 10;
/// Traces that share a pair of requests.
pub(crate) const TRACES: usize = 50;
/// Scopes of each resource.
const SCOPES: usize = 2;

/// One side of every call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The CLIENT spans, the one to the database included.
    Callers,
    /// The SERVER spans.
    Callees,
}

/// The name of the service at each place of the chain.
pub(crate) type Naming = dyn Fn(usize) -> String;

/// All that one side says of [`TRACES`] traces; every id but an absent parent is ones.
pub(crate) fn request(variant: u64, half: Half, naming: &Naming) -> ExportTraceServiceRequest {
    let resource_spans = (0..SERVICES).map(|service| ResourceSpans {
        resource: Some(Resource {
            attributes: resource(service, naming),
            ..Resource::default()
        }),
        scope_spans: (0..SCOPES)
            .map(|scope| scope_spans(variant, service, scope, half, naming))
            .collect(),
        schema_url: String::new(),
    });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

fn scope_spans(variant: u64, service: usize, scope: usize, half: Half, naming: &Naming) -> ScopeSpans {
    let traces = TRACES / SCOPES;
    let name = ["http.server", "http.client"][scope % 2].to_owned();
    ScopeSpans {
        scope: Some(InstrumentationScope {
            name,
            version: "1.4.2".to_owned(),
            ..Default::default()
        }),
        spans: (scope * traces..(scope + 1) * traces)
            .map(|trace| span(variant, service, trace, half, naming))
            .collect(),
        schema_url: String::new(),
    }
}

fn span(variant: u64, service: usize, trace: usize, half: Half, naming: &Naming) -> Span {
    let random = mixed(variant << 32 | (trace as u64) << 8 | service as u64);
    let last = service == SERVICES - 1;
    let (kind, attributes) = match half {
        Half::Callees => (SpanKind::Server, server(&naming(service), random)),
        Half::Callers if last => (SpanKind::Client, database(random)),
        Half::Callers => (SpanKind::Client, client(&naming(service + 1), random)),
    };
    let (start, end) = times(variant, service, trace, half);
    let is_root = service == 0 && half == Half::Callees;
    Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        parent_span_id: if is_root { Vec::new() } else { vec![1; 8] },
        flags: 0x301,
        name: if last && half == Half::Callers {
            "SELECT orders".to_owned()
        } else {
            operation(service, random)
        },
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes,
        events: if trace.is_multiple_of(4) {
            vec![event(start)]
        } else {
            Vec::new()
        },
        links: if trace.is_multiple_of(20) {
            vec![link(random)]
        } else {
            Vec::new()
        },
        status: Some(Status {
            code: if trace == 7 { 2 } else { 1 },
            ..Status::default()
        }),
        ..Span::default()
    }
}

/// A millisecond on the way into each service, 0.4 ms of network each way, and as much on the way back; stretched per trace.
fn times(variant: u64, service: usize, trace: usize, half: Half) -> (u64, u64) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos() as u64;
    let stretch = 50 + mixed(variant << 16 | trace as u64) % 100;
    let within = if half == Half::Callers { 400 } else { 0 };
    let into = service as u64 * 1_000 + within;
    let back = (4 * SERVICES - service) as u64 * 1_000 - within;
    (now + into * stretch * 10, now + back * stretch * 10)
}

fn operation(service: usize, random: u64) -> String {
    let verb = ["GET", "POST"][(random % 2) as usize];
    format!(
        "{verb} /api/v1/{}/{{id}}",
        ["items", "quotes", "carts", "orders", "offers"][service % 5]
    )
}

fn server(name: &str, random: u64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.path", &format!("/api/v1/items/{}", random % 100_000)),
        text("http.route", "/api/v1/items/{id}"),
        text("url.scheme", "http"),
        text("server.address", &format!("{name}.shop.svc.cluster.local")),
        text("client.address", &format!("10.42.7.{}", random % 200)),
        text("network.protocol.version", "1.1"),
        text(
            "user_agent.original",
            "okhttp/4.12.0 (build 10071; android 14; tablet; 10.1 inch)",
        ),
        number("http.response.status_code", 200),
        number("server.port", 8080),
        number("thread.id", (random % 64).cast_signed()),
        flag("app.cache.hit", random.is_multiple_of(2)),
    ]
}

fn client(callee: &str, random: u64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text(
            "url.full",
            &format!(
                "http://{callee}.shop.svc.cluster.local:8080/api/v1/items/{}",
                random % 100_000
            ),
        ),
        text("url.template", "/api/v1/items/{id}"),
        text("url.scheme", "http"),
        text("server.address", &format!("{callee}.shop.svc.cluster.local")),
        text("network.peer.address", &format!("10.42.8.{}", random % 200)),
        text("network.protocol.version", "1.1"),
        text("user_agent.original", "okhttp/4.12.0 (build 10071)"),
        number("http.response.status_code", 200),
        number("server.port", 8080),
        number("network.peer.port", 8080),
        flag("app.cache.hit", random.is_multiple_of(2)),
    ]
}

fn database(random: u64) -> Vec<KeyValue> {
    vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "orders"),
        text("db.operation.name", "SELECT"),
        text("db.collection.name", "orders"),
        text(
            "db.query.text",
            "SELECT id, total, state, placed_at FROM orders WHERE customer = $1 LIMIT 50",
        ),
        text("server.address", "orders-db.shop.svc.cluster.local"),
        text("network.peer.address", &format!("10.42.9.{}", random % 200)),
        text("network.transport", "tcp"),
        number("server.port", 5432),
        number("network.peer.port", 5432),
        number("db.response.returned_rows", (random % 50).cast_signed()),
        flag("app.cache.hit", false),
    ]
}

fn resource(service: usize, naming: &Naming) -> Vec<KeyValue> {
    let name = naming(service);
    vec![
        text("service.name", &name),
        text("service.namespace", "shop"),
        text("service.version", "2026.11.3"),
        text("service.instance.id", &format!("{:016x}", mixed(service as u64))),
        text("deployment.environment.name", "production"),
        text("host.name", &format!("node-{service}.eu-central")),
        text("k8s.namespace.name", "shop"),
        text("k8s.pod.name", &format!("{name}-6c9d8f7b5-x{service}kzq")),
        text("telemetry.sdk.language", "java"),
        text("telemetry.sdk.version", "1.58.0"),
    ]
}

/// The ten services of a shop.
pub(crate) fn shop(service: usize) -> String {
    const NAMES: [&str; SERVICES] = [
        "web",
        "gateway",
        "catalogue",
        "pricing",
        "cart",
        "checkout",
        "payment",
        "fraud",
        "ledger",
        "orders",
    ];
    NAMES[service % SERVICES].to_owned()
}

fn event(at: u64) -> Event {
    let attributes = vec![text("cache.key", "price:1007:eur"), number("cache.age_ms", 812)];
    Event {
        time_unix_nano: at,
        name: "cache.miss".to_owned(),
        attributes,
        dropped_attributes_count: 0,
    }
}

fn link(random: u64) -> Link {
    let [a, b] = [random, mixed(random)].map(|half| half.max(1).to_be_bytes());
    Link {
        trace_id: [a, b].concat(),
        span_id: b.to_vec(),
        ..Link::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// `splitmix64`, whose outputs differ for different inputs.
pub(crate) fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
