//! Spans as Jaeger's user interface reads them.
//!
//! In: decoded spans of one trace. Out: Jaeger's legacy JSON model: microseconds, tags with their type, processes
//! apart from spans.
//! What OTLP has and Jaeger has not becomes tags: `span.kind`, `otel.status_code`, `otel.status_description`, `error`,
//! `otel.scope.name`, `otel.scope.version`, `w3c.tracestate`. Links become `FOLLOWS_FROM` references unless they say otherwise.
//! Left out on purpose: attributes of links and scopes, for which Jaeger's model has no place.
//!
//! Source: OpenTelemetry's "OpenTelemetry to Jaeger Transformation"; jaeger `internal/uimodel/model.go`.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use otlp::{Kind, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{base64, hex, not_finite};

/// The service of spans whose resource names none, as Jaeger has it.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";
const SERVICE_NAME: &str = "service.name";
/// The largest integer that `JavaScript` reads exactly; beyond it Jaeger writes strings.
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// A trace in Jaeger's model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JaegerTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<JaegerSpan>,
    processes: BTreeMap<String, Process>,
    pub(crate) warnings: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    operation_name: String,
    references: Vec<Reference>,
    /// Microseconds since 1970.
    start_time: u64,
    /// Microseconds.
    duration: u64,
    tags: Vec<Tag>,
    logs: Vec<Log>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Tag {
    key: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: Value,
}

