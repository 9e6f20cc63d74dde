//! When a planted fault must be noticed: computed from the settings by the formula of the evidence, not read off the rules.
//!
//! In: settings, and how many entities a fault slows. Out: how many samples after its beginning the alert's condition holds.
//! Left out on purpose: the longer windows for entities with few requests. What is planted has many.
//! Source: Prometheus, `promql/functions.go`, `extrapolatedRate`: an `increase` over samples at even distances is what the
//! counter rose by between the outermost ones in the window, stretched to the window's length. Prometheus 2 counts a sample
//! that lies at the very beginning of the window, Prometheus 3 does not; both are computed.

use std::time::Duration;

use config::HumanDuration;
use map::evidence::evidence_nats;

use crate::settings::AlertSettings;

/// The largest share that a rule can find.
const MOST_SHARE: f64 = 0.9999;

/// Requests of an entity between two samples, and those of them that are slow while healthy: the usual share of 5 %.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) slow: u64,
}

/// The first evaluation, in samples after the fault began, at which the condition holds: by the Prometheus that sees it
/// first, and by the one that sees it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Onset {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Load {
    /// 60 requests, of which 3 are slow; more where the settings ask for more evidence than those can give in a window.
    pub(crate) fn enough_for(settings: &AlertSettings) -> Self {
        let asked = settings.evidence_threshold.max(settings.suspect_threshold);
        let window = Window::of(settings.window, settings, true);
        let given = evidence_nats(60.0, 60.0, 3.0) * window.samples as f64;
        // Twice, so that the evidence is there well before the window is full.
        let times = (2.0 * asked / given).ceil().clamp(1.0, 1e6) as u64;
        Self {
            requests: 60 * times,
            slow: 3 * times,
        }
    }
}

/// When all requests of `entities` entities are slow, which are charged to one culprit, and `felt` says that an entry point
/// has to be slow as well. `None` where the settings are so strict that not even that is enough.
pub(crate) fn onset(settings: &AlertSettings, load: Load, entities: usize, felt: bool) -> Option<Onset> {
    let by = |closed: bool| {
        let full = Window::of(settings.window, settings, closed).samples;
        (1..=full).find(|slow| noticed(settings, load, (entities, felt), *slow, closed))
    };
    let (two, three) = (by(true)?, by(false)?);
    Some(Onset {
        first: two.min(three),
        last: two.max(three),
    })
}

fn noticed(
    settings: &AlertSettings,
    load: Load,
    (entities, felt): (usize, bool),
    slow_samples: u64,
    closed: bool,
) -> bool {
    let AlertSettings {
        evidence_threshold,
        suspect_threshold,
        min_slow_share,
        entry_shift,
        ..
    } = settings;
    let (judged, slow, expected) = Window::of(settings.window, settings, closed).counts(load, slow_samples);
    let nats = evidence_nats(judged, slow, expected);
    // The rules keep shares away from 1, so that the logarithms stay finite.
    let share = (slow / judged).min(MOST_SHARE);
    let (recent_judged, recent_slow, _) =
        Window::of(settings.recent(), settings, closed).counts(load, slow_samples);
    let own = nats > *suspect_threshold
        && share > *min_slow_share
        && recent_slow > min_slow_share * recent_judged
        && nats * entities as f64 > *evidence_threshold;
    let total = nats > *evidence_threshold && share > *min_slow_share
        || nats > *suspect_threshold && share - expected / judged > *entry_shift;
    own && (total || !felt)
}

/// A range of `PromQL` over samples at even distances.
struct Window {
    /// How many times the counter rises between its outermost samples.
    samples: u64,
    /// By how much that is stretched to the length of the window.
    stretch: f64,
}

impl Window {
    /// `closed` says that a sample at the very beginning belongs to it.
    fn of(length: HumanDuration, settings: &AlertSettings, closed: bool) -> Self {
        let (length, every) = (length.get(), interval(settings));
        let (whole, rest) = (
            length.as_nanos() / every.as_nanos(),
            length.as_nanos() % every.as_nanos(),
        );
        let samples = if closed || rest > 0 {
            whole
        } else {
            whole.saturating_sub(1)
        };
        let samples = u64::try_from(samples).unwrap_or(u64::MAX).max(1);
        let stretch = length.as_secs_f64() / (every.as_secs_f64() * samples as f64);
        Self { samples, stretch }
    }

    /// Judged, slow and expected requests when the fault has been there for so many samples.
    fn counts(&self, load: Load, slow_samples: u64) -> (f64, f64, f64) {
        let faulty = slow_samples.min(self.samples);
        let slow = faulty * load.requests + (self.samples - faulty) * load.slow;
        let count = |requests: u64| requests as f64 * self.stretch;
        (
            count(self.samples * load.requests),
            count(slow),
            count(self.samples * load.slow),
        )
    }
}

/// The time between two samples, and between two evaluations.
pub(crate) fn interval(settings: &AlertSettings) -> Duration {
    settings.evaluation_interval.get().max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str, felt: bool, expected: Option<(u64, u64)>) {
        let settings: AlertSettings = config::load("test.yaml", yaml, []).unwrap();
        let load = Load::enough_for(&settings);
        let found = onset(&settings, load, 1, felt).map(|onset| (onset.first, onset.last));
        assert_eq!(found, expected, "{yaml}");
    }

    #[test]
    fn the_first_sample_of_a_total_fault_is_enough_by_default() {
        // 87 slow of 600 where 30 were expected: 39 nats, and 14.5 %.
        check("", true, Some((1, 1)));
    }

    #[test]
    fn a_larger_least_share_takes_longer_and_the_last_minute_must_reach_it_too() {
        // (60 k + 3 (10 - k)) / 600 exceeds 0.5 from k = 5, and 0.9 of the last minute from k = 2.
        check("min_slow_share: 0.5", true, Some((5, 5)));
        check("min_slow_share: 0.9", true, Some((9, 9)));
    }

    #[test]
    fn more_evidence_is_planted_where_more_is_asked_for() {
        let settings: AlertSettings = config::load("test.yaml", "evidence_threshold: 5000", []).unwrap();
        assert!(Load::enough_for(&settings).requests > 60);
        // By default a full window of slow requests is twice as much; Prometheus 3 sees one sample less of it.
        check("evidence_threshold: 5000", true, Some((6, 7)));
    }

    #[test]
    fn settings_that_nothing_can_reach_have_no_onset() {
        check("min_slow_share: 0.99999", false, None);
    }

    #[test]
    fn the_two_ways_to_bound_a_window_are_told_apart() {
        // A window of two samples: Prometheus 3 sees one rise in it, and one slow sample is everything.
        check("{window: 1m, min_slow_share: 0.6}", true, Some((1, 2)));
    }
}
