//! What a sampler remembers from trace to trace: rates, and how many traces each edge has.
//!
//! In: amounts, with the time. Out: whether they pass. All of it is saved, so that a restart neither opens a rate again
//! nor forgets an edge. Left out on purpose: clocks; times are the caller's and an earlier one counts as the present.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::sampler::EdgeRef;

const SECOND: u64 = 1_000_000_000;
/// Edges and statuses of a window that one `rare_edges` remembers; what comes after that is not kept for its rarity.
const MAX_EDGES: usize = 200_000;

/// What a sampler remembers, for a snapshot. Only a sampler with the same settings takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplerState {
    pub(crate) fingerprint: u64,
    pub(crate) memory: Memory,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) seconds: Vec<Second>,
    pub(crate) rare: Vec<Rare>,
    pub(crate) limit: Option<Bucket>,
}

/// A token bucket. It is full at first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: u64,
}

impl Bucket {
    /// `rate` tokens a second, at most `burst` at once.
    pub(crate) fn new(rate: u64, burst: Option<u64>) -> Self {
        let burst = burst.unwrap_or_else(|| rate.saturating_mul(2)) as f64;
        Self {
            rate: rate as f64,
            burst,
            tokens: burst,
            last: 0,
        }
    }

    /// Takes `amount` where a share `reserve` of the burst remains; else nothing.
    pub(crate) fn take(&mut self, amount: u64, reserve: f64, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.last) as f64 / SECOND as f64;
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        self.last = self.last.max(now);
        let left = self.tokens - amount as f64;
        let passes = left >= self.burst * reserve;
        if passes {
            self.tokens = left;
        }
        passes
    }
}

/// The spans that a composite kept in one second of the clock, for each of its policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    second: u64,
    kept: Vec<u64>,
}

impl Second {
    pub(crate) fn new(policies: usize) -> Self {
        Self {
            second: 0,
            kept: vec![0; policies],
        }
    }

    /// Counts `spans` for a policy where neither its share nor the total is exceeded; else nothing.
    pub(crate) fn take(&mut self, policy: usize, spans: u64, share: u64, total: u64, now: u64) -> bool {
        let second = now / SECOND;
        if second > self.second {
            self.second = second;
            self.kept.fill(0);
        }
        let all = self.kept.iter().fold(0u64, |sum, kept| sum.saturating_add(*kept));
        let Some(kept) = self.kept.get_mut(policy) else {
            return false;
        };
        let passes = kept.saturating_add(spans) <= share && all.saturating_add(spans) <= total;
        if passes {
            *kept += spans;
        }
        passes
    }
}

/// How many traces of each edge were kept in the window, failed and not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rare {
    min_traces: u32,
    per: u64,
    window: u64,
    #[serde(with = "pairs")]
    kept: HashMap<(u64, bool), u32>,
}

impl Rare {
    /// `per` in nanoseconds.
    pub(crate) fn new(min_traces: u32, per: u64) -> Self {
        Self {
            min_traces,
            per: per.max(1),
            window: 0,
            kept: HashMap::new(),
        }
    }

    /// True where an edge of the trace has too few traces in the window of `now`.
    pub(crate) fn wants(&mut self, edges: &[(EdgeRef, bool)], now: u64) -> bool {
        self.turn(now);
        let full = self.kept.len() >= MAX_EDGES;
        edges
            .iter()
            .any(|&(edge, failed)| match self.kept.get(&(edge.0, failed)) {
                Some(&kept) => kept < self.min_traces,
                None => !full && self.min_traces > 0,
            })
    }

    /// Counts a trace that is kept, whoever wanted it. An edge that it has twice counts once.
    pub(crate) fn note(&mut self, edges: &[(EdgeRef, bool)], now: u64) {
        self.turn(now);
        for (i, &(edge, failed)) in edges.iter().enumerate() {
            let again = edges.iter().take(i).any(|other| *other == (edge, failed));
            if again || self.kept.len() >= MAX_EDGES && !self.kept.contains_key(&(edge.0, failed)) {
                continue;
            }
            let kept = self.kept.entry((edge.0, failed)).or_default();
            *kept = kept.saturating_add(1);
        }
    }

    fn turn(&mut self, now: u64) {
        let window = now / self.per;
        if window > self.window {
            self.window = window;
            self.kept.clear();
        }
    }
}

/// A map as a sorted list: JSON has no keys of two parts, and equal states give equal bytes.
mod pairs {
    use std::collections::HashMap;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &HashMap<(u64, bool), u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut list: Vec<_> = map
            .iter()
            .map(|(&(edge, failed), &kept)| (edge, failed, kept))
            .collect();
        list.sort_unstable();
        list.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HashMap<(u64, bool), u32>, D::Error> {
        let list = Vec::<(u64, bool, u32)>::deserialize(deserializer)?;
        Ok(list
            .into_iter()
            .map(|(edge, failed, kept)| ((edge, failed), kept))
            .collect())
    }
}

impl Memory {
    /// True where `other` is the memory of a sampler like this one: as many of each, with finite numbers.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let finite = |bucket: &Bucket| bucket.tokens.is_finite() && bucket.tokens <= bucket.burst;
        let same = |a: &Bucket, b: &Bucket| (a.rate, a.burst) == (b.rate, b.burst) && finite(b);
        let windows = |rare: &Rare| (rare.min_traces, rare.per);
        self.buckets.len() == other.buckets.len()
            && self.buckets.iter().zip(&other.buckets).all(|(a, b)| same(a, b))
            && self
                .seconds
                .iter()
                .map(|s| s.kept.len())
                .eq(other.seconds.iter().map(|s| s.kept.len()))
            && self.rare.iter().map(windows).eq(other.rare.iter().map(windows))
            && self.limit.is_some() == other.limit.is_some()
            && self.limit.iter().zip(&other.limit).all(|(a, b)| same(a, b))
    }
}
