//! Traces for policies to judge.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use otlp::view::Value;
use sampling::{Decision, EdgeRef, Predicates, Sampler, SamplingSettings, SpanBits, TraceFacts, Why};

pub const SECOND: u64 = 1_000_000_000;

/// A healthy trace of one span, to be changed.
pub struct Trace<'a> {
    predicates: &'a Predicates,
    pub id: [u8; 16],
    pub randomness: Option<u64>,
    pub bits: SpanBits,
    pub spans: u32,
    pub bytes: u64,
    pub errors: bool,
    pub duration_nanos: u64,
    pub slow: bool,
    pub linked_kept: bool,
    pub edges: &'a [(EdgeRef, bool)],
}

impl<'a> Trace<'a> {
    pub fn new(predicates: &'a Predicates) -> Self {
        Self {
            predicates,
            id: [1; 16],
            randomness: None,
            bits: SpanBits::default(),
            spans: 1,
            bytes: 500,
            errors: false,
            duration_nanos: 1_000_000,
            slow: false,
            linked_kept: false,
            edges: &[],
        }
    }

    pub fn note(&mut self, key: &str, value: Value<'_>) {
        self.predicates.note(&mut self.bits, key, value);
    }

    pub fn note_trace_state(&mut self, text: &str) {
        self.predicates.note_trace_state(&mut self.bits, text);
    }

    pub fn facts(&self) -> TraceFacts<'_> {
        TraceFacts {
            trace_id: self.id,
            randomness: self.randomness,
            bits: self.bits,
            spans: self.spans,
            bytes: self.bytes,
            errors: self.errors,
            duration_nanos: self.duration_nanos,
            slow: self.slow,
            linked_kept: self.linked_kept,
            edges: self.edges,
        }
    }
}

pub fn load(yaml: &str) -> SamplingSettings {
    let settings: SamplingSettings =
        config::load("t.yaml", yaml, []).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    assert_eq!(settings.check("sampling"), [], "{yaml}");
    settings
}

pub fn sampler(yaml: &str) -> (Sampler, Predicates) {
    let settings = load(yaml);
    (Sampler::new(&settings), Predicates::compile(&settings.policies))
}

pub fn said(sampler: &Sampler, decision: Decision) -> String {
    match decision {
        Decision::Keep { policy } => format!("kept by {}", sampler.policy_name(policy)),
        Decision::SampledOut { why } => match why {
            Why::Unwanted => why.as_str().to_owned(),
            Why::Dropped(policy) | Why::RateLimit(policy) => {
                format!("{} by {}", why.as_str(), sampler.policy_name(policy))
            }
        },
    }
}
