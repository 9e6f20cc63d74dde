//! How many traces begin, and how much of a share holds while more do than whoever planned it knew.
//!
//! In: each trace that begins, the rate that each plan is made for, the time. Out: a factor to the share, at most 1.
//! Left out on purpose: shares themselves.
//!
//! A planner hears of growing traffic when its traces have ended, and an agent hears of the plan later still. Until then as many traces
//! are recorded as would have been at the rate for which the plan was made, and its headroom more.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Rates are looked at so often.
const WINDOW: Duration = Duration::from_secs(1);
/// How much of a new window a rate follows.
const FOLLOWS: f64 = 0.4;
/// A rate says something after so many windows.
const KNOWN_AFTER: u32 = 5;
/// Of each window so much of the rate is taken for known: what lasts for minutes without a new plan is no growth.
const RELAXES: f64 = 0.01;
/// Most that the known rate grows by in a window, of itself.
const DRIFTS: f64 = 0.001;
/// What is less than this is chance, traces a second.
const LEAST: f64 = 5.0;

/// Of the traces that begin with one operation.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    window: Option<Instant>,
    begun: u32,
    windows: u32,
    rate: f64,
    /// The rate here for which the plan was made; 0 before there was one.
    known: f64,
    /// The rate in the whole system for which it was made.
    planned: f64,
    factor: f64,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            window: None,
            begun: 0,
            windows: 0,
            rate: 0.0,
            known: 0.0,
            planned: 0.0,
            factor: 1.0,
        }
    }
}

impl Meter {
    /// Counts a trace that begins at `now`; the factor to its share. `headroom` is how much more traffic the plan has room for.
    pub(super) fn begin(&self, now: Instant, headroom: f64) -> f64 {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.begun += 1;
        let since = *counted.window.get_or_insert(now);
        let past = now.saturating_duration_since(since);
        if past >= WINDOW {
            counted.turn(now, past.as_secs_f64(), headroom);
        }
        counted.factor
    }

    /// A plan is made for so many traces a second in the whole system: what that is more than in the plan before, it is more here.
    pub(super) fn plan(&self, rate: f64) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.planned > 0.0 && rate > 0.0 {
            counted.known *= rate / counted.planned;
        }
        counted.planned = rate;
    }
}

impl Counted {
    fn turn(&mut self, now: Instant, seconds: f64, headroom: f64) {
        let rate = f64::from(self.begun) / seconds;
        // After a pause nothing of before holds.
        let is_new = self.windows == 0 || seconds > 10.0;
        self.rate += if is_new {
            rate - self.rate
        } else {
            FOLLOWS * (rate - self.rate)
        };
        self.windows = self.windows.saturating_add(1);
        (self.begun, self.window) = (0, Some(now));
        if self.planned > 0.0 && self.windows >= KNOWN_AFTER {
            let first = self.known <= 0.0;
            self.known += if first {
                self.rate
            } else {
                // Upwards no faster than slow drift, or growth itself would count as known.
                (RELAXES * (self.rate - self.known)).min(DRIFTS * self.known)
            };
        }
        // What comes in one window counts at once where it is more.
        let fast = rate.max(self.rate);
        let most = self.known.max(LEAST) * headroom;
        self.factor = if self.known > 0.0 && fast > most {
            most / fast
        } else {
            1.0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many a second for so many seconds; the factor at the end.
    fn run(meter: &Meter, now: &mut Instant, rate: u32, seconds: u32, headroom: f64) -> f64 {
        let mut factor = 1.0;
        for _ in 0..rate * seconds {
            *now += Duration::from_secs(1) / rate;
            factor = meter.begin(*now, headroom);
        }
        factor
    }

    #[test]
    fn a_rate_that_grows_beyond_what_was_planned_for_lowers_the_share_within_two_seconds() {
        let (meter, mut now) = (Meter::default(), Instant::now());
        assert!(run(&meter, &mut now, 300, 8, 1.03) >= 1.0, "nobody planned yet");
        meter.plan(1_000.0);
        assert!(run(&meter, &mut now, 300, 8, 1.03) >= 0.97);
        let factor = run(&meter, &mut now, 3_000, 2, 1.03);
        assert!((0.09..0.15).contains(&factor), "{factor}");
        meter.plan(9_000.0);
        let factor = run(&meter, &mut now, 3_000, 4, 1.15);
        assert!(factor >= 0.97, "the new plan knows of it: {factor}");
    }

    #[test]
    fn where_there_is_room_nothing_is_held_back() {
        let (meter, mut now) = (Meter::default(), Instant::now());
        meter.plan(100.0);
        run(&meter, &mut now, 100, 8, f64::INFINITY);
        assert!(run(&meter, &mut now, 1_000, 3, f64::INFINITY) >= 1.0);
        assert!(run(&meter, &mut now, 1_000, 3, 20.0) >= 1.0);
        assert!(run(&meter, &mut now, 1_000, 3, 2.0) < 0.5);
    }

    #[test]
    fn a_few_a_second_are_never_held_back() {
        let (meter, mut now) = (Meter::default(), Instant::now());
        meter.plan(1.0);
        run(&meter, &mut now, 1, 20, 1.0);
        assert!(run(&meter, &mut now, 4, 20, 1.0) >= 1.0);
    }
}
