//! What the view and prost say of the same bytes.
//!
//! In: bytes from anywhere. Out: whether both take them; a panic where they disagree, in that or in any value.
//! Left out on purpose: where the bytes come from. Unit tests, property tests and the fuzzer have their own.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use otlp::view::{
    Attributes, Link, Malformed, RawValue, Resource, Span, SpanCount, UnreadScope, Value, Visit,
    for_each_span, for_each_span_unchecked, read_spans, read_spans_unchecked, validate,
};
use prost::Message as _;
use std::mem;
use std::ops::Range;

/// A value that can be compared: doubles by their bits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Str(String),
    Bool(bool),
    Int(i64),
    Double(u64),
    Bytes(Vec<u8>),
    Other,
}

pub(crate) type Pairs = Vec<(String, Plain)>;
pub(crate) type PlainLink = (Vec<u8>, Vec<u8>, Pairs);

/// All that the view tells of a span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) resource: Pairs,
    pub(crate) scope: (String, String),
    pub(crate) ids: [Vec<u8>; 3],
    pub(crate) texts: [String; 2],
    pub(crate) kind: i32,
    pub(crate) status: i32,
    pub(crate) times: [u64; 2],
    pub(crate) flags: u32,
    pub(crate) attributes: Pairs,
    pub(crate) links: Vec<PlainLink>,
    pub(crate) raw: Vec<u8>,
}

pub(crate) fn by_view(body: &[u8]) -> Result<Vec<Seen>, Malformed> {
    let mut seen = Vec::new();
    let count = for_each_span(body, |resource, scope, span| {
        seen.push(Seen {
            resource: pairs(resource.attributes()),
            scope: (scope.name.to_owned(), scope.version.to_owned()),
            ..plain_span(
                span,
                pairs(span.attributes()),
                span.links().map(plain_link).collect(),
            )
        });
    })?;
    assert_eq!(count, SpanCount(seen.len() as u64));
    Ok(seen)
}

fn plain_span(span: &Span<'_>, attributes: Pairs, links: Vec<PlainLink>) -> Seen {
    Seen {
        resource: Vec::new(),
        scope: (String::new(), String::new()),
        ids: [span.trace_id, span.span_id, span.parent_span_id].map(<[u8]>::to_vec),
        texts: [span.trace_state, span.name].map(str::to_owned),
        kind: span.kind.number(),
        status: span.status.number(),
        times: [span.start_unix_nano, span.end_unix_nano],
        flags: span.flags,
        attributes,
        links,
        raw: span.raw().to_vec(),
    }
}

fn plain_link(link: Link<'_>) -> PlainLink {
    (
        link.trace_id.to_vec(),
        link.span_id.to_vec(),
        pairs(link.attributes()),
    )
}

/// Gathers what a request shows in one pass.
#[derive(Default)]
struct Gathered<'a> {
    body: &'a [u8],
    resource: Pairs,
    scope: (String, String),
    attributes: Pairs,
    links: Vec<PlainLink>,
    ends: [usize; 2],
    seen: Vec<Seen>,
}

impl<'a> Visit<'a> for Gathered<'a> {
    fn resource(&mut self, resource: &Resource<'a>, at: Range<usize>) {
        self.resource = pairs(resource.attributes());
        self.ends[0] = at.end;
        let parts = resource.raw_parts().collect::<Vec<_>>();
        assert!(parts.iter().all(|part| is_within(part, &self.body[at.clone()])));
    }

    fn scope(&mut self, scope: &UnreadScope<'a>, at: Range<usize>) {
        let read = scope.read();
        self.scope = (read.name.to_owned(), read.version.to_owned());
        assert!(at.end <= self.ends[0]);
        self.ends[1] = at.end;
    }

    fn attribute(&mut self, key: &'a [u8], value: RawValue<'a>) {
        let decoded = value.value();
        assert_eq!(value.as_str(), decoded.as_str());
        let text = value
            .as_bytes_of_str()
            .map(|bytes| str::from_utf8(bytes).unwrap_or_default());
        assert_eq!(text, decoded.as_str());
        assert_eq!(
            value.as_int().map(Value::Int),
            Some(decoded).filter(|v| matches!(v, Value::Int(_)))
        );
        assert_eq!(
            value.as_bool().map(Value::Bool),
            Some(decoded).filter(|v| matches!(v, Value::Bool(_)))
        );
        assert_eq!(value.as_f64().is_some(), matches!(decoded, Value::Double(_)));
        self.attributes
            .push((String::from_utf8_lossy(key).into_owned(), plain(decoded)));
    }

    fn link(&mut self, link: Link<'a>) {
        self.links.push(plain_link(link));
    }

    fn span(&mut self, span: &Span<'a>, at: Range<usize>) {
        assert!(at.end <= self.ends[1]);
        assert_eq!(span.raw(), &self.body[at]);
        self.seen.push(Seen {
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            ..plain_span(span, mem::take(&mut self.attributes), mem::take(&mut self.links))
        });
    }
}

