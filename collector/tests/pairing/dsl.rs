//! Traces as text, and what they say as text.
//!
//! In: one span a line, `checkout SERVER 2<-1 0..30ms error "POST /checkout" peer.service=billing`. Before it the trace
//! may stand (`T2`); `-` is a span without `service.name`. `link=7` or `link=T2/7` links, `state=` is the tracestate,
//! `ns=`, `env=` and `ip=` describe the resource; everything else is an attribute.
//! Out: the spans as the collector reads them from OTLP bytes, and [`Assembly`] as sorted lines.
//! Left out on purpose: mercy. A line that is no span fails the test.

use std::fmt::Write as _;
use std::time::Duration;

use collector::assemble::{Assembly, Call, Producer, Surroundings, Workspace, assemble};
use collector::names::Node;
use collector::read::{Extracted, Reader};
use collector::span::{Address, Span, SpanId, TraceId};
use expect_test::Expect;
use map::NodeKind;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire, span::Link};
use prost::Message as _;

/// When millisecond 0 of every test is.
const EPOCH: u64 = 1_700_000_000_000_000_000;

/// Spans of one request, as the collector reads them.
pub(crate) fn request(text: &str) -> Extracted {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let resource_spans = lines.map(line).collect();
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    Reader::default()
        .read(&body)
        .expect("what was encoded is well-formed")
}

/// Spans of one trace.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    request(text).spans.into_iter().map(|read| read.span).collect()
}

/// What one trace says when nothing else is known.
pub(crate) fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&told(&assembled(&spans(text))));
}

/// What the spans of trace 1 say when nothing else is known.
pub(crate) fn assembled(spans: &[Span]) -> Assembly {
    assemble(trace(1), spans, &Nothing, &mut Workspace::default())
}

/// A trace's id.
pub(crate) fn trace(number: u8) -> TraceId {
    [number; 16]
}

/// No other trace, no known address.
pub(crate) struct Nothing;

impl Surroundings for Nothing {
    fn producer(&self, _: TraceId, _: SpanId) -> Option<Producer> {
        None
    }

    fn is_workload(&self, _: Address) -> bool {
        false
    }
}

