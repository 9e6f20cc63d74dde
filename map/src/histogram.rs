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
#[serde(from = "Parts")]
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

/// A histogram as a file has it, where any numbers may stand.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Histogram")]
struct Parts {
    scale: i32,
    offset: i32,
    counts: Vec<u64>,
    zero: u64,
    sum: f64,
}

impl From<Parts> for Histogram {
    /// What was written here reads back as it was, everything else as [`Histogram::from_parts`] makes it.
    fn from(parts: Parts) -> Self {
        let Parts {
            scale,
            offset,
            counts,
            zero,
            sum,
        } = parts;
        let read = Self {
            scale,
            offset,
            counts,
            zero,
            sum,
        };
        if read.is_sound() {
            return read;
        }
        Self::from_parts(scale, offset, &read.counts, zero, sum)
    }
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
        self.add(Sample::of(seconds));
    }

    /// Adds one observation whose bucket was found before: one that goes into several histograms is looked up once.
    #[inline]
    pub fn add(&mut self, sample: Sample) {
        self.add_many(sample, 1);
    }

    /// Adds `n` equal observations.
    #[inline]
    pub fn add_many(&mut self, sample: Sample, n: u64) {
        if sample.index == Sample::ZERO {
            self.zero = self.zero.saturating_add(n);
            return;
        }
        self.sum += sample.seconds * n as f64;
        self.add_scaled(sample.index >> (MAX_SCALE - self.scale), n);
    }

    /// Takes one observation back that was added before; no effect where its bucket is empty.
    pub fn remove(&mut self, seconds: f64) {
        if !(seconds.is_finite() && seconds > 0.0) {
            self.zero = self.zero.saturating_sub(1);
            return;
        }
        let i = index(seconds) >> (MAX_SCALE - self.scale);
        let Some(count) = self.slot(i).and_then(|slot| self.counts.get_mut(slot)) else {
            return;
        };
        if *count > 0 {
            *count -= 1;
            self.sum = (self.sum - seconds).max(0.0);
        }
    }

    /// The OTLP scale, from −10 to [`MAX_SCALE`].
    pub fn scale(&self) -> i32 {
        self.scale
    }

    /// Index, at [`Histogram::scale`], of the first of [`Histogram::counts`].
    pub fn offset(&self) -> i32 {
        self.offset
    }

    /// Observations per bucket, without gaps, from [`Histogram::offset`] on; zeros are not among them.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Observations that were 0.
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// A histogram from its parts, as OTLP carries them; what lies beyond its width is folded to a coarser scale.
    ///
    /// A scale finer than [`MAX_SCALE`] is made coarser and one below −10 counts as −10. Buckets beyond all finite values
    /// count as the outermost. A sum that is no number counts as 0, and one above 10^18 s as that. At most 65,536 buckets
    /// are read, and at most 2^40 observations of each.
    pub fn from_parts(scale: i32, offset: i32, counts: &[u64], zero: u64, sum: f64) -> Self {
        let mut all = Self {
            scale: scale.clamp(MIN_SCALE, MAX_SCALE),
            zero: zero.min(MOST),
            sum: if sum.is_finite() {
                sum.clamp(0.0, MOST_SECONDS)
            } else {
                0.0
            },
            ..Self::default()
        };
        let (shift, scale) = (scale.saturating_sub(MAX_SCALE).clamp(0, 31), all.scale);
        for (i, &n) in counts.iter().enumerate().take(1 << 16).filter(|(_, n)| **n > 0) {
            let fine = offset.saturating_add(i as i32);
            let i = (fine >> shift).clamp(-widest(scale), widest(scale));
            // Buckets before this one may have made the scale coarser.
            all.add_scaled(i >> (scale - all.scale), n.min(MOST));
        }
        all
    }

    /// Whether it can have come about by observing and merging.
    fn is_sound(&self) -> bool {
        let last = i64::from(self.offset) + self.counts.len() as i64 - 1;
        (MIN_SCALE..=MAX_SCALE).contains(&self.scale)
            && self.counts.len() <= MAX_BUCKETS
            && (-widest(self.scale)..=widest(self.scale)).contains(&self.offset)
            && last <= widest(self.scale).into()
            && self.counts.iter().all(|n| *n <= MOST_SUMMED)
            && self.zero <= MOST_SUMMED
            && (0.0..=f64::MAX).contains(&self.sum)
    }

    /// Takes all observations of `other` back, bucket by bucket at the coarser of the two scales; none falls below 0.
    pub fn subtract(&mut self, other: &Self) {
        self.zero = self.zero.saturating_sub(other.zero);
        self.sum = (self.sum - other.sum).max(0.0);
        self.downscale_to(other.scale);
        let shift = other.scale - self.scale;
        for (i, &n) in other.counts.iter().enumerate() {
            let slot = self.slot((other.offset + i as i32) >> shift);
            if let Some(count) = slot.and_then(|slot| self.counts.get_mut(slot)) {
                *count = count.saturating_sub(n);
            }
        }
    }

    /// Adds all observations of `other`, at the coarser of the two scales.
    pub fn merge(&mut self, other: &Self) {
        self.zero = self.zero.saturating_add(other.zero);
        self.sum += other.sum;
        if other.counts.is_empty() {
            return;
        }
        let mut other = other.clone();
        self.downscale_to(other.scale);
        other.downscale_to(self.scale);
        loop {
            let (low, high) = if self.counts.is_empty() {
                (other.offset, other.end())
            } else {
                (self.offset.min(other.offset), self.end().max(other.end()))
            };
            let fits = usize::try_from(high - low).is_ok_and(|width| width <= MAX_BUCKETS);
            if fits || self.scale == MIN_SCALE {
                break;
            }
            self.downscale_to(self.scale - 1);
            other.downscale_to(self.scale);
        }
        for (i, &count) in other.counts.iter().enumerate() {
            if count > 0 {
                let slot = self.reserve(other.offset + i as i32);
                self.counts[slot] = self.counts[slot].saturating_add(count);
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
        let add = |sum: u64, n: &u64| sum.saturating_add(*n);
        self.counts.iter().fold(self.zero, add)
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
            below = below.saturating_add(n);
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

    fn slot(&self, i: i32) -> Option<usize> {
        usize::try_from(i64::from(i) - i64::from(self.offset)).ok()
    }

    /// Adds `n` to bucket `i` at the present scale, which is made coarser where the buckets do not reach.
    fn add_scaled(&mut self, mut i: i32, n: u64) {
        if let Some(count) = self.slot(i).and_then(|slot| self.counts.get_mut(slot)) {
            *count = count.saturating_add(n);
            return;
        }
        while !self.reaches(i) && self.scale > MIN_SCALE {
            self.downscale_to(self.scale - 1);
            i >>= 1;
        }
        let slot = self.reserve(i);
        if let Some(count) = self.counts.get_mut(slot) {
            *count = count.saturating_add(n);
        }
    }

    /// True where bucket `i` and the present ones fit the width together.
    fn reaches(&self, i: i32) -> bool {
        let (low, high) = if self.counts.is_empty() {
            (i, i + 1)
        } else {
            (self.offset.min(i), self.end().max(i + 1))
        };
        usize::try_from(high - low).is_ok_and(|width| width <= MAX_BUCKETS)
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
            let mut counts = vec![0_u64; self.counts.len() / 2 + 1];
            for (i, &n) in self.counts.iter().enumerate() {
                let slot = ((self.offset + i as i32).div_euclid(2) - offset) as usize;
                if let Some(count) = counts.get_mut(slot) {
                    *count = count.saturating_add(n);
                }
            }
            while counts.last() == Some(&0) {
                counts.pop();
            }
            (self.offset, self.counts) = (offset, counts);
        }
    }
}

/// An observation with its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    seconds: f64,
    index: i32,
}

