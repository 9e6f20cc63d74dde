//! The rows of a batch as the series of requests.
//!
//! In: a batch, and the one delivered before it. Out: one body after the other, each with at most so many samples.
//! Left out on purpose: the wire formats, see `v1` and `v2`; and compression.

use super::batch::{Batch, Family, HistogramRow, Row, RowValue};
use super::settings::RemoteWriteHistograms;
use super::symbols::Symbol;
use super::v1::V1;
use super::v2::V2;
use crate::model::Exemplar;
use crate::native::{Native, Sparse, ZERO_THRESHOLD};
use crate::wire::{double, doubles, int, message, sint, sints, uint};

/// The value of a series that has ended, by its bits: a NaN that no arithmetic gives.
/// Source: Prometheus, `model/value`.
const STALE: f64 = f64::from_bits(0x7FF0_0000_0000_0002);

/// One series of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<'a> {
    pub(super) family: &'a Family,
    /// All labels, by name.
    pub(super) labels: &'a [(Symbol, Symbol)],
    pub(super) value: Value<'a>,
    pub(super) unix_ms: i64,
    pub(super) created_ms: Option<i64>,
    /// By time.
    pub(super) exemplars: &'a [Exemplar],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Sample(f64),
    Histogram(&'a NativePoint),
}

/// A native histogram as both versions write it.
#[derive(Clone, Debug, Default)]
pub(super) struct NativePoint {
    sparse: Sparse,
    scale: i32,
    zero: f64,
    sum: f64,
}

impl NativePoint {
    fn fill(&mut self, native: &Native<'_>, sum: f64) {
        self.sparse.fill(native);
        (self.scale, self.zero, self.sum) = (native.scale, native.zero, sum);
    }

    /// Writes it as field `field`; `start_ms` only where the version has it.
    pub(super) fn write(&self, out: &mut Vec<u8>, field: u32, unix_ms: i64, start_ms: Option<i64>) {
        let sparse = &self.sparse;
        message(out, field, |out| {
            if sparse.whole {
                uint(out, 1, sparse.total as u64);
            } else {
                double(out, 2, sparse.total);
            }
            double(out, 3, self.sum);
            sint(out, 4, i64::from(self.scale));
            double(out, 5, ZERO_THRESHOLD);
            if sparse.whole {
                uint(out, 6, self.zero as u64);
            } else {
                double(out, 7, self.zero);
            }
            for &(offset, length) in &sparse.spans {
                message(out, 11, |out| {
                    sint(out, 1, i64::from(offset));
                    uint(out, 2, u64::from(length));
                });
            }
            if sparse.whole {
                sints(out, 12, sparse.deltas());
            } else {
                doubles(out, 13, &sparse.counts);
            }
            int(out, 15, unix_ms);
            if let Some(start_ms) = start_ms {
                int(out, 17, start_ms);
            }
        });
    }
}

/// A version of the protocol, as its headers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Remote write 1.0, `prometheus.WriteRequest`.
    V1,
    /// Remote write 2.0, `io.prometheus.write.v2.Request`.
    V2,
}

impl Dialect {
    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The header `X-Prometheus-Remote-Write-Version`.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    pub(super) fn body(self) -> Box<dyn Body> {
        match self {
            Self::V1 => Box::new(V1::default()),
            Self::V2 => Box::new(V2::default()),
        }
    }
}

/// How many samples and native histograms a body has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) stale: u64,
}

impl Size {
    pub(super) fn all(self) -> u64 {
        self.samples + self.histograms
    }
}

