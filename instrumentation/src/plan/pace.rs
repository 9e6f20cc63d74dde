//! How many traces of an operation may be recorded a second, and which of them are.
//!
//! In: each trace that begins, its share, the traffic that the plan is for, the time. Out: the share that holds now, at most the planned
//! one, and whether this trace is within it.
//! Left out on purpose: shares themselves, what a trace id says, and any clock.
//!
//! A planner hears of growing traffic when its traces have ended, and an agent hears of the plan later still. Until then as many traces
//! are recorded as the plan has room for: a bucket that is filled at that rate and drained by each trace by its share, which falls
//! with what is left in it. So the recorded traces of any time are at most what flowed in and half a bucket more, however fast the traffic
//! grows, and nothing here must guess how fast it does.
//!
//! Of those that begin, recorded ones are drawn in strata: one of each `1 / share`, at a random place among them. Budgets then hold in
//! short windows too, and weights sum to what began, but for one stratum.

use std::sync::{Mutex, PoisonError};

/// The bucket holds what may be recorded in so many seconds. More would let the beginning of growth through, less holds back what
/// arrives unevenly.
const HOLDS: f64 = 1.0;
/// And no less than so many traces: fewer are chance.
const LEAST: f64 = 5.0;

/// Of the traces that begin with one operation.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// Traces a second of the whole system that the plan is for; 0 where it does not say.
    planned: f64,
    /// When a trace last began, and what was left then.
    last: Option<(u64, f64)>,
    strata: Strata,
}

/// What becomes of a trace that begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The share that holds, 0 to 1.
    pub share: f64,
    /// Whether the trace is within it.
    pub recorded: bool,
}

impl Meter {
    /// A trace of which `share` is planned begins at `now`, nanoseconds of any clock. `room` is which part of the planned traffic, and how many times it, may begin
    /// here before less is recorded; `random` gives numbers from 0 to 1.
    pub fn begin(&self, now: u64, share: f64, room: f64, random: impl FnMut() -> f64) -> Turn {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = counted.hold(now, share, room);
        let recorded = counted.strata.take(share, random);
        Turn { share, recorded }
    }

    /// The plan is made for so many traces a second in the whole system.
    pub fn plan(&self, rate: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).planned = rate;
    }
}

impl Counted {
    /// What the bucket leaves of `share`.
    fn hold(&mut self, now: u64, share: f64, room: f64) -> f64 {
        let a_second = share * self.planned * room;
        if self.planned <= 0.0 || !a_second.is_finite() {
            self.last = None;
            return share;
        }
        let most = (HOLDS * a_second).max(LEAST);
        let filled = |(then, left): (u64, f64)| {
            let seconds = now.saturating_sub(then) as f64 / 1e9;
            (left + seconds * a_second).min(most)
        };
        let left = self.last.map_or(most, filled);
        let share = share * (2.0 * left / most).clamp(0.0, 1.0);
        self.last = Some((now, left - share));
        share
    }
}

/// A row of traces cut into strata of one recorded trace each.
///
/// Every trace is as long as its share, every stratum is 1 long, and has a point at a random place: the trace that lies there is recorded.
/// Where two points fall into one trace, the next is recorded in its stead.
#[derive(Debug, Default)]
struct Strata {
    /// Where the last trace ended in its stratum, 0 to 1.
    at: f64,
    /// Where the point of the stratum is; `None` before the first.
    point: Option<f64>,
    /// Points that no trace was recorded for yet.
    owed: u32,
}

