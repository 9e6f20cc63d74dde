//! What share of an operation's requests fails while all is well.
//!
//! In: requests, and when a part is over. Out: the share that is expected to fail. A part that is degraded is not learned; only
//! where all parts are, for as long as a shift in time takes, does it become the new normal.
//! Left out on purpose: hours and versions. A share of failures follows neither as times do; a version that fails more is what
//! an alert is for.

use map::evidence::{DEFAULT_THRESHOLD_NATS, evidence_nats};
use serde::{Deserialize, Serialize};

use crate::measure::nanos;
use crate::settings::Settings;
use crate::slots::HOUR;

/// After this long the past weighs half.
const HALF_LIFE: u64 = 24 * HOUR;
/// Nothing is expected to fail less often: one failure in a thousand wakes nobody.
const LEAST: f64 = 0.001;
/// A part with no more than this share of failures is healthy, whatever was expected.
const MIN_SHARE: f64 = 0.02;

/// One share of one operation: of requests that failed by themselves, or of all that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Requests of the part under way, of every version.
    requests: u32,
    /// Failures among them.
    failed: u32,
    past: Tally,
    shift: Tally,
    /// When the shift under way began, unix nanoseconds; 0 for none.
    since: u64,
}

/// Requests and failures, weighted by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    requests: f32,
    failed: f32,
}

impl Tally {
    fn add(&mut self, requests: f64, failed: f64) {
        self.requests += requests as f32;
        self.failed += failed as f32;
    }

    /// By Laplace's rule of succession.
    fn share(self) -> f64 {
        (f64::from(self.failed) + 1.0) / (f64::from(self.requests) + 2.0)
    }

    fn is_sound(self) -> bool {
        let counts = [self.requests, self.failed];
        counts.iter().all(|count| count.is_finite() && *count >= 0.0) && self.failed <= self.requests
    }
}

impl Share {
    /// The share that is expected to fail, above 0 and below 1.
    #[inline]
    pub(crate) fn expected(&self) -> f64 {
        self.past.share().max(LEAST)
    }

    /// Counts a request of the part under way.
    #[inline]
    pub(crate) fn observe(&mut self, failed: bool) {
        self.requests = self.requests.saturating_add(1);
        self.failed = self.failed.saturating_add(failed.into());
    }

    /// Ends a part that began at `since`. Nothing is learned where `held`.
    pub(crate) fn close(&mut self, (since, now): (u64, u64), held: bool, settings: &Settings) {
        let requests = f64::from(std::mem::take(&mut self.requests));
        let failed = f64::from(std::mem::take(&mut self.failed));
        if requests <= 0.0 {
            return;
        }
        let expected = requests * self.expected();
        let known = self.past.requests > 0.0;
        let shifted = failed > MIN_SHARE * requests
            && evidence_nats(requests, failed, expected) > DEFAULT_THRESHOLD_NATS;
        if known && shifted {
            self.shifted(requests, failed, (since, now), held, settings);
            return;
        }
        (self.shift, self.since) = (Tally::default(), 0);
        if !held || !known {
            let age = now.saturating_sub(since) as f64 / HALF_LIFE as f64;
            let kept = 0.5_f64.powf(age) as f32;
            self.past.requests *= kept;
            self.past.failed *= kept;
            self.past.add(requests, failed);
        }
    }

    fn shifted(
        &mut self,
        requests: f64,
        failed: f64,
        (since, now): (u64, u64),
        held: bool,
        settings: &Settings,
    ) {
        if self.since == 0 {
            self.since = since.max(1);
        }
        self.shift.add(requests, failed);
        let lasted = now.saturating_sub(self.since);
        if !held && lasted >= nanos(settings.shift_after).saturating_add(nanos(settings.learn_after)) {
            self.past = std::mem::take(&mut self.shift);
            self.since = 0;
        }
    }

    /// True unless a file says what no share is.
    pub(crate) fn is_sound(&self) -> bool {
        self.past.is_sound() && self.shift.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many parts of five minutes with a hundred requests each, of which so many fail; since the beginning of part `from`.
    fn play(share: &mut Share, from: u64, parts: u64, failed: u32, held: bool) {
        for part in from..from + parts {
            (0..100).for_each(|request| share.observe(request < failed));
            let since = 1 + part * HOUR / 12;
            share.close((since, since + HOUR / 12), held, &Settings::default());
        }
    }

    #[test]
    fn what_never_failed_is_expected_to_fail_once_in_a_thousand() {
        let mut share = Share::default();
        play(&mut share, 0, 2, 0, false);
        assert!(
            (share.expected() - 1.0 / 202.0).abs() < 1e-4,
            "{}",
            share.expected()
        );
        play(&mut share, 2, 100, 0, false);
        assert!((share.expected() - LEAST).abs() < 1e-9, "{}", share.expected());
    }

    #[test]
    fn the_usual_failures_are_expected_and_an_outburst_is_not_learned() {
        let mut share = Share::default();
        play(&mut share, 0, 50, 3, false);
        let usual = share.expected();
        assert!((usual - 0.03).abs() < 0.002, "{usual}");
        play(&mut share, 50, 100, 40, false);
        assert!((share.expected() - usual).abs() < 1e-9);
    }

    #[test]
    fn failures_that_stay_for_half_a_day_are_the_new_normal_unless_somebody_holds_the_old() {
        let (mut free, mut held) = (Share::default(), Share::default());
        for (share, hold) in [(&mut free, false), (&mut held, true)] {
            play(share, 0, 50, 0, false);
            play(share, 50, 143, 30, hold);
            assert!(share.expected() < 0.01, "{}", share.expected());
            play(share, 193, 2, 30, hold);
        }
        assert!((free.expected() - 0.3).abs() < 0.01, "{}", free.expected());
        assert!(held.expected() < 0.01);
    }
}
