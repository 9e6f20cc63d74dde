//! The load for the collectors: requests that look like a fleet's, with trace ids never seen before.
//!
//! In: a running number. Out: the bytes of one `ExportTraceServiceRequest`.
//! Left out on purpose: encoding while the clock runs. Requests are encoded once, then only their ids are written anew.

use bytes::Bytes;
use otlp::view;
use prost::Message as _;

use crate::Failure;
use crate::shape::{self, Half, SERVICES, TRACES, mixed};

/// Spans in each request.
pub(crate) const BATCH: u64 = (SERVICES * TRACES) as u64;
/// Requests that make whole traces.
pub(crate) const HALVES: u64 = 2;
/// Edges of each trace: one in from the user, nine between services, one to the database.
pub(crate) const EDGES_PER_TRACE: u64 = SERVICES as u64 + 1;
/// Spans of each trace.
pub(crate) const SPANS_PER_TRACE: u64 = 2 * SERVICES as u64;
/// Different pairs of requests; each has other latencies.
const VARIANTS: u64 = 16;
/// Random enough, and the same on every machine.
const SEED: u64 = 0x7472_6163_656d_6170;

/// Requests without end.
pub(crate) struct Load {
    templates: Vec<Template>,
}

/// An encoded request and where its ids are.
struct Template {
    body: Vec<u8>,
    slots: Vec<Slot>,
}

/// Where one span's ids are, and which span of which trace it is.
struct Slot {
    trace_at: usize,
    span_at: usize,
    parent_at: Option<usize>,
    trace: u64,
    number: u64,
}

impl Load {
    /// Encodes all variants.
    pub(crate) fn new() -> Result<Self, Failure> {
        let halves = |variant| [Half::Callers, Half::Callees].map(|half| Template::new(variant, half));
        let templates = (0..VARIANTS).flat_map(halves).collect::<Result<_, _>>()?;
        Ok(Self { templates })
    }

    /// Bytes of a span, its share of resources and framing included.
    pub(crate) fn bytes_per_span(&self) -> f64 {
        let bytes: usize = self.templates.iter().map(|template| template.body.len()).sum();
        bytes as f64 / (self.templates.len() as u64 * BATCH) as f64
    }

    /// Request `number`; those numbered `2n` and `2n + 1` hold the halves of the same traces.
    pub(crate) fn request(&self, number: u64) -> Bytes {
        let template = &self.templates[(number % self.templates.len() as u64) as usize];
        template.with_ids(number / HALVES * TRACES as u64)
    }
}

impl Template {
    fn new(variant: u64, half: Half) -> Result<Self, Failure> {
        let body = shape::request(variant, half).encode_to_vec();
        let start = body.as_ptr().addr();
        let mut slots = Vec::new();
        let count = view::for_each_span(&body, |_, _, span| {
            let at = |field: &[u8]| field.as_ptr().addr() - start;
            let (service, trace) = (slots.len() / TRACES, slots.len() % TRACES);
            slots.push(Slot {
                trace_at: at(span.trace_id),
                span_at: at(span.span_id),
                parent_at: (!span.parent_span_id.is_empty()).then(|| at(span.parent_span_id)),
                trace: trace as u64,
                number: span_number(service, half),
            });
        })?;
        assert_eq!(count.0, BATCH, "a template holds one batch");
        Ok(Self { body, slots })
    }

    fn with_ids(&self, first_trace: u64) -> Bytes {
        let mut body = self.body.clone();
        let mut write = |at: usize, id: u64| body[at..at + 8].copy_from_slice(&id.to_be_bytes());
        for slot in &self.slots {
            let trace = first_trace + slot.trace;
            write(slot.trace_at, mixed(trace ^ SEED));
            write(slot.trace_at + 8, mixed(trace.wrapping_add(SEED)));
            write(slot.span_at, span_id(trace, slot.number));
            if let Some(at) = slot.parent_at {
                write(at, span_id(trace, slot.number - 1));
            }
        }
        body.into()
    }
}

/// The how-manieth of its trace a span is: SERVER spans are even, and the CLIENT span of a service follows its SERVER span.
fn span_number(service: usize, half: Half) -> u64 {
    2 * service as u64 + u64::from(half == Half::Callers)
}

fn span_id(trace: u64, number: u64) -> u64 {
    mixed(trace * SPANS_PER_TRACE + number).max(1)
}
