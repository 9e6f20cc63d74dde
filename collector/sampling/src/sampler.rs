//! The decision on a trace.
//!
//! In: its facts, when the table closes it. Out: kept or not, and by which policy. The same facts at the same times give
//! the same decisions, after a restart too. Left out on purpose: the spans; the order in which they came plays no part.

use crate::predicate::{SpanBits, asked};
use crate::rule::{Rule, fnv};
use crate::settings::{PolicyType, SamplingSettings};
use crate::state::{Bucket, Memory, SamplerState};

/// An edge of the map, by the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeRef(pub u64);

/// A policy, by its place; [`Sampler::policy_name`] has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyIndex(pub u16);

impl PolicyIndex {
    /// Not a policy of the list: the trace is linked to a kept one.
    pub const LINKED: Self = Self(u16::MAX);
}

/// What a trace was like.
#[derive(Clone, Copy, Debug)]
pub struct TraceFacts<'a> {
    /// Its id.
    pub trace_id: [u8; 16],
    /// `rv` of `ot` in `tracestate`, where the sender gave one; its lower 56 bits count. Else the trace id's do.
    pub randomness: Option<u64>,
    /// The bits of all its spans and their resources together.
    pub bits: SpanBits,
    /// How many spans it has.
    pub spans: u32,
    /// Their bytes.
    pub bytes: u64,
    /// A span or a request of it failed.
    pub errors: bool,
    /// From the first start to the last end.
    pub duration_nanos: u64,
    /// A request of it exceeded the edge of its operation, in own or total time.
    pub slow: bool,
    /// It is linked to a trace that is kept.
    pub linked_kept: bool,
    /// Its edges, and whether a request on them failed.
    pub edges: &'a [(EdgeRef, bool)],
}

/// What becomes of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The store keeps it.
    Keep {
        /// Who wanted it first.
        policy: PolicyIndex,
    },
    /// The store does not.
    SampledOut {
        /// Why not.
        why: Why,
    },
}

/// Why a trace is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// No policy wanted it.
    Unwanted,
    /// This policy of type `drop` refused it.
    Dropped(PolicyIndex),
    /// This policy wanted it, and `max_spans_per_second` left no room.
    RateLimit(PolicyIndex),
}

impl Why {
    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unwanted => "unwanted",
            Self::Dropped(_) => "dropped",
            Self::RateLimit(_) => "rate_limit",
        }
    }
}

/// Judges traces by the policies. One for all shards keeps the rates; it is asked once per trace.
#[derive(Debug)]
pub struct Sampler {
    names: Vec<String>,
    drops: Vec<(PolicyIndex, Rule)>,
    keeps: Vec<(PolicyIndex, Rule)>,
    keep_linked: bool,
    memory: Memory,
    fingerprint: u64,
}

impl Sampler {
    /// A sampler that has seen nothing. What [`SamplingSettings::check`] finds wrong wants no trace.
    pub fn new(settings: &SamplingSettings) -> Self {
        let conditions = asked(&settings.policies);
        let mut memory = Memory {
            limit: settings.max_spans_per_second.map(|rate| Bucket::new(rate, None)),
            ..Memory::default()
        };
        let (mut drops, mut keeps) = (Vec::new(), Vec::new());
        for (at, policy) in settings.policies.iter().enumerate() {
            let rule = Rule::of(policy, &conditions, &mut memory);
            let list = if policy.kind == PolicyType::Drop {
                &mut drops
            } else {
                &mut keeps
            };
            list.push((PolicyIndex(at as u16), rule));
        }
        let written = serde_json::to_vec(settings).unwrap_or_default();
        Self {
            names: settings
                .policies
                .iter()
                .map(|policy| policy.name.clone())
                .collect(),
            drops,
            keeps,
            keep_linked: settings.keep_linked,
            memory,
            fingerprint: fnv(&written),
        }
    }

    /// Judges a closed trace. `now` in unix nanoseconds must not go back: an earlier time counts as the present.
    pub fn decide(&mut self, trace: &TraceFacts<'_>, now: u64) -> Decision {
        let memory = &mut self.memory;
        let mut drops = self.drops.iter();
        if let Some((policy, _)) = drops.find(|(_, rule)| rule.wants(trace, memory, now)) {
            let why = Why::Dropped(*policy);
            return Decision::SampledOut { why };
        }
        let linked = (self.keep_linked && trace.linked_kept).then_some((0, PolicyIndex::LINKED));
        let keeps = self.keeps.iter().enumerate();
        let mut wanted = keeps.map(|(at, (policy, rule))| (at, *policy, rule));
        let by_policy = || {
            let found = wanted.find(|(_, _, rule)| rule.wants(trace, memory, now));
            found.map(|(at, policy, _)| (at, policy))
        };
        let Some((at, policy)) = linked.or_else(by_policy) else {
            return Decision::SampledOut { why: Why::Unwanted };
        };
        if !self.has_room(at, trace.spans, now) {
            let why = Why::RateLimit(policy);
            return Decision::SampledOut { why };
        }
        for rare in &mut self.memory.rare {
            rare.note(trace.edges, now);
        }
        Decision::Keep { policy }
    }

    /// The name of a policy; `linked` for [`PolicyIndex::LINKED`].
    pub fn policy_name(&self, policy: PolicyIndex) -> &str {
        let name = self.names.get(usize::from(policy.0));
        name.map_or("linked", String::as_str)
    }

    /// All names that a decision can have, for series that are 0 from the start.
    pub fn policy_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).chain(["linked"])
    }

    /// What it remembers.
    pub fn save(&self) -> SamplerState {
        SamplerState {
            fingerprint: self.fingerprint,
            memory: self.memory.clone(),
        }
    }

    /// Goes on from a saved state; false, and nothing changed, where the settings were others.
    pub fn restore(&mut self, state: SamplerState) -> bool {
        let fits = state.fingerprint == self.fingerprint && self.memory.is_like(&state.memory);
        if fits {
            self.memory = state.memory;
        }
        fits
    }

    /// Room under the limit of all policies. The one at place `at` leaves a part of the burst to those above it, so
    /// that near the limit the last in the list makes way first.
    fn has_room(&mut self, at: usize, spans: u32, now: u64) -> bool {
        let reserve = at as f64 / (2.0 * self.keeps.len().max(1) as f64);
        let limit = self.memory.limit.as_mut();
        limit.is_none_or(|limit| limit.take(spans.into(), reserve, now))
    }
}