/// A version of the protocol, writing one body after the other.
pub(super) trait Body: Send {
    /// Adds a series of `batch`.
    fn push(&mut self, batch: &Batch, point: &Point<'_>);
    /// The body so far; begins the next.
    fn take(&mut self) -> Vec<u8>;
}

/// Writes nothing, to count.
struct Nowhere;

impl Body for Nowhere {
    fn push(&mut self, _: &Batch, _: &Point<'_>) {}

    fn take(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// The series of a delivery: stale markers for what ended, then the batch.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    batch: &'a Batch,
    before: Option<&'a Batch>,
    ended: Vec<usize>,
    histograms: RemoteWriteHistograms,
    labels: Vec<(Symbol, Symbol)>,
    exemplars: Vec<Exemplar>,
    native: NativePoint,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        batch: &'a Batch,
        before: Option<&'a Batch>,
        histograms: RemoteWriteHistograms,
    ) -> Self {
        Self {
            batch,
            before,
            ended: before
                .map(|before| before.rows_that_ended(batch))
                .unwrap_or_default(),
            histograms,
            labels: Vec::new(),
            exemplars: Vec::new(),
            native: NativePoint::default(),
        }
    }

    /// Rows of all bodies together.
    pub(super) fn rows(&self) -> usize {
        self.ended.len() + self.batch.rows.len()
    }

    /// Fills `body` from the row `from` on until it has `most` samples or more, at least with one row; returns the
    /// row to go on with.
    pub(super) fn fill(&mut self, body: &mut dyn Body, from: usize, most: u64) -> (usize, Size) {
        let mut size = Size::default();
        let mut next = from;
        while next < self.rows() && size.all() < most {
            self.push_row(body, next, &mut size);
            next += 1;
        }
        (next, size)
    }

    /// Samples of all bodies together.
    pub(super) fn samples(&mut self) -> u64 {
        self.samples_from(0)
    }

    /// Samples from the row `from` on.
    pub(super) fn samples_from(&mut self, from: usize) -> u64 {
        self.fill(&mut Nowhere, from, u64::MAX).1.all()
    }

    fn push_row(&mut self, body: &mut dyn Body, place: usize, size: &mut Size) {
        let ended = self.ended.get(place).copied();
        let of = if ended.is_some() {
            self.before
        } else {
            Some(self.batch)
        };
        let place = ended.unwrap_or_else(|| place - self.ended.len());
        let found = of.and_then(|of| of.rows.get(place).map(|row| (of, row)));
        let Some((of, row)) = found else { return };
        let Some(family) = of.family_of(row) else { return };
        let mut series = SeriesOf {
            of,
            row,
            family,
            unix_ms: self.batch.unix_ms(),
            is_stale: ended.is_some(),
            body,
            size,
            labels: &mut self.labels,
            exemplars: &mut self.exemplars,
        };
        match &row.value {
            RowValue::Sample(value) => series.sample(family.name, None, *value, None),
            RowValue::Histogram(row) => series.histogram(row, self.histograms, &mut self.native),
        }
    }
}

/// The series that one row becomes.
struct SeriesOf<'a> {
    of: &'a Batch,
    row: &'a Row,
    family: &'a Family,
    unix_ms: i64,
    is_stale: bool,
    body: &'a mut dyn Body,
    size: &'a mut Size,
    labels: &'a mut Vec<(Symbol, Symbol)>,
    exemplars: &'a mut Vec<Exemplar>,
}

impl SeriesOf<'_> {
    fn histogram(&mut self, row: &HistogramRow, wanted: RemoteWriteHistograms, point: &mut NativePoint) {
        let native = self.of.native_of(row).filter(|_| wanted.native());
        if wanted.classic() || native.is_none() {
            let mut count = 0.0;
            for (bucket, (le, at_or_below)) in (0..).zip(self.of.buckets_of(row)) {
                self.sample(self.family.bucket, Some(le), at_or_below, Some(bucket));
                count = at_or_below;
            }
            self.sample(self.family.sum, None, row.sum, None);
            self.sample(self.family.count, None, count, None);
        }
        if let Some(native) = native {
            if self.is_stale {
                *point = NativePoint::default();
                point.sum = STALE;
            } else {
                point.fill(&native, row.sum);
            }
            self.native(point);
        }
    }

    /// A series with a number. In a histogram `bucket` says which exemplar is its own.
    fn sample(&mut self, name: Symbol, le: Option<Symbol>, value: f64, bucket: Option<u32>) {
        self.exemplars.clear();
        let is_histogram = matches!(self.row.value, RowValue::Histogram(_));
        if !self.is_stale && (bucket.is_some() || !is_histogram) {
            let own = self.of.exemplars_of(self.row).iter();
            let own = own.filter(|(of, _)| bucket.is_none_or(|bucket| bucket == *of));
            self.exemplars.extend(own.map(|(_, exemplar)| *exemplar));
        }
        let value = if self.is_stale { STALE } else { value };
        self.size.samples += 1;
        self.push(name, le, Value::Sample(value));
    }

    fn native(&mut self, point: &NativePoint) {
        self.exemplars.clear();
        if !self.is_stale {
            let all = self.of.exemplars_of(self.row).iter();
            self.exemplars.extend(all.map(|(_, exemplar)| *exemplar));
            self.exemplars.sort_by_key(|exemplar| exemplar.unix_ms);
        }
        self.size.histograms += 1;
        self.push(self.family.name, None, Value::Histogram(point));
    }

    fn push(&mut self, name: Symbol, le: Option<Symbol>, value: Value<'_>) {
        self.size.stale += u64::from(self.is_stale);
        let symbols = &self.of.symbols;
        self.labels.clear();
        self.labels.extend_from_slice(self.of.labels_of(self.row));
        for (label, value) in [(self.of.name_label, Some(name)), (self.of.le_label, le)] {
            if let Some(value) = value {
                let text = symbols.text(label);
                let at = self
                    .labels
                    .partition_point(|(other, _)| symbols.text(*other) < text);
                self.labels.insert(at, (label, value));
            }
        }
        let point = Point {
            family: self.family,
            labels: self.labels,
            value,
            unix_ms: self.unix_ms,
            created_ms: self.row.created_ms.filter(|_| !self.is_stale),
            exemplars: self.exemplars,
        };
        self.body.push(self.of, &point);
    }
}
