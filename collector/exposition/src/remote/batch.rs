//! One scrape, kept until it is delivered.
//!
//! In: a scrape, as an [`Encoder`]. Out: its rows; a histogram is one row here and becomes its series only when a
//! request is written, which keeps ten thousand edges at some tens of megabytes.
//! Left out on purpose: a wire format, since the receiver may turn out to know only the older one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use map::catalogue::Series;

use super::body::{Dialect, Plan};
use super::settings::RemoteWriteHistograms;
use super::symbols::{Symbol, Symbols};
use crate::lines::BucketNames;
use crate::model::{Encoder, Exemplar, Histogram, Labels, Sample};
use crate::native::{Counts, Native};
use crate::openmetrics::family_name;

/// Exemplars that are older than the batch by more than this were sent with an earlier one. It is longer than any
/// interval between two batches and a trace's waiting time; receivers ignore one that comes again.
const EXEMPLAR_AGE_MS: i64 = 60_000;

/// One scrape, recorded for remote write. [`super::Sender::batch`] makes one.
#[derive(Debug)]
pub struct Batch {
    unix_ms: i64,
    pub(super) symbols: Symbols,
    pub(super) families: Vec<Family>,
    pub(super) rows: Vec<Row>,
    /// `__name__`
    pub(super) name_label: Symbol,
    /// `le`
    pub(super) le_label: Symbol,
    /// `trace_id`
    pub(super) trace_label: Symbol,
    external: Vec<(Symbol, Symbol)>,
    labels: Vec<(Symbol, Symbol)>,
    numbers: Vec<f64>,
    exemplars: Vec<(u32, Exemplar)>,
    layouts: Vec<Layout>,
    names: BucketNames,
    keeps_native: bool,
}

/// A family and the names of its series.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) series: &'static Series,
    pub(super) name: Symbol,
    pub(super) bucket: Symbol,
    pub(super) sum: Symbol,
    pub(super) count: Symbol,
    pub(super) help: Symbol,
    pub(super) unit: Symbol,
}

/// A part of one of the batch's arrays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    start: u32,
    length: u32,
}

impl Slice {
    fn of<T>(self, all: &[T]) -> &[T] {
        let (start, length) = (self.start as usize, self.length as usize);
        all.get(start..start + length).unwrap_or_default()
    }

    /// What was pushed since `all` had the length `start`.
    fn since<T>(start: usize, all: &[T]) -> Self {
        Self {
            start: start as u32,
            length: (all.len() - start) as u32,
        }
    }
}

/// The bounds that histograms share, and their names.
#[derive(Debug)]
struct Layout {
    bounds: Vec<f64>,
    names: Vec<Symbol>,
}

/// A series, or all series of a histogram.
#[derive(Debug)]
pub(super) struct Row {
    key: u64,
    pub(super) family: u32,
    pub(super) created_ms: Option<i64>,
    pub(super) value: RowValue,
    labels: Slice,
    exemplars: Slice,
}

#[derive(Debug)]
pub(super) enum RowValue {
    Sample(f64),
    Histogram(HistogramRow),
}

#[derive(Debug)]
pub(super) struct HistogramRow {
    pub(super) sum: f64,
    layout: u32,
    counts: Slice,
    native: Option<NativeRow>,
}

#[derive(Clone, Copy, Debug)]
struct NativeRow {
    scale: i32,
    offset: i32,
    zero: f64,
    whole: bool,
    counts: Slice,
}

