//! The requests of a run, as the spans that reach a collector.
//!
//! In: a [`Scenario`] and its seed. Out: OTLP requests, and how much longer users waited during the faults.
//! Traces that the sender's sampling drops are never made: the rate is that of those it keeps, and `tracestate` says of
//! how many each is one.
//! Left out on purpose: skewed clocks, which change no span's own length; batches that come late or twice.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::draw::{Draw, LogNormal};
use super::parameters as p;
use super::scenario::{SECOND, Scenario};

/// Traces in one OTLP request.
const BATCH: usize = 200;
const MILLISECOND: f64 = 1e6;

/// What a run sends, and what its users feel.
pub(super) struct Traffic {
    /// `ExportTraceServiceRequest`s.
    pub(super) requests: Vec<Bytes>,
    pub(super) spans: usize,
    /// By what the mean total of the entry operation that suffers most is multiplied during the faults; 1 without any.
    pub(super) felt: f64,
}

/// Makes all requests of a run.
pub(super) fn of(scenario: &Scenario, seed: u64) -> Traffic {
    let mut maker = Maker {
        scenario,
        draw: Draw::new(!seed),
        trace_state: trace_state(scenario.sampled),
        trace: [0; 16],
        spans: BTreeMap::new(),
        made: 0,
    };
    let (mut requests, mut felt) = (Vec::new(), Felt::default());
    let (mut now, mut number) = (scenario.time.start, 0);
    loop {
        now += (maker.draw.wait(scenario.most()) * SECOND as f64) as u64;
        if now >= scenario.time.end {
            break;
        }
        // Thinned to the rate of this moment.
        if !maker.draw.chance(scenario.rate(now) / scenario.most()) {
            continue;
        }
        let operation = maker.draw.pick(&scenario.system.entries);
        maker.begin();
        let end = maker.visit(operation, 0, now, false);
        felt.note(scenario, operation, now, end - now);
        number += 1;
        if number % BATCH == 0 {
            requests.push(maker.request());
        }
    }
    requests.push(maker.request());
    Traffic {
        requests,
        spans: maker.made,
        felt: felt.most(),
    }
}

struct Maker<'a> {
    scenario: &'a Scenario,
    draw: Draw,
    trace_state: String,
    trace: [u8; 16],
    /// By node, and whether it is of its new version.
    spans: BTreeMap<(usize, bool), Vec<Span>>,
    made: usize,
}

impl Maker<'_> {
    fn begin(&mut self) {
        let (high, low) = (self.draw.next(), self.draw.next());
        self.trace = ((u128::from(high) << 64) | u128::from(low) | 1).to_be_bytes();
    }

    fn id(&mut self) -> u64 {
        self.draw.next() | 1
    }

    fn nanos(&mut self, of: LogNormal) -> u64 {
        (self.draw.time(of) * MILLISECOND) as u64
    }

    /// A request at a service, and everything that it calls; when it ends.
    fn visit(&mut self, operation: usize, parent: u64, at: u64, refused: bool) -> u64 {
        let scenario = self.scenario;
        let what = &scenario.system.operations[operation];
        let own = self.own(operation, at);
        let id = self.id();
        let end = if refused {
            at + (own as f64 * p::REFUSED) as u64
        } else {
            let part = own / (what.stages.len() as u64 + 1);
            what.stages.iter().fold(at + part, |now, stage| {
                let mut last = now;
                for call in stage {
                    if self.draw.chance(call.share) {
                        last = last.max(self.call(what.node, id, call.operation, now));
                    }
                }
                last + part
            })
        };
        let host = &scenario.system.nodes[what.node].name;
        let span = Span {
            name: what.name.clone(),
            attributes: vec![text("server.address", host), text("http.request.method", "GET")],
            ..span(SpanKind::Server, (id, parent), at..end, refused)
        };
        self.push(what.node, span);
        end
    }

    /// What an operation spends by itself on a request that comes now.
    fn own(&mut self, operation: usize, at: u64) -> u64 {
        let what = &self.scenario.system.operations[operation];
        let usual = self.nanos(what.own);
        (usual as f64 * self.scenario.factor(what.node, at)) as u64
    }

    /// A call, and a second one where the first is refused; when the last ends.
    fn call(&mut self, caller: usize, parent: u64, callee: usize, at: u64) -> u64 {
        let refused = self.draw.chance(self.scenario.retried);
        let end = self.attempt(caller, parent, callee, at, refused, 0);
        if !refused {
            return end;
        }
        let again = end + (p::BACK_OFF * MILLISECOND) as u64;
        self.attempt(caller, parent, callee, again, false, 1)
    }

    fn attempt(
        &mut self,
        caller: usize,
        parent: u64,
        callee: usize,
        at: u64,
        refused: bool,
        resent: i64,
    ) -> u64 {
        let node = &self.scenario.system.nodes[self.scenario.system.operations[callee].node];
        let (network, id) = (self.nanos(p::NETWORK), self.id());
        let mut attributes = vec![text("server.address", &node.name)];
        let (name, end) = if node.is_database {
            attributes.push(text("db.system.name", "postgresql"));
            attributes.push(text("db.namespace", &node.name));
            let name = self.scenario.system.operations[callee].name.clone();
            let own = self.own(callee, at) as f64 * if refused { p::REFUSED } else { 1.0 };
            (name, at + network + own as u64)
        } else {
            attributes.push(text("http.request.method", "GET"));
            if resent > 0 {
                attributes.push(number("http.request.resend_count", resent));
            }
            let served = self.visit(callee, id, at + network / 2, refused);
            ("GET".to_owned(), served + network / 2)
        };
        let span = Span {
            name,
            attributes,
            ..span(SpanKind::Client, (id, parent), at..end, refused)
        };
        self.push(caller, span);
        end
    }

    /// Sends a span of this trace, unless it is lost.
    fn push(&mut self, node: usize, span: Span) {
        if self.draw.chance(self.scenario.lost) {
            return;
        }
        let is_new = self.scenario.is_new(node, span.start_time_unix_nano);
        self.spans.entry((node, is_new)).or_default().push(Span {
            trace_id: self.trace.to_vec(),
            trace_state: self.trace_state.clone(),
            ..span
        });
        self.made += 1;
    }

    /// The spans that were made since the last.
    fn request(&mut self) -> Bytes {
        let of = |((node, is_new), spans): ((usize, bool), Vec<Span>)| ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", &self.scenario.system.nodes[node].name),
                    text("service.version", if is_new { "1.1.0" } else { "1.0.0" }),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        };
        let resource_spans = std::mem::take(&mut self.spans).into_iter().map(of).collect();
        ExportTraceServiceRequest { resource_spans }
            .encode_to_vec()
            .into()
    }
}

