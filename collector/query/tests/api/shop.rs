//! A backend in memory: the shop's two traces, and recorded ones of Istio's Bookinfo and of Jaeger.
//!
//! In: OTLP/JSON. Out: a [`Backend`] that looks at every span for every question.
//! Left out on purpose: what no test asks for, such as ids and old attribute names; the store has tests of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use otlp::{Kind, StatusCode};
use prost::Message as _;
use query::{Backend, BackendError, Dependency};
use store::{
    Condition, Field, Filter, Found, Literal, Op, Scope, Search, ServiceStats, SpanHit, TagValue, TimeRange,
    TraceHit,
};

/// A minute after the shop's last trace.
pub(crate) const NOW: u64 = 1_795_320_120_000_000_000;
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../otlp/tests/fixtures/");

#[derive(Default)]
pub(crate) struct Shop {
    traces: BTreeMap<[u8; 16], Vec<ResourceSpans>>,
    /// What was searched for, in turn.
    pub(crate) searches: Arc<Mutex<Vec<Search>>>,
    /// Whether every search claims not to have seen everything.
    pub(crate) incomplete: bool,
    /// What every trace is read as.
    pub(crate) damaged: Option<Bytes>,
}

/// A recorded file of OTLP/JSON.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl Shop {
    pub(crate) fn open() -> Self {
        let mut shop = Self::default();
        shop.put(include_bytes!("shop.json"));
        for name in [
            "kiali-bookinfo/responseTrace.json",
            "jaeger-ui/otlp2jaeger-in.json",
            "jaeger-ui/otlp2jaeger-multi-in-combined.json",
            "jaeger-otlp/link_attributes_trace.json",
        ] {
            shop.put(&fixture(name));
        }
        shop
    }

    pub(crate) fn ids(&self) -> Vec<[u8; 16]> {
        self.traces.keys().copied().collect()
    }

    pub(crate) fn put(&mut self, json: &[u8]) {
        let bytes = otlp::json::trace_request_to_protobuf(json).expect("OTLP/JSON");
        let data = TracesData::decode(bytes).expect("what was just encoded");
        for resource_spans in data.resource_spans {
            for scope_spans in &resource_spans.scope_spans {
                for span in &scope_spans.spans {
                    self.put_span(&resource_spans, scope_spans, span);
                }
            }
        }
    }

    /// Adds a span to its trace, beside the span before it where resource and scope are the same.
    fn put_span(&mut self, resource_spans: &ResourceSpans, scope_spans: &ScopeSpans, span: &Span) {
        let id = <[u8; 16]>::try_from(&*span.trace_id).expect("a trace id of 16 bytes");
        let trace = self.traces.entry(id).or_default();
        if let Some(last) = trace.last_mut()
            && last.resource == resource_spans.resource
            && let Some(scope) = last.scope_spans.last_mut()
            && scope.scope == scope_spans.scope
        {
            scope.spans.push(span.clone());
            return;
        }
        let scope_spans = ScopeSpans {
            spans: vec![span.clone()],
            ..scope_spans.clone()
        };
        trace.push(ResourceSpans {
            scope_spans: vec![scope_spans],
            ..resource_spans.clone()
        });
    }

    fn spans(&self) -> impl Iterator<Item = (&ResourceSpans, &Span)> {
        self.traces.values().flat_map(|trace| spans_of(trace))
    }
}

fn spans_of(trace: &[ResourceSpans]) -> impl Iterator<Item = (&ResourceSpans, &Span)> {
    trace.iter().flat_map(|resource| {
        let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        spans.map(move |span| (resource, span))
    })
}

impl Backend for Shop {
    fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, BackendError> {
        if let Some(damaged) = &self.damaged {
            return Ok(Some(damaged.clone()));
        }
        let trace = self.traces.get(&id).cloned();
        Ok(trace.map(|resource_spans| TracesData { resource_spans }.encode_to_vec().into()))
    }

