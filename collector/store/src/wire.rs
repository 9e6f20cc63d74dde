//! The parts of OTLP messages that `otlp::view` does not show, and spans cut out of them.
//!
//! In: checked protobuf bytes. Out: fields with their own bytes, attributes, events, and requests without some spans.
//! Left out on purpose: faults. On unchecked bytes a message ends where it cannot be read on; nothing panics.
//! Source: opentelemetry/proto/trace/v1/trace.proto, protobuf.dev/programming-guides/encoding.

use otlp::view::Value;

/// One field's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A group or 32 bits: nothing here has either.
    Unread,
}

/// One field: its number, its value, and all its bytes with the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) payload: Payload<'a>,
    pub(crate) raw: &'a [u8],
}

/// The fields of a message, in the order of the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.0;
        let mut rest = start;
        let (number, payload) = field(&mut rest, 0)?;
        self.0 = rest;
        let raw = start.get(..start.len() - rest.len())?;
        Some(Field { number, payload, raw })
    }
}

/// Groups in groups that are still followed; what was checked has no more than 100.
const MAX_DEPTH: u32 = 128;

fn field<'a>(rest: &mut &'a [u8], depth: u32) -> Option<(u32, Payload<'a>)> {
    let key = varint(rest)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0)?;
    let payload = match key & 7 {
        0 => Payload::Varint(varint(rest)?),
        1 => Payload::Fixed64(u64::from_le_bytes(*take(rest, 8)?.first_chunk()?)),
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            Payload::Bytes(take(rest, len)?)
        }
        3 if depth < MAX_DEPTH => {
            while !rest.is_empty() {
                let mut ahead = *rest;
                if varint(&mut ahead)? & 7 == 4 {
                    *rest = ahead;
                    return Some((number, Payload::Unread));
                }
                field(rest, depth + 1)?;
            }
            return None;
        }
        5 => {
            take(rest, 4)?;
            Payload::Unread
        }
        _ => return None,
    };
    Some((number, payload))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(taken)
}

/// A varint of at most ten bytes from the front of `rest`.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends `value` as a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields(message).filter_map(move |field| match field.payload {
        Payload::Bytes(bytes) if field.number == number => Some(bytes),
        _ => None,
    })
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

/// The last string with this number; empty where there is none.
fn string(message: &[u8], number: u32) -> &str {
    messages(message, number).last().map_or("", text)
}

/// The attributes that stand in `message` under `number`, in the order of the bytes.
pub(crate) fn attributes(message: &[u8], number: u32) -> impl Iterator<Item = (&str, Value<'_>)> {
    messages(message, number).map(|pair| {
        let value = messages(pair, 2).fold(Value::Other, |before, value| any_value(value, before));
        (string(pair, 1), value)
    })
}

/// Such messages merge: the last member of the `oneof` counts, or what stood before.
fn any_value<'a>(message: &'a [u8], before: Value<'a>) -> Value<'a> {
    Fields(message).fold(before, |before, field| match (field.number, field.payload) {
        (1, Payload::Bytes(string)) => Value::Str(text(string)),
        (2, Payload::Varint(bool)) => Value::Bool(bool != 0),
        (3, Payload::Varint(int)) => Value::Int(int.cast_signed()),
        (4, Payload::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
        (7, Payload::Bytes(bytes)) => Value::Bytes(bytes),
        (5 | 6 | 8, _) => Value::Other,
        _ => before,
    })
}

/// The field of `Span` that holds events.
const SPAN_EVENTS: u32 = 11;
const SPAN_STATUS: u32 = 15;
const EVENT_NAME: u32 = 2;
const EVENT_ATTRIBUTES: u32 = 3;
const SCOPE_ATTRIBUTES: u32 = 3;

/// An event of a span, as the bytes of its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a>(&'a [u8]);

impl<'a> Event<'a> {
    pub(crate) fn name(self) -> &'a str {
        string(self.0, EVENT_NAME)
    }

    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        attributes(self.0, EVENT_ATTRIBUTES)
    }
}

/// The events of a span.
pub(crate) fn events<'a>(span: &otlp::view::Span<'a>) -> impl Iterator<Item = Event<'a>> {
    messages(span.raw(), SPAN_EVENTS).map(Event)
}

/// `Status.message` of a span.
pub(crate) fn status_message<'a>(span: &otlp::view::Span<'a>) -> &'a str {
    let said = messages(span.raw(), SPAN_STATUS).filter_map(|status| messages(status, 2).last());
    said.last().map_or("", text)
}

/// The attributes of a scope.
pub(crate) fn scope_attributes<'a>(
    scope: &otlp::view::Scope<'a>,
) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
    scope
        .raw_parts()
        .flat_map(|part| attributes(part, SCOPE_ATTRIBUTES))
}

const RESOURCE_SPANS: u32 = 1;
const SCOPE_SPANS: u32 = 2;
const SPANS: u32 = 2;

/// `data` without the spans for which `keep`, asked in the order of `otlp::view`, says no; scopes and resources
/// that are left without spans go too.
pub(crate) fn retain_spans(data: &[u8], mut keep: impl FnMut() -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    rewrite(data, RESOURCE_SPANS, &mut out, &mut |resource_spans| {
        let mut inner = Vec::with_capacity(resource_spans.len());
        let kept = rewrite(resource_spans, SCOPE_SPANS, &mut inner, &mut |scope_spans| {
            let mut inner = Vec::with_capacity(scope_spans.len());
            let kept = rewrite(scope_spans, SPANS, &mut inner, &mut |span| {
                keep().then(|| span.to_vec())
            });
            (kept > 0).then_some(inner)
        });
        (kept > 0).then_some(inner)
    });
    out
}

/// Copies `message`, with each occurrence of `number` replaced by what `change` makes of it, or left out. Returns
/// how many are left.
fn rewrite(
    message: &[u8],
    number: u32,
    out: &mut Vec<u8>,
    change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> usize {
    let mut kept = 0;
    for field in Fields(message) {
        match field.payload {
            Payload::Bytes(bytes) if field.number == number => {
                if let Some(changed) = change(bytes) {
                    kept += 1;
                    put_varint(out, u64::from(number) << 3 | 2);
                    put_varint(out, changed.len() as u64);
                    out.extend_from_slice(&changed);
                }
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    kept
}
