//! Numbered traces: what is sent of each, and what must be known of each in the end.
//!
//! In: a number. Out: the two requests that hold its halves, its edges, its span ids.
//! Left out on purpose: the clock. The same number gives the same bytes, so a repeat needs no memory.
//!
//! A trace is a chain through two to five services with a database at its end. All CLIENT spans of five traces are in one
//! request and all SERVER spans in another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::random::mixed;

/// Traces that share a pair of requests.
pub(crate) const TRACES: u64 = 5;
const SERVICES: u64 = 12;
/// Without a factor in common with [`SERVICES`]: no service is in a chain twice.
const STRIDES: [u64; 4] = [1, 5, 7, 11];
const DATABASE: &str = "postgresql:orders@orders-db";

/// One side of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The CLIENT spans, that to the database included.
    Callers,
    /// The SERVER spans.
    Callees,
}

/// Traces without end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    seed: u64,
    traces_per_second: u64,
    /// Nanoseconds since 1970 at which the first trace begins.
    base: u64,
}

/// An edge as `/metrics` and the map name it: caller, callee, connection type.
pub(crate) type EdgeKey = [String; 3];
/// A series of span metrics: service, span name, kind, status.
pub(crate) type CallKey = [String; 4];

/// What must be known of the first so many traces.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Requests, and those that failed.
    pub(crate) edges: BTreeMap<EdgeKey, (u64, u64)>,
    pub(crate) calls: BTreeMap<CallKey, u64>,
    pub(crate) spans: u64,
}

impl Truth {
    /// Of each edge all requests, and those that failed.
    pub(crate) fn requests(&self) -> (BTreeMap<EdgeKey, u64>, BTreeMap<EdgeKey, u64>) {
        let all = self.edges.iter().map(|(key, (all, _))| (key.clone(), *all));
        let failed = self.edges.iter().map(|(key, (_, failed))| (key.clone(), *failed));
        (all.collect(), failed.collect())
    }
}

/// One span of a trace, before ids.
struct Part {
    number: u64,
    service: u64,
    half: Half,
    /// The service that it calls; `None` for the database and for SERVER spans.
    callee: Option<u64>,
    failed: bool,
}

impl Load {
    pub(crate) fn new(seed: u64, traces_per_second: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seed,
            traces_per_second: traces_per_second.max(1),
            base: now.as_nanos() as u64,
        }
    }

    /// Nanoseconds from the first request to when those of this pair are due.
    pub(crate) fn due(&self, pair: u64) -> u64 {
        pair * TRACES * 1_000_000_000 / self.traces_per_second
    }

    /// All that one side says of the traces of a pair of requests.
    pub(crate) fn request(&self, pair: u64, half: Half) -> ExportTraceServiceRequest {
        let mut by_service: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
        for trace in pair * TRACES..(pair + 1) * TRACES {
            for part in parts(trace).filter(|part| part.half == half) {
                let spans = by_service.entry(part.service).or_default();
                spans.push(self.span(trace, &part));
            }
        }
        let resource_spans = by_service.into_iter().map(|(service, spans)| ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", &name(service))],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
        ExportTraceServiceRequest {
            resource_spans: resource_spans.collect(),
        }
    }

    /// As OTLP has it, 16 bytes.
    pub(crate) fn trace_id(&self, trace: u64) -> [u8; 16] {
        let halves = [
            mixed(trace ^ self.seed).max(1),
            mixed(trace.wrapping_add(self.seed)),
        ];
        let mut id = [0; 16];
        for (to, half) in id.chunks_exact_mut(8).zip(halves) {
            to.copy_from_slice(&half.to_be_bytes());
        }
        id
    }

    /// The ids of all spans of a trace.
    pub(crate) fn span_ids(&self, trace: u64) -> BTreeSet<Vec<u8>> {
        parts(trace)
            .map(|part| self.span_id(trace, part.number))
            .collect()
    }

    fn span_id(&self, trace: u64, number: u64) -> Vec<u8> {
        mixed((trace << 4 | number) ^ self.seed)
            .max(1)
            .to_be_bytes()
            .into()
    }

    /// What must be known of the first `traces` traces.
    pub(crate) fn truth(traces: u64) -> Truth {
        let mut truth = Truth::default();
        for part in (0..traces).flat_map(parts) {
            truth.spans += 1;
            *truth.calls.entry(part.call()).or_default() += 1;
            if let Some(edge) = part.edge() {
                let (requests, failed) = truth.edges.entry(edge).or_default();
                *requests += 1;
                *failed += u64::from(part.failed);
            }
        }
        truth
    }

    fn span(&self, trace: u64, part: &Part) -> Span {
        let begin = self.base + self.due(trace / TRACES) + part.number * 200_000;
        let length = (12 - part.number) * 400_000 + trace % 100 * 10_000;
        let peer = match (part.half, part.callee) {
            (Half::Callees, _) => vec![text("url.path", "/work")],
            (Half::Callers, Some(callee)) => vec![text("server.address", &name(callee))],
            (Half::Callers, None) => vec![
                text("db.system.name", "postgresql"),
                text("db.namespace", "orders"),
                text("server.address", "orders-db"),
            ],
        };
        Span {
            trace_id: self.trace_id(trace).into(),
            span_id: self.span_id(trace, part.number),
            parent_span_id: part
                .number
                .checked_sub(1)
                .map_or_else(Vec::new, |parent| self.span_id(trace, parent)),
            name: part.name().to_owned(),
            kind: match part.half {
                Half::Callers => SpanKind::Client.into(),
                Half::Callees => SpanKind::Server.into(),
            },
            start_time_unix_nano: begin,
            end_time_unix_nano: begin + length,
            attributes: peer,
            status: part.failed.then(|| Status {
                code: 2,
                ..Status::default()
            }),
            ..Span::default()
        }
    }
}

