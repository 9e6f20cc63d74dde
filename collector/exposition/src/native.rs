//! Exponential buckets, as Prometheus' native histograms have them.
//!
//! In: observations with weights, or another histogram's buckets. Out: [`Native`], and its sparse form on the wire.
//! Bucket `i` at scale `s` holds `(base^i, base^(i+1)]` with `base = 2^(2^-s)`, as in `map::Histogram` and OTLP;
//! Prometheus numbers a bucket by its upper bound, which is one more.
//! Left out on purpose: taking observations back. These are counters, and counters do not fall.
//! Source: Prometheus, "Native Histograms" specification 1.0.

use serde::{Deserialize, Serialize};

/// The finest scale of [`Exponential`], that of `map::Histogram`: buckets 4.4 % wide.
const MAX_SCALE: i32 = 4;
/// At most this many buckets; beyond that the scale is halved. At [`MAX_SCALE`] they span 20 octaves.
const MAX_BUCKETS: usize = 320;
/// The scales that Prometheus has a schema for.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Values up to 2^-128 are in the bucket for zero: the threshold of Prometheus' own client library. It also tells
/// an empty native histogram from a classic one.
pub(crate) const ZERO_THRESHOLD: f64 = f64::from_bits(0x37F0_0000_0000_0000);
/// Fewer empty buckets than this are written out, as a new span costs as much.
const NEW_SPAN_FROM: usize = 3;

/// Observations in exponential buckets, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Native<'a> {
    /// OTLP scale. Below −4 and above 8 Prometheus has no schema; only classic buckets are then written.
    pub scale: i32,
    /// Index of the first bucket in `counts`, by OTLP's numbering.
    pub offset: i32,
    /// Observations by bucket, not cumulative.
    pub counts: Counts<'a>,
    /// Observations of zero.
    pub zero: f64,
    /// Write whole numbers. Must not change back and forth for one series: Prometheus begins a new chunk each time.
    pub whole: bool,
}

/// Observations by bucket.
#[derive(Clone, Copy, Debug)]
pub enum Counts<'a> {
    /// Each observation counts once.
    Unweighted(&'a [u64]),
    /// Each observation counts as many as it stands for.
    Weighted(&'a [f64]),
}

impl Native<'_> {
    /// True where Prometheus has a schema for the scale.
    pub(crate) fn is_expressible(&self) -> bool {
        SCHEMAS.contains(&self.scale)
    }

    fn for_each(&self, mut bucket: impl FnMut(f64)) {
        match self.counts {
            Counts::Unweighted(counts) => counts.iter().for_each(|&count| bucket(count as f64)),
            Counts::Weighted(counts) => counts.iter().for_each(|&count| bucket(count)),
        }
    }
}

/// The sparse form of a [`Native`]; filled again and again, so that its memory is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sparse {
    /// Distance from the end of the span before (in the first one Prometheus' index), and length.
    pub(crate) spans: Vec<(i32, u32)>,
    /// Observations by bucket of the spans.
    pub(crate) counts: Vec<f64>,
    /// All observations, those of zero included.
    pub(crate) total: f64,
    /// True where whole numbers are to be written, and all of them are whole.
    pub(crate) whole: bool,
}

impl Sparse {
    pub(crate) fn fill(&mut self, native: &Native<'_>) {
        self.spans.clear();
        self.counts.clear();
        self.total = native.zero;
        self.whole = native.whole && native.zero.fract() == 0.0;
        let mut gap = 0;
        native.for_each(|count| {
            if count > 0.0 {
                self.skip(gap, native.offset);
                self.push(count);
                gap = 0;
            } else {
                gap += 1;
            }
        });
    }

