//! Spans of our own, as OTLP bytes.
//!
//! In: [`SpanRecord`]s of one resource and one scope. Out: the protobuf bytes of one `ExportTraceServiceRequest`.
//! Such requests join by concatenation: their only field is repeated, so the bytes of two requests one after
//! the other are the request that holds both.
//! Left out on purpose: events (the agent records none) and attribute lists within attributes.

use std::borrow::Cow;
use std::{fmt, io};

use bytes::Bytes;

use crate::put;
use crate::types::{Kind, StatusCode};
use crate::view;
use crate::wire::{Payload, Reader};

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
    pub attributes: Attributes,
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
    pub attributes: Attributes,
}

/// An attribute of a resource. Converts from `&'static str`, `String`, `bool`, `i64`, `f64` and `Vec<String>`.
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

/// Attributes of a span or a link, kept in the bytes that they leave in: a request has a dozen of them, and as many
/// strings would cost more than all the rest of its span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// The fields `attributes` of the message `Span`.
    bytes: Vec<u8>,
}

/// The number of `attributes` in the message `Span`.
const OF_SPAN: u32 = 9;
/// The number of `attributes` in the message `Span.Link`.
const OF_LINK: u32 = 4;

impl Attributes {
    /// None yet, with room for `bytes` of encoded ones.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds one; each key once.
    pub fn push<'a>(&mut self, key: &str, value: impl Into<Attribute<'a>>) {
        match value.into() {
            Attribute::Str(text) if put::short_pair(&mut self.bytes, OF_SPAN, key, text) => {}
            Attribute::Str(text) => self.add(key, |out| put::bytes(out, 1, text.as_bytes())),
            Attribute::Bool(bool) => self.add(key, |out| put::varint_field(out, 2, u64::from(bool))),
            Attribute::Int(int) => self.add(key, |out| put::varint_field(out, 3, int as u64)),
            Attribute::Double(double) => self.add(key, |out| put::fixed64_field(out, 4, double.to_bits())),
        }
    }

    /// Adds a string that is written only now.
    pub fn push_display(&mut self, key: &str, value: impl fmt::Display) {
        self.add(key, |out| {
            // Writing into memory does not fail.
            put::message(out, 1, |out| {
                let _ = io::Write::write_fmt(out, format_args!("{value}"));
            });
        });
    }

    fn add(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        put::message(&mut self.bytes, OF_SPAN, |out| {
            put::text(out, 1, key);
            put::message(out, 2, value);
        });
    }

    /// Keys and values, in the order in which they were added.
    pub fn iter(&self) -> view::Attributes<'_> {
        view::Attributes::of_fields(&self.bytes, OF_SPAN)
    }

    /// The value of the first with this key.
    pub fn get(&self, key: &str) -> Option<view::Value<'_>> {
        self.iter().get(key)
    }

    fn put_of_link(&self, out: &mut Vec<u8>) {
        let mut reader = Reader::new(&self.bytes);
        while let Ok(Some((_, Payload::Bytes(pair)))) = reader.field() {
            put::bytes(out, OF_LINK, pair.bytes());
        }
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a str, view::Value<'a>);
    type IntoIter = view::Attributes<'a>;

    fn into_iter(self) -> view::Attributes<'a> {
        self.iter()
    }
}

