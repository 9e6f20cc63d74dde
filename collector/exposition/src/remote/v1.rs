//! Remote write 1.0: `prometheus.WriteRequest`.
//!
//! In: series. Out: the bytes of a body, labels written out in each series; metadata with the first series of a family.
//! Left out on purpose: created timestamps, which it has no field for.
//! Source: prometheus/prometheus, `prompb/remote.proto` and `prompb/types.proto`.

use std::collections::HashSet;

use map::catalogue::Type;

use super::batch::{Batch, Family};
use super::body::{Body, Point, Value};
use crate::model::Exemplar;
use crate::wire::{bytes, double, int, message, string, uint};

#[derive(Debug, Default)]
pub(super) struct V1 {
    out: Vec<u8>,
    described: HashSet<&'static str>,
}

impl Body for V1 {
    fn push(&mut self, batch: &Batch, point: &Point<'_>) {
        if self.described.insert(point.family.series.name) {
            push_metadata(&mut self.out, batch, point.family);
        }
        let text = |symbol| batch.symbols.text(symbol);
        message(&mut self.out, 1, |out| {
            for &(name, value) in point.labels {
                message(out, 1, |out| {
                    string(out, 1, text(name));
                    string(out, 2, text(value));
                });
            }
            if let Value::Sample(value) = point.value {
                message(out, 2, |out| {
                    double(out, 1, value);
                    int(out, 2, point.unix_ms);
                });
            }
            point
                .exemplars
                .iter()
                .for_each(|exemplar| push_exemplar(out, exemplar));
            if let Value::Histogram(native) = point.value {
                native.write(out, 4, point.unix_ms, None);
            }
        });
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

fn push_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    message(out, 3, |out| {
        message(out, 1, |out| {
            string(out, 1, "trace_id");
            bytes(out, 2, &exemplar.hex());
        });
        double(out, 2, exemplar.value);
        int(out, 3, exemplar.unix_ms);
    });
}

fn push_metadata(out: &mut Vec<u8>, batch: &Batch, family: &Family) {
    message(out, 3, |out| {
        uint(out, 1, metric_type(family));
        string(out, 2, family.series.name);
        string(out, 4, family.series.help);
        string(out, 5, batch.symbols.text(family.unit));
    });
}

/// The number of the type, which both versions give alike.
pub(super) fn metric_type(family: &Family) -> u64 {
    match family.series.kind {
        Type::Counter => 1,
        Type::Gauge | Type::Recorded => 2,
        Type::Histogram => 3,
    }
}
