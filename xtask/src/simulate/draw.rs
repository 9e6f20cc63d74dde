//! Numbers that look random, are the same for the same seed, and follow the distributions that a simulation needs.
//!
//! In: a seed. Out: numbers.
//! Left out on purpose: quality beyond splitmix64's. A run has to be repeatable with a later version of any library.

use std::f64::consts::TAU;

/// The `splitmix64` generator.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

/// A time in milliseconds whose logarithm is normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogNormal {
    /// Half of the times are below it.
    pub(super) median: f64,
    /// Standard deviation of the logarithm.
    pub(super) spread: f64,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = Self(seed);
        // Neighbouring seeds have neighbouring first states.
        draw.0 = draw.next();
        draw
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to 1, which is never reached.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in this share of the cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// A whole number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: usize, to: usize) -> usize {
        let width = to.saturating_sub(from) as u64 + 1;
        from + (self.next() % width) as usize
    }

    /// One of the values, each as often as its weight says among all.
    ///
    /// # Panics
    /// Where no value has a weight: the tables are constants.
    pub(super) fn pick<T: Copy>(&mut self, values: &[(T, u32)]) -> T {
        let sum: u64 = values.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = self.next() % sum.max(1);
        for (value, weight) in values {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return *value,
            }
        }
        unreachable!("a table of parameters has no weights")
    }

    /// Seconds until the next of events that come independently, so many a second.
    pub(super) fn wait(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }

    /// A time in milliseconds.
    pub(super) fn time(&mut self, of: LogNormal) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        of.median * (of.spread * radius * (TAU * self.unit()).cos()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_normal_time_has_its_median_and_its_spread() {
        let (mut draw, of) = (
            Draw::new(1),
            LogNormal {
                median: 20.0,
                spread: 0.5,
            },
        );
        let mut logs: Vec<f64> = (0..20_000).map(|_| draw.time(of).ln()).collect();
        logs.sort_by(f64::total_cmp);
        assert!((logs[10_000].exp() - 20.0).abs() < 0.5, "{}", logs[10_000].exp());
        // One standard deviation above the middle lie 15.9 %.
        assert!((logs[16_827] - logs[10_000] - 0.5).abs() < 0.02);
    }

    #[test]
    fn values_are_picked_as_often_as_they_weigh() {
        let mut draw = Draw::new(7);
        let picked: Vec<char> = (0..10_000)
            .map(|_| draw.pick(&[('a', 3), ('b', 1), ('c', 0)]))
            .collect();
        let a = picked.iter().filter(|c| **c == 'a').count();
        assert!((7_300..7_700).contains(&a), "{a}");
        assert!(!picked.contains(&'c'));
    }

    #[test]
    fn neighbouring_seeds_draw_different_numbers() {
        assert_ne!(Draw::new(1).next(), Draw::new(2).next());
        assert_eq!(Draw::new(1).next(), Draw::new(1).next());
    }
}
