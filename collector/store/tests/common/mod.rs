//! A store that is a list of spans, and spans to fill it and the real one with.
//!
//! In: spans. Out: what a linear scan over them answers.
//! Left out on purpose: everything that makes the real store fast.

#![allow(dead_code, reason = "each test file uses its part")]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use otlp::{Kind, StatusCode};
use prost::Message;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use store::{
    Condition, Field, Filter, Fragment, Literal, Op, Scope, Search, ServiceStats, SpanHit, TagValue, TraceHit,
};

pub(crate) type Pairs = Vec<(String, TagValue)>;

/// A span as a test writes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plain {
    pub(crate) span_id: u8,
    /// 0 for a root.
    pub(crate) parent: u8,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Empty: none.
    pub(crate) service: String,
    pub(crate) resource: Pairs,
    pub(crate) attributes: Pairs,
    pub(crate) library: String,
    /// Name and attributes.
    pub(crate) event: Option<(String, Pairs)>,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            span_id: 1,
            parent: 0,
            name: "op".to_owned(),
            kind: Kind::Server,
            status: StatusCode::Unset,
            message: String::new(),
            start: 1_000,
            end: 2_000,
            service: "cart".to_owned(),
            resource: Vec::new(),
            attributes: Vec::new(),
            library: String::new(),
            event: None,
        }
    }
}

pub(crate) fn trace_id(number: u8) -> [u8; 16] {
    let mut id = [0xab; 16];
    id[15] = number;
    id
}

pub(crate) fn str(text: &str) -> TagValue {
    Literal::Str(text.to_owned())
}

pub(crate) fn pair(key: &str, value: TagValue) -> (String, TagValue) {
    (key.to_owned(), value)
}

