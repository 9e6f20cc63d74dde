//! Delimited protobuf: `io.prometheus.client.MetricFamily`, classic and native buckets in one message.
//!
//! In: a scrape. Out: one message for each family that has series, each with its length before it.
//! Left out on purpose: exemplars beside the buckets (field 16), since Prometheus takes those of the classic buckets
//! for a native histogram too.
//! Source: `prometheus/client_model`, `io/prometheus/client/metrics.proto`.

use map::catalogue::{Series, Type};

use crate::model::{Encoder, Exemplar, Histogram, Labels, Sample};
use crate::native::{Native, Sparse, ZERO_THRESHOLD};
use crate::wire::{begin, double, doubles, end, int, message, sint, sints, string, uint};

/// Writes delimited `MetricFamily` messages.
#[derive(Debug, Default)]
pub struct ProtobufEncoder {
    out: Vec<u8>,
    family: Option<Family>,
    sparse: Sparse,
}

#[derive(Debug)]
struct Family {
    /// What [`begin`] returned.
    start: usize,
    counts: bool,
    is_empty: bool,
}

impl ProtobufEncoder {
    /// The bytes of the whole scrape.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out
    }

    fn end_family(&mut self) {
        match self.family.take() {
            Some(family) if family.is_empty => self.out.truncate(family.start - 1),
            Some(family) => end(&mut self.out, family.start),
            None => {}
        }
    }
}

impl Encoder for ProtobufEncoder {
    fn family(&mut self, series: &'static Series) {
        self.end_family();
        let start = begin(&mut self.out);
        string(&mut self.out, 1, series.name);
        string(&mut self.out, 2, series.help);
        let kind = match series.kind {
            Type::Counter => 0,
            Type::Gauge | Type::Recorded => 1,
            Type::Histogram => 4,
        };
        uint(&mut self.out, 3, kind);
        self.family = Some(Family {
            start,
            counts: series.kind == Type::Counter,
            is_empty: true,
        });
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        let Some(family) = &mut self.family else { return };
        family.is_empty = false;
        let counts = family.counts;
        message(&mut self.out, 4, |out| {
            push_labels(out, labels);
            message(out, if counts { 3 } else { 2 }, |out| {
                double(out, 1, sample.value);
                if counts {
                    push_exemplar(out, 2, sample.exemplar.as_ref());
                    push_timestamp(out, 3, sample.created_ms);
                }
            });
        });
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        let Some(family) = &mut self.family else { return };
        family.is_empty = false;
        let sparse = &mut self.sparse;
        message(&mut self.out, 4, |out| {
            push_labels(out, labels);
            message(out, 7, |out| {
                let native = histogram.native.filter(Native::is_expressible);
                if let Some(native) = &native {
                    sparse.fill(native);
                }
                // Prometheus refuses a native histogram whose buckets hold more than its count.
                let (count, whole) = if native.is_some() {
                    (sparse.total, sparse.whole)
                } else {
                    (histogram.count(), true)
                };
                push_count(out, 1, 4, count, whole);
                double(out, 2, histogram.sum);
                push_buckets(out, histogram);
                if let Some(native) = &native {
                    push_native(out, native, sparse);
                }
                push_timestamp(out, 15, histogram.created_ms);
            });
        });
    }
}

fn push_labels(out: &mut Vec<u8>, labels: Labels<'_>) {
    for (name, value) in labels {
        message(out, 1, |out| {
            string(out, 1, name);
            string(out, 2, value);
        });
    }
}

/// A count in its field for whole numbers, rounded for readers that know no other, and where it is not whole (or
/// not `whole` by kind) in its field for fractions too, which goes before.
fn push_count(out: &mut Vec<u8>, field: u32, fraction: u32, count: f64, whole: bool) {
    uint(out, field, count.round() as u64);
    if !whole || count.fract() != 0.0 {
        double(out, fraction, count);
    }
}

fn push_buckets(out: &mut Vec<u8>, histogram: &Histogram<'_>) {
    for bucket in histogram.buckets() {
        message(out, 3, |out| {
            push_count(out, 1, 4, bucket.at_or_below, true);
            double(out, 2, bucket.bound);
            push_exemplar(out, 3, bucket.exemplar);
        });
    }
}

fn push_native(out: &mut Vec<u8>, native: &Native<'_>, sparse: &Sparse) {
    sint(out, 5, i64::from(native.scale));
    double(out, 6, ZERO_THRESHOLD);
    push_count(out, 7, 8, native.zero, sparse.whole);
    for &(offset, length) in &sparse.spans {
        message(out, 12, |out| {
            sint(out, 1, i64::from(offset));
            uint(out, 2, u64::from(length));
        });
    }
    if sparse.whole {
        sints(out, 13, sparse.deltas());
    } else {
        doubles(out, 14, &sparse.counts);
    }
}

fn push_exemplar(out: &mut Vec<u8>, field: u32, exemplar: Option<&Exemplar>) {
    if let Some(exemplar) = exemplar {
        message(out, field, |out| {
            message(out, 1, |out| {
                string(out, 1, "trace_id");
                crate::wire::bytes(out, 2, &exemplar.hex());
            });
            double(out, 2, exemplar.value);
            push_timestamp(out, 3, Some(exemplar.unix_ms));
        });
    }
}

/// `google.protobuf.Timestamp`.
fn push_timestamp(out: &mut Vec<u8>, field: u32, unix_ms: Option<i64>) {
    if let Some(ms) = unix_ms {
        message(out, field, |out| {
            int(out, 1, ms.div_euclid(1000));
            int(out, 2, ms.rem_euclid(1000) * 1_000_000);
        });
    }
}
