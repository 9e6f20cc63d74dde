//! The OTLP trace messages, and what other signals have in common with them, as their JSON mapping spells them, and their way
//! into the protobuf messages.
//!
//! In: JSON through serde. Out: owned protobuf messages. Every field may be absent or `null`, and then has
//! protobuf's default.
//! Left out on purpose: `status.deprecatedCode` and string-table references, which traces do not use.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{self as common, any_value},
    resource::v1 as resource,
    trace::v1::{self as trace, span},
};
use serde::Deserialize;

use super::scalar::{Base64, Code, Kind, Lenient, SpanId, TraceId};

/// A message of protobuf's JSON mapping: camelCase, every field optional.
macro_rules! message {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[allow(clippy::struct_field_names, reason = "the names are the format's")]
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", expecting = "an object")]
        pub(super) struct $name { $($(#[$meta])* pub(super) $field: Option<$type>,)* }
    };
}
pub(super) use message;

message!(Root { trace: Request, resource_spans: Vec<ResourceSpans>, batches: Vec<ResourceSpans> });
message!(Request { resource_spans: Vec<ResourceSpans>, batches: Vec<ResourceSpans> });
message!(ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
    instrumentation_library_spans: Vec<ScopeSpans>,
    schema_url: String,
});
message!(Resource {
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>,
    entity_refs: Vec<EntityRef>
});
message!(EntityRef {
    schema_url: String,
    r#type: String,
    id_keys: Vec<String>,
    description_keys: Vec<String>
});
message!(ScopeSpans { scope: Scope, instrumentation_library: Scope, spans: Vec<Span>, schema_url: String });
message!(Scope {
    name: String,
    version: String,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>
});
message!(Span {
    trace_id: Lenient<TraceId>,
    span_id: Lenient<SpanId>,
    trace_state: String,
    parent_span_id: Lenient<SpanId>,
    flags: Lenient<u32>,
    name: String,
    kind: Lenient<Kind>,
    start_time_unix_nano: Lenient<u64>,
    end_time_unix_nano: Lenient<u64>,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>,
    events: Vec<Event>,
    dropped_events_count: Lenient<u32>,
    links: Vec<Link>,
    dropped_links_count: Lenient<u32>,
    status: Status,
});
message!(Event {
    time_unix_nano: Lenient<u64>,
    name: String,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>,
});
message!(Link {
    trace_id: Lenient<TraceId>,
    span_id: Lenient<SpanId>,
    trace_state: String,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>,
    flags: Lenient<u32>,
});
message!(Status { message: String, code: Lenient<Code> });
message!(KeyValue {
    key: String,
    value: AnyValue
});
message!(AnyValue {
    string_value: String,
    bool_value: bool,
    int_value: Lenient<i64>,
    double_value: Lenient<f64>,
    array_value: ArrayValue,
    kvlist_value: KeyValueList,
    bytes_value: Lenient<Base64>,
});
message!(ArrayValue { values: Vec<AnyValue> });
message!(KeyValueList { values: Vec<KeyValue> });

impl From<Root> for ExportTraceServiceRequest {
    fn from(root: Root) -> Self {
        let inner = root
            .trace
            .into_iter()
            .flat_map(|trace| [trace.resource_spans, trace.batches]);
        let lists = [root.resource_spans, root.batches].into_iter().chain(inner);
        Self {
            resource_spans: lists.flatten().flatten().map(Into::into).collect(),
        }
    }
}

impl From<ResourceSpans> for trace::ResourceSpans {
    fn from(json: ResourceSpans) -> Self {
        // In the months of the renaming some senders wrote the same spans under both names.
        let scopes = json
            .scope_spans
            .filter(|scopes| !scopes.is_empty())
            .or(json.instrumentation_library_spans);
        Self {
            resource: json.resource.map(Into::into),
            scope_spans: all(scopes),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<Resource> for resource::Resource {
    fn from(json: Resource) -> Self {
        Self {
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            entity_refs: all(json.entity_refs),
        }
    }
}

impl From<EntityRef> for common::EntityRef {
    fn from(json: EntityRef) -> Self {
        Self {
            schema_url: json.schema_url.unwrap_or_default(),
            r#type: json.r#type.unwrap_or_default(),
            id_keys: json.id_keys.unwrap_or_default(),
            description_keys: json.description_keys.unwrap_or_default(),
        }
    }
}

impl From<ScopeSpans> for trace::ScopeSpans {
    fn from(json: ScopeSpans) -> Self {
        Self {
            scope: json.scope.or(json.instrumentation_library).map(Into::into),
            spans: all(json.spans),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<Scope> for common::InstrumentationScope {
    fn from(json: Scope) -> Self {
        Self {
            name: json.name.unwrap_or_default(),
            version: json.version.unwrap_or_default(),
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
        }
    }
}

impl From<Span> for trace::Span {
    fn from(json: Span) -> Self {
        Self {
            trace_id: number(json.trace_id).0,
            span_id: number(json.span_id).0,
            trace_state: json.trace_state.unwrap_or_default(),
            parent_span_id: number(json.parent_span_id).0,
            flags: number(json.flags),
            name: json.name.unwrap_or_default(),
            kind: number(json.kind).0,
            start_time_unix_nano: number(json.start_time_unix_nano),
            end_time_unix_nano: number(json.end_time_unix_nano),
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            events: all(json.events),
            dropped_events_count: number(json.dropped_events_count),
            links: all(json.links),
            dropped_links_count: number(json.dropped_links_count),
            status: json.status.map(Into::into),
        }
    }
}

impl From<Event> for span::Event {
    fn from(json: Event) -> Self {
        Self {
            time_unix_nano: number(json.time_unix_nano),
            name: json.name.unwrap_or_default(),
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
        }
    }
}

impl From<Link> for span::Link {
    fn from(json: Link) -> Self {
        Self {
            trace_id: number(json.trace_id).0,
            span_id: number(json.span_id).0,
            trace_state: json.trace_state.unwrap_or_default(),
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            flags: number(json.flags),
        }
    }
}

impl From<Status> for trace::Status {
    fn from(json: Status) -> Self {
        Self {
            message: json.message.unwrap_or_default(),
            code: number(json.code).0,
        }
    }
}

impl From<KeyValue> for common::KeyValue {
    fn from(json: KeyValue) -> Self {
        Self {
            key: json.key.unwrap_or_default(),
            value: json.value.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<AnyValue> for common::AnyValue {
    fn from(json: AnyValue) -> Self {
        use any_value::Value;
        let value = (json.string_value.map(Value::StringValue))
            .or(json.bool_value.map(Value::BoolValue))
            .or(json.int_value.map(|value| Value::IntValue(value.0)))
            .or(json.double_value.map(|value| Value::DoubleValue(value.0)))
            .or(json.array_value.map(|list| {
                Value::ArrayValue(common::ArrayValue {
                    values: all(list.values),
                })
            }))
            .or(json.kvlist_value.map(|list| {
                Value::KvlistValue(common::KeyValueList {
                    values: all(list.values),
                })
            }))
            .or(json.bytes_value.map(|bytes| Value::BytesValue(bytes.0.0)));
        Self { value }
    }
}

pub(super) fn all<J, P: From<J>>(list: Option<Vec<J>>) -> Vec<P> {
    list.unwrap_or_default().into_iter().map(P::from).collect()
}

pub(super) fn number<T: Default>(value: Option<Lenient<T>>) -> T {
    value.map(|value| value.0).unwrap_or_default()
}
