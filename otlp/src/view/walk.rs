//! One pass over a request that checks and shows it at once.
//!
//! In: bytes from anywhere, and a [`Visit`]. Out: its calls, and whether the bytes are well-formed.
//! Left out on purpose: which fault it is. Whatever stands in an unusual place goes to the tables of
//! [`super::schema`], which also name the fault; what is here are the layouts that SDKs write.
//!
//! `CHECKED` is the difference between the two passes: with it the first sign of trouble ends all, without it a
//! message ends where it cannot be read on, and strings that nobody asks for are not looked at.

use super::check::{IN_SPAN_DEPTH, check, check_event, check_link, check_usual_pair};
use super::fields::{Fields, array, delimited, varint};
use super::schema::{self, Schema};
use super::values::usual_pair;
use super::{
    Link, REQUEST_RESOURCE_SPANS, RESOURCE_SPANS_SCOPE_SPANS, RawValue, Resource, SCOPE_SPANS_SPANS,
    SPAN_ATTRIBUTES, SPAN_LINKS, Span, UnreadScope, Visit,
};
use crate::types::{Kind, StatusCode};
use crate::wire::{MAX_DEPTH, Payload, Reader};
use std::ops::Range;

const RESOURCE_SPANS_DEPTH: u32 = MAX_DEPTH - 1;
const SCOPE_SPANS_DEPTH: u32 = MAX_DEPTH - 2;
const SPAN_DEPTH: u32 = MAX_DEPTH - 3;

/// Walks all of `body`; returns how many spans there were, or `None` at trouble, where `CHECKED`.
pub(super) fn request<'a, V: Visit<'a>, const CHECKED: bool>(body: &'a [u8], visit: &mut V) -> Option<u64> {
    let mut walk = Walk {
        body,
        visit,
        spans: 0,
    };
    walk.request::<CHECKED>()?;
    Some(walk.spans)
}

struct Walk<'a, 'v, V> {
    body: &'a [u8],
    visit: &'v mut V,
    spans: u64,
}

impl<'a, V: Visit<'a>> Walk<'a, '_, V> {
    fn request<const CHECKED: bool>(&mut self) -> Option<()> {
        let mut fields = Reader::new(self.body);
        while let Some(field) =
            next::<CHECKED>(&mut fields, REQUEST_RESOURCE_SPANS, &schema::REQUEST, MAX_DEPTH).ok()?
        {
            if let (REQUEST_RESOURCE_SPANS, Payload::Bytes(resource_spans)) = field {
                self.resource_spans::<CHECKED>(resource_spans)?;
            }
        }
        Some(())
    }

    fn resource_spans<const CHECKED: bool>(&mut self, resource_spans: Reader<'a>) -> Option<()> {
        let at = self.range(resource_spans.bytes());
        self.visit.resource(&Resource { resource_spans }, at);
        let mut fields = resource_spans;
        while let Some(field) = next::<CHECKED>(
            &mut fields,
            RESOURCE_SPANS_SCOPE_SPANS,
            &schema::RESOURCE_SPANS,
            RESOURCE_SPANS_DEPTH,
        )
        .ok()?
        {
            if let (RESOURCE_SPANS_SCOPE_SPANS, Payload::Bytes(scope_spans)) = field {
                self.scope_spans::<CHECKED>(scope_spans)?;
            }
        }
        Some(())
    }

    fn scope_spans<const CHECKED: bool>(&mut self, scope_spans: Reader<'a>) -> Option<()> {
        let at = self.range(scope_spans.bytes());
        self.visit.scope(&UnreadScope { within: scope_spans }, at);
        let mut fields = scope_spans;
        while let Some(field) = next::<CHECKED>(
            &mut fields,
            SCOPE_SPANS_SPANS,
            &schema::SCOPE_SPANS,
            SCOPE_SPANS_DEPTH,
        )
        .ok()?
        {
            if let (SCOPE_SPANS_SPANS, Payload::Bytes(span)) = field {
                self.span::<CHECKED>(span)?;
            }
        }
        Some(())
    }

    fn span<const CHECKED: bool>(&mut self, body: Reader<'a>) -> Option<()> {
        let mut span = Span::unread(body);
        let whole = self.span_fields::<CHECKED>(&mut span);
        if CHECKED {
            whole?;
        }
        self.spans += 1;
        let at = self.range(body.bytes());
        self.visit.span(&span, at);
        Some(())
    }