#[derive(Debug, Serialize)]
struct Log {
    /// Microseconds since 1970.
    timestamp: u64,
    fields: Vec<Tag>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The trace that `data` holds; `id` is what it was asked for.
pub(crate) fn trace(id: [u8; 16], data: TracesData) -> JaegerTrace {
    let mut trace = JaegerTrace {
        trace_id: hex(&id),
        spans: Vec::new(),
        processes: BTreeMap::new(),
        warnings: None,
    };
    let mut processes = Processes::default();
    for resource_spans in data.resource_spans {
        let process_id = processes.id(process(resource_spans.resource.unwrap_or_default()));
        for scope_spans in resource_spans.scope_spans {
            let scope = scope_spans.scope.unwrap_or_default();
            let spans = scope_spans.spans.into_iter();
            trace
                .spans
                .extend(spans.map(|one| span(one, &scope, &process_id)));
        }
    }
    trace.processes = processes.known.into_iter().collect();
    trace
}

/// Processes by the id they are given, `p1` on; equal ones share one.
#[derive(Default)]
struct Processes {
    known: Vec<(String, Process)>,
}

impl Processes {
    fn id(&mut self, process: Process) -> String {
        if let Some((id, _)) = self.known.iter().find(|(_, known)| *known == process) {
            return id.clone();
        }
        let id = format!("p{}", self.known.len() + 1);
        self.known.push((id.clone(), process));
        id
    }
}

fn process(resource: Resource) -> Process {
    let (names, rest): (Vec<_>, Vec<_>) = resource
        .attributes
        .into_iter()
        .partition(|pair| pair.key == SERVICE_NAME);
    let name = names.into_iter().next().and_then(|pair| pair.value);
    let service_name = name.map_or_else(|| NO_SERVICE.to_owned(), |value| plain_text(&value));
    Process {
        service_name,
        tags: rest.into_iter().map(tag).collect(),
    }
}

fn span(span: Span, scope: &InstrumentationScope, process_id: &str) -> JaegerSpan {
    let trace_id = hex(&span.trace_id);
    JaegerSpan {
        references: references(&span, &trace_id),
        trace_id,
        span_id: hex(&span.span_id),
        flags: span.flags & 0xff,
        start_time: span.start_time_unix_nano / 1_000,
        duration: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / 1_000,
        tags: tags(&span, scope),
        operation_name: span.name,
        logs: span.events.into_iter().map(log).collect(),
        process_id: process_id.to_owned(),
        warnings: None,
    }
}

/// The parent first, as Jaeger's user interface expects it, then the links.
fn references(span: &Span, trace_id: &str) -> Vec<Reference> {
    let parent = (!span.parent_span_id.iter().all(|byte| *byte == 0)).then(|| Reference {
        ref_type: "CHILD_OF",
        trace_id: trace_id.to_owned(),
        span_id: hex(&span.parent_span_id),
    });
    let links = span.links.iter().map(|link| Reference {
        ref_type: if is_child_of(link) {
            "CHILD_OF"
        } else {
            "FOLLOWS_FROM"
        },
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
    });
    parent.into_iter().chain(links).collect()
}

/// Whether a bridge from `OpenTracing` says of the link that it was a parent.
fn is_child_of(link: &Link) -> bool {
    let said = link
        .attributes
        .iter()
        .find(|pair| pair.key == "opentracing.ref_type");
    let value = said.and_then(|pair| pair.value.as_ref());
    value.is_some_and(|value| plain_text(value) == "child_of")
}

fn tags(span: &Span, scope: &InstrumentationScope) -> Vec<Tag> {
    let mut tags = Vec::new();
    tags.extend(text_tag("otel.scope.name", &scope.name));
    tags.extend(text_tag("otel.scope.version", &scope.version));
    let status = span.status.clone().unwrap_or_default();
    let failed = StatusCode::from_number(status.code) == StatusCode::Error;
    let attributes = span
        .attributes
        .iter()
        .filter(|pair| !(failed && pair.key == "error"));
    tags.extend(attributes.cloned().map(tag));
    let kind = Kind::from_number(span.kind);
    if kind != Kind::Unspecified {
        tags.extend(text_tag("span.kind", kind.as_str()));
    }
    match StatusCode::from_number(status.code) {
        StatusCode::Unset => {}
        StatusCode::Ok => tags.extend(text_tag("otel.status_code", "OK")),
        StatusCode::Error => {
            tags.extend(text_tag("otel.status_code", "ERROR"));
            tags.push(Tag {
                key: "error".to_owned(),
                kind: "bool",
                value: Value::Bool(true),
            });
        }
    }
    tags.extend(text_tag("otel.status_description", &status.message));
    tags.extend(text_tag("w3c.tracestate", &span.trace_state));
    tags.extend(count_tag(
        "otel.dropped_attributes_count",
        span.dropped_attributes_count,
    ));
    tags.extend(count_tag("otel.dropped_events_count", span.dropped_events_count));
    tags.extend(count_tag("otel.dropped_links_count", span.dropped_links_count));
    tags
}

/// An event; its name is the field `event` unless an attribute has that key.
fn log(event: Event) -> Log {
    let named = event.attributes.iter().any(|pair| pair.key == "event");
    let name = text_tag("event", &event.name).filter(|_| !named);
    Log {
        timestamp: event.time_unix_nano / 1_000,
        fields: name
            .into_iter()
            .chain(event.attributes.into_iter().map(tag))
            .collect(),
    }
}

fn text_tag(key: &str, text: &str) -> Option<Tag> {
    (!text.is_empty()).then(|| Tag {
        key: key.to_owned(),
        kind: "string",
        value: Value::String(text.to_owned()),
    })
}

fn count_tag(key: &str, count: u32) -> Option<Tag> {
    (count != 0).then(|| Tag {
        key: key.to_owned(),
        kind: "int64",
        value: Value::from(count),
    })
}

fn tag(pair: KeyValue) -> Tag {
    let value = pair.value.unwrap_or_default();
    let (kind, value) = match value.value {
        Some(Any::BoolValue(bool)) => ("bool", Value::Bool(bool)),
        Some(Any::IntValue(int)) if int.unsigned_abs() > LARGEST_EXACT => {
            ("int64", Value::String(int.to_string()))
        }
        Some(Any::IntValue(int)) => ("int64", Value::from(int)),
        Some(Any::DoubleValue(double)) => ("float64", number(double)),
        Some(Any::BytesValue(bytes)) => ("binary", Value::String(base64(&bytes))),
        _ => ("string", Value::String(plain_text(&value))),
    };
    Tag {
        key: pair.key,
        kind,
        value,
    }
}

fn number(double: f64) -> Value {
    not_finite(double).map_or_else(|| Value::from(double), Value::from)
}

/// A value as a text: strings as they are, lists as plain JSON.
fn plain_text(value: &AnyValue) -> String {
    match plain(value) {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A value as plain JSON, without the type names of OTLP. As deep as the decoder let it nest.
fn plain(value: &AnyValue) -> Value {
    match &value.value {
        Some(Any::StringValue(text)) => Value::String(text.clone()),
        Some(Any::BoolValue(bool)) => Value::Bool(*bool),
        Some(Any::IntValue(int)) => Value::from(*int),
        Some(Any::DoubleValue(double)) => number(*double),
        Some(Any::BytesValue(bytes)) => Value::String(base64(bytes)),
        Some(Any::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        Some(Any::KvlistValue(list)) => {
            let pairs = list.values.iter();
            pairs
                .map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Value::Null, plain)))
                .collect()
        }
        Some(Any::StringValueStrindex(_)) | None => Value::Null,
    }
}
