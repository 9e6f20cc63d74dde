//! The load for the collectors: requests that look like a fleet's, with trace ids never seen before.
//!
//! In: a running number. Out: the bytes of one `ExportTraceServiceRequest`.
//! Left out on purpose: encoding while the clock runs. Requests are encoded once, then only their ids are written anew.

use bytes::Bytes;
use otlp::view;
use prost::Message as _;

use crate::Failure;
use crate::shape::{self, Half, Naming, SERVICES, TRACES, mixed};

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

/// Services at each place of a chain, where there are many.
const LAYER: u64 = 100;
/// Services that each service of a layer calls.
const CALLEES: u64 = 11;
/// What the names of many services begin with; four digits follow.
const PREFIX: &str = "svc-";

/// How many services there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fleet {
    /// Ten, in one chain.
    Shop,
    /// A thousand in ten layers, with 10,100 edges; [`WIDE_SPANS`] spans show each at least once.
    Wide,
}

/// So many spans of [`Fleet::Wide`] have every edge in them.
pub(crate) const WIDE_SPANS: u64 = LAYER * CALLEES * BATCH * HALVES;
/// Edges of [`Fleet::Wide`]: from the user, between layers, to the database.
pub(crate) const WIDE_EDGES: u64 = LAYER + (SERVICES as u64 - 1) * LAYER * CALLEES + LAYER;

/// Requests without end.
pub(crate) struct Load {
    templates: Vec<Template>,
    fleet: Fleet,
}

/// An encoded request and where its ids are.
struct Template {
    body: Vec<u8>,
    slots: Vec<Slot>,
    /// Where the digits of names are, and of which place of the chain.
    names: Vec<(usize, usize)>,
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
    pub(crate) fn new(fleet: Fleet) -> Result<Self, Failure> {
        let naming: &Naming = match fleet {
            Fleet::Shop => &shape::shop,
            Fleet::Wide => &|place| format!("{PREFIX}{place:04}"),
        };
        let halves =
            |variant| [Half::Callers, Half::Callees].map(|half| Template::new(variant, half, naming));
        let templates = (0..VARIANTS).flat_map(halves).collect::<Result<_, _>>()?;
        Ok(Self { templates, fleet })
    }

    /// Bytes of a span, its share of resources and framing included.
    pub(crate) fn bytes_per_span(&self) -> f64 {
        let bytes: usize = self.templates.iter().map(|template| template.body.len()).sum();
        bytes as f64 / (self.templates.len() as u64 * BATCH) as f64
    }

    /// Request `number`; those numbered `2n` and `2n + 1` hold the halves of the same traces.
    pub(crate) fn request(&self, number: u64) -> Bytes {
        let chain = number / HALVES;
        let template = &self.templates[(number % self.templates.len() as u64) as usize];
        let mut body = template.with_ids(chain * TRACES as u64);
        if self.fleet == Fleet::Wide {
            template.write_names(&mut body, &services_of(chain));
        }
        body.into()
    }

    /// Request `number` of traces whose other half never comes.
    pub(crate) fn unpaired(&self, number: u64) -> Bytes {
        let template = &self.templates[(number % self.templates.len() as u64) as usize];
        template.with_ids(number * TRACES as u64).into()
    }
}

/// A pair of requests with services that nobody has seen before, as they come from one that ended just now.
pub(crate) fn first_sight(number: u64) -> Result<[Bytes; 2], Failure> {
    let naming = move |place| new_name(number, place);
    let half = |half| Template::new(number % VARIANTS, half, &naming);
    let first_trace = (u64::MAX >> 16) - number * TRACES as u64;
    Ok([half(Half::Callers)?, half(Half::Callees)?].map(|template| template.with_ids(first_trace).into()))
}

/// What [`first_sight`] calls the service at a place of the chain.
pub(crate) fn new_name(number: u64, place: usize) -> String {
    format!("new-{number}-{place}")
}

/// The services of a chain, such that chains in a row visit all, and all edges.
fn services_of(chain: u64) -> [u64; SERVICES] {
    let mut within = chain % LAYER;
    std::array::from_fn(|place| {
        let service = place as u64 * LAYER + within;
        let call = (chain / LAYER + place as u64) % CALLEES;
        // 7 and 13 have no factor in common with the layer's size: no two services call the same by accident.
        within = (7 * within + 13 * call) % LAYER;
        service
    })
}

impl Template {
    fn new(variant: u64, half: Half, naming: &Naming) -> Result<Self, Failure> {
        let body = shape::request(variant, half, naming).encode_to_vec();
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
        let names = digits(&body).collect();
        Ok(Self { body, slots, names })
    }

    fn write_names(&self, body: &mut [u8], services: &[u64; SERVICES]) {
        for (at, place) in &self.names {
            let digits = format!("{:04}", services[*place]);
            body[*at..*at + digits.len()].copy_from_slice(digits.as_bytes());
        }
    }

    fn with_ids(&self, first_trace: u64) -> Vec<u8> {
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
        body
    }
}

/// Where the digits of each numbered name begin, and its number.
fn digits(body: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let starts = body.windows(PREFIX.len() + 4).enumerate();
    starts.filter_map(|(at, window)| {
        let digits = window.strip_prefix(PREFIX.as_bytes())?;
        Some((at + PREFIX.len(), str::from_utf8(digits).ok()?.parse().ok()?))
    })
}

/// The how-manieth of its trace a span is: SERVER spans are even, and the CLIENT span of a service follows its SERVER span.
fn span_number(service: usize, half: Half) -> u64 {
    2 * service as u64 + u64::from(half == Half::Callers)
}

fn span_id(trace: u64, number: u64) -> u64 {
    mixed(trace * SPANS_PER_TRACE + number).max(1)
}
