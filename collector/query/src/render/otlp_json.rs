//! Spans as OTLP/JSON.
//!
//! In: decoded spans. Out: JSON with lowerCamelCase keys, hexadecimal ids, integer enums and 64-bit integers as
//! strings; what is empty or 0 is left out.
//! Left out on purpose: entity references of resources, which are still in development.
//!
//! Source: OTLP specification 1.x, "JSON Protobuf Encoding".

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{base64, hex, not_finite};

/// A message of OTLP that serializes as OTLP/JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// Messages of OTLP that serialize as an array.
pub(crate) struct List<'a, T>(pub(crate) &'a [T]);

impl<'a, T> Serialize for List<'a, T>
where
    Json<&'a T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Json))
    }
}

/// Writes one message; every method leaves out what is the default.
struct Message<M: SerializeMap>(M);

impl<M: SerializeMap> Message<M> {
    fn field(&mut self, key: &'static str, value: &impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(key, value)
    }

    fn text(&mut self, key: &'static str, text: &str) -> Result<(), M::Error> {
        if text.is_empty() {
            Ok(())
        } else {
            self.field(key, &text)
        }
    }

    fn id(&mut self, key: &'static str, id: &[u8]) -> Result<(), M::Error> {
        self.text(key, &hex(id))
    }

    fn number(&mut self, key: &'static str, number: u32) -> Result<(), M::Error> {
        if number == 0 {
            Ok(())
        } else {
            self.field(key, &number)
        }
    }

    fn nanos(&mut self, key: &'static str, nanos: u64) -> Result<(), M::Error> {
        if nanos == 0 {
            Ok(())
        } else {
            self.field(key, &nanos.to_string())
        }
    }

    fn list<'a, T>(&mut self, key: &'static str, list: &'a [T]) -> Result<(), M::Error>
    where
        Json<&'a T>: Serialize,
    {
        if list.is_empty() {
            Ok(())
        } else {
            self.field(key, &List(list))
        }
    }
}

/// `Serialize` for a message from the calls that write its fields.
macro_rules! message {
    ($message:ty, |$this:ident, $out:ident| $fields:expr) => {
        impl Serialize for Json<&$message> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self.0;
                let mut $out = Message(serializer.serialize_map(None)?);
                $fields;
                $out.0.end()
            }
        }
    };
}

message!(ResourceSpans, |spans, out| {
    if let Some(resource) = &spans.resource {
        out.field("resource", &Json(resource))?;
    }
    out.list("scopeSpans", &spans.scope_spans)?;
    out.text("schemaUrl", &spans.schema_url)?;
});

message!(Resource, |resource, out| {
    out.list("attributes", &resource.attributes)?;
    out.number("droppedAttributesCount", resource.dropped_attributes_count)?;
});

message!(ScopeSpans, |spans, out| {
    if let Some(scope) = &spans.scope {
        out.field("scope", &Json(scope))?;
    }
    out.list("spans", &spans.spans)?;
    out.text("schemaUrl", &spans.schema_url)?;
});

message!(InstrumentationScope, |scope, out| {
    out.text("name", &scope.name)?;
    out.text("version", &scope.version)?;
    out.list("attributes", &scope.attributes)?;
    out.number("droppedAttributesCount", scope.dropped_attributes_count)?;
});

message!(Span, |span, out| {
    out.id("traceId", &span.trace_id)?;
    out.id("spanId", &span.span_id)?;
    out.text("traceState", &span.trace_state)?;
    out.id("parentSpanId", &span.parent_span_id)?;
    out.number("flags", span.flags)?;
    out.text("name", &span.name)?;
    if span.kind != 0 {
        out.field("kind", &span.kind)?;
    }
    out.nanos("startTimeUnixNano", span.start_time_unix_nano)?;
    out.nanos("endTimeUnixNano", span.end_time_unix_nano)?;
    out.list("attributes", &span.attributes)?;
    out.number("droppedAttributesCount", span.dropped_attributes_count)?;
    out.list("events", &span.events)?;
    out.number("droppedEventsCount", span.dropped_events_count)?;
    out.list("links", &span.links)?;
    out.number("droppedLinksCount", span.dropped_links_count)?;
    if let Some(status) = &span.status {
        out.field("status", &Json(status))?;
    }
});

message!(Status, |status, out| {
    out.text("message", &status.message)?;
    if status.code != 0 {
        out.field("code", &status.code)?;
    }
});

message!(Event, |event, out| {
    out.nanos("timeUnixNano", event.time_unix_nano)?;
    out.text("name", &event.name)?;
    out.list("attributes", &event.attributes)?;
    out.number("droppedAttributesCount", event.dropped_attributes_count)?;
});

message!(Link, |link, out| {
    out.id("traceId", &link.trace_id)?;
    out.id("spanId", &link.span_id)?;
    out.text("traceState", &link.trace_state)?;
    out.list("attributes", &link.attributes)?;
    out.number("droppedAttributesCount", link.dropped_attributes_count)?;
    out.number("flags", link.flags)?;
});

message!(KeyValue, |pair, out| {
    out.field("key", &pair.key)?;
    if let Some(value) = &pair.value {
        out.field("value", &Json(value))?;
    }
});

message!(AnyValue, |any, out| {
    match &any.value {
        Some(Value::StringValue(text)) => out.field("stringValue", text)?,
        Some(Value::BoolValue(bool)) => out.field("boolValue", bool)?,
        Some(Value::IntValue(int)) => out.field("intValue", &int.to_string())?,
        Some(Value::DoubleValue(double)) => match not_finite(*double) {
            Some(name) => out.field("doubleValue", &name)?,
            None => out.field("doubleValue", double)?,
        },
        Some(Value::BytesValue(bytes)) => out.field("bytesValue", &base64(bytes))?,
        Some(Value::ArrayValue(array)) => out.field("arrayValue", &Values("values", &array.values))?,
        Some(Value::KvlistValue(list)) => out.field("kvlistValue", &Values("values", &list.values))?,
        Some(Value::StringValueStrindex(_)) | None => {}
    }
});

/// The message that holds a list under one key, empty or not.
struct Values<'a, T>(&'static str, &'a [T]);

impl<'a, T> Serialize for Values<'a, T>
where
    Json<&'a T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, List(self.1))])
    }
}