    /// Counts of whole numbers as the difference from the bucket before, the first from 0.
    pub(crate) fn deltas(&self) -> impl Iterator<Item = i64> + '_ {
        self.counts.iter().scan(0, |before, &count| {
            let count = count.round() as i64;
            let delta = count.wrapping_sub(*before);
            *before = count;
            Some(delta)
        })
    }

    fn skip(&mut self, gap: usize, offset: i32) {
        if self.spans.is_empty() {
            let first = offset.saturating_add(1).saturating_add_unsigned(gap as u32);
            self.spans.push((first, 0));
        } else if gap < NEW_SPAN_FROM {
            (0..gap).for_each(|_| self.push(0.0));
        } else {
            self.spans.push((gap as i32, 0));
        }
    }

    fn push(&mut self, count: f64) {
        if let Some((_, length)) = self.spans.last_mut() {
            *length += 1;
            self.counts.push(count);
            self.total += count;
            self.whole &= count.fract() == 0.0;
        }
    }
}

/// A weighted exponential histogram that only grows: what a native series is counted in.
///
/// Beyond 320 buckets its scale is halved, which Prometheus takes without a counter reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exponential {
    scale: i32,
    offset: i32,
    counts: Vec<f64>,
    zero: f64,
    fractional: bool,
}

impl Default for Exponential {
    fn default() -> Self {
        Self {
            scale: MAX_SCALE,
            offset: 0,
            counts: Vec::new(),
            zero: 0.0,
            fractional: false,
        }
    }
}

impl Exponential {
    /// Adds an observation that stands for `weight` requests.
    ///
    /// Negative, tiny, NaN and infinite values count as zero; a weight that is not above 0 or not finite adds nothing.
    pub fn observe(&mut self, value: f64, weight: f64) {
        if !(weight.is_finite() && weight > 0.0) {
            return;
        }
        self.fractional |= weight.fract() != 0.0;
        if !(value.is_finite() && value > ZERO_THRESHOLD) {
            self.zero += weight;
            return;
        }
        let slot = self.slot(value);
        if let Some(count) = self.counts.get_mut(slot) {
            *count += weight;
        }
    }

    /// Adds the observations of a histogram of the map, each with weight 1.
    ///
    /// What the map counts coarser than this counts in the upper end of its bucket.
    pub fn add(&mut self, other: &map::Histogram) {
        // A bound lies on a bucket's edge, where the last bit decides; below it is inside the bucket it closes.
        let inside = f64::from(-MAX_SCALE - 1).exp2().exp2();
        for (bound, count) in other.buckets() {
            self.observe(bound / inside, count as f64);
        }
    }

    /// The buckets, for an encoder.
    pub fn native(&self) -> Native<'_> {
        Native {
            scale: self.scale,
            offset: self.offset,
            counts: Counts::Weighted(&self.counts),
            zero: self.zero,
            whole: !self.fractional,
        }
    }

    /// The place in `counts` for a value above the zero threshold; makes room, or buckets coarser until there is.
    fn slot(&mut self, value: f64) -> usize {
        loop {
            let index = index(value, self.scale);
            if self.counts.is_empty() {
                self.offset = index;
            }
            let end = self.offset + self.counts.len() as i32;
            let (low, high) = (self.offset.min(index), end.max(index + 1));
            let width = usize::try_from(high - low).unwrap_or(usize::MAX);
            if width <= MAX_BUCKETS {
                let missing = (self.offset - low) as usize;
                self.counts.splice(0..0, std::iter::repeat_n(0.0, missing));
                self.offset = low;
                self.counts.resize(width, 0.0);
                return (index - low) as usize;
            }
            self.halve();
        }
    }

    fn halve(&mut self) {
        let offset = self.offset.div_euclid(2);
        let mut counts = vec![0.0; self.counts.len() / 2 + 1];
        for (index, &count) in (self.offset..).zip(&self.counts) {
            if let Some(sum) = counts.get_mut((index.div_euclid(2) - offset) as usize) {
                *sum += count;
            }
        }
        (self.scale, self.offset, self.counts) = (self.scale - 1, offset, counts);
    }
}

