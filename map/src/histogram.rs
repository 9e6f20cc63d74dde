//! Latencies as mergeable exponential histograms.
//!
//! In: durations in seconds. Out: counts per bucket, quantiles, sums; two histograms merge exactly.
//! Buckets are those of OTLP exponential histograms and Prometheus native histograms: bucket `i` at scale `s`
//! holds `(base^i, base^(i+1)]` with `base = 2^(2^-s)`.
//! Left out on purpose: minimum and maximum, which could not be taken back when an observation is corrected.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The finest scale: buckets 4.4 % wide, so that a quantile is within 2.2 % of the truth.
pub const MAX_SCALE: i32 = 4;
/// At most this many buckets; beyond that the scale is halved. At [`MAX_SCALE`] they span 20 octaves.
const MAX_BUCKETS: usize = 320;
/// The coarsest scale: one bucket spans 2^1024, so the whole range of `f64` fits in two.
const MIN_SCALE: i32 = -10;

/// A sparse-at-the-ends exponential histogram of non-negative values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// OTLP scale, from −10 to 4.
    scale: i32,
    /// Index of the first bucket in `counts`.
    offset: i32,
    /// Observations per bucket.
    counts: Vec<u64>,
    /// Observations that were 0 (or negative, which clock skew can make them).
    zero: u64,
    /// Sum of the observations, in seconds.
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            scale: MAX_SCALE,
            offset: 0,
            counts: Vec::new(),
            zero: 0,
            sum: 0.0,
        }
    }
}

impl Histogram {
    /// Adds one observation in seconds. Negative, NaN and infinite values count as 0.
    pub fn observe(&mut self, seconds: f64) {
        if !(seconds.is_finite() && seconds > 0.0) {
            self.zero += 1;
            return;
        }
        self.sum += seconds;
        let slot = self.slot_for(seconds);
        self.counts[slot] += 1;
    }

    /// Takes one observation back that was added before; no effect where its bucket is empty.
    pub fn remove(&mut self, seconds: f64) {
        if !(seconds.is_finite() && seconds > 0.0) {
            self.zero = self.zero.saturating_sub(1);
            return;
        }
        let slot = i64::from(index(seconds, self.scale)) - i64::from(self.offset);
        let Some(count) = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.counts.get_mut(slot))
        else {
            return;
        };
        if *count > 0 {
            *count -= 1;
            self.sum = (self.sum - seconds).max(0.0);
        }
    }

    /// Adds all observations of `other`, at the coarser of the two scales.
    pub fn merge(&mut self, other: &Self) {
        self.zero += other.zero;
        self.sum += other.sum;
        if other.counts.is_empty() {
            return;
        }
        let mut other = other.clone();
        self.downscale_to(other.scale);
        other.downscale_to(self.scale);
        loop {
            let low = if self.counts.is_empty() {
                other.offset
            } else {
                self.offset.min(other.offset)
            };
            let high = self.end().max(other.end());
            if usize::try_from(high - low).is_ok_and(|width| width <= MAX_BUCKETS) {
                break;
            }
            self.downscale_to(self.scale - 1);
            other.downscale_to(self.scale);
        }
        for (i, &count) in other.counts.iter().enumerate() {
            if count > 0 {
                let slot = self.reserve(other.offset + i as i32);
                self.counts[slot] += count;
            }
        }
    }

    /// Forgets a share of everything, so that newer observations weigh more: every count times `keep` in \[0, 1\].
    pub fn decay(&mut self, keep: f64) {
        let fade = |count: u64| (count as f64 * keep).round() as u64;
        self.zero = fade(self.zero);
        self.sum *= keep;
        for count in &mut self.counts {
            *count = fade(*count);
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.zero + self.counts.iter().sum::<u64>()
    }

    /// Sum of all observations, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// True where nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.zero == 0 && self.counts.iter().all(|&c| c == 0)
    }

    /// Mean in seconds; `None` where nothing was observed.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum / count as f64)
    }

    /// The value in seconds below which a share `q` in \[0, 1\] of the observations lies; `None` where there are none.
    ///
    /// Interpolated within the bucket on a logarithmic scale, as Prometheus does for native histograms.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let mut below = self.zero as f64;
        if rank <= below {
            return Some(0.0);
        }
        for (i, &n) in self.counts.iter().enumerate() {
            if n == 0 {
                continue;
            }
            let n = n as f64;
            if rank <= below + n {
                let position = f64::from(self.offset + i as i32) + (rank - below) / n;
                return Some(bound(position, self.scale));
            }
            below += n;
        }
        Some(bound(f64::from(self.end()), self.scale))
    }

    /// The upper bound of the bucket that holds quantile `q`, and the exact share of observations above it.
    ///
    /// A threshold that is a bucket's bound has no interpolation error: the share above it is counted, not guessed.
    /// `None` where nothing was observed.
    pub fn edge(&self, q: f64) -> Option<Edge> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let mut below = self.zero;
        let mut seconds = 0.0;
        for (i, &n) in self.counts.iter().enumerate() {
            if below as f64 >= rank {
                break;
            }
            below += n;
            if n > 0 {
                seconds = bound(f64::from(self.offset + i as i32 + 1), self.scale);
            }
        }
        Some(Edge {
            seconds,
            share_above: (count - below) as f64 / count as f64,
        })
    }

    /// The buckets that hold observations, ascending: upper bound in seconds and count. Zeros come first, as bound 0.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let zero = (self.zero > 0).then_some((0.0, self.zero));
        let rest = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let rest = rest.map(|(i, &n)| (bound(f64::from(self.offset + i as i32 + 1), self.scale), n));
        zero.into_iter().chain(rest)
    }

    fn end(&self) -> i32 {
        self.offset + self.counts.len() as i32
    }

    fn slot_for(&mut self, seconds: f64) -> usize {
        loop {
            let i = index(seconds, self.scale);
            let low = if self.counts.is_empty() {
                i
            } else {
                self.offset.min(i)
            };
            let high = if self.counts.is_empty() {
                i + 1
            } else {
                self.end().max(i + 1)
            };
            if usize::try_from(high - low).is_ok_and(|width| width <= MAX_BUCKETS) || self.scale == MIN_SCALE
            {
                return self.reserve(i);
            }
            self.downscale_to(self.scale - 1);
        }
    }

    /// Makes room for bucket `i`; returns its place in `counts`.
    fn reserve(&mut self, i: i32) -> usize {
        if self.counts.is_empty() {
            self.offset = i;
        }
        if i < self.offset {
            let missing = (self.offset - i) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = i;
        }
        let slot = (i - self.offset) as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        slot
    }

    fn downscale_to(&mut self, scale: i32) {
        while self.scale > scale.max(MIN_SCALE) {
            self.scale -= 1;
            let offset = self.offset.div_euclid(2);
            let mut counts = vec![0; self.counts.len() / 2 + 1];
            for (i, &n) in self.counts.iter().enumerate() {
                let slot = ((self.offset + i as i32).div_euclid(2) - offset) as usize;
                if let Some(count) = counts.get_mut(slot) {
                    *count += n;
                }
            }
            while counts.last() == Some(&0) {
                counts.pop();
            }
            (self.offset, self.counts) = (offset, counts);
        }
    }
}

