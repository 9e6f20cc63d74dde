//! How long things take, and how far apart they come.
//!
//! In: a distribution and a source of randomness. Out: durations. Pure: the same randomness gives the same durations.
//! Left out on purpose: heavy tails. Draws are cut at a quarter and at four times the median, so that what an alert
//! finds in the shop is a fault that somebody planted.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// A log-normal distribution of durations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    /// Half of all draws are shorter. Milliseconds, above 0.
    pub(super) median_ms: f64,
    /// Standard deviation of the logarithm; 0.3 puts 19 of 20 draws within about 0.6 to 1.8 times the median.
    pub(super) sigma: f64,
}

impl Latency {
    /// One draw.
    pub(super) fn sample(&self, rng: &mut impl Rng) -> Duration {
        let factor = (self.sigma * standard_normal(rng)).exp().clamp(0.25, 4.0);
        Duration::from_secs_f64(self.median_ms / 1000.0 * factor)
    }
}

/// The time to the next arrival of a Poisson process; `per_second` is above 0.
pub(super) fn poisson_gap(per_second: f64, rng: &mut impl Rng) -> Duration {
    // 1 - u is in (0, 1], whose logarithm is finite.
    let gap = -(1.0 - rng.random::<f64>()).ln() / per_second;
    Duration::try_from_secs_f64(gap).unwrap_or(Duration::MAX)
}

/// Box–Muller transform.
fn standard_normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn half_of_the_draws_are_below_the_median_and_none_beyond_four_times_it() {
        let latency = Latency {
            median_ms: 10.0,
            sigma: 0.3,
        };
        let mut rng = StdRng::seed_from_u64(7);
        let draws: Vec<_> = (0..10_000).map(|_| latency.sample(&mut rng)).collect();
        let below = draws
            .iter()
            .filter(|draw| **draw < Duration::from_millis(10))
            .count();
        assert!(
            (4_800..5_200).contains(&below),
            "{below} of 10000 are below the median"
        );
        assert!(
            draws
                .iter()
                .all(|draw| (2_500..=40_000).contains(&draw.as_micros()))
        );
    }

    #[test]
    fn poisson_gaps_have_the_mean_of_their_rate() {
        let mut rng = StdRng::seed_from_u64(7);
        let total: Duration = (0..10_000).map(|_| poisson_gap(20.0, &mut rng)).sum();
        let mean_ms = total.as_secs_f64() / 10_000.0 * 1000.0;
        assert!((48.0..52.0).contains(&mean_ms), "mean gap is {mean_ms} ms");
    }
}
