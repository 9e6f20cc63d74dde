//! One measure, own or total, of one operation: its edge, what it was learned from, and a shift that may become normal.
//!
//! In: requests, and when a part of an hour is over. Out: whether a request is slow. A part that is degraded is not
//! learned; it belongs to a shift, and a shift that has lasted becomes the new normal.
//! Left out on purpose: when a part is over, which is the operation's to say.

use map::evidence::{DEFAULT_MIN_SHARE, is_degraded};
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::id::Source;
use crate::settings::Settings;
use crate::sketch::{BUCKETS, Edge, Scratch, Sketch};
use crate::slots::{HOUR, Hour, Slots, buckets_between, scaled};

/// After this long the past weighs half. A day, so that all hours have their say.
const HALF_LIFE: u64 = 24 * HOUR;
/// After this long the beginning of a shift weighs half.
const SHIFT_HALF_LIFE: u64 = HOUR;
/// So many healthy parts in a row end a shift; fewer are luck at its threshold.
const HEALTHY_ENDS: u8 = 3;
/// A shift whose edge moves by more than this factor is another shift.
const STEADY: f32 = 2.0;
/// A new version whose edge is below this share of the old one's makes the old one's past useless.
const FASTER: f32 = 0.8;
/// What remains of the old version's past when a new one has its own.
const KEEP_VERSION: f64 = 0.25;

/// One measure of one operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    pub(crate) edge: Edge,
    pub(crate) source: Source,
    chosen: Option<u32>,
    /// Requests since the last part was over, and how many of them were slow.
    chunk: Sketch,
    slow: u32,
    past: Option<Box<Past>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Past {
    all: Sketch,
    weight: f32,
    slots: Option<Slots>,
    shift: Option<Box<Shift>>,
}

/// Requests that were degraded together, so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shift {
    pub(crate) since: u64,
    last: u64,
    healthy: u8,
    recent: Sketch,
    /// When the ticket was raised.
    pub(crate) raised: Option<u64>,
    /// Where the edge would be.
    pub(crate) edge: Edge,
}

/// What an operation takes from a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learns {
    /// Everything, if the part was healthy.
    Healthy,
    /// Its hour in any case: the operation is in its first week, when nothing tells its rhythm from a degradation. Such
    /// an hour speaks from the next day on.
    Hours,
    /// Nothing: a person holds the baseline.
    Nothing,
}

/// A part of the requests of an operation that is over.
pub(crate) struct Part {
    pub(crate) since: u64,
    pub(crate) now: u64,
    pub(crate) count: u32,
    /// The hour that all of it lies in.
    pub(crate) hour: Option<Hour>,
    pub(crate) learns: Learns,
    /// The entity as a whole is degraded in this measure.
    pub(crate) entity_degraded: bool,
    /// It is the first of a new version.
    pub(crate) new_version: bool,
}

impl Track {
    pub(crate) fn new() -> Self {
        Self {
            edge: Edge::default(),
            source: Source::AllHours,
            chosen: None,
            chunk: Sketch::default(),
            slow: 0,
            past: None,
        }
    }

    #[inline]
    pub(crate) fn is_slow(&self, seconds: f64) -> bool {
        seconds > f64::from(self.edge.seconds)
    }

    /// Seconds beyond the usual time of a request that is slow, or beyond the edge where a file did not know the usual time; 0 of
    /// one that is not slow.
    #[inline]
    pub(crate) fn excess(&self, seconds: f64) -> f64 {
        if !self.is_slow(seconds) {
            return 0.0;
        }
        let Edge {
            seconds: edge, usual, ..
        } = self.edge;
        seconds - f64::from(if usual > 0.0 { usual } else { edge })
    }

