//! How many traces of an operation may be recorded a second, and which of them are.
//!
//! In: each trace that begins, its share, what the plan has room for, the time. Out: the share that holds now, at most the planned one, and
//! whether this trace is within it.
//! Left out on purpose: shares themselves, what a trace id says, and any clock.
//!
//! A planner hears of growing traffic when its traces have ended, and an agent hears of the plan later still. Until then as many traces
//! are recorded as the plan has room for: a bucket that is filled at that rate and drained by each trace by its share, which falls
//! with what is left in it. So the recorded traces of any time are at most what flowed in and half a bucket more, however fast the traffic
//! grows, and nothing here must guess how fast it does.
//!
//! Each operation has a bucket, and all of a service have one together, in spans. A share holds while either has something left: an
//! operation that many more ask for may use what others leave, and takes nothing from them that they use.
//!
//! Of those that begin, recorded ones are drawn in strata: one of each `1 / share`, at a random place among them. Budgets then hold in
//! short windows too, and weights sum to what began, but for one stratum.

use std::sync::{Mutex, PoisonError};

/// A bucket holds what may be recorded in so many seconds. More would let the beginning of growth through, less holds back what
/// arrives unevenly.
const HOLDS: f64 = 1.0;
/// And no less than so many traces: fewer are chance.
const LEAST: f64 = 5.0;

/// What the whole system may record of something.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limit {
    /// Traces a second.
    pub traces: f64,
    /// Spans of a trace.
    pub spans: f64,
}

/// Of the traces that begin with one operation.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Counted>);

/// Of all traces that begin with a service.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Bucket>);

#[derive(Debug, Default)]
struct Counted {
    bucket: Bucket,
    strata: Strata,
}

#[derive(Debug, Default)]
struct Bucket {
    /// When something was last taken, and what was left then.
    last: Option<(u64, f64)>,
}

/// What becomes of a trace that begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The share that holds, 0 to 1.
    pub share: f64,
    /// Whether the trace is within it.
    pub recorded: bool,
}

/// What may be recorded here.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// Of the operation, in the whole system.
    pub limit: Limit,
    /// Of the service, here and in the whole system: spans a second.
    pub pool: (&'a Pool, f64),
    /// Which part of that begins here, 0 to 1.
    pub part: f64,
}

impl Meter {
    /// A trace of which `share` is planned begins at `now`, nanoseconds of any clock. Without `room` nothing bounds it. `random` gives
    /// numbers from 0 to 1.
    pub fn begin(&self, now: u64, share: f64, room: Option<Room<'_>>, random: impl FnMut() -> f64) -> Turn {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = match room {
            Some(room) => counted.hold(now, share, room),
            None => share,
        };
        let recorded = counted.strata.take(share, random);
        Turn { share, recorded }
    }
}

impl Counted {
    /// What the buckets leave of `share`.
    fn hold(&mut self, now: u64, share: f64, room: Room<'_>) -> f64 {
        let (pool, spans_per_second) = room.pool;
        let mut pool = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = room.limit.spans.max(1.0);
        let own = self.bucket.fill(now, room.part * room.limit.traces, 1.0);
        let all = pool.fill(now, room.part * spans_per_second, spans);
        let share = share * own.max(all);
        self.bucket.take(share);
        pool.take(share * spans);
        share
    }
}

impl Bucket {
    /// What flows in until `now`, of things that take `each`; which part of a share is left by it, 0 to 1.
    fn fill(&mut self, now: u64, a_second: f64, each: f64) -> f64 {
        let most = (HOLDS * a_second).max(LEAST * each);
        let left = self.last.map_or(most, |(then, left)| {
            let seconds = now.saturating_sub(then) as f64 / 1e9;
            (left + seconds * a_second).min(most)
        });
        self.last = Some((now, left));
        (2.0 * left / most).clamp(0.0, 1.0)
    }