/// A latency that few requests exceed, and how many do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The latency, in seconds.
    pub seconds: f64,
    /// Share of the observations above it, in \[0, 1\].
    pub share_above: f64,
}

/// The bucket of a positive finite value: the least `i` with `value <= base^(i+1)`.
fn index(value: f64, scale: i32) -> i32 {
    let position = value.log2() * f64::from(scale).exp2();
    position.ceil() as i32 - 1
}

/// `base^position`.
fn bound(position: f64, scale: i32) -> f64 {
    (position * f64::from(-scale).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.observe(value);
        }
        histogram
    }

    #[test]
    fn a_quantile_is_within_one_bucket_of_the_truth() {
        let values: Vec<f64> = (1..=1000).map(|i| f64::from(i) / 1000.0).collect();
        let histogram = of(&values);
        for (q, truth) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99)] {
            let found = histogram.quantile(q).unwrap();
            assert!(
                (found / truth - 1.0).abs() < 0.045,
                "q{q}: {found} instead of {truth}"
            );
        }
    }

    #[test]
    fn an_edge_tells_the_share_above_it_without_interpolation() {
        let mut values = vec![0.010; 90];
        values.extend([0.200; 10]);
        let edge = of(&values).edge(0.85).unwrap();
        assert!(edge.seconds >= 0.010 && edge.seconds < 0.0105, "{edge:?}");
        assert!((edge.share_above - 0.1).abs() < 1e-12, "{edge:?}");
        let above = values.iter().filter(|&&v| v > edge.seconds).count();
        assert_eq!(above, 10);
    }

    #[test]
    fn a_value_taken_back_leaves_no_trace() {
        let mut histogram = of(&[0.5, 0.0]);
        let before = histogram.clone();
        histogram.observe(0.5);
        histogram.remove(0.5);
        assert_eq!(histogram.count(), before.count());
        assert_eq!(histogram.quantile(0.9), before.quantile(0.9));
        histogram.remove(77.0);
        assert_eq!(histogram.count(), 2, "what was never added cannot be removed");
    }

    #[test]
    fn negative_and_absurd_values_count_as_zero() {
        let histogram = of(&[-1.0, f64::NAN, f64::INFINITY, 0.0]);
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.quantile(0.99), Some(0.0));
    }

    #[test]
    fn the_widest_range_still_fits_the_buckets() {
        let histogram = of(&[f64::MIN_POSITIVE, 1.0, f64::MAX]);
        assert_eq!(histogram.count(), 3);
        assert!(histogram.counts.len() <= MAX_BUCKETS);
    }

    proptest! {
        #[test]
        fn merging_equals_observing_together(a in prop::collection::vec(1e-6..1e4f64, 0..200), b in prop::collection::vec(1e-9..1e6f64, 0..200)) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all = of(&[a, b].concat());
            prop_assert_eq!(merged.count(), all.count());
            prop_assert!((merged.sum() - all.sum()).abs() <= all.sum() * 1e-9);
            let width = f64::from(-merged.scale.min(all.scale)).exp2().exp2();
            for q in [0.1, 0.5, 0.9, 0.99] {
                if let (Some(m), Some(t)) = (merged.quantile(q), all.quantile(q)) {
                    prop_assert!(m <= t * width * 1.0001 && t <= m * width * 1.0001, "q{}: {} and {}", q, m, t);
                }
            }
        }
    }
}