/// The bucket of a positive finite value: the least `i` with `value <= base^(i+1)`.
fn index(value: f64, scale: i32) -> i32 {
    (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sums of whole numbers are exact.
    fn whole(count: f64) -> u64 {
        assert!(count.fract() == 0.0);
        count as u64
    }

    fn sparse(offset: i32, counts: &[u64]) -> (Vec<(i32, u32)>, Vec<i64>) {
        let mut sparse = Sparse::default();
        sparse.fill(&Native {
            scale: 0,
            offset,
            counts: Counts::Unweighted(counts),
            zero: 0.0,
            whole: true,
        });
        let deltas = sparse.deltas().collect();
        (sparse.spans, deltas)
    }

    #[test]
    fn short_gaps_are_written_out_and_long_ones_begin_a_span() {
        assert_eq!(sparse(-3, &[5, 7]), (vec![(-2, 2)], vec![5, 2]));
        assert_eq!(sparse(0, &[0, 0, 4]), (vec![(3, 1)], vec![4]));
        assert_eq!(sparse(0, &[4, 0, 0, 1]), (vec![(1, 4)], vec![4, -4, 0, 1]));
        assert_eq!(
            sparse(0, &[4, 0, 0, 0, 1, 0]),
            (vec![(1, 1), (3, 1)], vec![4, -3])
        );
        assert_eq!(sparse(7, &[]), (vec![], vec![]));
    }

    #[test]
    fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
        assert_eq!(index(1.0, 0), -1);
        assert_eq!(index(1.000_001, 0), 0);
        assert_eq!(index(0.5, 4), -17);
        let mut histogram = Exponential::default();
        histogram.observe(1.0, 1.0);
        let mut sparse = Sparse::default();
        sparse.fill(&histogram.native());
        assert_eq!(sparse.spans, [(0, 1)], "Prometheus' bucket 0 ends at 1");
    }

    #[test]
    fn what_is_no_latency_counts_as_zero_and_what_is_no_weight_does_not_count() {
        let mut histogram = Exponential::default();
        for value in [-1.0, 0.0, f64::NAN, f64::INFINITY, ZERO_THRESHOLD] {
            histogram.observe(value, 2.0);
        }
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            histogram.observe(1.0, weight);
        }
        assert_eq!((histogram.zero, histogram.counts.len()), (10.0, 0));
        assert!(histogram.native().whole);
    }

    #[test]
    fn a_series_that_was_once_fractional_stays_so() {
        let mut histogram = Exponential::default();
        histogram.observe(1.0, 2.5);
        histogram.observe(1.0, 2.5);
        assert!(!histogram.native().whole);
    }

    #[test]
    fn observations_of_the_map_keep_their_buckets() {
        let mut of_map = map::Histogram::default();
        let mut ours = Exponential::default();
        for i in 1..500 {
            let seconds = f64::from(i) * 0.001;
            of_map.observe(seconds);
            ours.observe(seconds, 1.0);
        }
        let mut taken = Exponential::default();
        taken.add(&of_map);
        assert_eq!(taken, ours);
    }

    proptest! {
        #[test]
        fn every_observation_is_counted_in_the_bucket_that_holds_it(
            values in prop::collection::vec((1e-12..1e12f64, 1..5u32), 1..200)
        ) {
            let mut histogram = Exponential::default();
            for (value, weight) in &values {
                histogram.observe(*value, f64::from(*weight));
            }
            prop_assert!(histogram.counts.len() <= MAX_BUCKETS);
            let all: u32 = values.iter().map(|v| v.1).sum();
            prop_assert_eq!(whole(histogram.counts.iter().sum()), u64::from(all));
            for (i, count) in (histogram.offset..).zip(&histogram.counts) {
                let inside = values.iter().filter(|(v, _)| index(*v, histogram.scale) == i);
                prop_assert_eq!(whole(*count), inside.map(|v| u64::from(v.1)).sum::<u64>());
            }
        }
    }
}
