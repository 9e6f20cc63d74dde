//! Jaeger JSON to OTLP.
//!
//! In: an answer of Jaeger's query API, `{"data": [trace, …]}`, or one bare trace `{traceID, spans,
//! processes}`. Out: requests, one or more for each trace. Processes become resources, typed tags attributes,
//! logs events, microseconds nanoseconds.
//! Left out on purpose: `warnings` and the copies that Jaeger's own page nests into references.
//!
//! The parent is what Jaeger takes for it: the first `CHILD_OF` in the same trace, else the first
//! `FOLLOWS_FROM` in the same trace, else the older field `parentSpanID`. Every other reference becomes a
//! link with the attribute `opentracing.ref_type`.
//!
//! Source: Jaeger's `model/json`; OpenTelemetry specification, "OpenTelemetry to Jaeger Transformation".

use std::collections::HashMap;

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span as OtlpSpan, span},
};
use serde::Deserialize;
use serde_json::Value as Json;

use super::Request;
use super::group::Groups;
use super::ids::{Micros, PaddedId};
use super::split::split;
use super::tags::{ErrorTag, Tags, attribute, typed};
use crate::json::{JsonError, Lenient, decode};

/// What Jaeger is told where a resource has no `service.name`.
const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";

/// The requests of one document.
pub(super) fn requests(text: &[u8]) -> Result<Vec<Request>, JsonError> {
    let document: Document = decode(text)?;
    let bare = Trace {
        spans: document.spans,
        processes: document.processes,
    };
    let traces = document.data.unwrap_or_default().into_iter();
    Ok(traces
        .flat_map(|trace| trace.0)
        .chain(split(bare.into()))
        .collect())
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Document {
    data: Option<Vec<Converted>>,
    spans: Option<Vec<Span>>,
    processes: Option<HashMap<String, Process>>,
}

/// A trace that became requests as soon as it was read, so that only one is held as Jaeger's.
#[derive(Deserialize)]
#[serde(from = "Trace")]
struct Converted(Vec<Request>);

impl From<Trace> for Converted {
    fn from(trace: Trace) -> Self {
        Self(split(trace.into()))
    }
}

#[derive(Deserialize)]
#[serde(expecting = "a trace")]
struct Trace {
    spans: Option<Vec<Span>>,
    processes: Option<HashMap<String, Process>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", expecting = "a process")]
struct Process {
    service_name: Option<String>,
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a span")]
struct Span {
    #[serde(rename = "traceID")]
    trace_id: Lenient<PaddedId<16>>,
    #[serde(rename = "spanID")]
    id: Lenient<PaddedId<8>>,
    #[serde(rename = "parentSpanID")]
    parent: Option<Lenient<PaddedId<8>>>,
    flags: Option<Lenient<u32>>,
    operation_name: Option<String>,
    references: Option<Vec<Reference>>,
    start_time: Option<Lenient<Micros>>,
    duration: Option<Lenient<Micros>>,
    tags: Option<Vec<Tag>>,
    logs: Option<Vec<Log>>,
    #[serde(rename = "processID")]
    process_id: Option<String>,
    process: Option<Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a reference")]
struct Reference {
    ref_type: Option<String>,
    #[serde(rename = "traceID")]
    trace_id: Option<Lenient<PaddedId<16>>>,
    #[serde(rename = "spanID")]
    span_id: Lenient<PaddedId<8>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tag")]
struct Tag {
    key: String,
    r#type: Option<String>,
    value: Option<Json>,
}

#[derive(Deserialize)]
#[serde(expecting = "a log")]
struct Log {
    timestamp: Option<Lenient<Micros>>,
    fields: Option<Vec<Tag>>,
}

impl From<Trace> for Vec<ResourceSpans> {
    fn from(trace: Trace) -> Self {
        let mut processes = trace.processes.unwrap_or_default();
        let mut groups = Groups::new();
        for (place, mut span) in trace.spans.into_iter().flatten().enumerate() {
            let own = span.process.take();
            // A process inside the span is known by the span's place: such spans share none.
            let key = (
                span.process_id.take().unwrap_or_default(),
                own.is_some().then_some(place),
            );
            let (tags, span) = otlp(span);
            let resource =
                |key: &(String, _)| resource(own.or_else(|| processes.remove(&key.0)).unwrap_or_default());
            groups.add(key, resource, tags.scope, span);
        }
        groups.finish()
    }
}

fn resource(process: Process) -> Resource {
    let name = process
        .service_name
        .filter(|name| !name.is_empty() && name != NO_SERVICE_NAME);
    let name = name.map(|name| attribute("service.name", Value::StringValue(name)));
    let tags = process.tags.into_iter().flatten().filter_map(Tag::read);
    let tags = tags.map(|(key, value)| attribute(key, value));
    Resource {
        attributes: name.into_iter().chain(tags).collect(),
        ..Resource::default()
    }
}

fn otlp(json: Span) -> (Tags, OtlpSpan) {
    let trace_id = json.trace_id.0;
    let mut references = json.references.unwrap_or_default();
    let parent = take_parent(&mut references, &trace_id).or(json.parent.map(|id| id.0));
    let mut tags = Tags::new(ErrorTag::WhenTrue);
    for (key, value) in json.tags.into_iter().flatten().filter_map(Tag::read) {
        tags.add(key, value);
    }
    let start = json.start_time.unwrap_or_default().0;
    let span = OtlpSpan {
        links: references
            .into_iter()
            .map(|reference| reference.link(&trace_id))
            .collect(),
        parent_span_id: parent
            .filter(|id| !id.is_zero())
            .map(PaddedId::into_vec)
            .unwrap_or_default(),
        trace_id: trace_id.into_vec(),
        span_id: json.id.0.into_vec(),
        trace_state: std::mem::take(&mut tags.trace_state),
        // Jaeger's first flag is "sampled", as in W3C's trace flags; its others mean nothing there.
        flags: json.flags.unwrap_or_default().0 & 1,
        name: json.operation_name.unwrap_or_default(),
        kind: tags.kind.into(),
        start_time_unix_nano: start.nanos(),
        end_time_unix_nano: start.nanos_after(json.duration.unwrap_or_default().0),
        status: tags.status(),
        attributes: std::mem::take(&mut tags.attributes),
        events: json.logs.into_iter().flatten().map(Log::event).collect(),
        ..OtlpSpan::default()
    };
    (tags, span)
}

fn take_parent(references: &mut Vec<Reference>, trace_id: &PaddedId<16>) -> Option<PaddedId<8>> {
    let place = ["CHILD_OF", "FOLLOWS_FROM"].iter().find_map(|kind| {
        references
            .iter()
            .position(|reference| reference.is(kind) && reference.is_in(trace_id))
    })?;
    Some(references.remove(place).span_id.0)
}

impl Reference {
    fn is(&self, kind: &str) -> bool {
        self.ref_type
            .as_deref()
            .is_some_and(|own| own.eq_ignore_ascii_case(kind))
    }

    fn is_in(&self, trace_id: &PaddedId<16>) -> bool {
        self.trace_id.as_ref().is_none_or(|own| own.0 == *trace_id)
    }

    fn link(self, trace_id: &PaddedId<16>) -> span::Link {
        let kind = self
            .ref_type
            .map(|kind| Value::StringValue(kind.to_ascii_lowercase()));
        span::Link {
            trace_id: self
                .trace_id
                .map_or_else(|| trace_id.clone(), |id| id.0)
                .into_vec(),
            span_id: self.span_id.0.into_vec(),
            attributes: kind
                .map(|kind| attribute("opentracing.ref_type", kind))
                .into_iter()
                .collect(),
            ..span::Link::default()
        }
    }
}

impl Tag {
    fn read(self) -> Option<(String, Value)> {
        let value = self.value.filter(|value| !value.is_null())?;
        Some((self.key, typed(self.r#type.as_deref().unwrap_or_default(), value)))
    }
}

impl Log {
    /// The field `event` is the name, as `OpenTracing` has it.
    fn event(self) -> span::Event {
        let mut event = span::Event {
            time_unix_nano: self.timestamp.unwrap_or_default().0.nanos(),
            ..span::Event::default()
        };
        for (key, value) in self.fields.into_iter().flatten().filter_map(Tag::read) {
            match value {
                Value::StringValue(name) if key == "event" && event.name.is_empty() => event.name = name,
                value => event.attributes.push(attribute(key, value)),
            }
        }
        event
    }
}