/// A span without a name, under its parent's id, which is 0 for none.
fn span(kind: SpanKind, (id, parent): (u64, u64), time: Range<u64>, failed: bool) -> Span {
    Span {
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        kind: kind.into(),
        start_time_unix_nano: time.start,
        end_time_unix_nano: time.end,
        status: failed.then(|| Status {
            code: StatusCode::Error.into(),
            message: String::new(),
        }),
        ..Span::default()
    }
}

/// Totals of entry operations, without a fault and during one: sums and counts.
#[derive(Default)]
struct Felt(HashMap<usize, [(f64, f64); 2]>);

impl Felt {
    fn note(&mut self, scenario: &Scenario, operation: usize, at: u64, total: u64) {
        let during = scenario.faults.iter().any(|fault| fault.during.contains(&at));
        let (sum, count) = &mut self.0.entry(operation).or_default()[usize::from(during)];
        *sum += total as f64;
        *count += 1.0;
    }

    fn most(&self) -> f64 {
        let ratio = |[(usual, n), (slow, m)]: &[(f64, f64); 2]| (slow / m) / (usual / n);
        let ratios = self.0.values().map(ratio).filter(|ratio| ratio.is_finite());
        ratios.fold(1.0, f64::max)
    }
}

/// What a sender of this probability writes. Source: OpenTelemetry, "Tracestate: probability sampling", `th`.
fn trace_state(sampled: f64) -> String {
    if sampled >= 1.0 {
        return String::new();
    }
    let threshold = ((1.0 - sampled) * (1_u64 << 56) as f64) as u64;
    format!("ot=th:{}", format!("{threshold:014x}").trim_end_matches('0'))
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let scenario = Scenario::draw(3);
        assert_eq!(of(&scenario, 3).requests, of(&scenario, 3).requests);
    }

    #[test]
    fn a_trace_says_of_how_many_it_is_one() {
        assert_eq!(trace_state(1.0), "");
        assert_eq!(trace_state(0.5), "ot=th:8");
        assert_eq!(trace_state(0.25), "ot=th:c");
        assert!(trace_state(0.01).starts_with("ot=th:fd70a3d7"));
    }

    #[test]
    fn users_wait_longer_during_a_fault_and_not_without() {
        for seed in 0..20 {
            let scenario = Scenario::draw(seed);
            let felt = of(&scenario, seed).felt;
            if scenario.faults.is_empty() {
                assert!((felt - 1.0).abs() < f64::EPSILON, "{felt}");
            } else {
                assert!(felt > 0.9, "{}: {felt}", scenario.line());
            }
        }
    }

    #[test]
    fn lost_spans_are_lost() {
        let mut scenario = Scenario::draw(3);
        scenario.lost = 0.0;
        let all = of(&scenario, 3).spans;
        scenario.lost = 0.5;
        let left = of(&scenario, 3).spans;
        assert!(left > all / 3 && left < all * 2 / 3, "{left} of {all}");
    }
}