impl Strata {
    fn take(&mut self, share: f64, mut random: impl FnMut() -> f64) -> bool {
        if share >= 1.0 {
            return true;
        }
        let from = self.at;
        let point = *self.point.get_or_insert_with(&mut random);
        self.at += share;
        self.owed += u32::from((from..self.at).contains(&point));
        if self.at >= 1.0 {
            self.at -= 1.0;
            let next = random();
            self.point = Some(next);
            self.owed += u32::from(next < self.at);
        }
        let recorded = self.owed > 0;
        self.owed -= u32::from(recorded);
        recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SplitMix64`.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    struct Run {
        meter: Meter,
        now: u64,
        random: Random,
        begun: u32,
        /// The sum of the weights of recorded traces.
        told: f64,
    }

    impl Run {
        fn new(planned: f64) -> Self {
            let meter = Meter::default();
            meter.plan(planned);
            Self {
                meter,
                now: 0,
                random: Random(7),
                begun: 0,
                told: 0.0,
            }
        }

        /// So many traces begin in a second; how many of them are recorded.
        fn second(&mut self, rate: u32, share: f64, room: f64) -> u32 {
            let mut recorded = 0;
            for _ in 0..rate {
                self.now += 1_000_000_000 / u64::from(rate);
                let turn = self.meter.begin(self.now, share, room, || self.random.next());
                self.begun += 1;
                if turn.recorded {
                    recorded += 1;
                    self.told += 1.0 / turn.share;
                }
            }
            recorded
        }
    }

    #[test]
    fn traffic_that_grows_tenfold_is_recorded_no_more_often_than_planned_in_any_ten_seconds() {
        let mut run = Run::new(100.0);
        let mut seconds = Vec::new();
        for second in 0..60_u32 {
            // Planned is a quarter of a hundred a second, with room for three per cent: 257.5 in ten seconds.
            let rate = 100 + 900 * second.saturating_sub(15).min(30) / 30;
            seconds.push(f64::from(run.second(rate, 0.25, 1.03)));
        }
        for (from, window) in seconds.windows(10).enumerate() {
            let recorded: f64 = window.iter().sum();
            assert!(
                (232.0..=283.0).contains(&recorded),
                "{recorded} for 257.5 from second {from}"
            );
        }
        assert!(
            (run.told / f64::from(run.begun) - 1.0).abs() < 0.01,
            "{}",
            run.told
        );
    }

    #[test]
    fn where_there_is_room_or_no_word_of_traffic_the_share_holds() {
        for (planned, room) in [(100.0, f64::INFINITY), (100.0, 20.0), (0.0, 1.0)] {
            let mut run = Run::new(planned);
            let recorded: u32 = (0..10).map(|_| run.second(1_000, 0.5, room)).sum();
            assert!((4_999..=5_001).contains(&recorded), "{recorded}");
        }
    }

    #[test]
    fn a_few_more_than_planned_are_recorded_after_a_pause_and_no_more_than_the_bucket_holds() {
        let mut run = Run::new(1.0);
        assert!(run.second(3, 1.0, 1.0) == 3);
        run.now += 60_000_000_000;
        let recorded = run.second(1_000, 1.0, 1.0);
        // Half of the least bucket, what flows in, and what a falling share still takes of the rest.
        assert!((3..=12).contains(&recorded), "{recorded}");
    }

    #[test]
    fn each_place_in_a_row_is_recorded_alike_and_every_stratum_once() {
        for share in [0.01, 0.3, 0.5, 0.77, 0.99] {
            let mut random = Random(1);
            let (mut strata, mut recorded, mut even) = (Strata::default(), 0_u32, 0_u32);
            for n in 1..=40_000_u32 {
                let taken = strata.take(share, || random.next());
                recorded += u32::from(taken);
                even += u32::from(taken && n % 2 == 0);
                let expected = f64::from(n) * share;
                assert!(
                    (f64::from(recorded) - expected).abs() <= 3.0,
                    "{recorded} of {expected}"
                );
            }
            // Callers that take turns are not told apart.
            let half = f64::from(recorded) / 2.0;
            assert!(
                (f64::from(even) - half).abs() < 4.0 * half.sqrt(),
                "{even} of {recorded} at {share}"
            );
        }
        assert!((0..9).all(|_| Strata::default().take(1.0, || 0.5)));
        assert!(!(0..9).any(|_| Strata::default().take(0.0, || 0.5)));
    }
}