impl Batch {
    /// An empty batch; its samples are of the time `unix_ms` (Unix milliseconds), and `external` labels are added where
    /// a series has none of the name.
    pub fn new(unix_ms: i64, external: &[(Arc<str>, Arc<str>)]) -> Self {
        let mut symbols = Symbols::default();
        let external = external.iter().filter(|(_, value)| !value.is_empty());
        let external = external.map(|(name, value)| (symbols.intern(name), symbols.intern(value)));
        let external = external.collect();
        Self {
            unix_ms,
            name_label: symbols.intern("__name__"),
            le_label: symbols.intern("le"),
            trace_label: symbols.intern("trace_id"),
            symbols,
            families: Vec::new(),
            rows: Vec::new(),
            external,
            labels: Vec::new(),
            numbers: Vec::new(),
            exemplars: Vec::new(),
            layouts: Vec::new(),
            names: BucketNames::default(),
            keeps_native: true,
        }
    }

    /// As it is, but for native buckets: those told from now on are not kept, which is a third of the memory.
    pub(super) fn without_native(mut self) -> Self {
        self.keeps_native = false;
        self
    }

    /// The time of its samples, in Unix milliseconds.
    pub fn unix_ms(&self) -> i64 {
        self.unix_ms
    }

    /// The bodies of requests for this batch alone, before compression, each with `most` samples or a few more.
    pub fn bodies(&self, dialect: Dialect, histograms: RemoteWriteHistograms, most: u64) -> Vec<Vec<u8>> {
        let mut plan = Plan::new(self, None, histograms);
        let mut body = dialect.body();
        let mut bodies = Vec::new();
        let mut from = 0;
        while from < plan.rows() {
            from = plan.fill(&mut *body, from, most.max(1)).0;
            bodies.push(body.take());
        }
        bodies
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.symbols.bytes()
            + self.rows.len() * size_of::<Row>()
            + self.labels.len() * size_of::<(Symbol, Symbol)>()
            + self.numbers.len() * size_of::<f64>()
            + self.exemplars.len() * size_of::<(u32, Exemplar)>()
    }

