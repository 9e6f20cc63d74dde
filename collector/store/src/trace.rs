//! One trace, read from its bytes.
//!
//! In: bytes of `TracesData`. Out: its spans with what they share, its extent in time and its root; repeats removed.
//! Left out on purpose: a check that the spans bear the trace's id; who puts them says whose they are.

use crate::wire;
use bytes::Bytes;
use otlp::view::{self, Resource, Scope, Span, StatusCode};

/// A span with its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanSeen<'a> {
    pub(crate) resource: Resource<'a>,
    pub(crate) scope: Scope<'a>,
    pub(crate) span: Span<'a>,
    /// `service.name` of the resource; empty where it is not a string.
    pub(crate) service: &'a str,
}

impl SpanSeen<'_> {
    /// 0 where the span does not say when it started, or ended before.
    pub(crate) fn duration(&self) -> u64 {
        Extent::of(&self.span).duration()
    }
}

/// When a trace was, and whether it failed anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first start that is not 0, or 0.
    pub(crate) start: u64,
    /// The last end, and not before the start.
    pub(crate) end: u64,
    pub(crate) error: bool,
    pub(crate) spans: u64,
}

impl Extent {
    pub(crate) const EMPTY: Self = Self {
        start: 0,
        end: 0,
        error: false,
        spans: 0,
    };

    /// Of both together.
    pub(crate) fn with(self, other: Self) -> Self {
        let start = match (self.start, other.start) {
            (0, start) | (start, 0) => start,
            (one, another) => one.min(another),
        };
        Self {
            start,
            end: self.end.max(other.end).max(start),
            error: self.error || other.error,
            spans: self.spans + other.spans,
        }
    }

    pub(crate) fn duration(self) -> u64 {
        self.end - self.start
    }

    /// A span that does not say when it started stretches nothing.
    fn of(span: &Span<'_>) -> Self {
        let start = span.start_unix_nano;
        Self {
            start,
            end: if start == 0 {
                0
            } else {
                span.end_unix_nano.max(start)
            },
            error: span.status == StatusCode::Error,
            spans: 1,
        }
    }
}

/// A trace's spans, in the order of the bytes.
#[derive(Debug)]
pub(crate) struct Trace<'a> {
    pub(crate) spans: Vec<SpanSeen<'a>>,
    pub(crate) extent: Extent,
}

impl<'a> Trace<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Self {
        let mut spans = Vec::new();
        let mut services = Services::default();
        let mut extent = Extent::EMPTY;
        view::for_each_span_unchecked(data, |resource, scope, span| {
            extent = extent.with(Extent::of(span));
            spans.push(SpanSeen {
                resource: *resource,
                scope: *scope,
                span: *span,
                service: services.of(resource),
            });
        });
        Self { spans, extent }
    }

    /// The root, by the rule of [`crate::TraceHit::root_service`].
    pub(crate) fn root(&self) -> Option<&SpanSeen<'a>> {
        let earliest = |found: Option<&'_ SpanSeen<'a>>, seen: &SpanSeen<'a>| {
            found.is_none_or(|found| seen.span.start_unix_nano < found.span.start_unix_nano)
        };
        let (mut without, mut orphan, mut any) = (None, None, None);
        for seen in &self.spans {
            if is_no_id(seen.span.parent_span_id) && earliest(without, seen) {
                without = Some(seen);
            }
            if earliest(any, seen) {
                any = Some(seen);
            }
        }
        if without.is_some() {
            return without;
        }
        let mut ids: Vec<&[u8]> = self.spans.iter().map(|seen| seen.span.span_id).collect();
        ids.sort_unstable();
        for seen in &self.spans {
            if ids.binary_search(&seen.span.parent_span_id).is_err() && earliest(orphan, seen) {
                orphan = Some(seen);
            }
        }
        orphan.or(any)
    }
}

/// `service.name`, looked up once for each run of spans that share a resource.
#[derive(Debug, Default)]
struct Services<'a> {
    of: Option<*const u8>,
    name: &'a str,
}

impl<'a> Services<'a> {
    fn of(&mut self, resource: &Resource<'a>) -> &'a str {
        let of = resource.raw_parts().next().map(<[u8]>::as_ptr);
        if of.is_none() || of != self.of {
            let name = resource.attributes().get("service.name");
            (self.of, self.name) = (of, name.and_then(view::Value::as_str).unwrap_or_default());
        }
        self.name
    }
}

fn is_no_id(id: &[u8]) -> bool {
    id.iter().all(|byte| *byte == 0)
}

fn extent_of(data: &[u8]) -> Extent {
    let mut extent = Extent::EMPTY;
    view::for_each_span_unchecked(data, |_, _, span| extent = extent.with(Extent::of(span)));
    extent
}

/// `data` with each span once, and when those were. Of spans with the same id, kind and service the first stays.
pub(crate) fn without_repeats(data: Bytes) -> (Bytes, Extent) {
    let (extent, repeats) = survey(&data);
    if repeats.is_empty() {
        return (data, extent);
    }
    let mut next = 0..;
    let is_first = || {
        next.next()
            .is_some_and(|index| repeats.binary_search(&index).is_err())
    };
    let data: Bytes = wire::retain_spans(&data, is_first).into();
    let extent = extent_of(&data);
    (data, extent)
}

/// All of `fragments` as one, each span once, and when those were.
pub(crate) fn merge(fragments: &[Bytes]) -> (Bytes, Extent) {
    match fragments {
        // One alone was freed of repeats when it came.
        [one] => (one.clone(), extent_of(one)),
        many => without_repeats(many.concat().into()),
    }
}

/// As [`merge`], for who does not ask when.
pub(crate) fn merged(fragments: &[Bytes]) -> Bytes {
    match fragments {
        [one] => one.clone(),
        many => merge(many).0,
    }
}

/// When the spans were, and which of them, counted in the order of the bytes, were there before; ascending.
fn survey(data: &[u8]) -> (Extent, Vec<u32>) {
    let mut services = Services::default();
    let mut extent = Extent::EMPTY;
    let mut spans = Vec::new();
    let mut next = 0_u32;
    view::for_each_span_unchecked(data, |resource, _, span| {
        extent = extent.with(Extent::of(span));
        let index = next;
        next += 1;
        if !is_no_id(span.span_id) {
            spans.push((span.span_id, span.kind, services.of(resource), index));
        }
    });
    spans.sort_unstable();
    let same = spans
        .array_windows()
        .filter(|[a, b]| (a.0, a.1, a.2) == (b.0, b.1, b.2));
    let mut repeats: Vec<u32> = same.map(|[_, later]| later.3).collect();
    repeats.sort_unstable();
    (extent, repeats)
}
