//! Durations as a scraper wants them: classic buckets and exponential buckets from one set of counts.
//!
//! In: durations with their weight. Out: both kinds of buckets, exactly, and what came since an earlier reading.
//! The grid is that of the exponential histogram at [`map::histogram::MAX_SCALE`], cut once more at each classic bound,
//! so that every bucket of either kind is a sum of whole cells and an observation is one addition.
//! Nearly every observation stands for one request, so counts are whole and half as wide as a number with a fraction;
//! what has a fraction is beside them.
//! Left out on purpose: taking back from a series. Only the map's own, which are corrected, ask for it.

use std::sync::LazyLock;

use map::catalogue::LATENCY_BUCKETS;
use map::histogram::{MAX_SCALE, upper_bound};
use map::{Histogram, Sample};
use serde::{Deserialize, Serialize};

/// The first bucket with cells of its own; what is shorter, up to 0.95 µs, counts as 0.
const LOWEST: i32 = -20 * PER_OCTAVE;
/// The last one; what is longer than 36 hours counts as that long.
const HIGHEST: i32 = 17 * PER_OCTAVE - 1;
const PER_OCTAVE: i32 = 1 << MAX_SCALE;
const BUCKETS: usize = (HIGHEST - LOWEST + 1) as usize;
const CLASSIC: usize = LATENCY_BUCKETS.len() + 1;
/// Cells are made by so many at a time: those of a cache line, and of an octave.
const STEP: usize = 16;

/// Seconds up to which an observation counts as 0: the zero threshold of a native histogram.
pub static ZERO_THRESHOLD: LazyLock<f64> = LazyLock::new(|| upper_bound(LOWEST - 1, MAX_SCALE));

struct Grid {
    /// By bucket: its first cell, and the classic bound that cuts it in two; infinite where none does.
    buckets: Vec<(u16, f64)>,
    /// By cell: its classic bucket, and its exponential bucket; the first cell is that of 0.
    cells: Vec<(u8, i32)>,
}

static GRID: LazyLock<Grid> = LazyLock::new(Grid::new);

impl Grid {
    fn new() -> Self {
        let classic = |seconds: f64| LATENCY_BUCKETS.partition_point(|&bound| bound < seconds) as u8;
        let (mut buckets, mut cells) = (Vec::with_capacity(BUCKETS), vec![(0, LOWEST - 1)]);
        for bucket in LOWEST..=HIGHEST {
            let (lower, upper) = (upper_bound(bucket - 1, MAX_SCALE), upper_bound(bucket, MAX_SCALE));
            let cut = LATENCY_BUCKETS
                .iter()
                .find(|&&bound| bound > lower && bound < upper);
            buckets.push((cells.len() as u16, cut.copied().unwrap_or(f64::INFINITY)));
            cells.extend(cut.map(|&bound| (classic(bound), bucket)));
            cells.push((classic(upper), bucket));
        }
        Self { buckets, cells }
    }
}

/// A duration with its place in every histogram that it goes into.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    sample: Sample,
    cell: u16,
}

impl Observed {
    /// Of a duration in seconds. Negative, NaN and infinite values count as 0.
    #[inline]
    pub fn of(seconds: f64) -> Self {
        let sample = Sample::of(seconds);
        let bucket = sample
            .bucket()
            .and_then(|bucket| usize::try_from(bucket - LOWEST).ok());
        let cell = bucket.and_then(|bucket| {
            let (first, cut) = *GRID.buckets.get(bucket.min(BUCKETS - 1))?;
            Some(first + u16::from(seconds > cut))
        });
        Self {
            sample,
            cell: cell.unwrap_or(0),
        }
    }

    /// For the map's histograms.
    pub fn sample(self) -> Sample {
        self.sample
    }

    /// The duration in seconds.
    pub fn seconds(self) -> f64 {
        self.sample.seconds()
    }
}

/// A histogram of a fixed grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Sparse", into = "Sparse")]
pub struct Timing {
    counts: Vec<u32>,
    /// What is no whole request, or more of them than a count holds, by the same cells.
    rest: Option<Box<[f64]>>,
    sum: f64,
    /// The cell of the first count.
    first: u16,
}

impl Timing {
    /// Adds an observation that stands for `weight` requests.
    #[inline]
    pub fn observe(&mut self, seen: Observed, weight: f64) {
        self.sum += seen.seconds() * weight;
        self.add(seen.cell, weight);
    }

    /// Takes one request back that was added before; no effect where its cell is empty.
    pub fn take_back(&mut self, seen: Observed) {
        let at = self.place(seen.cell);
        if let Some(count) = self.counts.get_mut(at).filter(|count| **count > 0) {
            *count -= 1;
            self.sum = (self.sum - seen.seconds()).max(0.0);
        }
    }

    /// Reads what an observation is about to be added to.
    #[inline]
    pub(crate) fn read(&self, seen: Option<Observed>) -> u64 {
        let count = seen.and_then(|seen| self.counts.get(self.place(seen.cell)));
        count.map_or(0, |count| u64::from(*count))
    }

