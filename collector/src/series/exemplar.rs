//! A few traces to look at, spread over the durations of a histogram.
//!
//! In: requests with their trace. Out: at most four of them, one a class of duration, the newest of each.
//! Left out on purpose: choosing well. Tail sampling keeps the traces that matter, and these are only ever links.

use serde::{Deserialize, Serialize};

use crate::span::TraceId;

/// Classes end at 10 ms, 100 ms and 1 s.
const CLASSES: [f64; 3] = [0.01, 0.1, 1.0];
/// A class keeps its trace this long before a newer one takes its place, nanoseconds.
const HOLD: u64 = 1_000_000_000;

/// One trace of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Which one.
    pub trace: TraceId,
    /// The observation in seconds.
    pub seconds: f64,
    /// When the request was counted, nanoseconds since 1970.
    pub at: u64,
}

/// The traces of two histograms that are observed together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exemplars {
    kept: [Option<Kept>; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    trace: TraceId,
    at: u64,
    first: Option<f32>,
    second: Option<f32>,
}

impl Exemplars {
    /// Notes a request: its trace, when it was counted, and its seconds in either histogram.
    #[inline]
    pub fn note(&mut self, trace: &TraceId, at: u64, first: Option<f64>, second: Option<f64>) {
        let Some(seconds) = first.or(second) else {
            return;
        };
        let Some(place) = self.kept.get_mut(class(seconds)) else {
            return;
        };
        if place.is_some_and(|kept| at < kept.at.saturating_add(HOLD)) {
            return;
        }
        *place = Some(Kept {
            trace: *trace,
            at,
            first: first.map(|s| s as f32),
            second: second.map(|s| s as f32),
        });
    }

    /// Reads what a request is about to be noted in.
    #[inline]
    pub(crate) fn read(&self, seconds: Option<f64>) -> u64 {
        let kept = seconds.and_then(|seconds| self.kept.get(class(seconds))?.as_ref());
        kept.map_or(0, |kept| kept.at)
    }

    /// Those of the first histogram, shortest first.
    pub fn first(&self) -> impl Iterator<Item = Exemplar> + '_ {
        self.of(|kept| kept.first)
    }

    /// Those of the second histogram.
    pub fn second(&self) -> impl Iterator<Item = Exemplar> + '_ {
        self.of(|kept| kept.second)
    }

    fn of(&self, seconds: fn(&Kept) -> Option<f32>) -> impl Iterator<Item = Exemplar> + '_ {
        self.kept.iter().flatten().filter_map(move |kept| {
            Some(Exemplar {
                trace: kept.trace,
                seconds: f64::from(seconds(kept)?),
                at: kept.at,
            })
        })
    }
}

/// The class of a duration.
#[inline]
fn class(seconds: f64) -> usize {
    CLASSES.iter().filter(|bound| seconds > **bound).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_duration_keeps_its_newest_trace() {
        let mut exemplars = Exemplars::default();
        exemplars.note(&[1; 16], 5, Some(0.002), Some(0.001));
        exemplars.note(&[2; 16], 6, Some(0.003), None);
        exemplars.note(&[3; 16], 7, Some(5.0), None);
        exemplars.note(&[4; 16], HOLD + 7, None, Some(5.5));
        let told = |e: Exemplar| (e.trace[0], e.at);
        assert_eq!(exemplars.first().map(told).collect::<Vec<_>>(), [(1, 5)]);
        assert_eq!(
            exemplars.second().map(told).collect::<Vec<_>>(),
            [(1, 5), (4, HOLD + 7)]
        );
    }
}
