//! The series of a recording, scraped as often as the rules are evaluated.
//!
//! In: an engine at each second of event time. Out: every series that the rules read, as runs of values.
//! Left out on purpose: which of them the rules read in truth; histograms they read none.

use std::collections::BTreeMap;

use alerts::recorded::{Runs, series_name};
use exposition::{Encoder, Histogram, Labels, Sample};
use map::catalogue::{JUDGED, Series};

use crate::engine::Engine;

/// Scrapes of one recording.
#[derive(Debug)]
pub(super) struct Timeline {
    /// When the first scrape was, nanoseconds since 1970.
    start: u64,
    step: u64,
    scrapes: usize,
    family: &'static str,
    series: BTreeMap<String, Runs>,
    judged: Judged,
}

/// Requests judged so far of every node and edge, by its id: when it was scraped, nanoseconds since 1970, and how many.
pub type Judged = BTreeMap<String, Vec<(u64, f64)>>;

impl Timeline {
    /// A timeline whose first scrape is at the last full step before `first`.
    pub(super) fn new(first: u64, step: u64) -> Self {
        Self {
            start: first - first % step.max(1),
            step: step.max(1),
            scrapes: 0,
            family: "",
            series: BTreeMap::new(),
            judged: Judged::new(),
        }
    }

    /// Scrapes wherever a step is due by `now`.
    pub(super) fn scrape(&mut self, engine: &Engine, now: u64) {
        while self.at(self.scrapes) <= now {
            engine.tell_judged(self);
            self.scrapes += 1;
        }
    }

    /// When a scrape was, nanoseconds since 1970.
    pub(super) fn at(&self, scrape: usize) -> u64 {
        self.start.saturating_add(self.step.saturating_mul(scrape as u64))
    }

    /// How many there were.
    pub(super) fn scrapes(&self) -> usize {
        self.scrapes
    }

    /// All series by their names.
    pub(super) fn series(&self) -> impl Iterator<Item = (&String, &Runs)> {
        self.series.iter()
    }

    /// Requests judged so far, at every scrape.
    pub(super) fn into_judged(self) -> Judged {
        self.judged
    }
}

impl Encoder for Timeline {
    fn family(&mut self, series: &'static Series) {
        self.family = series.name;
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        let scrape = self.scrapes;
        let name = series_name(self.family, labels);
        if self.family == JUDGED
            && let Some((_, id)) = labels.iter().find(|(label, _)| *label == "id")
        {
            let judged = (self.at(scrape), sample.value);
            self.judged.entry((*id).to_owned()).or_default().push(judged);
        }
        self.series.entry(name).or_default().push(scrape, sample.value);
    }

    fn histogram(&mut self, _: Labels<'_>, _: &Histogram<'_>) {}
}
