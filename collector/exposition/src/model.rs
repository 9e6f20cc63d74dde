//! One scrape, told piece by piece to whoever writes it down.
//!
//! In: families of the catalogue, each followed by its series. Out: calls of an [`Encoder`]; each format is one.
//! Left out on purpose: a tree of all series. Ten thousand edges are borrowed from where they are counted, one at a
//! time, and only their bytes are kept.

use map::catalogue::Series;

use crate::native::Native;

/// Labels of one series in the catalogue's order, without `le`; values are any text.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes a scrape: a family, then every series of it, then the next family.
///
/// A family is begun once and has all its series together; a series comes once. What is told before the first
/// family is not written.
pub trait Encoder {
    /// Begins a family. Recorded series are gauges here.
    fn family(&mut self, series: &'static Series);
    /// A series of the current family, which counts or gauges.
    fn sample(&mut self, labels: Labels<'_>, sample: Sample);
    /// A series of the current family, which is a histogram.
    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>);
}

/// The value of a counter or a gauge. `From<f64>` makes a bare one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The value. Counters do not fall.
    pub value: f64,
    /// When a counter began at 0, in Unix milliseconds; `None` where nobody knows. Gauges have none.
    pub created_ms: Option<i64>,
    /// A request that was counted. Gauges have none.
    pub exemplar: Option<Exemplar>,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self {
            value,
            created_ms: None,
            exemplar: None,
        }
    }
}

/// A request that stands for others: its trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The trace, written as 32 hexadecimal digits in the label `trace_id`.
    pub trace_id: [u8; 16],
    /// What was observed of it, in the unit of its series.
    pub value: f64,
    /// When, in Unix milliseconds.
    pub unix_ms: i64,
}

impl Exemplar {
    /// The trace id as it is written.
    pub(crate) fn hex(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.trace_id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut text = [b'0'; 32];
        for (to, nibble) in text.iter_mut().zip(nibbles) {
            *to = DIGITS[usize::from(nibble)];
        }
        text
    }
}

/// A histogram, borrowed from where it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// Upper bounds of the classic buckets, inclusive, ascending, without the infinite one.
    pub bounds: &'a [f64],
    /// Observations by bucket, weighted, not cumulative: one more than bounds, the last above all of them. Those
    /// that are missing are 0.
    pub counts: &'a [f64],
    /// Sum of the observations, weighted.
    pub sum: f64,
    /// The same observations in exponential buckets, for formats that know them.
    pub native: Option<Native<'a>>,
    /// At most one by classic bucket; may be empty or shorter than `counts`.
    pub exemplars: &'a [Option<Exemplar>],
    /// When it began empty, in Unix milliseconds; `None` where nobody knows.
    pub created_ms: Option<i64>,
}

/// A classic bucket as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<'a> {
    /// Infinite in the last one.
    pub(crate) bound: f64,
    /// Observations at or below it.
    pub(crate) at_or_below: f64,
    pub(crate) exemplar: Option<&'a Exemplar>,
}

impl<'a> Histogram<'a> {
    /// The classic buckets, ascending; the infinite one is the last.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = Bucket<'a>> {
        let (counts, exemplars) = (self.counts, self.exemplars);
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.enumerate().scan(0.0, move |sum, (i, bound)| {
            *sum += counts.get(i).copied().unwrap_or_default();
            Some(Bucket {
                bound,
                at_or_below: *sum,
                exemplar: exemplars.get(i).and_then(Option::as_ref),
            })
        })
    }

    /// All observations, weighted.
    pub(crate) fn count(&self) -> f64 {
        self.counts.iter().take(self.bounds.len() + 1).sum()
    }
}
