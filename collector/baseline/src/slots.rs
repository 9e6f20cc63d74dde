//! What each hour of the week was like.
//!
//! In: the requests of part of an hour. Out: the edge of that hour in past weeks, else on past days.
//! A slot keeps the upper fifth of its hour in 24 buckets and the rest as one number, because an edge lies above the
//! 95th percentile. Where room is short an operation has one slot per hour of the day instead of one per hour of the week.
//! Left out on purpose: the present hour, which must not be its own measure.

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::id::Source;
use crate::settings::Settings;
use crate::sketch::{BUCKETS, Edge, Scratch, moved};

pub(crate) const HOUR: u64 = 3_600_000_000_000;
const HOURS_OF_DAY: u64 = 24;
const HOURS_OF_WEEK: u64 = 168;
/// Buckets of a slot: one and a half powers of two. What lies beyond counts in the last.
const WIDTH: usize = 24;
/// The share of an hour's requests that has buckets.
const UPPER: f64 = 0.2;
const FULL: f64 = 60_000.0;
/// How much of a slot remains after a week, where there is one per hour of the week.
const KEEP_WEEK: f64 = 0.5;
/// How much of a slot remains after a day, where there is one per hour of the day.
const KEEP_DAY: f64 = 0.75;

/// Hours since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hour(u64);

impl Hour {
    pub(crate) fn of(now: u64) -> Self {
        Self(now / HOUR)
    }

    /// When the next one begins, in nanoseconds.
    pub(crate) fn end(self) -> u64 {
        (self.0 + 1).saturating_mul(HOUR)
    }

    /// The slot it falls into, and how many days or weeks came before.
    fn slot(self, weekly: bool) -> (u8, u32) {
        let period = if weekly { HOURS_OF_WEEK } else { HOURS_OF_DAY };
        ((self.0 % period) as u8, (self.0 / period) as u32)
    }
}

/// The hours of one measure of one operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slots {
    /// One per hour of the week, not of the day.
    weekly: bool,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// The week or day that it was last added to.
    period: u32,
    /// Requests below `first`, and the bucket that four fifths of them do not exceed.
    below: f32,
    low: u16,
    unit: f32,
    first: u16,
    counts: [u16; WIDTH],
    hour: u8,
}

impl Slots {
    pub(crate) fn new(budget: &Budget, max_bytes: usize) -> Self {
        Self {
            weekly: budget.in_hours() < max_bytes / 4,
            slots: Vec::new(),
        }
    }

    /// Adds the requests of part of `hour`. Without room for another slot it is left out.
    pub(crate) fn add(&mut self, hour: Hour, weights: &Scratch, budget: &mut Budget) {
        let (number, period) = hour.slot(self.weekly);
        let at = self.slots.partition_point(|slot| slot.hour < number);
        if self.slots.get(at).is_none_or(|slot| slot.hour != number) {
            if !budget.take_hour(size_of::<Slot>()) {
                return;
            }
            self.slots.reserve_exact(1);
            self.slots.insert(at, Slot::empty(number, period));
        }
        let keep = if self.weekly { KEEP_WEEK } else { KEEP_DAY };
        if let Some(slot) = self.slots.get_mut(at) {
            let periods = period.saturating_sub(slot.period);
            slot.add(weights, keep.powf(f64::from(periods)));
            slot.period = slot.period.max(period);
        }
    }

    /// The edge of `hour` from past weeks, else from past days; `None` where neither had enough requests.
    pub(crate) fn edge(&self, hour: Hour, settings: &Settings) -> Option<(Edge, Source)> {
        let (number, period) = hour.slot(self.weekly);
        let is_now = |slot: &&Slot| slot.hour == number && slot.period >= period;
        let same_hour = self.slots.iter().filter(|slot| slot.hour == number);
        let source = if self.weekly {
            Source::HourOfWeek
        } else {
            Source::HourOfDay
        };
        if let Some(edge) = edge_of(same_hour.filter(|slot| !is_now(slot)), settings) {
            return Some((edge, source));
        }
        let of_day = |slot: &&Slot| u64::from(slot.hour) % HOURS_OF_DAY == u64::from(number) % HOURS_OF_DAY;
        let days = self.slots.iter().filter(|slot| of_day(slot) && !is_now(slot));
        edge_of(days, settings).map(|edge| (edge, Source::HourOfDay))
    }

