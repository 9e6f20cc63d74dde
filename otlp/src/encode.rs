//! Spans of our own, as OTLP bytes.
//!
//! In: [`SpanRecord`]s of one resource and one scope. Out: the protobuf bytes of one `ExportTraceServiceRequest`.
//! Such requests join by concatenation: their only field is repeated, so the bytes of two requests one after
//! the other are the request that holds both.
//! Left out on purpose: events (the agent records none) and attribute lists within attributes.

use crate::types::{Kind, StatusCode};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use std::borrow::Cow;

/// A finished span of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanRecord {
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// Not all zero.
    pub span_id: [u8; 8],
    /// `None` for a root.
    pub parent_span_id: Option<[u8; 8]>,
    /// W3C `tracestate`; empty where there is none.
    pub trace_state: String,
    /// Low in cardinality: the method and the route, never the path.
    pub name: String,
    /// The role of the span.
    pub kind: Kind,
    /// Nanoseconds since 1970, UTC.
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970, UTC; not before the start.
    pub end_unix_nano: u64,
    /// Bits 0 to 7 are the W3C trace flags, 8 and 9 say whether the parent is remote (`SpanFlags`).
    pub flags: u32,
    /// How it ended.
    pub status: StatusCode,
    /// Why it failed; only read where `status` is [`StatusCode::Error`].
    pub status_message: String,
    /// Keys as in the semantic conventions, each once.
    pub attributes: Vec<Attribute>,
    /// Spans that this one belongs to without being their child.
    pub links: Vec<LinkRecord>,
}

/// A link to a span of this or another trace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkRecord {
    /// The other span's trace; not all zero.
    pub trace_id: [u8; 16],
    /// The other span; not all zero.
    pub span_id: [u8; 8],
    /// The other span's W3C `tracestate`.
    pub trace_state: String,
    /// The other span's trace flags, as in [`SpanRecord::flags`].
    pub flags: u32,
    /// Why the spans belong together.
    pub attributes: Vec<Attribute>,
}

