//! Which traces the store keeps: the policies, asked once per closed trace.
//!
//! In: what the shard and the ledger found out about a trace. Out: the places of its spans where it is kept, and the
//! decision for its later spans.
//! Left out on purpose: the policies themselves (`sampling`), and reading spans (`keeper`).

use std::collections::{BTreeMap, HashSet, VecDeque};

use map::catalogue as names;
use sampling::{Decision, Sampler, SamplingSettings, SpanBits, TraceFacts};

use crate::ledger::Judged;
use crate::read::Place;
use crate::scrape::Scrape;
use crate::shard::Evidence;
use crate::span::TraceId;

/// A trace, or late spans of one, that the store shall keep.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Which one.
    pub(crate) trace: TraceId,
    /// The position of the request in the journal, and the place in it, of each span.
    pub(crate) places: Vec<(u64, Place)>,
}

/// What became of the traces of a report.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// Those to be kept.
    pub(crate) kept: Vec<Kept>,
    /// What was decided for the first time.
    pub(crate) decisions: Vec<(TraceId, bool)>,
}

/// Decides on closed traces.
#[derive(Debug)]
pub(crate) struct Tail {
    sampler: Sampler,
    edges: Vec<(sampling::EdgeRef, bool)>,
    /// Spans by what was decided: policy or reason.
    kept: BTreeMap<String, u64>,
    /// The traces that were kept last.
    latest: Latest,
    sampled_out: BTreeMap<&'static str, u64>,
}

/// So many kept traces are remembered for those that consume their messages; 16 bytes each, twice.
const REMEMBERED: usize = 1 << 16;

/// The latest ids. A consumer's trace follows its producer's, which ends first; the other way round one kept message of
/// a batch would keep the traces of all the others.
#[derive(Debug, Default)]
struct Latest {
    held: HashSet<TraceId>,
    order: VecDeque<TraceId>,
}

impl Latest {
    fn note(&mut self, trace: TraceId) {
        if !self.held.insert(trace) {
            return;
        }
        self.order.push_back(trace);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.held.remove(&oldest);
        }
    }
}

/// Reasons for which a trace is not kept, for series that are 0 from the start.
const REASONS: [&str; 3] = ["unwanted", "dropped", "rate_limit"];

impl Tail {
    /// A decider that has seen nothing.
    pub(crate) fn new(settings: &SamplingSettings) -> Self {
        let sampler = Sampler::new(settings);
        Self {
            kept: sampler.policy_names().map(|name| (name.to_owned(), 0)).collect(),
            sampled_out: REASONS.into_iter().map(|reason| (reason, 0)).collect(),
            sampler,
            edges: Vec::new(),
            latest: Latest::default(),
        }
    }

    /// Decides on every trace of a report.
    pub(crate) fn decide(&mut self, traces: Vec<Evidence>, judged: &[Judged], now: u64) -> Decided {
        let mut decided = Decided::default();
        for (trace, judged) in traces.into_iter().zip(judged) {
            let keep = if let Some(before) = trace.sampled {
                self.count_late(&trace, before);
                before
            } else {
                let keep = self.judge(&trace, judged, now);
                decided.decisions.push((trace.trace, keep));
                keep
            };
            if keep {
                self.latest.note(trace.trace);
            }
            if keep && !trace.places.is_empty() {
                decided.kept.push(Kept {
                    trace: trace.trace,
                    places: trace.places,
                });
            }
        }
        decided
    }

    fn judge(&mut self, trace: &Evidence, judged: &Judged, now: u64) -> bool {
        self.edges.clear();
        let edges = judged.edges.iter();
        self.edges
            .extend(edges.map(|(edge, failed)| (sampling::EdgeRef(*edge), *failed)));
        let facts = TraceFacts {
            trace_id: trace.trace,
            randomness: None,
            bits: SpanBits(trace.predicates),
            spans: trace.spans,
            bytes: trace
                .places
                .iter()
                .map(|(_, place)| u64::from(place.span_len))
                .sum(),
            errors: trace.any_error,
            duration_nanos: trace.duration,
            slow: judged.slow,
            linked_kept: trace
                .consumed
                .iter()
                .any(|producer| self.latest.held.contains(producer)),
            edges: &self.edges,
        };
        let spans = trace.places.len() as u64;
        match self.sampler.decide(&facts, now) {
            Decision::Keep { policy } => {
                let name = self.sampler.policy_name(policy);
                if let Some(count) = self.kept.get_mut(name) {
                    *count += spans;
                }
                true
            }
            Decision::SampledOut { why } => {
                *self.sampled_out.entry(why.as_str()).or_default() += spans;
                false
            }
        }
    }

    /// Late spans share what was decided for their trace.
    fn count_late(&mut self, trace: &Evidence, kept: bool) {
        let spans = trace.places.len() as u64;
        if kept {
            *self.kept.entry("late".to_owned()).or_default() += spans;
        } else {
            *self.sampled_out.entry("late").or_default() += spans;
        }
    }

    /// Writes what was decided, in spans.
    pub(crate) fn write(&self, out: &mut Scrape<'_>) {
        out.family(names::COLLECTOR_SAMPLED_SPANS);
        for (policy, count) in &self.kept {
            out.sample(&[("decision", "kept"), ("policy", policy)], *count as f64);
        }
        for (reason, count) in &self.sampled_out {
            out.sample(&[("decision", "sampled_out"), ("policy", reason)], *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(number: u8, any_error: bool, consumed: &[u8]) -> Evidence {
        Evidence {
            trace: [number; 16],
            root: None,
            spans: 1,
            duration: 1,
            late: false,
            any_error,
            predicates: 0,
            places: Vec::new(),
            sampled: None,
            consumed: consumed.iter().map(|number| [*number; 16]).collect(),
        }
    }

    fn kept(keep_linked: bool, traces: Vec<Evidence>) -> Vec<bool> {
        let mut settings = SamplingSettings {
            keep_linked,
            ..SamplingSettings::default()
        };
        settings.policies.truncate(1);
        let judged = vec![Judged::default(); traces.len()];
        let decided = Tail::new(&settings).decide(traces, &judged, 1);
        decided.decisions.into_iter().map(|(_, kept)| kept).collect()
    }

    #[test]
    fn a_consumer_of_a_kept_trace_is_kept_with_it_and_so_is_its_own_consumer() {
        let traces = || {
            vec![
                closed(1, true, &[]),
                closed(2, false, &[]),
                closed(3, false, &[9, 1]),
                closed(4, false, &[3]),
                closed(5, false, &[2]),
            ]
        };
        assert_eq!(kept(true, traces()), [true, false, true, true, false]);
        assert_eq!(kept(false, traces()), [true, false, false, false, false]);
    }

    #[test]
    fn only_the_latest_kept_traces_are_remembered() {
        let mut latest = Latest::default();
        let id = |number: usize| (number as u128).to_be_bytes();
        (0..=REMEMBERED).for_each(|number| latest.note(id(number)));
        assert!(!latest.held.contains(&id(0)) && latest.held.contains(&id(1)));
        assert_eq!((latest.held.len(), latest.order.len()), (REMEMBERED, REMEMBERED));
    }
}
