//! What a reader of whole requests is shown, in one pass over the bytes.
//!
//! In: nothing; [`super::read_spans`] and [`super::read_spans_unchecked`] call. Out: the trait to implement, and
//! values and scopes that are read only where the visitor asks.
//! Left out on purpose: events, whose meaning nobody reads here; [`Span::raw`] has them.

use super::values::{INT, STRING, read_any, read_pair};
use super::{Link, Resource, Scope, Span, Value};
use crate::wire::Reader;
use std::ops::Range;

/// Takes a request apart as it is read. Every method does nothing unless it is written.
///
/// The order is that of the bytes: a resource, its scopes, and for each span its attributes and links before the
/// span itself. Ranges are byte offsets in the body, without the key and length before the message.
pub trait Visit<'a> {
    /// A `ResourceSpans` begins, which lies at `at`. What the resource says may stand behind its spans: reading it
    /// is a pass of its own, so once is enough.
    #[inline]
    fn resource(&mut self, resource: &Resource<'a>, at: Range<usize>) {
        let _ = (resource, at);
    }

    /// A `ScopeSpans` of the last resource begins, which lies at `at`.
    #[inline]
    fn scope(&mut self, scope: &UnreadScope<'a>, at: Range<usize>) {
        let _ = (scope, at);
    }

    /// An attribute of the span that comes next. The key is as it stands, UTF-8 in a valid request; a key can come
    /// twice.
    #[inline]
    fn attribute(&mut self, key: &'a [u8], value: RawValue<'a>) {
        let _ = (key, value);
    }

    /// A link of the span that comes next.
    #[inline]
    fn link(&mut self, link: Link<'a>) {
        let _ = link;
    }

    /// A span of the last scope, complete; it lies at `at`.
    #[inline]
    fn span(&mut self, span: &Span<'a>, at: Range<usize>) {
        let _ = (span, at);
    }
}

/// A scope whose name nobody has looked for yet.
#[derive(Debug, Clone, Copy)]
pub struct UnreadScope<'a> {
    pub(super) within: Reader<'a>,
}

impl<'a> UnreadScope<'a> {
    /// Looks for it in the `ScopeSpans`, behind the spans too.
    pub fn read(&self) -> Scope<'a> {
        Scope::read(self.within)
    }
}

/// An attribute's value as its bytes stand; nothing is decoded until a method asks for it.
#[derive(Debug, Clone, Copy)]
pub struct RawValue<'a> {
    bytes: &'a [u8],
    whole_pair: bool,
}

impl<'a> RawValue<'a> {
    /// The one `AnyValue` of a pair.
    #[inline]
    pub(super) fn of_any(any: &'a [u8]) -> Self {
        Self {
            bytes: any,
            whole_pair: false,
        }
    }

    /// A pair that has its value in several pieces, or none, or in an unusual place.
    #[inline]
    pub(super) fn of_pair(pair: &'a [u8]) -> Self {
        Self {
            bytes: pair,
            whole_pair: true,
        }
    }

    /// The value, decoded.
    #[inline]
    pub fn value(&self) -> Value<'a> {
        if self.whole_pair {
            read_pair(Reader::new(self.bytes)).1
        } else {
            read_any(Reader::new(self.bytes), Value::Other)
        }
    }

    /// The string, where it is one; empty where it is not UTF-8, which a valid request does not have.
    #[inline]
    pub fn as_str(&self) -> Option<&'a str> {
        match self.only_string() {
            Some(text) => Some(str::from_utf8(text).unwrap_or_default()),
            None => self.value().as_str(),
        }
    }

    /// The bytes of the string, where it is one; UTF-8 in a valid request, and not checked again.
    #[inline]
    pub fn as_bytes_of_str(&self) -> Option<&'a [u8]> {
        self.only_string()
            .or_else(|| self.value().as_str().map(str::as_bytes))
    }

    /// The number, where it is an integer.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match (self.bytes, self.whole_pair) {
            ([INT, int @ ..0x80], false) => Some(i64::from(*int)),
            ([INT, low @ 0x80..=0xff, high @ ..0x80], false) => {
                Some(i64::from(*low & 0x7f) | i64::from(*high) << 7)
            }
            _ => match self.value() {
                Value::Int(int) => Some(int),
                _ => None,
            },
        }
    }

    /// The truth value, where it is one.
    #[inline]
    pub fn as_bool(&self) -> Option<bool> {
        match self.value() {
            Value::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    /// The number, where it is a double.
    #[inline]
    pub fn as_f64(&self) -> Option<f64> {
        match self.value() {
            Value::Double(double) => Some(double),
            _ => None,
        }
    }

    /// The layout that every SDK writes: one string shorter than 128 bytes and nothing beside it.
    #[inline]
    fn only_string(&self) -> Option<&'a [u8]> {
        match self.bytes {
            [STRING, length @ ..0x80, text @ ..]
                if !self.whole_pair && usize::from(*length) == text.len() =>
            {
                Some(text)
            }
            _ => None,
        }
    }
}