    #[inline]
    fn span_fields<const CHECKED: bool>(&mut self, span: &mut Span<'a>) -> Option<()> {
        let mut rest = span.raw();
        while let Some((&key, mut tail)) = rest.split_first() {
            match key {
                0x0a => span.trace_id = delimited(&mut tail)?,
                0x12 => span.span_id = delimited(&mut tail)?,
                0x1a => span.trace_state = text::<CHECKED>(delimited(&mut tail)?)?,
                0x22 => span.parent_span_id = delimited(&mut tail)?,
                0x2a => span.name = text::<CHECKED>(delimited(&mut tail)?)?,
                0x30 => span.kind = Kind::from_number(varint(&mut tail)? as i32),
                0x39 => span.start_unix_nano = u64::from_le_bytes(array(&mut tail)?),
                0x41 => span.end_unix_nano = u64::from_le_bytes(array(&mut tail)?),
                0x4a => self.attribute::<CHECKED>(delimited(&mut tail)?)?,
                0x50 | 0x60 | 0x70 => drop(varint(&mut tail)?),
                0x5a => {
                    let event = delimited(&mut tail)?;
                    if CHECKED {
                        check_event(event)?;
                    }
                }
                0x6a => {
                    let link = delimited(&mut tail)?;
                    if CHECKED {
                        check_link(link)?;
                    }
                    self.visit.link(Link::read(Reader::new(link)));
                }
                0x7a => read_status::<CHECKED>(delimited(&mut tail)?, span)?,
                _ => {
                    tail = rest;
                    self.unusual_field::<CHECKED>(&mut tail, span)?;
                }
            }
            rest = tail;
        }
        Some(())
    }

    #[inline]
    fn attribute<const CHECKED: bool>(&mut self, pair: &'a [u8]) -> Option<()> {
        let (key, value) = match usual_pair(pair) {
            Some((key, any)) => {
                if CHECKED {
                    check_usual_pair(pair, key, any, IN_SPAN_DEPTH)?;
                }
                (key, RawValue::of_any(any))
            }
            None => unusual_pair::<CHECKED>(pair)?,
        };
        self.visit.attribute(key, value);
        Some(())
    }

    /// The `flags`, and any field that this version does not know, that has the wrong wire type, or whose key is
    /// longer than it must be.
    fn unusual_field<const CHECKED: bool>(&mut self, rest: &mut &'a [u8], span: &mut Span<'a>) -> Option<()> {
        if let [0x85, 1, a, b, c, d, tail @ ..] = *rest {
            span.flags = u32::from_le_bytes([*a, *b, *c, *d]);
            *rest = tail;
            return Some(());
        }
        let mut fields = Reader::new(rest);
        match next::<CHECKED>(&mut fields, 0, &schema::SPAN, SPAN_DEPTH).ok()?? {
            (SPAN_ATTRIBUTES, Payload::Bytes(pair)) => self.attribute::<false>(pair.bytes())?,
            (SPAN_LINKS, Payload::Bytes(link)) => self.visit.link(Link::read(link)),
            (number, payload) => span.take(number, payload),
        }
        *rest = fields.bytes();
        Some(())
    }

    /// Where a part of the body lies in it.
    #[inline]
    fn range(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr().addr() - self.body.as_ptr().addr();
        start..start + part.len()
    }
}

/// What stands there is malformed, or may be.
struct Trouble;

/// The next field of a message, or its end. Where `CHECKED` all of it is checked, unless it is an occurrence of
/// `mine`, which the caller checks.
#[inline]
fn next<'a, const CHECKED: bool>(
    fields: &mut Reader<'a>,
    mine: u32,
    schema: &'static Schema,
    depth: u32,
) -> Result<Option<(u32, Payload<'a>)>, Trouble> {
    if CHECKED {
        let before = *fields;
        let field = fields.field().map_err(|_| Trouble)?;
        if matches!(field, Some((number, Payload::Bytes(_))) if number == mine) {
            return Ok(field);
        }
        *fields = before;
        schema::check_field(schema, fields, depth, &mut 0).map_err(|_| Trouble)
    } else {
        let mut skipping = Fields(*fields);
        let field = skipping.next();
        *fields = skipping.0;
        Ok(field)
    }
}

#[cold]
fn unusual_pair<const CHECKED: bool>(pair: &[u8]) -> Option<(&[u8], RawValue<'_>)> {
    if CHECKED {
        check(&schema::KEY_VALUE, pair, IN_SPAN_DEPTH)?;
    }
    let mut key: &[u8] = &[];
    for field in Fields(Reader::new(pair)) {
        if let (1, Payload::Bytes(bytes)) = field {
            key = bytes.bytes();
        }
    }
    Some((key, RawValue::of_pair(pair)))
}

#[inline]
fn read_status<'a, const CHECKED: bool>(status: &'a [u8], span: &mut Span<'a>) -> Option<()> {
    if let [0x18, code @ ..0x80] = status {
        span.status = StatusCode::from_number(i32::from(*code));
        return Some(());
    }
    if CHECKED {
        check(&schema::STATUS, status, IN_SPAN_DEPTH)?;
    }
    span.take_status(Reader::new(status));
    Some(())
}

#[inline]
fn text<const CHECKED: bool>(bytes: &[u8]) -> Option<&str> {
    match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(_) if CHECKED => None,
        Err(_) => Some(""),
    }
}