impl Sample {
    const ZERO: i32 = i32::MIN;

    /// The sample of an observation in seconds. Negative, NaN and infinite values count as 0.
    #[inline]
    pub fn of(seconds: f64) -> Self {
        if seconds.is_finite() && seconds > 0.0 {
            let index = index(seconds);
            return Self { seconds, index };
        }
        Self {
            seconds: 0.0,
            index: Self::ZERO,
        }
    }

    /// The observation in seconds; never negative.
    pub fn seconds(self) -> f64 {
        self.seconds
    }

    /// Its bucket at [`MAX_SCALE`]; `None` for 0.
    pub fn bucket(self) -> Option<i32> {
        (self.index != Self::ZERO).then_some(self.index)
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

/// The bucket at [`MAX_SCALE`] of a positive finite value: the least `i` with `value <= base^(i+1)`.
///
/// Read off the bits: the exponent counts octaves, and each 64th of an octave holds at most one of the 16 bounds. That is
/// five times as fast as a logarithm, and exact at the bounds. A coarser scale's index is this one shifted to the right.
#[inline]
pub fn index(value: f64) -> i32 {
    let bits = if value < f64::MIN_POSITIVE {
        f64::MIN_POSITIVE.to_bits() // what lies below has no exponent of its own
    } else {
        value.to_bits()
    };
    let octave = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let fraction = bits & FRACTION;
    let guess = usize::from(BELOW[(fraction >> 46) as usize]);
    octave * 16 + guess as i32 + i32::from(fraction > BOUNDS[guess]) - 1
}

const FRACTION: u64 = (1 << 52) - 1;
/// More observations than this are nobody's; sums of such counts do not overflow.
const MOST: u64 = 1 << 40;
/// As [`MOST`], of all that was merged.
const MOST_SUMMED: u64 = MOST << 12;
/// As [`MOST`], of seconds: no sum of sums becomes infinite, which files could not hold.
const MOST_SECONDS: f64 = 1e18;

/// The widest index of a finite value at this scale, on both sides of 0: 1,024 octaves.
fn widest(scale: i32) -> i32 {
    (1 << 14) >> (MAX_SCALE - scale)
}

/// Fractions of `2^(k/16)` as the bits of an `f64` hold them; the last is beyond all.
const BOUNDS: [u64; 17] = {
    let roots: [f64; 16] = [
        1.0,
        1.044_273_782_427_413_8,
        1.090_507_732_665_257_7,
        1.138_788_634_756_691_6,
        1.189_207_115_002_721,
        1.241_857_812_073_484,
        1.296_839_554_651_009_6,
        1.354_255_546_936_892_7,
        std::f64::consts::SQRT_2,
        1.476_826_145_939_499_3,
        1.542_210_825_407_940_7,
        1.610_490_331_949_254_3,
        1.681_792_830_507_429,
        1.756_252_160_373_299_5,
        1.834_008_086_409_342_4,
        1.915_206_561_397_147_4,
    ];
    let mut bounds = [u64::MAX; 17];
    let mut k = 0;
    while k < 16 {
        bounds[k] = roots[k].to_bits() & FRACTION;
        k += 1;
    }
    bounds
};

/// By the first six bits of a fraction: how many bounds lie below all fractions that begin so.
const BELOW: [u8; 64] = {
    let mut below = [0; 64];
    let mut cell = 0;
    while cell < 64 {
        let least = (cell as u64) << 46;
        let mut k = 0;
        while k < 16 && BOUNDS[k] < least {
            k += 1;
        }
        below[cell] = k as u8;
        cell += 1;
    }
    below
};

/// The upper bound in seconds of bucket `i` at `scale`, as [`index`] numbers them.
pub fn upper_bound(i: i32, scale: i32) -> f64 {
    bound(f64::from(i) + 1.0, scale)
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
    fn a_bound_belongs_to_the_bucket_below_it_and_what_lies_just_above_to_the_next() {
        for (i, root) in (0i32..).zip(BOUNDS.iter().take(16)) {
            for octave in [-1022, -20, -1, 0, 7, 1023] {
                let at = f64::from_bits((((octave + 1023) as u64) << 52) | root);
                assert_eq!(index(at), octave * 16 + i - 1, "{at}");
                assert_eq!(index(at.next_up()), octave * 16 + i, "just above {at}");
            }
        }
        assert_eq!(index(f64::from_bits(1)), index(f64::MIN_POSITIVE));
    }

    #[test]
    fn what_is_subtracted_is_gone_whatever_the_scales() {
        let wide: Vec<f64> = (-60..60).map(|e| f64::from(e).exp2()).collect();
        let mut all = of(&wide);
        let merged = of(&[0.25, 0.5, 0.0]);
        all.merge(&merged);
        all.subtract(&merged);
        assert_eq!(
            all.buckets().collect::<Vec<_>>(),
            of(&wide).buckets().collect::<Vec<_>>()
        );
    }

    #[test]
    fn parts_read_back_as_they_were_and_foreign_ones_fit() {
        let histogram = of(&[0.001, 0.02, 0.0, 7.0]);
        let read = Histogram::from_parts(
            histogram.scale(),
            histogram.offset(),
            histogram.counts(),
            histogram.zero(),
            histogram.sum(),
        );
        assert_eq!(
            read.buckets().collect::<Vec<_>>(),
            histogram.buckets().collect::<Vec<_>>()
        );
        // At scale 8 bucket -1 ends at 1 s, and so does bucket -1 at scale 4.
        assert_eq!(
            Histogram::from_parts(8, -1, &[3], 0, 2.9).quantile(1.0),
            Some(1.0)
        );
        let absurd = Histogram::from_parts(i32::MAX, i32::MIN, &[1, u64::MAX / 2], 0, f64::NAN);
        assert_eq!(absurd.count(), 1 + MOST);
        assert!(Histogram::from_parts(-99, i32::MAX, &[1; 9], 1, 1.0).counts.len() <= MAX_BUCKETS);
    }

    #[test]
    fn parts_wider_than_a_histogram_land_where_their_values_are() {
        let wide = Histogram::from_parts(4, 0, &[1; 400], 0, 1.0);
        let mut one_by_one = Histogram::default();
        for i in 0..400 {
            one_by_one.merge(&Histogram::from_parts(4, i, &[1], 0, 0.0));
        }
        assert_eq!(
            wide.buckets().collect::<Vec<_>>(),
            one_by_one.buckets().collect::<Vec<_>>()
        );
    }

    #[test]
    fn buckets_beyond_all_values_count_as_the_outermost_and_still_merge() {
        for scale in [-10, 0, MAX_SCALE] {
            let mut merged = Histogram::from_parts(scale, -WIDEST_OF_ALL, &[1], 0, 0.0);
            merged.merge(&Histogram::from_parts(scale, WIDEST_OF_ALL, &[1], 0, 0.0));
            assert!(merged.is_sound(), "{merged:?}");
            assert_eq!(merged.count(), 2);
        }
    }

    const WIDEST_OF_ALL: i32 = 1 << 14;

    #[test]
    fn sums_that_nobody_has_stay_numbers() {
        let mut merged = Histogram::from_parts(0, 0, &[1], 0, f64::MAX);
        merged.merge(&merged.clone());
        assert!(merged.sum().is_finite());
    }

    #[test]
    fn a_histogram_of_impossible_numbers_in_a_file_is_brought_into_range() {
        let read = |text: &str| serde_yaml::from_str::<Histogram>(text).unwrap();
        let most = u64::MAX;
        for text in [
            format!("{{scale: 99, offset: 2147483647, counts: [1, {most}], zero: {most}, sum: 1e308}}"),
            format!("{{scale: -99, offset: -2147483648, counts: [{most}, {most}], zero: 1, sum: .nan}}"),
            "{scale: -10, offset: -16384, counts: [1, 0, 0, 1], zero: 0, sum: -1}".to_owned(),
            format!(
                "{{scale: 4, offset: 0, counts: {:?}, zero: 0, sum: .inf}}",
                [1; 321]
            ),
        ] {
            let mut found = read(&text);
            assert!(found.is_sound(), "{text}: {found:?}");
            found.merge(&of(&[0.1, 70.0]));
            found.merge(&found.clone());
            assert!(
                found.quantile(0.5).is_some() && found.is_sound(),
                "{text}: {found:?}"
            );
        }
        let own = of(&[f64::MIN_POSITIVE, 1e-6, 3.0, f64::MAX, 0.0]);
        assert_eq!(read(&serde_yaml::to_string(&own).unwrap()), own);
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
        fn the_bucket_read_off_the_bits_is_the_logarithms(value in 1e-12..1e12f64) {
            let slow = (value.log2() * 16.0).ceil() as i32 - 1;
            let exact = upper_bound(slow, MAX_SCALE);
            prop_assume!((value / exact - 1.0).abs() > 1e-12 && (value / upper_bound(slow - 1, MAX_SCALE) - 1.0).abs() > 1e-12);
            prop_assert_eq!(index(value), slow);
        }

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
