//! Latencies of one operation as counts per bucket.
//!
//! In: durations in seconds. Out: the edge above their 95th percentile and the share beyond it.
//! A bucket is one of 16 equal parts of a power of two, 3 to 6 % wide, from 1 µs to 9 hours: its number is the upper
//! bits of the `f64`, so that no logarithm is taken. Counts have 16 bits and a common unit; two sketches merge with any weight.
//! Left out on purpose: sums and exemplars, which the series have.

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::settings::Settings;

/// How many buckets there are: 35 powers of two.
pub(crate) const BUCKETS: usize = 35 * PARTS;
const PARTS: usize = 16;
/// The upper 16 bits of 2⁻²⁰ s, the lower bound of bucket 1; bucket 0 holds what is shorter.
const LOWEST: u16 = (1023 - 20) << 4;
/// The share of requests below the point that the edge is measured from.
const QUANTILE: f64 = 0.95;
/// A sketch that merged has counts up to this; they leave room for a few more.
const FULL: f64 = 60_000.0;
/// What weighs less than this was long ago.
const NEGLIGIBLE: f64 = 0.05;

/// One weight per bucket, to add sketches up in.
#[derive(Clone)]
pub(crate) struct Scratch {
    weights: [f64; BUCKETS],
    /// Nothing weighs outside of this range.
    low: usize,
    high: usize,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            weights: [0.0; BUCKETS],
            low: BUCKETS,
            high: 0,
        }
    }

    /// Adds `weights`, the first of them to `bucket`. What lies beyond the last bucket is left out.
    pub(crate) fn add(&mut self, bucket: usize, weights: impl ExactSizeIterator<Item = f64>) {
        self.low = self.low.min(bucket);
        self.high = self.high.max(bucket + weights.len()).min(BUCKETS);
        for (sum, weight) in self.weights.iter_mut().skip(bucket).zip(weights) {
            *sum += weight;
        }
    }

    /// The buckets from `bucket` on that may weigh something, with their weights.
    pub(crate) fn from(&self, bucket: usize) -> impl DoubleEndedIterator<Item = (usize, f64)> + '_ {
        let low = self.low.max(bucket);
        let range = self.weights.get(low..self.high).unwrap_or_default();
        let weights = range.iter().copied();
        (low..low + range.len()).zip(weights)
    }

    /// All buckets that may weigh something.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> + '_ {
        self.from(0)
    }

    /// What all requests weigh.
    pub(crate) fn sum(&self) -> f64 {
        self.iter().map(|(_, weight)| weight).sum()
    }

    pub(crate) fn scale(&mut self, by: f64) {
        for weight in &mut self.weights {
            *weight *= by;
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        let range = other.weights.get(other.low..other.high).unwrap_or_default();
        self.add(other.low.min(other.high), range.iter().copied());
    }
}

/// The bucket of a duration. Negative and NaN are in the first, what is too long in the last.
#[inline]
pub(crate) fn bucket(seconds: f64) -> u16 {
    if seconds.is_nan() || seconds <= 0.0 {
        return 0;
    }
    let upper = (seconds.to_bits() >> 48) as u16;
    let above = upper.saturating_sub(LOWEST - 1);
    above.min(BUCKETS as u16 - 1)
}

/// The lower bound of a bucket in seconds.
fn lower(bucket: usize) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    f64::from_bits((bucket as u64 + u64::from(LOWEST) - 1) << 48)
}

/// A latency that few requests exceed, and the share that is expected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edge {
    pub(crate) seconds: f32,
    pub(crate) expected: f32,
    /// The median; 0 where a file is older than this.
    #[serde(default)]
    pub(crate) usual: f32,
}

impl Edge {
    /// The edge a margin above the 95th percentile of `weights`; the share beyond it is measured, by Laplace's rule of
    /// succession, so that 0 of 200 is evidence for something rare and not for something impossible. The bucket that
    /// the edge lies in counts as beyond. `None` where nothing weighs.
    pub(crate) fn of(weights: &Scratch, settings: &Settings) -> Option<Self> {
        let all = weights.sum();
        let p95 = quantile(weights, all, QUANTILE)?;
        let median = quantile(weights, all, 0.5)?;
        let seconds = (p95 * settings.factor).max(p95 + settings.margin.as_secs_f64());
        let beyond: f64 = weights
            .from(usize::from(bucket(seconds)))
            .map(|(_, weight)| weight)
            .sum();
        Some(Self {
            seconds: seconds as f32,
            expected: ((beyond + 1.0) / (all + 2.0)) as f32,
            usual: median as f32,
        })
    }
}

