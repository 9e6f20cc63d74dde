//! Spans of kept traces, put together from the requests that brought them.
//!
//! In: places of spans, and the requests. Out: OTLP `TracesData` with each span under the resource and scope that it
//! came with.
//! Left out on purpose: `schema_url`s, which stand behind the spans and which nobody asks a trace for.

use bytes::Bytes;
use otlp::view::{self, Resource, UnreadScope, Visit};

use crate::read::Place;

/// What was found of a trace.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `TracesData`.
    pub(crate) data: Bytes,
    /// Spans in it.
    pub(crate) spans: u64,
    /// Spans whose request is gone.
    pub(crate) missing: u64,
}

/// `TracesData.resource_spans`, `ResourceSpans.resource` and `ScopeSpans.scope` are field 1; `ResourceSpans.scope_spans`
/// and `ScopeSpans.spans` are field 2; all of them messages.
const FIRST: u8 = 0x0a;
const SECOND: u8 = 0x12;

/// Gathers the spans at `places`, each the position of a request and a place in it. Spans of one resource and scope
/// stay together.
pub(crate) fn gather(places: &[(u64, Place)], mut request: impl FnMut(u64) -> Option<Bytes>) -> Found {
    let mut groups: Vec<Group> = Vec::new();
    let mut found = Found::default();
    for (position, place) in places {
        let span = request(*position).and_then(|body| Cut::at(&body, place));
        let Some(Cut {
            resource,
            scope,
            span,
        }) = span
        else {
            found.missing += 1;
            continue;
        };
        found.spans += 1;
        let same = groups
            .iter_mut()
            .find(|group| group.resource == resource && group.scope == scope);
        match same {
            Some(group) => group.spans.push(span),
            None => groups.push(Group {
                resource,
                scope,
                spans: vec![span],
            }),
        }
    }
    let mut data = Vec::with_capacity(groups.iter().map(Group::bytes).sum());
    for group in &groups {
        group.write(&mut data);
    }
    found.data = data.into();
    found
}

struct Group {
    resource: Bytes,
    scope: Bytes,
    spans: Vec<Bytes>,
}

impl Group {
    fn write(&self, out: &mut Vec<u8>) {
        let spans: usize = self.spans.iter().map(|span| field_len(span.len())).sum();
        let scope_spans = field_len(self.scope.len()) + spans;
        message(
            out,
            FIRST,
            field_len(self.resource.len()) + field_len(scope_spans),
        );
        bytes(out, FIRST, &self.resource);
        message(out, SECOND, scope_spans);
        bytes(out, FIRST, &self.scope);
        self.spans.iter().for_each(|span| bytes(out, SECOND, span));
    }

    fn bytes(&self) -> usize {
        let spans: usize = self.spans.iter().map(|span| span.len() + 6).sum();
        self.resource.len() + self.scope.len() + spans + 24
    }
}

fn bytes(out: &mut Vec<u8>, key: u8, content: &[u8]) {
    message(out, key, content.len());
    out.extend_from_slice(content);
}

fn message(out: &mut Vec<u8>, key: u8, len: usize) {
    out.push(key);
    let mut rest = len;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What a field of `len` bytes occupies with its key and length.
fn field_len(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + len
}

/// A span and what it stands under.
struct Cut {
    resource: Bytes,
    scope: Bytes,
    span: Bytes,
}

impl Cut {
    fn at(body: &Bytes, place: &Place) -> Option<Self> {
        let from = place.span_at as usize;
        let to = from.checked_add(place.span_len as usize)?;
        if to > body.len() {
            return None;
        }
        let span = body.slice(from..to);
        let leading = |at: u32| leading(body, at as usize);
        if let Some((resource, scope)) = leading(place.resource_at).zip(leading(place.scope_at)) {
            return Some(Self {
                resource,
                scope,
                span,
            });
        }
        // Resource or scope do not stand first, or in pieces: rare, so the whole request may be read again.
        let mut search = Search {
            wanted: place,
            resource: Vec::new(),
            scope: Vec::new(),
            found: None,
        };
        view::read_spans_unchecked(body, &mut search);
        let (resource, scope) = search.found?;
        Some(Self {
            resource: resource.into(),
            scope: scope.into(),
            span,
        })
    }
}

/// The message in field 1 that a message at `at` begins with. Every sender writes it first and whole; one that goes on
/// with field 1 does not.
fn leading(body: &Bytes, at: usize) -> Option<Bytes> {
    let rest = body.get(at..)?;
    let (&key, rest) = rest.split_first()?;
    if key != FIRST {
        return None;
    }
    let (mut len, mut shift, mut read) = (0usize, 0u32, 0usize);
    loop {
        let byte = *rest.get(read)?;
        len |= usize::from(byte & 0x7f).checked_shl(shift)?;
        read += 1;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
    let from = at + 1 + read;
    let to = from.checked_add(len)?;
    let next = body.get(to);
    (to <= body.len() && next == Some(&SECOND)).then(|| body.slice(from..to))
}

/// Looks for the resource and scope of one span.
struct Search<'p> {
    wanted: &'p Place,
    resource: Vec<u8>,
    scope: Vec<u8>,
    found: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Visit<'a> for Search<'_> {
    fn resource(&mut self, resource: &Resource<'a>, _at: std::ops::Range<usize>) {
        self.resource = resource.raw_parts().collect::<Vec<_>>().concat();
    }

    fn scope(&mut self, scope: &UnreadScope<'a>, _at: std::ops::Range<usize>) {
        self.scope = scope.read().raw_parts().collect::<Vec<_>>().concat();
    }

    fn span(&mut self, _span: &view::Span<'a>, at: std::ops::Range<usize>) {
        if at.start == self.wanted.span_at as usize {
            self.found = Some((self.resource.clone(), self.scope.clone()));
        }
    }
}