    /// Reads what a request is about to be counted in.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        u64::from(self.slow) ^ self.chunk.read()
    }

    #[inline]
    pub(crate) fn observe(&mut self, bucket: u16, slow: bool, budget: &mut Budget) {
        self.chunk.observe(bucket, budget);
        self.slow = self.slow.saturating_add(slow.into());
    }

    /// Learns the first edge; false where there is no room for a past.
    pub(crate) fn learn(&mut self, now: u64, settings: &Settings, budget: &mut Budget) -> bool {
        if !budget.take(size_of::<Past>()) {
            return false;
        }
        let weights = self.chunk.weights();
        let mut past = Past::default();
        past.set(&weights, budget);
        self.past = Some(Box::new(past));
        self.restart(budget);
        self.choose(now, settings);
        true
    }

    /// Makes room for more counts before the first edge is learned.
    pub(crate) fn halve(&mut self) {
        self.chunk.halve();
    }

    /// Ends the part under way; true where something was learned.
    pub(crate) fn close(&mut self, part: &Part, settings: &Settings, budget: &mut Budget) -> bool {
        let (weights, slow) = (self.chunk.weights(), self.slow);
        self.restart(budget);
        self.learn_or_shift(part, &weights, slow, settings, budget)
    }

    /// Takes a part in: into the past where it was healthy, into a shift where it was not. True where something was
    /// learned.
    pub(crate) fn learn_or_shift(
        &mut self,
        part: &Part,
        weights: &Scratch,
        slow: u32,
        settings: &Settings,
        budget: &mut Budget,
    ) -> bool {
        let edge = self.edge;
        let Some(past) = self.past.as_deref_mut() else {
            return false;
        };
        let (count, slow) = (f64::from(part.count), f64::from(slow));
        let expected = count * f64::from(edge.expected);
        let slow_enough = count > 0.0 && slow / count > DEFAULT_MIN_SHARE;
        if is_degraded(count, slow, expected) || part.entity_degraded && slow_enough {
            if part.learns == Learns::Hours {
                past.add_hour(part, weights, settings, budget);
            }
            past.degraded(part, weights, settings, budget);
            let learned = past.learn_shift(part, edge, settings, budget);
            if learned {
                self.chosen = None;
                self.choose(part.now, settings);
            }
            return learned;
        }
        past.healthy(budget);
        if part.learns == Learns::Nothing || part.entity_degraded {
            return false;
        }
        if part.new_version {
            past.take_over(weights, edge, settings, budget);
            self.chosen = None;
        } else {
            let elapsed = part.now.saturating_sub(part.since);
            past.merge(weights, half(elapsed, HALF_LIFE), budget);
        }
        past.add_hour(part, weights, settings, budget);
        true
    }

    /// Takes the edge for the hour of `now`. The edge of an hour stays for the hour.
    pub(crate) fn choose(&mut self, now: u64, settings: &Settings) {
        let Some(past) = self.past.as_deref() else {
            return;
        };
        let (hour, number) = (Hour::of(now), (now / HOUR) as u32);
        if self.chosen == Some(number) && self.source != Source::AllHours {
            return;
        }
        let of_hour = past.slots.as_ref().filter(|_| settings.hours);
        let chosen = of_hour.and_then(|slots| slots.edge(hour, settings));
        let all = || Edge::of(&past.all.weights(), settings).map(|edge| (edge, Source::AllHours));
        if let Some((edge, source)) = chosen.or_else(all) {
            (self.edge, self.source, self.chosen) = (edge, source, Some(number));
        }
    }

    /// How many requests the past stands for.
    pub(crate) fn weight(&self) -> f32 {
        self.past.as_ref().map_or(0.0, |past| past.weight)
    }

    /// The shift, where one has lasted long enough for a ticket.
    pub(crate) fn ticket(&self) -> Option<&Shift> {
        let shift = self.past.as_ref()?.shift.as_deref()?;
        shift.raised.is_some().then_some(shift)
    }

    /// Bytes on the heap, and those of them that are slots.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let past = self.past.as_deref();
        let (rest, slots) = past.map_or((0, 0), Past::bytes);
        (self.chunk.bytes() + rest + slots, slots)
    }

    /// True unless a file says what no track is.
    pub(crate) fn is_sound(&self) -> bool {
        let past = self.past.as_deref();
        let edge = self.edge.seconds.is_finite() && self.edge.expected.is_finite();
        edge && self.chunk.is_sound() && past.is_none_or(Past::is_sound)
    }

    /// True where an edge was learned.
    pub(crate) fn has_past(&self) -> bool {
        self.past.is_some()
    }

    fn restart(&mut self, budget: &mut Budget) {
        let usual = self.past.as_ref().map_or(0, |past| past.all.bytes());
        self.chunk.clear(usual, budget);
        self.slow = 0;
    }
}

impl Past {
    fn set(&mut self, weights: &Scratch, budget: &mut Budget) {
        self.all.set(weights, budget);
        self.weight = self.all.weight() as f32;
    }

    fn merge(&mut self, weights: &Scratch, keep: f64, budget: &mut Budget) {
        let mut sum = weights.clone();
        self.all.add_to(&mut sum, keep);
        self.set(&sum, budget);
    }

    fn take_over(&mut self, weights: &Scratch, edge: Edge, settings: &Settings, budget: &mut Budget) {
        let own = Edge::of(weights, settings);
        if own.is_some_and(|own| own.seconds < edge.seconds * FASTER) {
            self.set(weights, budget);
            let freed = self.slots.take().map_or(0, |slots| slots.bytes());
            budget.give_back_hours(freed);
        } else {
            self.merge(weights, KEEP_VERSION, budget);
        }
    }