/// A value on its way into [`Attributes`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// `string_value`.
    Str(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`.
    Double(f64),
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(text)
    }
}

impl<'a> From<&'a String> for Attribute<'a> {
    fn from(text: &'a String) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for Attribute<'_> {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<i64> for Attribute<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Attribute<'_> {
    fn from(double: f64) -> Self {
        Self::Double(double)
    }
}

/// Bytes that a span of an HTTP request takes, about; saves growing.
const SPAN_BYTES: usize = 640;

/// The bytes of the `ExportTraceServiceRequest` with these spans; none where there are no spans.
///
/// `resource` should hold `service.name`; `scope` is the name and version of what recorded the spans.
pub fn request(resource: &[(String, AttributeValue)], scope: (&str, &str), spans: &[SpanRecord]) -> Bytes {
    if spans.is_empty() {
        return Bytes::new();
    }
    let mut out = Vec::with_capacity(SPAN_BYTES * (spans.len() + 1));
    put::message(&mut out, 1, |resource_spans| {
        put::message(resource_spans, 1, |out| {
            for (key, value) in resource {
                put::message(out, 1, |out| {
                    put::text(out, 1, key);
                    put::message(out, 2, |out| value.put(out));
                });
            }
        });
        put::message(resource_spans, 2, |scope_spans| {
            put::message(scope_spans, 1, |out| {
                put::text(out, 1, scope.0);
                put::text(out, 2, scope.1);
            });
            for span in spans {
                put::message(scope_spans, 2, |out| span.put(out));
            }
        });
    });
    out.into()
}

impl SpanRecord {
    /// The fields of the message `Span`, see `opentelemetry/proto/trace/v1/trace.proto`.
    fn put(&self, out: &mut Vec<u8>) {
        put::bytes(out, 1, &self.trace_id);
        put::bytes(out, 2, &self.span_id);
        put::text(out, 3, &self.trace_state);
        if let Some(parent) = &self.parent_span_id {
            put::bytes(out, 4, parent);
        }
        put::text(out, 5, &self.name);
        put::number(out, 6, self.kind.number() as u64);
        put::fixed64(out, 7, self.start_unix_nano);
        put::fixed64(out, 8, self.end_unix_nano);
        out.extend_from_slice(&self.attributes.bytes);
        for link in &self.links {
            put::message(out, 13, |out| link.put(out));
        }
        if self.status != StatusCode::Unset {
            put::message(out, 15, |out| {
                put::text(out, 2, &self.status_message);
                put::number(out, 3, self.status.number() as u64);
            });
        }
        put::fixed32(out, 16, self.flags);
    }
}

impl LinkRecord {
    /// The fields of the message `Span.Link`.
    fn put(&self, out: &mut Vec<u8>) {
        put::bytes(out, 1, &self.trace_id);
        put::bytes(out, 2, &self.span_id);
        put::text(out, 3, &self.trace_state);
        self.attributes.put_of_link(out);
        put::fixed32(out, 6, self.flags);
    }
}

impl AttributeValue {
    /// The one field of the message `AnyValue`, which is there even where it holds nothing: of a `oneof` that says which.
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Str(text) => put::bytes(out, 1, text.as_bytes()),
            Self::Bool(bool) => put::varint_field(out, 2, u64::from(*bool)),
            Self::Int(int) => put::varint_field(out, 3, *int as u64),
            Self::Double(double) => put::fixed64_field(out, 4, double.to_bits()),
            Self::Strings(strings) => put::message(out, 5, |out| {
                for text in strings {
                    put::message(out, 1, |out| put::bytes(out, 1, text.as_bytes()));
                }
            }),
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
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;
    use crate::view::{self, Value as Seen};

    fn attributes(pairs: &[(&str, Attribute<'_>)]) -> Attributes {
        let mut attributes = Attributes::default();
        for (key, value) in pairs {
            attributes.push(key, *value);
        }
        attributes
    }

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
            attributes: attributes(&[
                ("http.request.method", "GET".into()),
                ("retries", 3.into()),
                ("cached", true.into()),
                ("load", 0.5.into()),
            ]),
            links: vec![LinkRecord {
                trace_id: [4; 16],
                span_id: [5; 8],
                attributes: attributes(&[("reason", "conflict".into())]),
                ..LinkRecord::default()
            }],
        }
    }

    fn request_of(service: &str, spans: &[&str]) -> Bytes {
        let resource = [("service.name".to_owned(), service.to_owned().into())];
        request(
            &resource,
            ("tracemap-agent", "1.2"),
            &spans.iter().map(|name| span(name)).collect::<Vec<_>>(),
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
                ]
            );
            let links: Vec<_> = span.links().collect();
            assert_eq!((links[0].trace_id, links[0].span_id), (&[4; 16][..], &[5; 8][..]));
            assert_eq!(links[0].attributes().get("reason"), Some(Seen::Str("conflict")));
        })
        .expect("our own encoding is well-formed");
        assert_eq!(seen, 1);
    }

    #[test]
    fn attributes_read_back_in_order_and_by_key() {
        let mut attributes = attributes(&[("a", "1".into()), ("b", 2.into())]);
        attributes.push_display("c", std::net::Ipv4Addr::LOCALHOST);
        let read: Vec<_> = attributes.iter().collect();
        assert_eq!(
            read,
            [
                ("a", Seen::Str("1")),
                ("b", Seen::Int(2)),
                ("c", Seen::Str("127.0.0.1"))
            ]
        );
        assert_eq!(
            (attributes.get("b"), attributes.get("d")),
            (Some(Seen::Int(2)), None)
        );
    }

    #[test]
    fn a_pair_reads_back_whatever_its_length() {
        for length in [0, 1, 60, 119, 120, 121, 122, 127, 128, 20_000] {
            let text = "x".repeat(length);
            let attributes = attributes(&[("k", (&text).into()), ("after", true.into())]);
            assert_eq!(attributes.get("k"), Some(Seen::Str(&text)), "{length}");
            assert_eq!(attributes.get("after"), Some(Seen::Bool(true)), "{length}");
        }
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
        let body = request(&[], ("", ""), &[root]);
        let decoded = ExportTraceServiceRequest::decode(body).expect("our own encoding is well-formed");
        let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
        assert!(span.parent_span_id.is_empty());
        assert_eq!(span.status, None);
    }

    #[test]
    fn the_bytes_are_those_of_the_official_encoder() {
        let text = "y".repeat(20_000);
        let long = SpanRecord {
            trace_state: "tm=".to_owned() + &"x".repeat(300),
            attributes: attributes(&[
                ("empty", "".into()),
                ("zero", 0.into()),
                ("negative", (-1).into()),
                ("no", false.into()),
                ("nothing", 0.0.into()),
                ("text", (&text).into()),
            ]),
            flags: 0,
            start_unix_nano: 0,
            ..span("")
        };
        let resource = [
            ("service.name", AttributeValue::from("cart")),
            ("", 1.into()),
            ("yes", true.into()),
            ("half", 0.5.into()),
            ("none", Vec::new().into()),
            ("some", vec![String::new(), "a".to_owned()].into()),
        ];
        let resource = resource.map(|(key, value)| (key.to_owned(), value));
        let spans = [
            long,
            span("GET /cart"),
            span(&"z".repeat(127)),
            span(&"z".repeat(128)),
        ];
        let body = request(&resource, ("tracemap-agent", ""), &spans);
        let decoded =
            ExportTraceServiceRequest::decode(body.clone()).expect("our own encoding is well-formed");
        assert_eq!(decoded.encode_to_vec(), body);
        assert_eq!(decoded.resource_spans[0].scope_spans[0].spans.len(), 4);
    }

    #[test]
    fn no_spans_are_no_bytes() {
        assert_eq!(request_of("cart", &[]), Bytes::new());
    }
}