    fn search(&self, search: &Search) -> Result<Found, BackendError> {
        self.searches
            .lock()
            .expect("no test panics here")
            .push(search.clone());
        let mut traces: Vec<_> = self
            .traces
            .iter()
            .filter_map(|(id, trace)| hit(*id, trace, search))
            .collect();
        traces.sort_by_key(|hit| std::cmp::Reverse(hit.start_unix_nano));
        traces.truncate(search.limit);
        Ok(Found {
            traces,
            complete: !self.incomplete,
            examined_bytes: 4_711,
            examined_traces: self.traces.len() as u64,
        })
    }

    fn services(&self) -> Result<Vec<String>, BackendError> {
        let services: BTreeSet<_> = self.spans().map(|(resource, _)| service(resource)).collect();
        Ok(services.into_iter().collect())
    }

    fn operations(&self, of: &str) -> Result<Vec<(String, Kind)>, BackendError> {
        let spans = self.spans().filter(|(resource, _)| service(resource) == of);
        let operations: BTreeSet<_> = spans
            .map(|(_, span)| (span.name.clone(), Kind::from_number(span.kind)))
            .collect();
        Ok(operations.into_iter().collect())
    }

    fn tags(&self, scope: Option<Scope>, _: TimeRange) -> Result<Vec<(Scope, Vec<String>)>, BackendError> {
        let all = [Scope::Resource, Scope::Span, Scope::Event].into_iter();
        let asked = all.filter(|one| scope.is_none_or(|scope| scope == *one));
        let keys = asked.map(|scope| {
            let spans = self
                .spans()
                .flat_map(move |(resource, span)| attributes(scope, resource, span));
            let keys: BTreeSet<_> = spans.map(|pair| pair.key.clone()).collect();
            (scope, keys.into_iter().collect())
        });
        Ok(keys.collect())
    }

    fn tag_values(&self, tag: &Field, _: TimeRange, limit: usize) -> Result<Vec<TagValue>, BackendError> {
        let mut values: Vec<Literal> = Vec::new();
        if *tag == Field::Duration {
            return Ok(values);
        }
        for trace in self.traces.values() {
            for (resource, span) in spans_of(trace) {
                let new = field(tag, trace, resource, span);
                values.extend(
                    new.into_iter()
                        .filter(|value| !values.contains(value))
                        .collect::<Vec<_>>(),
                );
            }
        }
        values.sort_by_key(ToString::to_string);
        values.truncate(limit);
        Ok(values)
    }

    fn dependencies(&self, end_unix_nano: u64, lookback_nanos: u64) -> Result<Vec<Dependency>, BackendError> {
        let seen = 1_795_320_000_000_000_000;
        if !(end_unix_nano.saturating_sub(lookback_nanos)..=end_unix_nano).contains(&seen) {
            return Ok(Vec::new());
        }
        let edge = |parent: &str, child: &str, call_count| Dependency {
            parent: parent.to_owned(),
            child: child.to_owned(),
            call_count,
        };
        Ok(vec![
            edge("checkout", "cart", 12),
            edge("checkout", "postgresql:orders@db-1", 3),
        ])
    }

