//! The evidence of the recording rules, in Rust: is an entity degraded now.
//!
//! In: judged requests of an entity, by time. Out: [`Evidence`] over the last five minutes, as `tracemap:own_slow:evidence`
//! computes it; where five minutes hold too few requests over 30 minutes, and then over six hours.
//! Left out on purpose: the formula, which is [`map::evidence`]; extrapolation to the window's ends, which Prometheus does
//! because it sees samples and not requests.

use std::time::Duration;

use map::evidence::{DEFAULT_MIN_SHARE, evidence_nats, is_degraded};
use serde::{Deserialize, Serialize};

use crate::baselines::Verdict;
use crate::id::Measure;

/// Length of the shortest step.
const STEP: u64 = 30_000_000_000;
/// The windows, shortest first: length of a step in shortest steps, and steps in the window.
const LADDER: [(u64, u64); 3] = [(1, 10), (6, 10), (60, 12)];
/// A window with this many judged requests is not asked to look further back.
const ENOUGH: f64 = 60.0;

/// What the judged requests of a window say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// How far back it looks: 5 minutes, or where those hold too little 30 minutes or 6 hours.
    ///
    /// A window begins at a full step of 1/10 or 1/12 of its length, so that it is up to one step longer.
    pub window: Duration,
    /// Requests that had a baseline.
    pub judged: f64,
    /// Those of them that exceeded their operation's edge.
    pub slow: f64,
    /// How many were expected to.
    pub expected: f64,
    /// `n · KL(slow share ‖ expected share)`, negative where fewer were slow than expected.
    pub nats: f64,
}

impl Evidence {
    fn of(window: Duration, counts: &Counts, measure: Measure) -> Self {
        let (slow, expected) = match measure {
            Measure::Own => (counts.own_slow, counts.own_expected),
            Measure::Total => (counts.total_slow, counts.total_expected),
        };
        let (judged, slow) = (f64::from(counts.judged), f64::from(slow));
        Self {
            window,
            judged,
            slow,
            expected,
            nats: evidence_nats(judged, slow, expected),
        }
    }

    /// True where evidence and slow share both reach their thresholds.
    pub fn is_degraded(&self) -> bool {
        is_degraded(self.judged, self.slow, self.expected)
    }

    /// True where a longer window may still say that the entity is degraded: too few requests here, and those slow.
    fn leaves_open(&self) -> bool {
        self.judged == 0.0 || self.judged < ENOUGH && self.slow / self.judged > DEFAULT_MIN_SHARE
    }
}

/// Judged requests of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    judged: u32,
    own_slow: u32,
    total_slow: u32,
    own_expected: f64,
    total_expected: f64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.judged = self.judged.saturating_add(other.judged);
        self.own_slow = self.own_slow.saturating_add(other.own_slow);
        self.total_slow = self.total_slow.saturating_add(other.total_slow);
        self.own_expected += other.own_expected;
        self.total_expected += other.total_expected;
    }
}

/// The steps of one window, and the one that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ring {
    steps: Vec<Counts>,
    newest: u64,
}

impl Ring {
    fn new(steps: u64) -> Self {
        Self {
            steps: vec![Counts::default(); steps as usize + 1],
            newest: 0,
        }
    }

    fn at(&mut self, step: u64) -> Option<&mut Counts> {
        let len = self.steps.len() as u64;
        let at = step.checked_rem(len)?;
        self.steps.get_mut(at as usize)
    }

    fn add(&mut self, step: u64, counts: &Counts) {
        let fresh = step.saturating_sub(self.newest).min(self.steps.len() as u64);
        for passed in 0..fresh {
            if let Some(slot) = self.at(step - passed) {
                *slot = Counts::default();
            }
        }
        self.newest = self.newest.max(step);
        if let Some(slot) = self.at(self.newest) {
            slot.add(counts);
        }
    }

    /// What the steps from `now` less a window up to `now` hold.
    fn sum(&self, now: u64) -> Counts {
        let len = self.steps.len() as u64;
        let oldest = now.saturating_add(1).saturating_sub(len);
        let mut sum = Counts::default();
        for step in oldest..=self.newest.min(now) {
            if let Some(counts) = self.steps.get((step % len.max(1)) as usize)
                && self.newest - step < len
            {
                sum.add(counts);
            }
        }
        sum
    }
}

/// The windows of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Windows {
    /// The shortest step that is under way, not yet in the rings.
    step: u64,
    counts: Counts,
    rings: Vec<Ring>,
}

impl Windows {
    /// Bytes of the windows of one entity.
    pub(crate) const BYTES: usize = size_of::<Self>() + 3 * size_of::<Ring>() + 35 * size_of::<Counts>();

    pub(crate) fn new() -> Self {
        Self {
            step: 0,
            counts: Counts::default(),
            rings: LADDER.iter().map(|&(_, steps)| Ring::new(steps)).collect(),
        }
    }

