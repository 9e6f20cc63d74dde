//! What may leave: attributes redacted, cut and limited, and attributes of the resource added, in the bytes as they are.
//!
//! In: a well-formed `ExportTraceServiceRequest`, [`Rules`]. Out: the same request, with what the rules change.
//! Left out on purpose: everything that is no attribute (names of spans, `tracestate`, status messages), other signals,
//! and decoding: what is not changed is copied as it lies, unknown fields too, and a request in which nothing is to be
//! changed is handed on without a copy.
//! Source: opentelemetry-proto 1.x; OpenTelemetry specification, "Attribute Limits".

mod sender;

use std::sync::Arc;

use bytes::Bytes;

pub use sender::Sender;

use crate::put;
use crate::wire::{MAX_DEPTH, Payload, Reader};

/// What stands in place of a redacted value.
pub const REDACTED: &str = "[redacted]";

/// What to change. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Keys of attributes whose values become [`REDACTED`], wherever they stand: spans, events, links, scopes, resources,
    /// and maps within values. `*` stands for any characters: `http.request.header.*`.
    pub redact: Vec<String>,
    /// Longest string or bytes value, in bytes; the rest is cut off, between characters. None: no limit.
    pub max_value_bytes: Option<usize>,
    /// Most attributes of a span, of an event and of a link; later ones go, and are added to `dropped_attributes_count`.
    /// None: no limit.
    pub max_attributes: Option<usize>,
    /// Added to every resource that has no such key.
    pub resource: Vec<(String, String)>,
    /// Who sent the request, where that is known. Default: not known.
    pub sender: Option<Arc<Sender>>,
}

impl Rules {
    /// Whether nothing would ever change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The request as it may leave. Bytes that are not well-formed are copied from the fault on.
    pub fn apply(&self, body: Bytes) -> Bytes {
        if self.is_empty() || !self.concerns(Message::Request, Reader::new(&body), MAX_DEPTH) {
            return body;
        }
        let mut out = Vec::with_capacity(body.len() + body.len() / 8);
        self.write(Message::Request, Reader::new(&body), &[], MAX_DEPTH, &mut out);
        out.into()
    }

    /// The same for what `sender` sent.
    #[must_use]
    pub fn for_sender(&self, sender: Arc<Sender>) -> Self {
        Self {
            sender: Some(sender),
            ..self.clone()
        }
    }

    fn redacts(&self, key: &[u8]) -> bool {
        self.redact.iter().any(|glob| matches(glob.as_bytes(), key))
    }

    fn is_too_long(&self, value: &[u8]) -> bool {
        self.max_value_bytes.is_some_and(|max| value.len() > max)
    }

    /// Whether anything in `message` is to be changed.
    fn concerns(&self, message: Message, reader: Reader<'_>, depth: u32) -> bool {
        let limits = message.attributes().zip(self.max_attributes);
        if limits.is_some_and(|((field, _), max)| count(reader, field) > max)
            || message == Message::KeyValue && self.redacts(key_of(reader))
            || message == Message::ResourceSpans && !self.missing(reader).is_empty()
        {
            return true;
        }
        fields(reader).any(|field| match field.payload {
            Payload::Bytes(inner) if message.is_text(field.number) => self.is_too_long(inner.bytes()),
            Payload::Bytes(inner) => message
                .child(field.number)
                .is_some_and(|child| depth > 0 && self.concerns(child, inner, depth - 1)),
            _ => false,
        })
    }

    /// What the resource of a `ResourceSpans` lacks. What the sender is known by goes before what is known of all.
    fn missing(&self, resource_spans: Reader<'_>) -> Vec<&(String, String)> {
        let sender = self.sender.as_deref();
        let sender = sender.filter(|sender| !sender.is_denied_by(resource_spans));
        let mut missing: Vec<_> = sender.map_or_else(Vec::new, |sender| sender.resource.iter().collect());
        for added in &self.resource {
            if !missing.iter().any(|(key, _)| *key == added.0) {
                missing.push(added);
            }
        }
        if missing.is_empty() {
            return missing;
        }
        for pair in resource_attributes(resource_spans) {
            if !sender::names_nothing(pair) {
                missing.retain(|(key, _)| key.as_bytes() != key_of(pair));
            }
        }
        missing
    }

    /// Writes the fields of `message`; `add` are attributes that its resource lacks.
    fn write(
        &self,
        message: Message,
        reader: Reader<'_>,
        add: &[&(String, String)],
        depth: u32,
        out: &mut Vec<u8>,
    ) {
        if message == Message::KeyValue && self.redacts(key_of(reader)) {
            return redacted(reader, out);
        }
        let missing = if message == Message::ResourceSpans {
            self.missing(reader)
        } else {
            Vec::new()
        };
        let mut missing = &missing[..];
        let mut cutting = self.cutting(message, reader);
        let mut end = reader;
        for field in fields(reader) {
            end = field.rest;
            if cutting.as_mut().is_some_and(|cutting| cutting.takes_out(&field))
                || message == Message::Resource && is_replaced(&field, add)
            {
                continue;
            }
            match field.payload {
                Payload::Bytes(inner) if message.is_text(field.number) && self.is_too_long(inner.bytes()) => {
                    let max = self.max_value_bytes.unwrap_or(usize::MAX);
                    put::bytes(
                        out,
                        field.number,
                        shortened(inner.bytes(), max, field.number == STRING),
                    );
                }
                Payload::Bytes(inner) => match message.child(field.number).filter(|_| depth > 0) {
                    Some(child) => {
                        let add = if child == Message::Resource {
                            std::mem::take(&mut missing)
                        } else {
                            &[]
                        };
                        put::message(out, field.number, |out| {
                            self.write(child, inner, add, depth - 1, out);
                        });
                    }
                    None => out.extend_from_slice(field.raw),
                },
                _ => out.extend_from_slice(field.raw),
            }
        }
        // Nothing, or what could not be read.
        out.extend_from_slice(end.bytes());
        if let Some(cutting) = cutting {
            put::varint(out, u64::from(cutting.dropped_field) << 3);
            put::varint(out, cutting.dropped);
        }
        if !missing.is_empty() {
            put::message(out, 1, |out| put_attributes(out, missing));
        }
        put_attributes(out, add);
    }

