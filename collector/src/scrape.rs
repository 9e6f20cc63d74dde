//! Series by the names of the catalogue, for whatever encoder takes them.
//!
//! In: names, labels and values. Out: calls of an [`Encoder`].
//! Left out on purpose: what is counted, and how it is written.

use exposition::{Encoder, Histogram, Labels, Sample};
use map::catalogue;

/// A scrape that is being told.
pub(crate) struct Scrape<'e>(&'e mut dyn Encoder);

impl<'e> Scrape<'e> {
    /// Tells `encoder`.
    pub(crate) fn new(encoder: &'e mut dyn Encoder) -> Self {
        Self(encoder)
    }

    /// Begins the family `name` of the catalogue.
    ///
    /// # Panics
    /// Where the catalogue does not hold `name`: a series that nobody documented must not leave the house.
    pub(crate) fn family(&mut self, name: &'static str) {
        let series = catalogue::find(name).expect("every exported series is in the catalogue");
        self.0.family(series);
    }

    /// The only sample of a family that is not ours.
    pub(crate) fn foreign(&mut self, series: &'static catalogue::Series, value: f64) {
        self.0.family(series);
        self.sample(&[], value);
    }

    /// One sample of the current family.
    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: impl Into<Sample>) {
        self.0.sample(labels, value.into());
    }

    /// One histogram of the current family.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        self.0.histogram(labels, histogram);
    }

    /// The only sample of a family without labels.
    pub(crate) fn single(&mut self, name: &'static str, value: f64) {
        self.family(name);
        self.sample(&[], value);
    }
}