fn is_within(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().start <= part.as_ptr_range().start
        && part.as_ptr_range().end <= whole.as_ptr_range().end
}

fn in_one_pass(body: &[u8]) -> Result<Vec<Seen>, Malformed> {
    let mut gathered = Gathered {
        body,
        ..Gathered::default()
    };
    let count = read_spans(body, &mut gathered)?;
    assert_eq!(count, SpanCount(gathered.seen.len() as u64));
    Ok(gathered.seen)
}

fn unchecked(body: &[u8]) -> Vec<Seen> {
    let mut gathered = Gathered {
        body,
        ..Gathered::default()
    };
    read_spans_unchecked(body, &mut gathered);
    gathered.seen
}

fn plain(value: Value<'_>) -> Plain {
    match value {
        Value::Str(text) => Plain::Str(text.to_owned()),
        Value::Bool(bool) => Plain::Bool(bool),
        Value::Int(int) => Plain::Int(int),
        Value::Double(double) => Plain::Double(double.to_bits()),
        Value::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
        Value::Other => Plain::Other,
    }
}

fn pairs(attributes: Attributes<'_>) -> Pairs {
    attributes
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}

fn by_prost(body: &[u8]) -> Result<Vec<Seen>, prost::DecodeError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let mut seen = Vec::new();
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.clone().unwrap_or_default();
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.clone().unwrap_or_default();
            for span in &scope_spans.spans {
                let status = span.status.clone().unwrap_or_default();
                seen.push(Seen {
                    resource: prost_pairs(&resource.attributes),
                    scope: (scope.name.clone(), scope.version.clone()),
                    ids: [
                        span.trace_id.clone(),
                        span.span_id.clone(),
                        span.parent_span_id.clone(),
                    ],
                    texts: [span.trace_state.clone(), span.name.clone()],
                    kind: span.kind() as i32,
                    status: status.code() as i32,
                    times: [span.start_time_unix_nano, span.end_time_unix_nano],
                    flags: span.flags,
                    attributes: prost_pairs(&span.attributes),
                    links: span
                        .links
                        .iter()
                        .map(|link| {
                            (
                                link.trace_id.clone(),
                                link.span_id.clone(),
                                prost_pairs(&link.attributes),
                            )
                        })
                        .collect(),
                    raw: span.encode_to_vec(),
                });
            }
        }
    }
    Ok(seen)
}

fn prost_pairs(attributes: &[KeyValue]) -> Pairs {
    use any_value::Value as V;
    let plain = |pair: &KeyValue| match pair.value.clone().and_then(|value| value.value) {
        Some(V::StringValue(text)) => Plain::Str(text),
        Some(V::BoolValue(bool)) => Plain::Bool(bool),
        Some(V::IntValue(int)) => Plain::Int(int),
        Some(V::DoubleValue(double)) => Plain::Double(double.to_bits()),
        Some(V::BytesValue(bytes)) => Plain::Bytes(bytes),
        Some(V::ArrayValue(_) | V::KvlistValue(_) | V::StringValueStrindex(_)) | None => Plain::Other,
    };
    attributes
        .iter()
        .map(|pair| (pair.key.clone(), plain(pair)))
        .collect()
}

/// Whether both took `body`; panics where they disagree.
pub(crate) fn agree(body: &[u8]) -> bool {
    for_each_span_unchecked(body, |resource, _, span| {
        resource.attributes().for_each(drop);
        span.attributes().for_each(drop);
        span.links().for_each(|link| link.attributes().for_each(drop));
    });
    match (by_view(body), by_prost(body)) {
        (Ok(view), Ok(prost)) => {
            assert_eq!(in_one_pass(body).as_ref(), Ok(&view));
            assert_eq!(unchecked(body), view);
            assert_eq!(validate(body), Ok(SpanCount(view.len() as u64)));
            assert_same(&view, prost);
            true
        }
        (Err(malformed), Err(_)) => {
            unchecked(body);
            assert_eq!(in_one_pass(body), Err(malformed));
            assert_eq!(validate(body), Err(malformed));
            false
        }
        (Ok(_), Err(error)) => panic!("prost refuses what the view takes: {error}\n{body:02x?}"),
        (Err(error), Ok(_)) => panic!("the view refuses what prost takes: {error}\n{body:02x?}"),
    }
}

fn assert_same(view: &[Seen], prost: Vec<Seen>) {
    assert_eq!(view.len(), prost.len());
    for (view, mut prost) in view.iter().zip(prost) {
        // prost writes fields in its own order: what the raw bytes mean must be the same, not the bytes.
        let reread = opentelemetry_proto::tonic::trace::v1::Span::decode(&view.raw[..])
            .expect("the raw bytes of a span are a span");
        assert_eq!(reread.encode_to_vec(), prost.raw);
        prost.raw.clone_from(&view.raw);
        assert_eq!(*view, prost);
    }
}