fn key_values(pairs: &[(String, TagValue)]) -> Vec<KeyValue> {
    let value = |value: &TagValue| match value {
        Literal::Str(text) => ProtoValue::StringValue(text.clone()),
        Literal::Int(int) => ProtoValue::IntValue(*int),
        Literal::Float(float) => ProtoValue::DoubleValue(*float),
        Literal::Bool(bool) => ProtoValue::BoolValue(*bool),
        other => panic!("{other:?} is no attribute value"),
    };
    let pair = |(key, seen): &(String, TagValue)| KeyValue {
        key: key.clone(),
        value: Some(AnyValue {
            value: Some(value(seen)),
        }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

/// The bytes of these spans, each with a resource of its own.
pub(crate) fn encode(trace: u8, spans: &[Plain]) -> Vec<u8> {
    let resource_spans = |plain: &Plain| {
        let mut resource = plain.resource.clone();
        if !plain.service.is_empty() {
            resource.push(pair("service.name", str(&plain.service)));
        }
        let id = |number: u8| if number == 0 { Vec::new() } else { vec![number; 8] };
        let span = Span {
            trace_id: trace_id(trace).to_vec(),
            span_id: id(plain.span_id),
            parent_span_id: id(plain.parent),
            name: plain.name.clone(),
            kind: plain.kind.number(),
            start_time_unix_nano: plain.start,
            end_time_unix_nano: plain.end,
            attributes: key_values(&plain.attributes),
            events: plain
                .event
                .iter()
                .map(|(name, pairs)| Event {
                    name: name.clone(),
                    attributes: key_values(pairs),
                    ..Event::default()
                })
                .collect(),
            status: Some(Status {
                code: plain.status.number(),
                message: plain.message.clone(),
            }),
            ..Span::default()
        };
        ResourceSpans {
            resource: Some(Resource {
                attributes: key_values(&resource),
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: plain.library.clone(),
                    ..InstrumentationScope::default()
                }),
                spans: vec![span],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    };
    ExportTraceServiceRequest {
        resource_spans: spans.iter().map(resource_spans).collect(),
    }
    .encode_to_vec()
}

pub(crate) fn fragment(trace: u8, spans: &[Plain]) -> Fragment {
    Fragment {
        trace_id: trace_id(trace),
        data: encode(trace, spans).into(),
    }
}

/// The spans in some bytes, in an order that does not depend on theirs.
pub(crate) fn decode(data: &[u8]) -> Vec<Vec<u8>> {
    let request = ExportTraceServiceRequest::decode(data).expect("what is stored is OTLP");
    let mut spans: Vec<_> = request
        .resource_spans
        .iter()
        .map(Message::encode_to_vec)
        .collect();
    spans.sort();
    spans
}

/// The list of spans.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) traces: BTreeMap<u8, Vec<Plain>>,
}

impl Model {
    pub(crate) fn put(&mut self, trace: u8, spans: &[Plain]) {
        let kept = self.traces.entry(trace).or_default();
        for span in spans {
            let same = |other: &Plain| {
                (other.span_id, other.kind, &other.service) == (span.span_id, span.kind, &span.service)
            };
            if span.span_id == 0 || !kept.iter().any(same) {
                kept.push(span.clone());
            }
        }
        self.traces.retain(|_, spans| !spans.is_empty());
    }

    pub(crate) fn search(&self, search: &Search) -> Vec<TraceHit> {
        let mut hits: Vec<_> = self
            .traces
            .iter()
            .filter_map(|(trace, spans)| hit(search, *trace, spans))
            .collect();
        hits.sort_by_key(|hit| (std::cmp::Reverse(hit.start_unix_nano), hit.trace_id));
        hits.truncate(search.limit);
        hits
    }

    pub(crate) fn services(&self) -> Vec<String> {
        let all = self.traces.values().flatten().map(|span| span.service.clone());
        let all: BTreeSet<_> = all.filter(|service| !service.is_empty()).collect();
        all.into_iter().collect()
    }

    pub(crate) fn operations(&self, service: &str) -> Vec<(String, Kind)> {
        let of = self
            .traces
            .values()
            .flatten()
            .filter(|span| span.service == service);
        let all: BTreeSet<_> = of.map(|span| (span.name.clone(), span.kind)).collect();
        all.into_iter().collect()
    }
}

fn duration(span: &Plain) -> u64 {
    if span.start == 0 {
        0
    } else {
        span.end.saturating_sub(span.start)
    }
}

fn root(spans: &[Plain]) -> &Plain {
    // `min_by_key` gives the first of several that are equally early.
    let earliest = |of: &dyn Fn(&&Plain) -> bool| spans.iter().filter(of).min_by_key(|span| span.start);
    let is_known = |id: u8| spans.iter().any(|span| span.span_id == id);
    earliest(&|span| span.parent == 0)
        .or_else(|| earliest(&|span| !is_known(span.parent)))
        .or_else(|| earliest(&|_| true))
        .expect("a trace has spans")
}

struct Seen<'a> {
    trace: u8,
    spans: &'a [Plain],
    start: u64,
    duration: u64,
}

fn hit(search: &Search, trace: u8, spans: &[Plain]) -> Option<TraceHit> {
    let timed = || spans.iter().filter(|span| span.start > 0);
    let start = timed().map(|span| span.start).min().unwrap_or(0);
    let end = timed().map(|span| span.start + duration(span)).max().unwrap_or(0);
    let seen = Seen {
        trace,
        spans,
        start,
        duration: end - start,
    };
    let in_time = search.range.start <= start
        && start < search.range.end
        && search.min_duration.is_none_or(|least| seen.duration >= least)
        && search.max_duration.is_none_or(|most| seen.duration <= most);
    let matched = seen.filter(&search.filter).filter(|_| in_time)?;
    let mut shown: Vec<_> = matched.iter().map(|index| &spans[*index]).collect();
    shown.sort_by_key(|span| span.start);
    shown.truncate(search.spans_per_trace);
    let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for span in spans {
        let counts = services.entry(&span.service).or_default();
        counts.0 += 1;
        counts.1 += u64::from(span.status == StatusCode::Error);
    }
    Some(TraceHit {
        trace_id: trace_id(trace),
        root_service: root(spans).service.clone(),
        root_name: root(spans).name.clone(),
        start_unix_nano: start,
        duration_nanos: seen.duration,
        matched: shown.iter().map(|span| shown_span(span)).collect(),
        matched_total: matched.len() as u64,
        services: services
            .into_iter()
            .map(|(name, (spans, errors))| ServiceStats {
                name: name.to_owned(),
                spans,
                errors,
            })
            .collect(),
    })
}

/// Without the attributes that the filter names: see [`without_named`].
fn shown_span(span: &Plain) -> SpanHit {
    let service = Some(pair("service.name", str(&span.service))).filter(|_| !span.service.is_empty());
    SpanHit {
        span_id: [span.span_id; 8],
        name: span.name.clone(),
        start_unix_nano: span.start,
        duration_nanos: duration(span),
        attributes: service.into_iter().collect(),
    }
}

/// The hits with no attributes but `service.name`, as the model has them.
pub(crate) fn without_named(mut hits: Vec<TraceHit>) -> Vec<TraceHit> {
    for span in hits.iter_mut().flat_map(|hit| &mut hit.matched) {
        span.attributes.retain(|(name, _)| name == "service.name");
    }
    hits
}

/// The names in the model's traces that are the same attribute.
const ALIASES: [&str; 2] = ["http.method", "http.request.method"];

impl Seen<'_> {
    fn filter(&self, filter: &Filter) -> Option<BTreeSet<usize>> {
        match filter {
            Filter::All => Some((0..self.spans.len()).collect()),
            Filter::Spans(condition) => {
                let all = 0..self.spans.len();
                let matched: BTreeSet<_> = all.filter(|at| self.holds(condition, &self.spans[*at])).collect();
                Some(matched).filter(|matched| !matched.is_empty())
            }
            Filter::And(one, other) => Some(&self.filter(one)? | &self.filter(other)?),
            Filter::Or(one, other) => match (self.filter(one), self.filter(other)) {
                (Some(one), Some(other)) => Some(&one | &other),
                (one, other) => one.or(other),
            },
        }
    }

    fn holds(&self, condition: &Condition, span: &Plain) -> bool {
        match condition {
            Condition::True => true,
            Condition::And(of) => of.iter().all(|one| self.holds(one, span)),
            Condition::Or(of) => of.iter().any(|one| self.holds(one, span)),
            Condition::Not(other) => !self.holds(other, span),
            Condition::Exists(field) => !self.values(field, span).is_empty(),
            Condition::Compare { field, op, value } => self
                .values(field, span)
                .iter()
                .any(|seen| compares(seen, op, value)),
        }
    }

    fn values(&self, field: &Field, span: &Plain) -> Vec<Literal> {
        let said = |text: &str| if text.is_empty() { vec![] } else { vec![str(text)] };
        let hex = |id: u8| format!("{id:02x}").repeat(8);
        match field {
            Field::Name => vec![str(&span.name)],
            Field::Status => vec![Literal::Status(span.status)],
            Field::StatusMessage => said(&span.message),
            Field::Kind => vec![Literal::Kind(span.kind)],
            Field::Duration => vec![Literal::Duration(duration(span))],
            Field::TraceDuration => vec![Literal::Duration(self.duration)],
            Field::RootName => vec![str(&root(self.spans).name)],
            Field::RootServiceName => vec![str(&root(self.spans).service)],
            Field::TraceId => vec![str(&format!("{}{:02x}", "ab".repeat(15), self.trace))],
            Field::SpanId => vec![str(&hex(span.span_id))],
            Field::ParentId => {
                if span.parent == 0 {
                    vec![]
                } else {
                    vec![str(&hex(span.parent))]
                }
            }
            Field::EventName => span.event.iter().map(|(name, _)| str(name)).collect(),
            Field::InstrumentationName => said(&span.library),
            Field::InstrumentationVersion => vec![],
            Field::Attribute { scope: None, key } => {
                let on_span = named(&span.attributes, key);
                if on_span.is_empty() {
                    resource(span, key)
                } else {
                    on_span
                }
            }
            Field::Attribute {
                scope: Some(scope),
                key,
            } => match scope {
                Scope::Span => named(&span.attributes, key),
                Scope::Resource => resource(span, key),
                Scope::Event => span
                    .event
                    .iter()
                    .flat_map(|(_, pairs)| named(pairs, key))
                    .collect(),
                Scope::Link | Scope::Instrumentation => vec![],
            },
        }
    }
}

fn resource(span: &Plain, key: &str) -> Vec<Literal> {
    let mut values = named(&span.resource, key);
    if key == "service.name" && !span.service.is_empty() {
        values.push(str(&span.service));
    }
    values
}

fn named(pairs: &[(String, Literal)], key: &str) -> Vec<Literal> {
    let same = |name: &str| name == key || ALIASES.contains(&name) && ALIASES.contains(&key);
    pairs
        .iter()
        .filter(|(name, _)| same(name))
        .map(|(_, value)| value.clone())
        .collect()
}

fn compares(seen: &Literal, op: &Op, value: &Literal) -> bool {
    let order = match (seen, value) {
        (Literal::Str(a), Literal::Str(b)) => a.partial_cmp(b),
        (Literal::Bool(a), Literal::Bool(b)) => a.partial_cmp(b),
        (Literal::Status(a), Literal::Status(b)) => a.partial_cmp(b),
        (Literal::Kind(a), Literal::Kind(b)) => a.partial_cmp(b),
        // An attribute is a number without a unit; only a duration compares with one.
        (Literal::Int(_) | Literal::Float(_), Literal::Duration(_)) => None,
        _ => match (number(seen), number(value)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => None,
        },
    };
    match op {
        Op::Eq => order.is_some_and(Ordering::is_eq),
        Op::Ne => order.is_none_or(Ordering::is_ne),
        Op::Lt => order.is_some_and(Ordering::is_lt),
        Op::Le => order.is_some_and(Ordering::is_le),
        Op::Gt => order.is_some_and(Ordering::is_gt),
        Op::Ge => order.is_some_and(Ordering::is_ge),
        Op::Match(pattern) => matches!(seen, Literal::Str(text) if pattern.is_match(text)),
        Op::NotMatch(pattern) => matches!(seen, Literal::Str(text) if !pattern.is_match(text)),
    }
}

/// The model's numbers are small enough to be floating point all of them; durations compare with whatever is one.
fn number(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Int(int) => Some(*int as f64),
        Literal::Float(float) => Some(*float),
        Literal::Duration(nanos) => Some(*nanos as f64),
        _ => None,
    }
}
