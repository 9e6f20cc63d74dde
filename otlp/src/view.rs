//! A borrowed view of the spans in an OTLP trace request.
//!
//! In: the protobuf bytes of an `ExportTraceServiceRequest`, from anywhere. Out: every span with its resource
//! and scope, borrowed from those bytes; nothing is allocated. What is accepted and what the values are is what
//! prost makes of the same bytes: unknown fields are skipped, the last of repeated singular fields counts,
//! repeated singular messages merge.
//! Left out on purpose: checks of ids, times and names (the collector's, as `partial_success`), and the fields
//! that nobody reads here; [`Span::raw`] has them.

mod check;
mod fields;
mod schema;
mod signals;
#[cfg(test)]
mod tests;
mod values;
mod visit;
mod walk;

use crate::wire::{Payload, Reader};
use fields::{Fields, Messages, text};
use std::fmt;
use std::ops::Range;

pub use crate::types::{Kind, StatusCode};
pub use crate::wire::Fault;
pub use signals::{validate_logs, validate_metrics};
pub use values::{Attributes, Link, Links, Value};
pub use visit::{RawValue, UnreadScope, Visit};

/// How many spans a request holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanCount(pub u64);

/// Bytes that are not the request they should be, an `ExportTraceServiceRequest` or that of another signal: what is wrong,
/// and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The message type that the fault is in, as the protocol names it: `Span`.
    pub message: &'static str,
    /// The field of it, where one was recognised: `name`.
    pub field: Option<&'static str>,
    /// Byte offset in the request.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, field) = (self.message, self.field.unwrap_or_default());
        let dot = if field.is_empty() { "" } else { "." };
        write!(
            f,
            "byte {} in `{message}{dot}{field}` is malformed: {}",
            self.offset, self.fault
        )
    }
}

impl std::error::Error for Malformed {}

/// Checks all of `body`, then shows `visit` every span, in the order of the bytes; returns how many there were.
///
/// # Errors
/// [`Malformed`] exactly where prost would refuse `body`. `visit` was then not called at all.
pub fn for_each_span<'a>(
    body: &'a [u8],
    visit: impl FnMut(&Resource<'a>, &Scope<'a>, &Span<'a>),
) -> Result<SpanCount, Malformed> {
    let count = validate(body)?;
    for_each_span_unchecked(body, visit);
    Ok(count)
}

/// Checks all of `body` and counts its spans.
///
/// # Errors
/// [`Malformed`] exactly where prost would refuse `body`.
pub fn validate(body: &[u8]) -> Result<SpanCount, Malformed> {
    struct Unseen;
    impl Visit<'_> for Unseen {}
    read_spans(body, &mut Unseen)
}

/// Checks all of `body` and shows it to `visit` in the same pass; returns how many spans there were.
///
/// # Errors
/// [`Malformed`] exactly where prost would refuse `body`. `visit` may then have seen a part of it, which counts for
/// nothing: a visitor gathers, and forgets what it gathered where this fails.
pub fn read_spans<'a>(body: &'a [u8], visit: &mut impl Visit<'a>) -> Result<SpanCount, Malformed> {
    match walk::request::<_, true>(body, visit) {
        Some(spans) => Ok(SpanCount(spans)),
        None => Err(schema::fault(body)),
    }
}

/// As [`read_spans`], for bytes that [`validate`] or [`read_spans`] accepted before: nothing is checked again, and
/// strings that nobody asks for are not read.
///
/// On other bytes it shows what it can read, skips the rest and still neither panics nor allocates.
pub fn read_spans_unchecked<'a>(body: &'a [u8], visit: &mut impl Visit<'a>) {
    walk::request::<_, false>(body, visit);
}

/// As [`for_each_span`], for bytes that [`validate`] accepted before: without the first pass.
///
/// On other bytes it shows what it can read, skips the rest and still neither panics nor allocates.
pub fn for_each_span_unchecked<'a>(body: &'a [u8], visit: impl FnMut(&Resource<'a>, &Scope<'a>, &Span<'a>)) {
    let mut each = Each {
        resource: Resource::default(),
        scope: Scope::default(),
        visit,
    };
    read_spans_unchecked(body, &mut each);
}

/// Spans with what they stand in.
struct Each<'a, F> {
    resource: Resource<'a>,
    scope: Scope<'a>,
    visit: F,
}

impl<'a, F: FnMut(&Resource<'a>, &Scope<'a>, &Span<'a>)> Visit<'a> for Each<'a, F> {
    fn resource(&mut self, resource: &Resource<'a>, _: Range<usize>) {
        self.resource = *resource;
    }

    fn scope(&mut self, scope: &UnreadScope<'a>, _: Range<usize>) {
        self.scope = scope.read();
    }

    #[inline]
    fn span(&mut self, span: &Span<'a>, _: Range<usize>) {
        (self.visit)(&self.resource, &self.scope, span);
    }
}