    fn cutting(&self, message: Message, reader: Reader<'_>) -> Option<Cutting> {
        let ((attributes, dropped_field), max) = message.attributes().zip(self.max_attributes)?;
        (count(reader, attributes) > max).then_some(Cutting {
            attributes,
            dropped_field,
            left: max,
            dropped: 0,
        })
    }
}

/// A list of attributes of which only the first stay.
struct Cutting {
    attributes: u32,
    dropped_field: u32,
    left: usize,
    dropped: u64,
}

impl Cutting {
    fn takes_out(&mut self, field: &Field<'_>) -> bool {
        match field.payload {
            Payload::Bytes(_) if field.number == self.attributes => {
                let stays = self.left > 0;
                self.left = self.left.saturating_sub(1);
                self.dropped += u64::from(!stays);
                !stays
            }
            Payload::Varint(dropped) if field.number == self.dropped_field => {
                // It is written anew, at the end.
                self.dropped = self.dropped.saturating_add(u64::from(dropped as u32));
                true
            }
            _ => false,
        }
    }
}

/// The messages on the way to attributes, and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    KeyValue,
    Value,
    Array,
    Map,
}

/// `string_value` and `bytes_value` of `AnyValue`.
const STRING: u32 = 1;
const BYTES: u32 = 7;

impl Message {
    fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Request, 1) => Self::ResourceSpans,
            (Self::ResourceSpans, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ScopeSpans, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Span, 9)
            | (Self::Scope | Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Resource | Self::Map, 1) => Self::KeyValue,
            (Self::KeyValue, 2) | (Self::Array, 1) => Self::Value,
            (Self::Value, 5) => Self::Array,
            (Self::Value, 6) => Self::Map,
            _ => return None,
        })
    }

    /// The fields of a list that has a limit, and of the count of what was dropped from it.
    fn attributes(self) -> Option<(u32, u32)> {
        match self {
            Self::Span => Some((9, 10)),
            Self::Event => Some((3, 4)),
            Self::Link => Some((4, 5)),
            _ => None,
        }
    }

    fn is_text(self, field: u32) -> bool {
        self == Self::Value && (field == STRING || field == BYTES)
    }
}

/// A field, with its bytes as they lie, and what comes after it.
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) payload: Payload<'a>,
    pub(super) raw: &'a [u8],
    rest: Reader<'a>,
}

/// The fields of a message up to its end, or to a fault.
pub(super) fn fields(mut reader: Reader<'_>) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let before = reader.bytes();
        let (number, payload) = reader.field().ok()??;
        if matches!(payload, Payload::Group) {
            reader.skip_group(number, MAX_DEPTH).ok()?;
        }
        let raw = before.get(..before.len() - reader.bytes().len())?;
        Some(Field {
            number,
            payload,
            raw,
            rest: reader,
        })
    })
}

fn messages(reader: Reader<'_>, number: u32) -> impl Iterator<Item = Reader<'_>> {
    fields(reader).filter_map(move |field| match field.payload {
        Payload::Bytes(inner) if field.number == number => Some(inner),
        _ => None,
    })
}

/// The attributes of the resource of a `ResourceSpans`.
fn resource_attributes(resource_spans: Reader<'_>) -> impl Iterator<Item = Reader<'_>> {
    messages(resource_spans, 1).flat_map(|resource| messages(resource, 1))
}

/// Whether a field of a resource is an attribute in whose place one of `add` comes.
fn is_replaced(field: &Field<'_>, add: &[&(String, String)]) -> bool {
    match field.payload {
        Payload::Bytes(pair) if field.number == 1 => {
            add.iter().any(|(key, _)| key.as_bytes() == key_of(pair))
        }
        _ => false,
    }
}

fn count(reader: Reader<'_>, number: u32) -> usize {
    messages(reader, number).count()
}

/// The key of a `KeyValue`.
fn key_of(reader: Reader<'_>) -> &[u8] {
    messages(reader, 1).last().map_or(&[], |key| key.bytes())
}

/// A `KeyValue` with [`REDACTED`] for its value.
fn redacted(reader: Reader<'_>, out: &mut Vec<u8>) {
    for field in fields(reader).filter(|field| field.number != 2) {
        out.extend_from_slice(field.raw);
    }
    put::message(out, 2, |out| put::bytes(out, STRING, REDACTED.as_bytes()));
}

/// At most `max` bytes; text ends between characters.
fn shortened(value: &[u8], max: usize, text: bool) -> &[u8] {
    let mut end = max.min(value.len());
    // The second and later bytes of a character.
    while text && end > 0 && value.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

fn put_attributes(out: &mut Vec<u8>, attributes: &[&(String, String)]) {
    for (key, value) in attributes {
        put::message(out, 1, |out| {
            put::bytes(out, 1, key.as_bytes());
            put::message(out, 2, |out| put::bytes(out, STRING, value.as_bytes()));
        });
    }
}

/// Whether `glob` stands for all of `text`. Linear in each for every star.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let mut parts = glob.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[path = "rewrite/tests.rs"]
mod tests;