    fn node_condition(&self, id: &str) -> Option<Condition> {
        (id == "postgresql:orders@db-1").then(|| Condition::Compare {
            field: Field::Attribute {
                scope: Some(Scope::Span),
                key: "db.namespace".to_owned(),
            },
            op: Op::Eq,
            value: Literal::Str("orders".to_owned()),
        })
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn now_unix_nano(&self) -> u64 {
        NOW
    }
}

fn hit(id: [u8; 16], trace: &[ResourceSpans], search: &Search) -> Option<TraceHit> {
    let (start, end) = extent(trace);
    let long = end - start;
    let fits = search.range.contains(start)
        && search.min_duration.is_none_or(|min| min <= long)
        && search.max_duration.is_none_or(|max| long <= max);
    let matched = matches(&search.filter, trace).filter(|_| fits)?;
    let (root, root_span) = root(trace);
    let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
    for (resource, span) in spans_of(trace) {
        let name = service(resource);
        let stats = services.entry(name.clone()).or_insert(ServiceStats {
            name,
            spans: 0,
            errors: 0,
        });
        stats.spans += 1;
        stats.errors += u64::from(status(span) == StatusCode::Error);
    }
    Some(TraceHit {
        trace_id: id,
        root_service: service(root),
        root_name: root_span.name.clone(),
        start_unix_nano: start,
        duration_nanos: long,
        matched_total: matched.len() as u64,
        matched: matched
            .into_iter()
            .take(search.spans_per_trace)
            .map(span_hit)
            .collect(),
        services: services.into_values().collect(),
    })
}

fn span_hit((resource, span): (&ResourceSpans, &Span)) -> SpanHit {
    let named = |key: &str, value| (key.to_owned(), value);
    let mut attributes = vec![named("service.name", Literal::Str(service(resource)))];
    attributes.extend(
        span.attributes
            .iter()
            .filter_map(|pair| Some((pair.key.clone(), literal(pair)?))),
    );
    SpanHit {
        span_id: <[u8; 8]>::try_from(&*span.span_id).expect("a span id of 8 bytes"),
        name: span.name.clone(),
        start_unix_nano: span.start_time_unix_nano,
        duration_nanos: span.end_time_unix_nano - span.start_time_unix_nano,
        attributes,
    }
}

type Spans<'a> = Vec<(&'a ResourceSpans, &'a Span)>;

/// The spans that match, or `None` where the trace does not.
fn matches<'a>(filter: &Filter, trace: &'a [ResourceSpans]) -> Option<Spans<'a>> {
    let join = |left: Spans<'a>, right: Spans<'a>| [left, right].concat();
    match filter {
        Filter::All => Some(spans_of(trace).collect()),
        Filter::Spans(condition) => {
            let spans: Spans<'_> = spans_of(trace)
                .filter(|(resource, span)| holds(condition, trace, resource, span))
                .collect();
            (!spans.is_empty()).then_some(spans)
        }
        Filter::And(left, right) => Some(join(matches(left, trace)?, matches(right, trace)?)),
        Filter::Or(left, right) => match (matches(left, trace), matches(right, trace)) {
            (Some(left), Some(right)) => Some(join(left, right)),
            (left, right) => left.or(right),
        },
    }
}

fn holds(condition: &Condition, trace: &[ResourceSpans], resource: &ResourceSpans, span: &Span) -> bool {
    let of = |condition: &Condition| holds(condition, trace, resource, span);
    match condition {
        Condition::True => true,
        Condition::Exists(wanted) => !field(wanted, trace, resource, span).is_empty(),
        Condition::And(all) => all.iter().all(of),
        Condition::Or(any) => any.iter().any(of),
        Condition::Not(not) => !of(not),
        Condition::Compare {
            field: wanted,
            op,
            value,
        } => {
            let found = field(wanted, trace, resource, span);
            found.iter().any(|found| compares(found, op, value))
        }
    }
}

fn compares(found: &Literal, op: &Op, value: &Literal) -> bool {
    let order = match (found, value) {
        (Literal::Str(found), Literal::Str(value)) => found.partial_cmp(value),
        (Literal::Int(found), Literal::Int(value)) => found.partial_cmp(value),
        (Literal::Float(found), Literal::Float(value)) => found.partial_cmp(value),
        (Literal::Int(found), Literal::Float(value)) => (*found as f64).partial_cmp(value),
        (Literal::Duration(found), Literal::Duration(value)) => found.partial_cmp(value),
        (found, value) => (found == value).then_some(std::cmp::Ordering::Equal),
    };
    match op {
        Op::Eq => order.is_some_and(std::cmp::Ordering::is_eq),
        Op::Ne => !order.is_some_and(std::cmp::Ordering::is_eq),
        Op::Lt => order.is_some_and(std::cmp::Ordering::is_lt),
        Op::Le => order.is_some_and(std::cmp::Ordering::is_le),
        Op::Gt => order.is_some_and(std::cmp::Ordering::is_gt),
        Op::Ge => order.is_some_and(std::cmp::Ordering::is_ge),
        Op::Match(pattern) => matches!(found, Literal::Str(text) if pattern.is_match(text)),
        Op::NotMatch(pattern) => matches!(found, Literal::Str(text) if !pattern.is_match(text)),
    }
}