fn line(line: &str) -> ResourceSpans {
    let mut words = words(line).into_iter().peekable();
    let trace_id = match words.peek().and_then(|word| trace_number(word)) {
        Some(number) => {
            words.next();
            trace(number)
        }
        None => trace(1),
    };
    let mut next = || words.next().unwrap_or_else(|| panic!("`{line}` is too short"));
    let (service, kind, ids, times) = (next(), next(), next(), next());
    let (id, parent) = ids
        .split_once("<-")
        .map_or((ids.as_str(), None), |(id, parent)| (id, Some(parent)));
    let (start, end) = times
        .trim_end_matches("ms")
        .split_once("..")
        .expect("times as `0..30ms`");
    let mut span = Wire {
        trace_id: trace_id.to_vec(),
        span_id: bytes(id),
        parent_span_id: parent.map(bytes).unwrap_or_default(),
        kind: (0..)
            .zip(["-", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"])
            .find_map(|(number, name)| (name == kind).then_some(number))
            .unwrap_or_else(|| panic!("`{kind}` is no kind")),
        start_time_unix_nano: at(start),
        end_time_unix_nano: at(end),
        name: "op".to_owned(),
        ..Wire::default()
    };
    let mut resource = Resource::default();
    if service != "-" {
        resource.attributes.push(attribute("service.name", &service));
    }
    for word in words {
        extra(&word, &mut span, &mut resource);
    }
    let scope_spans = vec![ScopeSpans {
        spans: vec![span],
        ..ScopeSpans::default()
    }];
    ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..ResourceSpans::default()
    }
}

fn extra(word: &str, span: &mut Wire, resource: &mut Resource) {
    match word.split_once('=') {
        None if word == "error" => span.status.get_or_insert_default().code = 2,
        None => word.trim_matches('"').clone_into(&mut span.name),
        Some(("link", to)) => {
            let (trace_number, id) = to.split_once('/').unwrap_or(("T1", to));
            let trace_id = trace(self::trace_number(trace_number).expect("`link=T2/7`")).to_vec();
            span.links.push(Link {
                trace_id,
                span_id: bytes(id),
                ..Link::default()
            });
        }
        Some(("state", state)) => state.clone_into(&mut span.trace_state),
        Some(("ns", value)) => resource.attributes.push(attribute("service.namespace", value)),
        Some(("env", value)) => resource
            .attributes
            .push(attribute("deployment.environment.name", value)),
        Some(("ip", value)) => resource.attributes.push(attribute("k8s.pod.ip", value)),
        Some((key, value)) => span.attributes.push(attribute(key, value)),
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = match value.parse() {
        Ok(number) => any_value::Value::IntValue(number),
        Err(_) => any_value::Value::StringValue(value.trim_matches('"').to_owned()),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    let split = line.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && c.is_whitespace()
    });
    split.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn trace_number(word: &str) -> Option<u8> {
    word.strip_prefix('T')?.parse().ok()
}

fn bytes(id: &str) -> Vec<u8> {
    id.parse::<u64>()
        .expect("ids are small numbers")
        .to_be_bytes()
        .to_vec()
}

fn at(milliseconds: &str) -> u64 {
    EPOCH.saturating_add_signed(milliseconds.parse::<i64>().expect("times in milliseconds") * 1_000_000)
}

/// An assembly as sorted lines.
pub(crate) fn told(said: &Assembly) -> String {
    let mut lines = Vec::new();
    for visit in &said.visits {
        let (total, own) = (ms(visit.total), ms(visit.own));
        let service = visit.operation.service.map_or("-", |node| node.get().id.as_str());
        let mut line = format!("visit {service} `{}` {total} own {own}", visit.operation.name);
        mark(&mut line, visit.failed, visit.weight);
        lines.push(line);
    }
    for call in &said.calls {
        lines.push(call_line(call));
    }
    for flow in &said.flows {
        let by = flow.destination.map_or("?", |d| d.get().id.as_str());
        let mut line = format!(
            "flow {} -> {by} -> {} queue {}",
            flow.producer.id,
            flow.consumer.id,
            ms(flow.queue)
        );
        mark(&mut line, flow.failed, flow.weight);
        lines.push(line);
    }
    if said.unnamed_peers > 0 {
        lines.push(format!("unnamed peers {}", said.unnamed_peers));
    }
    lines.sort();
    lines
        .into_iter()
        .fold(String::new(), |text, line| text + &line + "\n")
}

fn call_line(call: &Call) -> String {
    let mut line = format!(
        "call {} -> {} {}",
        end(call.client),
        end(call.server),
        call.evidence.as_str()
    );
    let times = [
        ("client", call.client_seconds),
        ("server", call.server_seconds),
        ("own", call.own),
        ("queue", call.queue),
    ];
    for (name, seconds) in times {
        if let Some(seconds) = seconds {
            let _ = write!(line, " {name} {}", ms(seconds));
        }
    }
    mark(&mut line, call.failed, call.weight);
    for (said, word) in [
        (call.retry, " retry"),
        (call.counted_elsewhere, " counted elsewhere"),
    ] {
        if said {
            line.push_str(word);
        }
    }
    line
}

fn end(end: Node) -> String {
    match end.kind {
        NodeKind::Service | NodeKind::User | NodeKind::Unknown => end.id.to_string(),
        kind => format!("{} ({kind})", end.id),
    }
}

fn mark(line: &mut String, failed: bool, weight: f32) {
    if failed {
        line.push_str(" failed");
    }
    if (weight - 1.0).abs() > 1e-6 {
        let _ = write!(line, " x{weight}");
    }
}

fn ms(seconds: f64) -> String {
    format!("{:?}", Duration::from_nanos((seconds * 1e9).round() as u64))
}