    #[inline]
    fn add(&mut self, cell: u16, weight: f64) {
        let mut at = self.place(cell);
        if at >= self.counts.len() {
            self.reserve(usize::from(cell));
            at = self.place(cell);
        }
        let whole = weight as u32;
        if let Some(count) = self.counts.get_mut(at)
            && f64::from(whole).to_bits() == weight.to_bits()
            && let Some(sum) = count.checked_add(whole)
        {
            *count = sum;
        } else {
            self.add_rest(at, weight);
        }
    }

    #[cold]
    fn add_rest(&mut self, at: usize, weight: f64) {
        let cells = self.counts.len();
        let rest = self.rest.get_or_insert_with(|| vec![0.0; cells].into());
        if let Some(count) = rest.get_mut(at) {
            *count += weight;
        }
    }

    /// Where a cell is among the counts; beyond them where it is not.
    #[inline]
    fn place(&self, cell: u16) -> usize {
        usize::from(cell).wrapping_sub(usize::from(self.first))
    }

    #[cold]
    fn reserve(&mut self, cell: usize) {
        let (low, len) = (usize::from(self.first), self.counts.len());
        let (from, to) = (cell / STEP * STEP, (cell / STEP + 1) * STEP);
        let (from, to) = if len == 0 {
            (from, to)
        } else {
            (from.min(low), to.max(low + len))
        };
        let missing = if len == 0 { 0 } else { low - from };
        let mut counts = Vec::with_capacity(to - from);
        counts.resize(missing, 0);
        counts.extend_from_slice(&self.counts);
        counts.resize(to - from, 0);
        if let Some(rest) = &mut self.rest {
            let mut wider = vec![0.0; to - from];
            for (count, before) in wider.iter_mut().skip(missing).zip(rest.iter()) {
                *count = *before;
            }
            *rest = wider.into();
        }
        (self.first, self.counts) = (from as u16, counts);
    }

    /// Adds all observations of another.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        other.cells().for_each(|(cell, count)| self.add(cell, count));
    }

    /// Adds the observations of an exponential histogram, each bucket's as if they were as long as its bound.
    pub fn merge_exponential(&mut self, other: &Histogram) {
        for (seconds, count) in other.buckets() {
            self.add(Observed::of(seconds).cell, count as f64);
        }
        self.sum += other.sum();
    }

    /// Requests at or below each bound of [`LATENCY_BUCKETS`], then all of them.
    pub fn cumulative(&self) -> [f64; CLASSIC] {
        let mut buckets = [0.0; CLASSIC];
        for (cell, count) in self.cells() {
            let classic = GRID
                .cells
                .get(usize::from(cell))
                .map_or(0, |(classic, _)| *classic);
            if let Some(bucket) = buckets.get_mut(usize::from(classic)) {
                *bucket += count;
            }
        }
        let mut sum = 0.0;
        buckets.map(|bucket| {
            sum += bucket;
            sum
        })
    }

    /// Requests by bucket of the exponential histogram at [`MAX_SCALE`], ascending, those of 0 left out.
    pub fn exponential(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let mut cells = self.cells().filter(|(cell, _)| *cell > 0).peekable();
        std::iter::from_fn(move || {
            let bucket_of = |cell: u16| GRID.cells.get(usize::from(cell)).map_or(0, |(_, bucket)| *bucket);
            let (cell, mut count) = cells.next()?;
            let bucket = bucket_of(cell);
            while let Some((_, more)) = cells.next_if(|(cell, _)| bucket_of(*cell) == bucket) {
                count += more;
            }
            Some((bucket, count))
        })
    }

    /// Requests of at most [`ZERO_THRESHOLD`].
    pub fn zero(&self) -> f64 {
        self.cells()
            .find(|(cell, _)| *cell == 0)
            .map_or(0.0, |(_, count)| count)
    }

    /// Sum in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Requests.
    pub fn count(&self) -> f64 {
        self.cells().map(|(_, count)| count).sum()
    }

    /// What came since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = self.clone();
        for (cell, count) in earlier.cells() {
            rest.add(cell, -count);
        }
        rest.sum -= earlier.sum;
        rest
    }

    /// As an exponential histogram of whole requests.
    pub fn to_histogram(&self) -> Histogram {
        let whole = |count: f64| count.round().max(0.0) as u64;
        let mut low = None;
        let mut counts = Vec::new();
        for (bucket, count) in self.exponential() {
            let low = *low.get_or_insert(bucket);
            counts.resize((bucket - low) as usize, 0);
            counts.push(whole(count));
        }
        Histogram::from_parts(MAX_SCALE, low.unwrap_or(0), &counts, whole(self.zero()), self.sum)
    }

    /// Bytes that it occupies beside itself.
    pub fn footprint(&self) -> usize {
        let rest = self.rest.as_deref().map_or(0, size_of_val);
        self.counts.capacity() * size_of::<u32>() + rest
    }

    fn cells(&self) -> impl Iterator<Item = (u16, f64)> + '_ {
        let rest = self.rest.as_deref().unwrap_or_default();
        let count = |(at, whole): (usize, &u32)| {
            let rest = rest.get(at).copied().unwrap_or(0.0);
            (self.first + at as u16, f64::from(*whole) + rest)
        };
        let counts = self.counts.iter().enumerate().map(count);
        counts.filter(|(_, count)| *count != 0.0)
    }
}

