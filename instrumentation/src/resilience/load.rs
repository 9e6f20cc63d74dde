//! When a caller stops calling, and how many of its calls run at once.
//!
//! In: what was seen of an edge. Out: [`Breaker`] and pool, each with its reason, or the reason alone. Both
//! take failures and arrivals to be independent, which they are not in a fault: a breaker may open by chance
//! more often than stated where failures come in bursts, and never does so because of a steady share.
//! Left out on purpose: instances. The map knows services, so numbers are for all instances of the caller
//! together.

use config::HumanDuration;

use super::ResilienceSettings;
use super::figures::{millis, percent, two_figures, up};
use super::file::{Breaker, ObservedEdge};
use super::retries::likely_failed;

/// The share of failures that opens a breaker: below it more calls succeed than fail.
const FAILURE_SHARE: f64 = 0.5;
/// Fewer failures in a row than this open no breaker; the default of Envoy and Istio.
const MIN_CONSECUTIVE: u32 = 5;
/// More than this, and a row says nothing any more.
const MAX_CONSECUTIVE: u32 = 50;
/// The least that a share is taken of.
const MIN_WINDOW_REQUESTS: u32 = 10;
/// Envoy's defaults for `interval` and `base_ejection_time`, in seconds.
const WINDOW: u64 = 10;
const OPEN_FOR: u64 = 30;
/// Windows are not longer than this, in seconds: what opens later helps nobody.
const MAX_WINDOW: u64 = 300;
/// The share of the time in which a pool is large enough.
const POOL_QUANTILE: f64 = 0.999;
/// The same as a distance from the mean, in standard deviations.
const POOL_DEVIATIONS: f64 = 3.09;

/// When to stop calling: at a row of failures, or a share of them, that chance brings about at most once in
/// `false_opening`.
///
/// A row of `k` begins at a request with probability `p^k`. That at least half of `m` requests fail has
/// probability at most `exp(-m D)` with `D = ln(1 / (2 sqrt(p (1 - p))))`. Source: Chernoff (1952), "A
/// measure of asymptotic efficiency".
pub(super) fn breaker(seen: &ObservedEdge, settings: &ResilienceSettings) -> (Option<Breaker>, String) {
    let Some(rate) = seen.rate else {
        return (
            None,
            "none: less than a minute was seen, so there is no rate".to_owned(),
        );
    };
    let (p, time) = (likely_failed(seen), settings.false_opening.get().as_secs_f64());
    let row = ((rate * time).max(1.0).ln() / -p.ln())
        .ceil()
        .max(f64::from(MIN_CONSECUTIVE));
    let distance = -(2.0 * (p * (1.0 - p)).sqrt()).ln();
    // The window is not known yet; the shortest has the most chances.
    let enough = (time / WINDOW as f64).ln() / distance;
    let min_requests = up(enough.max(f64::from(MIN_WINDOW_REQUESTS)));
    let seconds = up(min_requests as f64 / rate).clamp(WINDOW, u64::MAX);
    if p >= FAILURE_SHARE / 2.0 || row > f64::from(MAX_CONSECUTIVE) {
        return (
            None,
            format!(
                "none: up to {} of the requests fail as it is, so a row of failures says little",
                percent(p)
            ),
        );
    }
    if seconds > MAX_WINDOW {
        return (
            None,
            format!(
                "none: at {} requests/s the {min_requests} that a share needs take {}",
                two_figures(rate),
                HumanDuration::from_secs(seconds)
            ),
        );
    }
    let breaker = Breaker {
        consecutive_failures: row as u32,
        failure_percent: (FAILURE_SHARE * 100.0) as u32,
        min_requests: min_requests as u32,
        window: HumanDuration::from_secs(seconds),
        open_for: HumanDuration::from_secs(OPEN_FOR),
    };
    let because = format!(
        "at most {} of {} requests/s fail: by chance {} in a row, or half of {min_requests}, come at most \
         once in {}",
        percent(p),
        two_figures(rate),
        breaker.consecutive_failures,
        settings.false_opening
    );
    (Some(breaker), because)
}

