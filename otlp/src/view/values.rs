//! Attributes and links, read where they lie.
//!
//! In: checked messages that hold them. Out: keys, values and ids, borrowed.
//! Left out on purpose: lists within values; a reader that needs one decodes the raw bytes.

use super::fields::{Fields, Messages, delimited, text};
use crate::wire::{Payload, Reader};

const LINK_ATTRIBUTES: u32 = 4;
/// Keys of `KeyValue.key` and `value`.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;
/// Keys of `AnyValue.string_value`, `bool_value`, `int_value` and `double_value`.
pub(super) const STRING: u8 = 0x0a;
pub(super) const BOOL: u8 = 0x10;
pub(super) const INT: u8 = 0x18;
pub(super) const DOUBLE: u8 = 0x21;

/// A link to a span of this or another trace.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// `Span.Link.trace_id`, of any length.
    pub trace_id: &'a [u8],
    /// `Span.Link.span_id`, of any length.
    pub span_id: &'a [u8],
    body: Reader<'a>,
}

impl<'a> Link<'a> {
    /// Its attributes, in the order of the bytes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.body, LINK_ATTRIBUTES)
    }

    pub(super) fn read(body: Reader<'a>) -> Self {
        let mut link = Self {
            trace_id: &[],
            span_id: &[],
            body,
        };
        for (number, payload) in Fields(body) {
            match (number, payload) {
                (1, Payload::Bytes(id)) => link.trace_id = id.bytes(),
                (2, Payload::Bytes(id)) => link.span_id = id.bytes(),
                _ => {}
            }
        }
        link
    }
}

/// The links of a span, in the order of the bytes.
#[derive(Debug, Clone)]
pub struct Links<'a>(Messages<'a>);

impl<'a> Links<'a> {
    pub(super) fn of(message: Reader<'a>, field: u32) -> Self {
        Self(Messages::new(message, field))
    }
}

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        self.0.next().map(Link::read)
    }
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `string_value`.
    Str(&'a str),
    /// `bool_value`.
    Bool(bool),
    /// `int_value`.
    Int(i64),
    /// `double_value`.
    Double(f64),
    /// `bytes_value`.
    Bytes(&'a [u8]),
    /// An array, a list of pairs, an index into a table that traces do not have, or nothing at all.
    Other,
}

impl<'a> Value<'a> {
    /// The string, where it is one.
    pub fn as_str(self) -> Option<&'a str> {
        if let Value::Str(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// Keys and values, in the order of the bytes.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    messages: Messages<'a>,
    pairs: Messages<'a>,
    field: u32,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(message: Reader<'a>, field: u32) -> Self {
        Self {
            messages: Messages::default(),
            pairs: Messages::new(message, field),
            field,
        }
    }

    /// Of bytes that the crate wrote itself.
    pub(crate) fn of_fields(bytes: &'a [u8], field: u32) -> Self {
        Self::of(Reader::new(bytes), field)
    }

    /// Of a message in several parts.
    pub(super) fn of_parts(messages: Messages<'a>, field: u32) -> Self {
        Self {
            messages,
            pairs: Messages::default(),
            field,
        }
    }

    /// The value of the first attribute with this key.
    pub fn get(mut self, key: &str) -> Option<Value<'a>> {
        self.find(|(candidate, _)| *candidate == key)
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(pair) = self.pairs.next() {
                return Some(read_pair(pair));
            }
            self.pairs = Messages::new(self.messages.next()?, self.field);
        }
    }
}

/// Key and `AnyValue` of a pair that has each once, in this order and with nothing beside them.
#[inline]
pub(super) fn usual_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    if let [KEY, key_length @ ..0x80, rest @ ..] = pair
        && let Some((key, [VALUE, length @ ..0x80, any @ ..])) =
            rest.split_at_checked(usize::from(*key_length))
        && usize::from(*length) == any.len()
    {
        return Some((key, any));
    }
    longer_pair(pair)
}

/// The same where key or value is longer than 127 bytes.
fn longer_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = pair.strip_prefix(&[KEY])?;
    let key = delimited(&mut rest)?;
    rest = rest.strip_prefix(&[VALUE])?;
    let any = delimited(&mut rest)?;
    rest.is_empty().then_some((key, any))
}

#[inline]
pub(super) fn read_pair(pair: Reader<'_>) -> (&str, Value<'_>) {
    if let Some((key, any)) = usual_pair(pair.bytes()) {
        return (text(Reader::new(key)), read_any(Reader::new(any), Value::Other));
    }
    let mut read = ("", Value::Other);
    for (number, payload) in Fields(pair) {
        match (number, payload) {
            (1, Payload::Bytes(key)) => read.0 = text(key),
            (2, Payload::Bytes(value)) => read.1 = read_any(value, read.1),
            _ => {}
        }
    }
    read
}

/// The last member of the `oneof`, or `before` where this message has none: such messages merge.
#[inline]
pub(super) fn read_any<'a>(value: Reader<'a>, before: Value<'a>) -> Value<'a> {
    if let [STRING, length @ ..0x80, string @ ..] = value.bytes()
        && usize::from(*length) == string.len()
    {
        return Value::Str(text(Reader::new(string)));
    }
    let mut read = before;
    for field in Fields(value) {
        read = match field {
            (1, Payload::Bytes(string)) => Value::Str(text(string)),
            (2, Payload::Varint(bool)) => Value::Bool(bool != 0),
            (3, Payload::Varint(int)) => Value::Int(int.cast_signed()),
            (4, Payload::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
            (7, Payload::Bytes(bytes)) => Value::Bytes(bytes.bytes()),
            (5 | 6 | 8, _) => Value::Other,
            _ => read,
        };
    }
    read
}