    /// All hours as if every latency had been multiplied: by so many buckets, sixteen to a factor of two.
    pub(crate) fn shift(&mut self, by: i32) {
        for slot in &mut self.slots {
            let moved = |bucket: u16, last: usize| (i32::from(bucket) + by).clamp(0, last as i32) as u16;
            slot.first = moved(slot.first, BUCKETS - WIDTH);
            slot.low = moved(slot.low, BUCKETS - 1);
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }

    /// True unless a file says what no slot is.
    pub(crate) fn is_sound(&self) -> bool {
        let most = if self.weekly { HOURS_OF_WEEK } else { HOURS_OF_DAY };
        let ordered = self.slots.is_sorted_by(|a, b| a.hour < b.hour);
        ordered && self.slots.iter().all(|slot| slot.is_sound(most))
    }
}

fn edge_of<'a>(slots: impl Iterator<Item = &'a Slot>, settings: &Settings) -> Option<Edge> {
    let mut slots = slots.peekable();
    slots.peek()?;
    let mut weights = Scratch::new();
    for slot in slots {
        slot.add_to(&mut weights, 1.0);
    }
    // Half a request, because counts of 16 bits round.
    let enough = weights.sum() + 0.5 >= settings.min_requests as f64;
    enough.then(|| Edge::of(&weights, settings)).flatten()
}

impl Slot {
    fn empty(hour: u8, period: u32) -> Self {
        Self {
            period,
            below: 0.0,
            low: 0,
            unit: 1.0,
            first: 0,
            counts: [0; WIDTH],
            hour,
        }
    }

    /// What lies below the buckets counts in one: it only has to stay below the 95th percentile.
    fn add_to(&self, weights: &mut Scratch, keep: f64) {
        let below = f64::from(self.below) * keep;
        weights.add(usize::from(self.low), std::iter::once(below));
        let unit = f64::from(self.unit) * keep;
        let counts = self.counts.iter().map(|&count| f64::from(count) * unit);
        weights.add(usize::from(self.first), counts);
    }

    fn add(&mut self, weights: &Scratch, keep: f64) {
        let mut all = weights.clone();
        self.add_to(&mut all, keep);
        let total = all.sum();
        let first = from_above(all.iter(), total * UPPER).min(BUCKETS - WIDTH);
        let mut counts = [0.0; WIDTH];
        for (bucket, weight) in all.from(first) {
            if let Some(count) = counts.get_mut((bucket - first).min(WIDTH - 1)) {
                *count += weight;
            }
        }
        let unit = (counts.iter().copied().fold(0.0, f64::max) / FULL).max(f64::from(f32::MIN_POSITIVE));
        self.first = first as u16;
        let rest = || all.iter().take_while(|(bucket, _)| *bucket < first);
        let below: f64 = rest().map(|(_, weight)| weight).sum();
        let low = from_below(rest(), below * (1.0 - UPPER));
        (self.below, self.low) = (below as f32, low as u16);
        self.unit = unit as f32;
        self.counts = counts.map(|weight| (weight / unit).round() as u16);
    }

    fn is_sound(&self, hours: u64) -> bool {
        let finite = self.below.is_finite() && self.below >= 0.0 && self.unit.is_finite() && self.unit > 0.0;
        let placed = usize::from(self.first) <= BUCKETS - WIDTH && usize::from(self.low) < BUCKETS;
        finite && placed && u64::from(self.hour) < hours
    }
}

/// The highest bucket that weighs `share` together with those above it.
fn from_above(buckets: impl DoubleEndedIterator<Item = (usize, f64)>, share: f64) -> usize {
    from_below(buckets.rev(), share)
}

/// The first bucket that weighs `share` together with those before it.
fn from_below(mut buckets: impl Iterator<Item = (usize, f64)>, share: f64) -> usize {
    let mut sum = 0.0;
    let found = buckets.find(|(_, weight)| {
        sum += weight;
        sum >= share && sum > 0.0
    });
    found.map_or(0, |(bucket, _)| bucket)
}