    fn take(&mut self, what: f64) {
        if let Some((_, left)) = &mut self.last {
            *left = (*left - what).max(0.0);
        }
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
        if share >= 1.0 || share <= 0.0 {
            return share >= 1.0;
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

    /// Some operations of a service, all of them at one agent.
    struct Run {
        pool: Pool,
        meters: [Meter; 2],
        limits: [Limit; 2],
        part: f64,
        now: u64,
        random: Random,
    }

    impl Run {
        fn new(limits: [Limit; 2]) -> Self {
            Self {
                pool: Pool::default(),
                meters: Default::default(),
                limits,
                part: 1.0,
                now: 0,
                random: Random(7),
            }
        }

        /// So many traces of each operation begin in a second, all of whose shares are `share`; recorded ones and the sum of their
        /// weights, of each.
        fn second(&mut self, rates: [u32; 2], share: f64) -> [(f64, f64); 2] {
            let mut recorded = [(0.0, 0.0); 2];
            let all = rates[0] + rates[1];
            let of_pool = self.limits.iter().map(|limit| limit.traces * limit.spans).sum();
            for n in 0..all {
                self.now += 1_000_000_000 / u64::from(all);
                // As many of the second as there are, evenly among those of the first.
                let at = usize::from((n * rates[1] / all) != ((n + 1) * rates[1] / all));
                let room = Room {
                    limit: self.limits[at],
                    pool: (&self.pool, of_pool),
                    part: self.part,
                };
                let turn = self.meters[at].begin(self.now, share, Some(room), || self.random.next());
                if turn.recorded {
                    recorded[at].0 += 1.0;
                    recorded[at].1 += 1.0 / turn.share;
                }
            }
            recorded
        }

        fn seconds(&mut self, seconds: u32, rates: [u32; 2], share: f64) -> [f64; 2] {
            let mut sums = [0.0; 2];
            for _ in 0..seconds {
                let [one, other] = self.second(rates, share);
                sums = [sums[0] + one.0, sums[1] + other.0];
            }
            sums
        }
    }

    fn limit(traces: f64, spans: f64) -> Limit {
        Limit { traces, spans }
    }

    #[test]
    fn traffic_that_grows_tenfold_is_recorded_no_more_often_than_planned_in_any_ten_seconds() {
        let mut run = Run::new([limit(25.75, 8.0), limit(0.0, 8.0)]);
        let (mut seconds, mut begun, mut told) = (Vec::new(), 0, 0.0);
        for second in 0..60_u32 {
            let rate = 100 + 900 * second.saturating_sub(15).min(30) / 30;
            let [(recorded, weights), _] = run.second([rate, 0], 0.25);
            seconds.push(recorded);
            begun += rate;
            told += weights;
        }
        for (from, window) in seconds.windows(10).enumerate() {
            let recorded: f64 = window.iter().sum();
            assert!(
                (232.0..=283.0).contains(&recorded),
                "{recorded} for 257.5 from second {from}"
            );
        }
        assert!((told / f64::from(begun) - 1.0).abs() < 0.01, "{told} of {begun}");
    }

    #[test]
    fn nothing_is_held_back_where_nothing_bounds_it() {
        let (meter, mut random) = (Meter::default(), Random(7));
        let recorded = (0..1_000).filter(|n| meter.begin(*n, 0.5, None, || random.next()).recorded);
        assert!((499..=501).contains(&recorded.count()));
    }

    #[test]
    fn what_others_leave_may_be_used_and_what_they_use_may_not() {
        let limits = [limit(10.0, 8.0), limit(40.0, 2.0)];
        // 80 spans a second of each; the second leaves half of its own.
        let mut run = Run::new(limits);
        run.seconds(5, [100, 20], 1.0);
        let [one, other] = run.seconds(20, [100, 20], 1.0);
        assert!((280.0..=320.0).contains(&one), "10 and 5 more a second: {one}");
        assert!((390.0..=400.0).contains(&other), "{other}");
        // Both could use more than there is.
        run.seconds(5, [1_000, 400], 1.0);
        let [one, other] = run.seconds(20, [1_000, 400], 1.0);
        assert!((190.0..=215.0).contains(&one), "{one}");
        assert!((790.0..=830.0).contains(&other), "{other}");
        // A part of it.
        run.part = 0.25;
        let [one, other] = run.seconds(40, [1_000, 400], 1.0);
        assert!(
            (95.0..=115.0).contains(&one) && (390.0..=420.0).contains(&other),
            "{one}, {other}"
        );
    }

    #[test]
    fn a_few_more_than_planned_are_recorded_after_a_pause_and_no_more_than_buckets_hold() {
        let mut run = Run::new([limit(1.0, 1.0), limit(0.0, 1.0)]);
        assert!(run.second([3, 0], 1.0)[0].0 > 2.0);
        run.now += 60_000_000_000;
        let recorded = run.second([1_000, 0], 1.0)[0].0;
        // Half of the least bucket, what flows in, and what a falling share still takes of the rest.
        assert!((3.0..=12.0).contains(&recorded), "{recorded}");
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