/// Every value of the field that the span has.
fn field(wanted: &Field, trace: &[ResourceSpans], resource: &ResourceSpans, span: &Span) -> Vec<Literal> {
    let text = |text: &str| vec![Literal::Str(text.to_owned())];
    match wanted {
        Field::Name => text(&span.name),
        Field::Status => vec![Literal::Status(status(span))],
        Field::Kind => vec![Literal::Kind(Kind::from_number(span.kind))],
        Field::Duration => vec![Literal::Duration(
            span.end_time_unix_nano - span.start_time_unix_nano,
        )],
        Field::TraceDuration => vec![Literal::Duration(extent(trace).1 - extent(trace).0)],
        Field::RootName => text(&root(trace).1.name),
        Field::RootServiceName => text(&service(root(trace).0)),
        Field::EventName => span
            .events
            .iter()
            .map(|event| Literal::Str(event.name.clone()))
            .collect(),
        Field::Attribute {
            scope: Some(scope),
            key,
        } => values(*scope, key, resource, span),
        Field::Attribute { scope: None, key } => {
            let own = values(Scope::Span, key, resource, span);
            if own.is_empty() {
                values(Scope::Resource, key, resource, span)
            } else {
                own
            }
        }
        Field::ParentId if span.parent_span_id.is_empty() => Vec::new(),
        Field::ParentId => text("a parent"),
        other => panic!("no test asks for {other:?}"),
    }
}

fn values(scope: Scope, key: &str, resource: &ResourceSpans, span: &Span) -> Vec<Literal> {
    let pairs = attributes(scope, resource, span).into_iter();
    pairs.filter(|pair| pair.key == key).filter_map(literal).collect()
}

fn attributes<'a>(scope: Scope, resource: &'a ResourceSpans, span: &'a Span) -> Vec<&'a KeyValue> {
    match scope {
        Scope::Resource => resource
            .resource
            .iter()
            .flat_map(|resource| &resource.attributes)
            .collect(),
        Scope::Span => span.attributes.iter().collect(),
        Scope::Event => span.events.iter().flat_map(|event| &event.attributes).collect(),
        Scope::Link | Scope::Instrumentation => Vec::new(),
    }
}

fn literal(pair: &KeyValue) -> Option<Literal> {
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(Literal::Str(text.clone())),
        Value::IntValue(int) => Some(Literal::Int(*int)),
        Value::DoubleValue(float) => Some(Literal::Float(*float)),
        Value::BoolValue(bool) => Some(Literal::Bool(*bool)),
        _ => None,
    }
}

fn service(resource: &ResourceSpans) -> String {
    let attributes = resource.resource.iter().flat_map(|resource| &resource.attributes);
    let name = attributes
        .filter(|pair| pair.key == "service.name")
        .find_map(literal);
    name.map(|name| name.to_string()).unwrap_or_default()
}

fn status(span: &Span) -> StatusCode {
    StatusCode::from_number(span.status.as_ref().map_or(0, |status| status.code))
}

/// First start and last end.
fn extent(trace: &[ResourceSpans]) -> (u64, u64) {
    let starts = spans_of(trace).map(|(_, span)| span.start_time_unix_nano).min();
    let ends = spans_of(trace).map(|(_, span)| span.end_time_unix_nano).max();
    (starts.unwrap_or(0), ends.unwrap_or(0))
}

fn root(trace: &[ResourceSpans]) -> (&ResourceSpans, &Span) {
    let earliest =
        spans_of(trace).min_by_key(|(_, span)| (!span.parent_span_id.is_empty(), span.start_time_unix_nano));
    earliest.expect("a trace has a span")
}