fn quantile(weights: &Scratch, all: f64, share: f64) -> Option<f64> {
    if all <= 0.0 {
        return None;
    }
    let (rank, mut below) = (all * share, 0.0);
    for (bucket, weight) in weights.iter() {
        if weight > 0.0 && below + weight >= rank {
            let (low, high) = (lower(bucket), lower(bucket + 1));
            return Some(low + (high - low) * ((rank - below) / weight));
        }
        below += weight;
    }
    Some(lower(BUCKETS))
}

/// Counts of a range of buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sketch {
    counts: Vec<u16>,
    first: u16,
    /// Requests that one count stands for.
    unit: f32,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            counts: Vec::new(),
            first: 0,
            unit: 1.0,
        }
    }
}

impl Sketch {
    /// Counts one request. Where there is no room to widen the range it counts at the nearer end.
    #[inline]
    pub(crate) fn observe(&mut self, bucket: u16, budget: &mut Budget) {
        let at = usize::from(bucket.wrapping_sub(self.first));
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        } else {
            self.widen(bucket, budget);
        }
    }

    /// Reads one of the counts; an octave of them is half a cache line.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        self.counts.first().map_or(0, |count| u64::from(*count))
    }

    #[cold]
    fn widen(&mut self, bucket: u16, budget: &mut Budget) {
        let octave = |bucket: usize| bucket - bucket % PARTS;
        let at = usize::from(bucket);
        let (first, end) = (
            usize::from(self.first),
            usize::from(self.first) + self.counts.len(),
        );
        let (first, end) = if first == end { (at, at + 1) } else { (first, end) };
        let low = octave(at).min(first);
        let high = (octave(at) + PARTS).max(end).min(BUCKETS);
        let more = high - low - self.counts.len();
        if budget.take_most(more * size_of::<u16>()) {
            let mut counts = vec![0; high - low];
            if let Some(room) = counts.get_mut(first - low..first - low + self.counts.len()) {
                room.copy_from_slice(&self.counts);
            }
            (self.first, self.counts) = (low as u16, counts);
        }
        let nearest = at
            .saturating_sub(usize::from(self.first))
            .min(self.counts.len().saturating_sub(1));
        if let Some(count) = self.counts.get_mut(nearest) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds `keep` times everything to `weights`.
    pub(crate) fn add_to(&self, weights: &mut Scratch, keep: f64) {
        let keep = keep * f64::from(self.unit);
        let counts = self.counts.iter().map(|&count| f64::from(count) * keep);
        weights.add(usize::from(self.first), counts);
    }

    /// Becomes `weights`, as exactly as 16 bits allow. Without room for a wider range it counts at the ends.
    pub(crate) fn set(&mut self, weights: &Scratch, budget: &mut Budget) {
        let most = weights.iter().map(|(_, weight)| weight).fold(0.0, f64::max);
        let unit = most / FULL;
        let counts = |(_, weight): &(usize, f64)| *weight >= NEGLIGIBLE.max(unit / 2.0);
        let Some((low, _)) = weights.iter().find(counts) else {
            self.clear(self.bytes(), budget);
            return;
        };
        let high = weights.iter().rev().find(counts).map_or(low, |(high, _)| high) + 1;
        let before = self.counts.len() * size_of::<u16>();
        let after = (high - low) * size_of::<u16>();
        if after <= before || budget.take(after - before) {
            budget.give_back(before.saturating_sub(after));
            (self.first, self.counts) = (low as u16, vec![0; high - low]);
        } else {
            self.counts.fill(0);
        }
        self.unit = unit as f32;
        let Some(last) = self.counts.len().checked_sub(1) else {
            return;
        };
        for (bucket, weight) in weights.iter().filter(counts) {
            let at = bucket.saturating_sub(usize::from(self.first)).min(last);
            if let Some(count) = self.counts.get_mut(at) {
                *count = count.saturating_add((weight / unit).round() as u16);
            }
        }
    }

    /// Forgets everything and keeps the room, so that the next requests need no allocation; but not the room of
    /// outliers, beyond twice the `usual` bytes.
    pub(crate) fn clear(&mut self, usual: usize, budget: &mut Budget) {
        if self.bytes() > 2 * usual + 2 * PARTS * size_of::<u16>() {
            budget.give_back(self.bytes());
            self.counts = Vec::new();
        }
        self.counts.fill(0);
        self.unit = 1.0;
    }

    /// Halves all counts, so that the greatest has room.
    pub(crate) fn halve(&mut self) {
        for count in &mut self.counts {
            *count /= 2;
        }
    }

    /// How many requests it stands for.
    pub(crate) fn weight(&self) -> f64 {
        self.counts.iter().map(|&count| f64::from(count)).sum::<f64>() * f64::from(self.unit)
    }

    /// Everything on its own, to be read.
    pub(crate) fn weights(&self) -> Scratch {
        let mut weights = Scratch::new();
        self.add_to(&mut weights, 1.0);
        weights
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.len() * size_of::<u16>()
    }

    /// True unless a file says what no sketch is.
    pub(crate) fn is_sound(&self) -> bool {
        let fits = usize::from(self.first) + self.counts.len() <= BUCKETS;
        fits && self.unit.is_finite() && self.unit > 0.0
    }
}