    /// The places of those rows that `next` no longer has.
    pub(super) fn rows_that_ended(&self, next: &Batch) -> Vec<usize> {
        let still: HashSet<u64> = next.rows.iter().map(|row| row.key).collect();
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| !still.contains(&row.key))
            .map(|(place, _)| place)
            .collect()
    }

    pub(super) fn family_of(&self, row: &Row) -> Option<&Family> {
        self.families.get(row.family as usize)
    }

    /// Its labels by name, without the metric's name and `le`.
    pub(super) fn labels_of(&self, row: &Row) -> &[(Symbol, Symbol)] {
        row.labels.of(&self.labels)
    }

    /// Its exemplars, each with the bucket it is in.
    pub(super) fn exemplars_of(&self, row: &Row) -> &[(u32, Exemplar)] {
        row.exemplars.of(&self.exemplars)
    }

    /// The buckets of a histogram: the value of `le`, and the observations at or below it.
    pub(super) fn buckets_of(&self, row: &HistogramRow) -> impl Iterator<Item = (Symbol, f64)> {
        let names = self
            .layouts
            .get(row.layout as usize)
            .map(|layout| layout.names.as_slice());
        let counts = row.counts.of(&self.numbers);
        names
            .unwrap_or_default()
            .iter()
            .copied()
            .zip(counts.iter().copied())
    }

    pub(super) fn native_of(&self, row: &HistogramRow) -> Option<Native<'_>> {
        row.native.map(|native| Native {
            scale: native.scale,
            offset: native.offset,
            counts: Counts::Weighted(native.counts.of(&self.numbers)),
            zero: native.zero,
            whole: native.whole,
        })
    }

    /// An empty value means that there is no such label: the protocol forbids to send it, and Prometheus 2.42 stores no
    /// exemplar of a series that is sent with one.
    fn push_labels(&mut self, labels: Labels<'_>) -> Slice {
        let start = self.labels.len();
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let pair = (self.symbols.intern(name), self.symbols.intern(value));
            self.labels.push(pair);
        }
        for &(name, value) in &self.external {
            let is_own = |(own, value): &(&str, &str)| *own == self.symbols.text(name) && !value.is_empty();
            if !labels.iter().any(is_own) {
                self.labels.push((name, value));
            }
        }
        if let Some(added) = self.labels.get_mut(start..) {
            added.sort_unstable_by(|a, b| self.symbols.text(a.0).cmp(self.symbols.text(b.0)));
        }
        Slice::since(start, &self.labels)
    }

    fn push_exemplars<'a>(&mut self, exemplars: impl Iterator<Item = Option<&'a Exemplar>>) -> Slice {
        let start = self.exemplars.len();
        let oldest = self.unix_ms.saturating_sub(EXEMPLAR_AGE_MS);
        for (bucket, exemplar) in exemplars.enumerate() {
            let fresh = exemplar.filter(|exemplar| exemplar.unix_ms > oldest);
            self.exemplars
                .extend(fresh.map(|exemplar| (bucket as u32, *exemplar)));
        }
        Slice::since(start, &self.exemplars)
    }

    fn push_row(&mut self, labels: Labels<'_>, exemplars: Slice, created_ms: Option<i64>, value: RowValue) {
        let labels = self.push_labels(labels);
        let Some(family) = self.families.last() else {
            return;
        };
        let mut key = DefaultHasher::new();
        family.series.name.hash(&mut key);
        for (name, value) in labels.of(&self.labels) {
            self.symbols.text(*name).hash(&mut key);
            self.symbols.text(*value).hash(&mut key);
        }
        self.rows.push(Row {
            key: key.finish(),
            family: self.families.len() as u32 - 1,
            created_ms,
            value,
            labels,
            exemplars,
        });
    }

    fn layout(&mut self, bounds: &[f64]) -> u32 {
        if let Some(known) = self.layouts.iter().position(|layout| layout.bounds == bounds) {
            return known as u32;
        }
        let names = self.names.of(bounds).iter().map(|name| self.symbols.intern(name));
        self.layouts.push(Layout {
            bounds: bounds.to_vec(),
            names: names.collect(),
        });
        self.layouts.len() as u32 - 1
    }

    fn push_native(&mut self, native: &Native<'_>) -> NativeRow {
        let start = self.numbers.len();
        match native.counts {
            Counts::Unweighted(counts) => self.numbers.extend(counts.iter().map(|&count| count as f64)),
            Counts::Weighted(counts) => self.numbers.extend_from_slice(counts),
        }
        NativeRow {
            scale: native.scale,
            offset: native.offset,
            zero: native.zero,
            whole: native.whole,
            counts: Slice::since(start, &self.numbers),
        }
    }
}

impl Encoder for Batch {
    fn family(&mut self, series: &'static Series) {
        let mut named = |suffix: &str| self.symbols.intern(&format!("{}{suffix}", series.name));
        let (name, bucket, sum, count) = (named(""), named("_bucket"), named("_sum"), named("_count"));
        self.families.push(Family {
            series,
            name,
            bucket,
            sum,
            count,
            help: self.symbols.intern(series.help),
            unit: self.symbols.intern(family_name(series).1.unwrap_or_default()),
        });
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        let exemplars = self.push_exemplars(std::iter::once(sample.exemplar.as_ref()));
        self.push_row(
            labels,
            exemplars,
            sample.created_ms,
            RowValue::Sample(sample.value),
        );
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        let exemplars = self.push_exemplars(histogram.buckets().map(|bucket| bucket.exemplar));
        let start = self.numbers.len();
        self.numbers
            .extend(histogram.buckets().map(|bucket| bucket.at_or_below));
        let counts = Slice::since(start, &self.numbers);
        let native = histogram
            .native
            .filter(|native| self.keeps_native && native.is_expressible());
        let row = HistogramRow {
            sum: histogram.sum,
            layout: self.layout(histogram.bounds),
            counts,
            native: native.map(|native| self.push_native(&native)),
        };
        self.push_row(labels, exemplars, histogram.created_ms, RowValue::Histogram(row));
    }
}