    fn add_hour(&mut self, part: &Part, weights: &Scratch, settings: &Settings, budget: &mut Budget) {
        let Some(hour) = part.hour.filter(|_| settings.hours) else {
            return;
        };
        let new = || Slots::new(budget, settings.max_bytes);
        let mut slots = self.slots.take().unwrap_or_else(new);
        slots.add(hour, weights, budget);
        self.slots = Some(slots);
    }

    fn healthy(&mut self, budget: &mut Budget) {
        if let Some(shift) = self.shift.as_mut() {
            shift.healthy = shift.healthy.saturating_add(1);
            if shift.healthy >= HEALTHY_ENDS {
                self.end_shift(budget);
            }
        }
    }

    fn end_shift(&mut self, budget: &mut Budget) {
        if let Some(shift) = self.shift.take() {
            budget.give_back(shift.bytes());
        }
    }

    fn degraded(&mut self, part: &Part, weights: &Scratch, settings: &Settings, budget: &mut Budget) {
        let Some(edge) = Edge::of(weights, settings) else {
            return;
        };
        let goes_on = |shift: &&mut Box<Shift>| shift.goes_on(part, edge, settings);
        if let Some(shift) = self.shift.as_mut().filter(goes_on) {
            shift.add(part, weights, settings, budget);
            return;
        }
        self.end_shift(budget);
        if budget.take(size_of::<Shift>()) {
            let mut shift = Box::new(Shift::new(part, edge));
            shift.recent.set(weights, budget);
            self.shift = Some(shift);
        }
    }

    /// Makes the shift the new normal once its ticket is old enough; true where it did.
    ///
    /// The past is kept as if it had been shifted too, so that its rhythm stays.
    fn learn_shift(&mut self, part: &Part, old: Edge, settings: &Settings, budget: &mut Budget) -> bool {
        let due = |shift: &&Shift| {
            let learn_at = shift
                .raised
                .map(|at| at.saturating_add(nanos(settings.learn_after)));
            part.learns != Learns::Nothing && learn_at.is_some_and(|at| part.now >= at)
        };
        let Some(shift) = self.shift.as_deref().filter(due) else {
            return false;
        };
        let recent = shift.recent.weights();
        let mut weights = scaled(&self.all.weights(), old.seconds, shift.edge.seconds);
        let (past, new) = (weights.sum(), recent.sum());
        if past > new {
            weights.scale(new / past);
        }
        weights.add_all(&recent);
        let by = buckets_between(old.seconds, shift.edge.seconds);
        self.end_shift(budget);
        self.set(&weights, budget);
        if let Some(slots) = self.slots.as_mut() {
            slots.shift(by);
        }
        true
    }

    fn bytes(&self) -> (usize, usize) {
        let shift = self.shift.as_ref().map_or(0, |shift| shift.bytes());
        let slots = self.slots.as_ref().map_or(0, Slots::bytes);
        (size_of::<Self>() + self.all.bytes() + shift, slots)
    }

    fn is_sound(&self) -> bool {
        let shift = self.shift.as_ref();
        self.all.is_sound()
            && self.weight.is_finite()
            && self.slots.as_ref().is_none_or(Slots::is_sound)
            && shift.is_none_or(|shift| shift.recent.is_sound() && shift.edge.seconds.is_finite())
    }
}

impl Shift {
    fn new(part: &Part, edge: Edge) -> Self {
        Self {
            since: part.since,
            last: part.now,
            healthy: 0,
            recent: Sketch::default(),
            raised: None,
            edge,
        }
    }

    /// True where `part` belongs to it: no long gap, and about as slow.
    fn goes_on(&self, part: &Part, edge: Edge, settings: &Settings) -> bool {
        let gap = part.since.saturating_sub(self.last) > nanos(settings.shift_after);
        let steady = edge.seconds < self.edge.seconds * STEADY && edge.seconds * STEADY > self.edge.seconds;
        !gap && steady
    }

    fn add(&mut self, part: &Part, weights: &Scratch, settings: &Settings, budget: &mut Budget) {
        let mut sum = weights.clone();
        let elapsed = part.now.saturating_sub(self.last);
        self.recent.add_to(&mut sum, half(elapsed, SHIFT_HALF_LIFE));
        self.recent.set(&sum, budget);
        self.edge = Edge::of(&sum, settings).unwrap_or(self.edge);
        (self.last, self.healthy) = (part.now, 0);
        let lasted = part.now.saturating_sub(self.since) >= nanos(settings.shift_after);
        if lasted && self.raised.is_none() {
            self.raised = Some(part.now);
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.recent.bytes()
    }
}

/// What remains after `elapsed` where half remains after `life`.
fn half(elapsed: u64, life: u64) -> f64 {
    (-(elapsed as f64) / life as f64).exp2()
}

pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const _: () = assert!(BUCKETS < u16::MAX as usize);