/// A key and its value.
pub type Attribute = (Cow<'static, str>, AttributeValue);

/// An attribute's value. Converts from `&'static str`, `String`, `bool`, `i64`, `f64` and `Vec<String>`.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// `string_value`.
    Str(Cow<'static, str>),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`.
    Double(f64),
    /// `array_value` of strings, as the conventions ask for repeated headers.
    Strings(Vec<String>),
}

/// The bytes of the `ExportTraceServiceRequest` with these spans; none where there are no spans.
///
/// `resource` should hold `service.name`; `scope` is the name and version of what recorded the spans.
pub fn request(resource: &[(String, AttributeValue)], scope: (&str, &str), spans: Vec<SpanRecord>) -> Bytes {
    if spans.is_empty() {
        return Bytes::new();
    }
    let attributes = resource
        .iter()
        .map(|(key, value)| key_value(key.clone(), value.clone()))
        .collect::<Vec<_>>();
    let scope = InstrumentationScope {
        name: scope.0.to_owned(),
        version: scope.1.to_owned(),
        ..Default::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.into_iter().map(SpanRecord::into_message).collect(),
        schema_url: String::new(),
    };
    let resource_spans = ResourceSpans {
        resource: Some(Resource {
            attributes,
            ..Resource::default()
        }),
        scope_spans: vec![scope_spans],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
    .into()
}

impl SpanRecord {
    fn into_message(self) -> Span {
        let status = (self.status != StatusCode::Unset).then(|| Status {
            message: self.status_message,
            code: self.status.number(),
        });
        Span {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            trace_state: self.trace_state,
            parent_span_id: self.parent_span_id.map(|id| id.to_vec()).unwrap_or_default(),
            flags: self.flags,
            name: self.name,
            kind: self.kind.number(),
            start_time_unix_nano: self.start_unix_nano,
            end_time_unix_nano: self.end_unix_nano,
            attributes: key_values(self.attributes),
            links: self.links.into_iter().map(LinkRecord::into_message).collect(),
            status,
            ..Span::default()
        }
    }
}

impl LinkRecord {
    fn into_message(self) -> Link {
        Link {
            trace_id: self.trace_id.to_vec(),
            span_id: self.span_id.to_vec(),
            trace_state: self.trace_state,
            attributes: key_values(self.attributes),
            dropped_attributes_count: 0,
            flags: self.flags,
        }
    }
}

fn key_values(attributes: Vec<Attribute>) -> Vec<KeyValue> {
    attributes
        .into_iter()
        .map(|(key, value)| key_value(key.into_owned(), value))
        .collect()
}

fn key_value(key: String, value: AttributeValue) -> KeyValue {
    KeyValue {
        key,
        value: Some(AnyValue {
            value: Some(value.into_message()),
        }),
        ..KeyValue::default()
    }
}

impl AttributeValue {
    fn into_message(self) -> Value {
        match self {
            AttributeValue::Str(text) => Value::StringValue(text.into_owned()),
            AttributeValue::Bool(bool) => Value::BoolValue(bool),
            AttributeValue::Int(int) => Value::IntValue(int),
            AttributeValue::Double(double) => Value::DoubleValue(double),
            AttributeValue::Strings(strings) => {
                let values = strings.into_iter().map(|s| AnyValue {
                    value: Some(Value::StringValue(s)),
                });
                Value::ArrayValue(ArrayValue {
                    values: values.collect(),
                })
            }
        }
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl From<bool> for AttributeValue {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<i64> for AttributeValue {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for AttributeValue {
    fn from(double: f64) -> Self {
        Self::Double(double)
    }
}

impl From<Vec<String>> for AttributeValue {
    fn from(strings: Vec<String>) -> Self {
        Self::Strings(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{self, Value as Seen};

    fn span(name: &str) -> SpanRecord {
        SpanRecord {
            trace_id: [1; 16],
            span_id: [2; 8],
            parent_span_id: Some([3; 8]),
            trace_state: "tm=x".to_owned(),
            name: name.to_owned(),
            kind: Kind::Client,
            start_unix_nano: 10,
            end_unix_nano: 30,
            flags: 0x301,
            status: StatusCode::Error,
            status_message: "refused".to_owned(),
            attributes: vec![
                ("http.request.method".into(), "GET".into()),
                ("retries".into(), 3.into()),
                ("cached".into(), true.into()),
                ("load".into(), 0.5.into()),
                (
                    "http.request.header.accept".into(),
                    vec!["a".to_owned(), "b".to_owned()].into(),
                ),
            ],
            links: vec![LinkRecord {
                trace_id: [4; 16],
                span_id: [5; 8],
                ..LinkRecord::default()
            }],
        }
    }

    fn request_of(service: &str, spans: &[&str]) -> Bytes {
        let resource = [("service.name".to_owned(), service.to_owned().into())];
        request(
            &resource,
            ("tracemap-agent", "1.2"),
            spans.iter().map(|name| span(name)).collect(),
        )
    }

    #[test]
    fn a_span_record_reads_back_as_it_was_written() {
        let body = request_of("cart", &["GET /cart"]);
        let mut seen = 0;
        view::for_each_span(&body, |resource, scope, span| {
            seen += 1;
            assert_eq!(resource.attributes().get("service.name"), Some(Seen::Str("cart")));
            assert_eq!((scope.name, scope.version), ("tracemap-agent", "1.2"));
            assert_eq!((span.trace_id, span.span_id), (&[1; 16][..], &[2; 8][..]));
            assert_eq!((span.parent_span_id, span.trace_state), (&[3; 8][..], "tm=x"));
            assert_eq!(
                (span.name, span.kind, span.status),
                ("GET /cart", Kind::Client, StatusCode::Error)
            );
            assert_eq!(
                (span.start_unix_nano, span.end_unix_nano, span.flags),
                (10, 30, 0x301)
            );
            let attributes: Vec<_> = span.attributes().collect();
            assert_eq!(
                attributes,
                [
                    ("http.request.method", Seen::Str("GET")),
                    ("retries", Seen::Int(3)),
                    ("cached", Seen::Bool(true)),
                    ("load", Seen::Double(0.5)),
                    ("http.request.header.accept", Seen::Other),
                ]
            );
            let links: Vec<_> = span.links().map(|link| (link.trace_id, link.span_id)).collect();
            assert_eq!(links, [(&[4; 16][..], &[5; 8][..])]);
        })
        .expect("our own encoding is well-formed");
        assert_eq!(seen, 1);
    }

    #[test]
    fn two_requests_one_after_the_other_are_one_request_with_the_spans_of_both() {
        let joined = [request_of("cart", &["a", "b"]), request_of("stock", &["c"])].concat();
        let mut seen = Vec::new();
        let count = view::for_each_span(&joined, |resource, _, span| {
            let service = resource.attributes().get("service.name").and_then(Seen::as_str);
            seen.push((service.unwrap_or_default().to_owned(), span.name.to_owned()));
        });
        assert_eq!(count, Ok(view::SpanCount(3)));
        let expected = [("cart", "a"), ("cart", "b"), ("stock", "c")];
        assert_eq!(
            seen,
            expected.map(|(service, name)| (service.to_owned(), name.to_owned()))
        );
    }

    #[test]
    fn a_root_without_status_sets_neither_parent_nor_status() {
        let root = SpanRecord {
            parent_span_id: None,
            status: StatusCode::Unset,
            ..span("root")
        };
        let body = request(&[], ("", ""), vec![root]);
        let decoded = ExportTraceServiceRequest::decode(body).expect("our own encoding is well-formed");
        let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
        assert!(span.parent_span_id.is_empty());
        assert_eq!(span.status, None);
    }

    #[test]
    fn no_spans_are_no_bytes() {
        assert_eq!(request_of("cart", &[]), Bytes::new());
    }
}