    /// Reads what a judged request is about to be counted in.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        self.step ^ u64::from(self.counts.judged)
    }

    /// Counts a judged request.
    #[inline]
    pub(crate) fn count(&mut self, verdict: &Verdict, now: u64) {
        let step = now / STEP;
        if step > self.step {
            self.turn(step);
        }
        self.counts.judged = self.counts.judged.saturating_add(1);
        self.counts.own_slow = self.counts.own_slow.saturating_add(verdict.own_slow.into());
        self.counts.total_slow = self.counts.total_slow.saturating_add(verdict.total_slow.into());
        self.counts.own_expected += verdict.own_expected;
        self.counts.total_expected += verdict.total_expected;
    }

    #[cold]
    fn turn(&mut self, step: u64) {
        for (ring, (steps, _)) in self.rings.iter_mut().zip(LADDER) {
            ring.add(self.step / steps, &self.counts);
        }
        (self.step, self.counts) = (step, Counts::default());
    }

    /// The evidence of the windows, shortest first.
    fn ladder(&self, measure: Measure, now: u64) -> impl Iterator<Item = Evidence> + '_ {
        let now = (now / STEP).max(self.step);
        self.rings.iter().zip(LADDER).map(move |(ring, (steps, many))| {
            let mut sum = ring.sum(now / steps);
            if now / steps - self.step / steps <= many {
                sum.add(&self.counts);
            }
            let window = Duration::from_nanos(STEP * steps * many);
            Evidence::of(window, &sum, measure)
        })
    }

    /// The evidence of the shortest window, whatever it says.
    pub(crate) fn latest(&self, measure: Measure, now: u64) -> Option<Evidence> {
        self.ladder(measure, now).next()
    }

    /// The evidence of the shortest window that speaks, where it speaks of a degradation.
    pub(crate) fn degraded(&self, measure: Measure, now: u64) -> Option<Evidence> {
        for evidence in self.ladder(measure, now) {
            if evidence.is_degraded() {
                return Some(evidence);
            }
            if !evidence.leaves_open() {
                return None;
            }
        }
        None
    }

    /// True unless a file says what no window is.
    pub(crate) fn is_sound(&self) -> bool {
        let lengths = self.rings.iter().map(|ring| ring.steps.len() as u64);
        lengths.eq(LADDER.iter().map(|&(_, steps)| steps + 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn verdict(slow: bool) -> Verdict {
        Verdict {
            own_slow: slow,
            own_expected: 0.04,
            own_excess: 0.0,
            own_failed_expected: 0.001,
            failed_expected: 0.001,
            total_slow: false,
            total_expected: 0.03,
        }
    }

    fn windows(requests: impl IntoIterator<Item = (u64, bool)>) -> Windows {
        let mut windows = Windows::new();
        for (at, slow) in requests {
            windows.count(&verdict(slow), at * SECOND);
        }
        windows
    }

    proptest! {
        #[test]
        fn at_a_full_step_each_window_is_the_formula_over_exactly_its_requests(
            mut requests in prop::collection::vec((0..30_000u64, any::<bool>()), 0..400), step in 0..1100u64,
        ) {
            requests.sort_unstable();
            let now = step * 30;
            let until: Vec<_> = requests.into_iter().filter(|(at, _)| *at < now).collect();
            let windows = windows(until.iter().copied());
            for (evidence, (steps, many)) in windows.ladder(Measure::Own, now * SECOND).zip(LADDER) {
                let from = (step / steps).saturating_sub(many) * steps * 30;
                let within = || until.iter().filter(|(at, _)| *at >= from);
                let judged = within().count() as f64;
                let slow = within().filter(|(_, slow)| *slow).count() as f64;
                let expected = within().map(|_| 0.04).sum::<f64>();
                prop_assert_eq!((evidence.judged, evidence.slow), (judged, slow));
                prop_assert!((evidence.expected - expected).abs() < 1e-9);
                prop_assert!((evidence.nats - evidence_nats(judged, slow, expected)).abs() < 1e-6);
                prop_assert_eq!(evidence.window.as_secs(), steps * many * 30);
            }
        }
    }

    #[test]
    fn where_five_minutes_hold_too_few_requests_half_an_hour_speaks() {
        let rare = windows((0..15).map(|i| (10_000 + i * 120, i % 3 != 0)));
        let found = rare.degraded(Measure::Own, 11_700 * SECOND).unwrap();
        assert_eq!(found.window, Duration::from_mins(30), "{found:?}");
        let rarest = windows((0..15).map(|i| (10_000 + i * 1400, i % 3 != 0)));
        let found = rarest.degraded(Measure::Own, 29_650 * SECOND).unwrap();
        assert_eq!(found.window, Duration::from_hours(6), "{found:?}");
    }

    #[test]
    fn a_longer_window_does_not_keep_an_entity_degraded_that_has_recovered() {
        let requests = (0..12).map(|i| (10_000 + i * 140, true));
        let recovered = windows(requests.chain((0..2).map(|i| (12_000 + i * 140, false))));
        assert_eq!(recovered.degraded(Measure::Own, 12_200 * SECOND), None);
    }

    #[test]
    fn own_and_total_time_are_judged_apart() {
        let windows = windows((0..100).map(|i| (10_000 + i, true)));
        assert!(windows.degraded(Measure::Own, 10_100 * SECOND).is_some());
        assert_eq!(windows.degraded(Measure::Total, 10_100 * SECOND), None);
    }

    #[test]
    fn what_was_six_hours_ago_says_nothing() {
        let windows = windows((0..100).map(|i| (10_000 + i, true)));
        assert_eq!(windows.degraded(Measure::Own, 40_000 * SECOND), None);
        assert!(windows.latest(Measure::Own, 40_000 * SECOND).unwrap().judged < 1.0);
    }
}