/// Moves all weights up by `by` buckets, or down where it is negative; what would leave stays at the end.
///
/// Sixteen buckets are a factor of two, so this is about what multiplying every latency would do.
pub(crate) fn moved(weights: &Scratch, by: i32) -> Scratch {
    let mut out = Scratch::new();
    let last = BUCKETS as i32 - 1;
    for (bucket, weight) in weights.iter() {
        let to = (bucket as i32 + by).clamp(0, last) as usize;
        out.add(to, std::iter::once(weight));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut budget = Budget::new(1 << 20);
        let mut sketch = Sketch::default();
        for &value in values {
            sketch.observe(bucket(value), &mut budget);
        }
        sketch
    }

    #[test]
    fn a_bucket_holds_its_lower_bound_and_what_is_foreign_has_one_too() {
        for number in 1..BUCKETS {
            assert_eq!(usize::from(bucket(lower(number))), number);
            assert_eq!(usize::from(bucket(lower(number).next_down())), number - 1);
        }
        for (value, expected) in [
            (f64::NAN, 0),
            (-1.0, 0),
            (-0.0, 0),
            (f64::NEG_INFINITY, 0),
            (f64::INFINITY, BUCKETS - 1),
            (f64::MAX, BUCKETS - 1),
            (f64::MIN_POSITIVE, 0),
        ] {
            assert_eq!(usize::from(bucket(value)), expected, "{value}");
        }
    }

    #[test]
    fn the_edge_lies_a_margin_above_the_95th_percentile_and_the_share_beyond_is_counted() {
        let mut values: Vec<f64> = (1..=950).map(|i| f64::from(i) / 1000.0).collect();
        values.extend([9.0; 50]);
        let edge = Edge::of(&sketch(&values).weights(), &Settings::default()).unwrap();
        assert!(
            (edge.seconds / (0.95 * 1.2) - 1.0).abs() < 0.03,
            "within a bucket: {edge:?}"
        );
        assert!(
            (f64::from(edge.expected) - 51.0 / 1002.0).abs() < 1e-6,
            "{edge:?}"
        );
    }

    #[test]
    fn without_room_an_outlier_counts_at_the_end() {
        let mut budget = Budget::new(PARTS * 2 + 4);
        let mut sketch = Sketch::default();
        sketch.observe(bucket(0.01), &mut budget);
        sketch.observe(bucket(100.0), &mut budget);
        sketch.observe(bucket(1e-5), &mut budget);
        assert_eq!(
            (sketch.weight(), sketch.bytes(), budget.refused),
            (3.0, PARTS * 2, 2)
        );
    }

    #[test]
    fn moving_by_sixteen_buckets_doubles_the_edge() {
        let weights = sketch(&[0.1; 500]).weights();
        let settings = Settings {
            margin: std::time::Duration::ZERO,
            ..Settings::default()
        };
        let edge = |w: &Scratch| Edge::of(w, &settings).unwrap().seconds;
        let ratio = edge(&moved(&weights, 16)) / edge(&weights);
        assert!((ratio - 2.0).abs() < 1e-3, "{ratio}");
    }

    proptest! {
        #[test]
        fn what_was_set_weighs_what_it_was_set_to(values in prop::collection::vec(1e-7..1e5f64, 1..300), keep in 0.2..5.0f64) {
            let mut budget = Budget::new(1 << 20);
            let mut weights = Scratch::new();
            sketch(&values).add_to(&mut weights, keep);
            let mut set = Sketch::default();
            set.set(&weights, &mut budget);
            let expected = values.len() as f64 * keep;
            prop_assert!((set.weight() / expected - 1.0).abs() < 0.01, "{} of {expected}", set.weight());
            prop_assert_eq!(set.bytes(), budget.used());
            prop_assert!(set.is_sound());
        }
    }
}