const REQUEST_RESOURCE_SPANS: u32 = 1;
const RESOURCE_SPANS_RESOURCE: u32 = 1;
const RESOURCE_SPANS_SCOPE_SPANS: u32 = 2;
const RESOURCE_ATTRIBUTES: u32 = 1;
const SCOPE_SPANS_SCOPE: u32 = 1;
const SCOPE_SPANS_SPANS: u32 = 2;
const SPAN_ATTRIBUTES: u32 = 9;
const SPAN_LINKS: u32 = 13;

/// The entity that recorded the spans, mostly a service instance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resource<'a> {
    resource_spans: Reader<'a>,
}

impl<'a> Resource<'a> {
    /// Its attributes, in the order of the bytes; a key can come twice.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of_parts(self.parts(), RESOURCE_ATTRIBUTES)
    }

    /// Its bytes: none where there is no resource, one part nearly always, more where a sender wrote it in
    /// pieces. The parts one after the other are one `Resource` message.
    pub fn raw_parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.parts().map(|part| part.bytes())
    }

    fn parts(&self) -> Messages<'a> {
        Messages::new(self.resource_spans, RESOURCE_SPANS_RESOURCE)
    }
}

/// The library that recorded the spans. Empty strings where nothing is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// `InstrumentationScope.name`.
    pub name: &'a str,
    /// `InstrumentationScope.version`.
    pub version: &'a str,
    within: Reader<'a>,
}

impl<'a> Scope<'a> {
    /// Its bytes, as [`Resource::raw_parts`]: one after the other they are one `InstrumentationScope` message.
    pub fn raw_parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.parts().map(|part| part.bytes())
    }

    fn parts(&self) -> Messages<'a> {
        Messages::new(self.within, SCOPE_SPANS_SCOPE)
    }

    fn read(scope_spans: Reader<'a>) -> Self {
        let mut scope = Self {
            name: "",
            version: "",
            within: scope_spans,
        };
        for part in scope.parts() {
            for (number, payload) in Fields(part) {
                match (number, payload) {
                    (1, Payload::Bytes(name)) => scope.name = text(name),
                    (2, Payload::Bytes(version)) => scope.version = text(version),
                    _ => {}
                }
            }
        }
        scope
    }
}

/// One span. Ids have the length that the sender gave them: 16, 8 and 0 or 8 bytes where all is well.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// `Span.trace_id`.
    pub trace_id: &'a [u8],
    /// `Span.span_id`.
    pub span_id: &'a [u8],
    /// `Span.parent_span_id`; empty for a root.
    pub parent_span_id: &'a [u8],
    /// W3C `tracestate`.
    pub trace_state: &'a str,
    /// `Span.name`.
    pub name: &'a str,
    /// `Span.kind`.
    pub kind: Kind,
    /// Nanoseconds since 1970, UTC; 0 where nothing is said.
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970, UTC; 0 where nothing is said, and not always after the start.
    pub end_unix_nano: u64,
    /// Bits 0 to 7 are the W3C trace flags, 8 and 9 say whether the parent is remote (`SpanFlags`).
    pub flags: u32,
    /// `Span.status.code`.
    pub status: StatusCode,
    body: Reader<'a>,
}

impl<'a> Span<'a> {
    /// Its attributes, in the order of the bytes; a key can come twice.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.body, SPAN_ATTRIBUTES)
    }

    /// Its links to other spans.
    pub fn links(&self) -> Links<'a> {
        Links::of(self.body, SPAN_LINKS)
    }

    /// The bytes of its `Span` message, without the key and length before it.
    pub fn raw(&self) -> &'a [u8] {
        self.body.bytes()
    }

    fn unread(body: Reader<'a>) -> Self {
        Self {
            trace_id: &[],
            span_id: &[],
            parent_span_id: &[],
            trace_state: "",
            name: "",
            kind: Kind::Unspecified,
            start_unix_nano: 0,
            end_unix_nano: 0,
            flags: 0,
            status: StatusCode::Unset,
            body,
        }
    }

    fn take(&mut self, number: u32, payload: Payload<'a>) {
        match (number, payload) {
            (1, Payload::Bytes(id)) => self.trace_id = id.bytes(),
            (2, Payload::Bytes(id)) => self.span_id = id.bytes(),
            (3, Payload::Bytes(state)) => self.trace_state = text(state),
            (4, Payload::Bytes(id)) => self.parent_span_id = id.bytes(),
            (5, Payload::Bytes(name)) => self.name = text(name),
            (6, Payload::Varint(kind)) => self.kind = Kind::from_number(kind as i32),
            (7, Payload::Fixed64(start)) => self.start_unix_nano = start,
            (8, Payload::Fixed64(end)) => self.end_unix_nano = end,
            (15, Payload::Bytes(status)) => self.take_status(status),
            (16, Payload::Fixed32(flags)) => self.flags = flags,
            _ => {}
        }
    }

    fn take_status(&mut self, status: Reader<'a>) {
        for field in Fields(status) {
            if let (3, Payload::Varint(code)) = field {
                self.status = StatusCode::from_number(code as i32);
            }
        }
    }
}