/// SERVER and CLIENT span of each service in turn; a call's CLIENT and SERVER span fail together.
fn parts(trace: u64) -> impl Iterator<Item = Part> {
    let calls = 1 + trace % 4;
    let failing = (trace % 10 == 7).then_some(trace % (calls + 1));
    (0..=2 * calls + 1).map(move |number| {
        let (step, half) = (number / 2, [Half::Callees, Half::Callers][(number % 2) as usize]);
        let of_call = match half {
            Half::Callers => Some(step),
            Half::Callees => step.checked_sub(1),
        };
        Part {
            number,
            service: service(trace, step),
            half,
            callee: (half == Half::Callers && step < calls).then(|| service(trace, step + 1)),
            failed: failing.is_some() && of_call == failing,
        }
    })
}

fn service(trace: u64, step: u64) -> u64 {
    let stride = STRIDES[(trace / SERVICES) as usize % STRIDES.len()];
    (trace + step * stride) % SERVICES
}

fn name(service: u64) -> String {
    format!("service-{service:02}")
}

impl Part {
    fn name(&self) -> &'static str {
        match (self.half, self.callee) {
            (Half::Callees, _) => "POST /work",
            (Half::Callers, Some(_)) => "POST",
            (Half::Callers, None) => "SELECT orders",
        }
    }

    fn call(&self) -> CallKey {
        let kind = match self.half {
            Half::Callers => "SPAN_KIND_CLIENT",
            Half::Callees => "SPAN_KIND_SERVER",
        };
        let status = if self.failed {
            "STATUS_CODE_ERROR"
        } else {
            "STATUS_CODE_UNSET"
        };
        [
            name(self.service),
            self.name().to_owned(),
            kind.to_owned(),
            status.to_owned(),
        ]
    }

    /// The edge that this span's call is counted on: by its CLIENT span, and the way in by the first SERVER span.
    fn edge(&self) -> Option<EdgeKey> {
        let (caller, callee, connection) = match (self.half, self.callee) {
            (Half::Callers, Some(callee)) => (name(self.service), name(callee), ""),
            (Half::Callers, None) => (name(self.service), DATABASE.to_owned(), "database"),
            (Half::Callees, _) if self.number == 0 => ("user".to_owned(), name(self.service), "virtual_node"),
            (Half::Callees, _) => return None,
        };
        Some([caller, callee, connection.to_owned()])
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_bytes_and_another_gives_other_ids() {
        let load = Load::new(7, 100);
        assert_eq!(load.request(3, Half::Callers), load.request(3, Half::Callers));
        let ids: BTreeSet<_> = (0..1_000).flat_map(|trace| load.span_ids(trace)).collect();
        assert_eq!(ids.len() as u64, Load::truth(1_000).spans);
    }

    #[test]
    fn the_two_requests_of_a_pair_hold_every_span_of_its_traces() {
        let load = Load::new(7, 100);
        let spans = |half| {
            let request = load.request(0, half);
            let scopes = request.resource_spans.into_iter().flat_map(|r| r.scope_spans);
            scopes.map(|scope| scope.spans.len() as u64).sum::<u64>()
        };
        assert_eq!(
            spans(Half::Callers) + spans(Half::Callees),
            Load::truth(TRACES).spans
        );
    }

    #[test]
    fn no_service_calls_itself() {
        let truth = Load::truth(5_000);
        assert!(
            truth.edges.keys().all(|[caller, callee, _]| caller != callee),
            "{:?}",
            truth.edges
        );
        assert!(truth.edges.values().any(|(_, failed)| *failed > 0));
    }
}
