//! How strongly the slow requests of a window speak for a degradation.
//!
//! In: three counts of one window. Out: evidence in nats, signed. The generated recording rule
//! `tracemap:own_slow:evidence` computes the same from the same three series; a test holds the two together.
//! Left out on purpose: windows and thresholds, which are settings.

/// Evidence above which an entity counts as degraded by default, in nats: 3 slow of 3 are 9 nats, 11 of 11 are 33.
pub const DEFAULT_THRESHOLD_NATS: f64 = 20.0;
/// The least slow share that counts as degraded by default.
pub const DEFAULT_MIN_SHARE: f64 = 0.1;
/// Shares are kept this far from 0 and 1, so that the logarithms stay finite.
const SHARE_MARGIN: f64 = 1e-4;

/// `n · KL(slow share ‖ expected share)` in nats; negative where fewer were slow than expected.
///
/// `judged`, `slow` and `expected` are counts of the same window: requests that had a baseline, those of them
/// that took longer than their operation's edge, and the sum of each judged request's expected share. 0 where
/// nothing was judged. Source: the log-likelihood ratio of a binomial sample (Kullback and Leibler, 1951).
pub fn evidence_nats(judged: f64, slow: f64, expected: f64) -> f64 {
    if judged <= 0.0 {
        return 0.0;
    }
    let share = clamp(slow / judged);
    let expected = clamp(expected / judged);
    let divergence =
        share * (share / expected).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - expected)).ln();
    judged * divergence * (share - expected).signum()
}

/// True where the evidence and the slow share both reach their thresholds.
pub fn is_degraded(judged: f64, slow: f64, expected: f64) -> bool {
    judged > 0.0
        && slow / judged > DEFAULT_MIN_SHARE
        && evidence_nats(judged, slow, expected) > DEFAULT_THRESHOLD_NATS
}

fn clamp(share: f64) -> f64 {
    share.clamp(SHARE_MARGIN, 1.0 - SHARE_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(judged: f64, slow: f64, nats: f64, degraded: bool) {
        let expected = judged * 0.05;
        let found = evidence_nats(judged, slow, expected);
        assert!(
            (found - nats).abs() < 0.5,
            "{slow} slow of {judged}: {found} nats, not {nats}"
        );
        assert_eq!(
            is_degraded(judged, slow, expected),
            degraded,
            "{slow} slow of {judged}"
        );
    }

    #[test]
    fn three_of_three_are_too_little_and_eleven_of_eleven_are_enough() {
        check(3.0, 3.0, 9.0, false);
        check(11.0, 11.0, 33.0, true);
    }

    #[test]
    fn the_expected_share_is_no_evidence_and_fewer_slow_requests_speak_against_it() {
        check(1000.0, 50.0, 0.0, false);
        check(1000.0, 0.0, -50.4, false);
    }

    #[test]
    fn much_evidence_for_a_small_shift_is_not_a_degradation() {
        check(100_000.0, 7_000.0, 376.5, false);
    }

    #[test]
    fn nothing_judged_is_no_evidence() {
        check(0.0, 0.0, 0.0, false);
    }
}