/// As it is saved: cells that hold something, whole requests first.
#[derive(Serialize, Deserialize)]
struct Sparse(f64, Vec<(u16, u32)>, Vec<(u16, f64)>);

impl From<Timing> for Sparse {
    fn from(timing: Timing) -> Self {
        let whole = (timing.first..).zip(timing.counts);
        let rest = (timing.first..).zip(timing.rest.unwrap_or_default());
        Self(
            timing.sum,
            whole.filter(|(_, count)| *count > 0).collect(),
            rest.filter(|(_, count)| *count != 0.0).collect(),
        )
    }
}

impl From<Sparse> for Timing {
    fn from(Sparse(sum, whole, rest): Sparse) -> Self {
        let mut timing = Self {
            sum,
            ..Self::default()
        };
        let known = |cell: u16| usize::from(cell) < GRID.cells.len();
        for (cell, count) in whole.into_iter().filter(|(cell, _)| known(*cell)) {
            timing.add(cell, f64::from(count));
        }
        for (cell, count) in rest.into_iter().filter(|(cell, _)| known(*cell)) {
            timing.add(cell, 0.0);
            timing.add_rest(timing.place(cell), count);
        }
        timing
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Timing {
        let mut timing = Timing::default();
        for &seconds in values {
            timing.observe(Observed::of(seconds), 1.0);
        }
        timing
    }

    proptest! {
        #[test]
        fn both_kinds_of_buckets_are_exact(mut values in prop::collection::vec(1e-7..200_000f64, 0..200)) {
            values.extend(LATENCY_BUCKETS);
            let timing = of(&values);
            for (bound, count) in LATENCY_BUCKETS.iter().zip(timing.cumulative()) {
                prop_assert_eq!(count as usize, values.iter().filter(|v| *v <= bound).count(), "le {}", bound);
            }
            prop_assert_eq!(timing.count() as usize, values.len());
            for (bucket, count) in timing.exponential().filter(|(bucket, _)| *bucket < HIGHEST) {
                prop_assert_eq!(count as usize, values.iter().filter(|v| map::histogram::index(**v) == bucket).count());
            }
        }

        #[test]
        fn what_is_saved_and_what_is_merged_stays_the_same(a in prop::collection::vec(1e-6..40f64, 0..60), b in prop::collection::vec(1e-6..40f64, 0..60)) {
            let (first, mut both) = (of(&a), of(&a));
            both.merge(&of(&b));
            let read: Timing = serde_json::from_str(&serde_json::to_string(&both).unwrap()).unwrap();
            prop_assert_eq!(read.cumulative(), both.cumulative());
            prop_assert_eq!(read.sum().to_bits(), both.sum().to_bits());
            prop_assert_eq!(both.cumulative(), of(&[a, b.clone()].concat()).cumulative());
            prop_assert_eq!(both.since(&first).cumulative(), of(&b).cumulative());
            prop_assert_eq!(both.to_histogram().count(), both.count() as u64);
        }
    }

    #[test]
    fn sampled_requests_and_more_than_a_count_holds_are_counted_as_they_are_and_saved_so() {
        let most = f64::from(u32::MAX);
        let mut timing = of(&[0.25, 0.25, 0.001]);
        for weight in [2.5, most, most, 4.0, 2.0 * most] {
            timing.observe(Observed::of(0.25), weight);
        }
        timing.observe(Observed::of(30.0), 0.5);
        assert_eq!(timing.count(), 4.0 * most + 10.0);
        assert_eq!(timing.cumulative()[1..].first(), Some(&1.0));
        let text = serde_json::to_string(&timing).unwrap();
        let read: Timing = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.count(), serde_json::to_string(&read).unwrap()),
            (timing.count(), text)
        );
    }

    #[test]
    fn what_is_taken_back_is_gone_and_what_was_never_there_cannot_be() {
        let mut timing = of(&[0.25, 0.5, 0.0]);
        for seconds in [0.25, 7.0, 0.001, 0.25] {
            timing.take_back(Observed::of(seconds));
        }
        assert_eq!((timing.count(), timing.sum()), (2.0, 0.5));
        timing.take_back(Observed::of(0.0));
        assert_eq!((timing.count(), timing.zero()), (1.0, 0.0));
    }

    #[test]
    fn foreign_values_are_counted_and_take_no_room() {
        let timing = of(&[0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, f64::MAX, 1.0]);
        assert_eq!((timing.count(), timing.zero()), (7.0, 5.0));
        assert!(
            timing.footprint() <= 4 * (BUCKETS + CLASSIC + STEP),
            "{}",
            timing.footprint()
        );
        let hostile = serde_json::from_str::<Timing>("[1.5,[[65535,2],[3,1]],[[65535,0.5]]]").unwrap();
        assert_eq!(
            hostile.count(),
            1.0,
            "a cell that this version does not know is left out"
        );
    }
}