/// How many buckets lie between two latencies; 0 where either is none.
pub(crate) fn buckets_between(old: f32, new: f32) -> i32 {
    let ratio = f64::from(new) / f64::from(old);
    if ratio.is_finite() && ratio > 0.0 {
        (ratio.log2() * 16.0).round() as i32
    } else {
        0
    }
}

/// `weights` as if every latency had been multiplied by `new / old`.
pub(crate) fn scaled(weights: &Scratch, old: f32, new: f32) -> Scratch {
    moved(weights, buckets_between(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::bucket;

    fn hour_of(milliseconds: impl Iterator<Item = u32>) -> Scratch {
        let mut weights = Scratch::new();
        for ms in milliseconds {
            weights.add(bucket(f64::from(ms) / 1000.0).into(), std::iter::once(1.0));
        }
        weights
    }

    fn slots(max: usize) -> (Slots, Budget) {
        let budget = Budget::new(max);
        (Slots::new(&budget, max), budget)
    }

    #[test]
    fn an_hour_is_judged_by_past_weeks_else_by_past_days_and_never_by_itself() {
        let (mut slots, mut budget) = slots(1 << 20);
        let settings = Settings::default();
        let quiet = hour_of((0..300).map(|i| 10 + i % 10));
        let busy = hour_of((0..300).map(|i| 100 + i % 10));
        let source = |slots: &Slots, hour| slots.edge(Hour(hour), &settings).map(|(_, source)| source);
        slots.add(Hour(0), &quiet, &mut budget);
        assert_eq!(source(&slots, 0), None, "the hour that is under way");
        assert_eq!(source(&slots, 24), Some(Source::HourOfDay));
        assert_eq!(source(&slots, 25), None);
        slots.add(Hour(24), &busy, &mut budget);
        assert_eq!(source(&slots, 168), Some(Source::HourOfWeek));
        let seconds = |hour| slots.edge(Hour(hour), &settings).unwrap().0.seconds;
        assert!(seconds(168) < 0.03 && seconds(168 + 24) > 0.1);
    }

    #[test]
    fn the_upper_fifth_of_an_hour_gives_the_edge_that_all_of_it_would() {
        let settings = Settings::default();
        let (mut slots, mut budget) = slots(1 << 20);
        let mut all = Scratch::new();
        for part in 0..12 {
            let weights = hour_of((0..500).map(|i| 20 + (i * i + part) % 97));
            all.add_all(&weights);
            slots.add(Hour(5), &weights, &mut budget);
        }
        let exact = Edge::of(&all, &settings).unwrap();
        let (found, _) = slots.edge(Hour(5 + 168), &settings).unwrap();
        assert!(
            (found.seconds / exact.seconds - 1.0).abs() < 0.01,
            "{found:?} {exact:?}"
        );
        assert!(
            (found.expected - exact.expected).abs() < 0.002,
            "{found:?} {exact:?}"
        );
    }

    #[test]
    fn where_room_is_short_hours_are_of_the_day_and_then_left_out() {
        let (mut first, mut budget) = slots(16 << 10);
        let weights = hour_of(10..300);
        for hour in 0..168 {
            first.add(Hour(hour), &weights, &mut budget);
        }
        assert!(
            first.bytes() <= 8 << 10 && budget.refused > 0,
            "{} bytes",
            first.bytes()
        );
        assert_eq!(budget.in_hours(), first.bytes());
        let second = Slots::new(&budget, 16 << 10);
        assert_eq!((first.weekly, second.weekly), (true, false));
    }

    #[test]
    fn half_of_a_slot_is_forgotten_in_a_week() {
        let (mut slots, mut budget) = slots(1 << 20);
        let settings = Settings::default();
        slots.add(Hour(3), &hour_of((0..1000).map(|_| 100)), &mut budget);
        for week in 1..5 {
            slots.add(Hour(3 + week * 168), &hour_of((0..1000).map(|_| 10)), &mut budget);
        }
        let (edge, _) = slots.edge(Hour(3 + 5 * 168), &settings).unwrap();
        assert!(
            edge.seconds < 0.02,
            "a sixteenth of the slow week is 3 %: {edge:?}"
        );
    }
}
