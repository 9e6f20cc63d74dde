//! How long spans took, in both kinds of buckets.
//!
//! In: seconds with their weight. Out: [`Latency`], deltas that add up in any order.
//! Left out on purpose: quantiles.

use map::Histogram;
use map::catalogue::LATENCY_BUCKETS;
use map::histogram::Sample;

/// One more than the bounds: the last bucket is above all of them.
const BUCKETS: usize = LATENCY_BUCKETS.len() + 1;

/// Observations since the last report.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Weighted observations per bucket of [`LATENCY_BUCKETS`], the last one above all bounds. Not cumulative.
    pub classic: [f64; BUCKETS],
    /// Weighted sum, seconds.
    pub sum: f64,
    /// The same in exponential buckets. Weights are rounded to whole observations, at least one.
    pub exponential: Histogram,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            classic: [0.0; BUCKETS],
            sum: 0.0,
            exponential: Histogram::default(),
        }
    }
}

impl Latency {
    /// Adds an observation in seconds that stands for `weight` spans.
    pub fn observe(&mut self, seconds: f64, weight: f32) {
        let at = LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
        let weight = f64::from(weight);
        if let Some(bucket) = self.classic.get_mut(at) {
            *bucket += weight;
            self.sum += seconds * weight;
        }
        let whole = weight.round().max(1.0) as u64;
        self.exponential.add_many(Sample::of(seconds), whole);
    }
}