/// How many calls run at once, at the busiest time.
///
/// In the mean it is rate times time, whatever the distribution of either. Source: Little (1961), "A proof
/// for the queuing formula L = λW". With independent arrivals and no limit the number is Poisson distributed,
/// whatever the distribution of the time (M/G/∞), which gives the quantile. A visit that makes many calls may
/// make them at once.
pub(super) fn pool(seen: &ObservedEdge, settings: &ResilienceSettings) -> (Option<u32>, String) {
    let Some(rate) = seen.rate else {
        return (
            None,
            "none: less than a minute was seen, so there is no rate".to_owned(),
        );
    };
    let mean = rate * seen.mean_ms / 1e3;
    let busy = poisson_quantile(mean * settings.peak);
    let size = busy
        .max(f64::from(seen.calls_per_visit))
        .max(f64::from(settings.min_pool));
    let size = up(size);
    let least = if size <= u64::from(settings.min_pool) {
        format!("; no pool is below {}", settings.min_pool)
    } else {
        String::new()
    };
    let because = format!(
        "{} requests/s for {} are {} calls at once in the mean, {} at {} times that rate in {} % of the \
         time; one visit makes \
         up to {}; for all instances of the caller together{least}",
        two_figures(rate),
        millis(seen.mean_ms),
        two_figures(mean),
        busy,
        settings.peak,
        POOL_QUANTILE * 100.0,
        seen.calls_per_visit,
    );
    (Some(u32::try_from(size).unwrap_or(u32::MAX)), because)
}

/// The least number that a Poisson variable exceeds with a probability of at most 0.1 %.
fn poisson_quantile(mean: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean > 500.0 {
        // Within one of the exact number here. Source: Cornish and Fisher (1937), first correction.
        return (mean + POOL_DEVIATIONS * mean.sqrt() + (POOL_DEVIATIONS.powi(2) - 1.0) / 6.0).ceil();
    }
    let mut probability = (-mean).exp();
    let (mut below, mut n) = (probability, 0.0);
    while below < POOL_QUANTILE {
        n += 1.0;
        probability *= mean / n;
        below += probability;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(rate: f64, failed: f64, mean_ms: f64) -> ObservedEdge {
        ObservedEdge {
            requests: 100_000,
            rate: Some(rate),
            failed,
            mean_ms,
            calls_per_visit: 1,
            ..ObservedEdge::default()
        }
    }

    #[test]
    fn quantiles_of_poisson_are_those_of_tables() {
        // Source: R, qpois(0.999, c(0.1, 1, 10, 100)).
        let told = [0.1, 1.0, 10.0, 100.0].map(poisson_quantile);
        assert_eq!(told.map(|n| n as u32), [2, 5, 21, 132]);
        let (exact, near) = (poisson_quantile(500.0), poisson_quantile(500.000_001));
        assert!((exact - near).abs() <= 1.0, "{exact} {near}");
    }

    #[test]
    fn a_row_of_failures_is_long_enough_that_chance_brings_it_once_in_the_stated_time() {
        let settings = ResilienceSettings::default();
        for failed in [0.0001, 0.001, 0.01, 0.05, 0.2] {
            let seen = seen(100.0, failed, 10.0);
            let Some(breaker) = breaker(&seen, &settings).0 else {
                continue;
            };
            let (p, requests) = (likely_failed(&seen), 100.0 * 30.0 * 86_400.0);
            let rows = requests * p.powi(breaker.consecutive_failures as i32);
            assert!(rows <= 1.0, "{failed}: {rows}");
            // The exact tail of the binomial, which the bound is above.
            let m = breaker.min_requests;
            let tail: f64 = (m.div_ceil(2)..=m).map(|k| binomial(m, k, p)).sum();
            let windows = 30.0 * 86_400.0 / breaker.window.get().as_secs_f64();
            assert!(windows * tail <= 1.0, "{failed}: {windows} {tail}");
        }
    }

    fn binomial(n: u32, k: u32, p: f64) -> f64 {
        let choose: f64 = (1..=k).map(|i| f64::from(n - k + i) / f64::from(i)).product();
        choose * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }

    #[test]
    fn what_fails_often_or_is_seldom_called_has_no_breaker_and_says_why() {
        let settings = ResilienceSettings::default();
        let (none, why) = breaker(&seen(100.0, 0.4, 10.0), &settings);
        assert!(none.is_none() && why.contains("40 %"), "{why}");
        let (none, why) = breaker(&seen(0.01, 0.001, 10.0), &settings);
        assert!(none.is_none() && why.contains("0.01 requests/s"), "{why}");
    }

    #[test]
    fn a_pool_holds_what_littles_law_says_and_what_one_visit_needs() {
        let settings = ResilienceSettings::default();
        // 100/s × 0.1 s × 3 = 30 calls in the mean of the busiest time; the quantile is 48.
        assert_eq!(pool(&seen(100.0, 0.0, 100.0), &settings).0, Some(48));
        assert_eq!(pool(&seen(0.001, 0.0, 1.0), &settings).0, Some(10));
        let many = ObservedEdge {
            calls_per_visit: 40,
            ..seen(0.1, 0.0, 1.0)
        };
        assert_eq!(pool(&many, &settings).0, Some(40));
    }
}
