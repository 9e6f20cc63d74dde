//! Remote write 2.0: `io.prometheus.write.v2.Request`.
//!
//! In: series. Out: the bytes of a body, every text once in its symbols.
//! Left out on purpose: `created_timestamp` of a series, which rc.4 moved to the samples; receivers of earlier drafts
//! see none.
//! Source: prometheus/prometheus, `prompb/io/prometheus/write/v2/types.proto` of rc.4.

use super::batch::Batch;
use super::body::{Body, Point, Value};
use super::symbols::{Symbol, Symbols};
use super::v1::metric_type;
use crate::model::Exemplar;
use crate::wire::{double, int, message, string, uint, uints};

#[derive(Debug, Default)]
pub(super) struct V2 {
    series: Vec<u8>,
    symbols: Symbols,
    /// The body's number of each symbol of the batch `of`; 0 where it has none yet.
    known: Vec<Symbol>,
    of: i64,
    refs: Vec<Symbol>,
}

impl V2 {
    /// The body's number of a symbol of `batch`.
    fn reference(&mut self, batch: &Batch, symbol: Symbol) -> Symbol {
        match self.known.get(symbol as usize) {
            Some(&known) if known > 0 => known,
            _ => {
                let number = self.symbols.intern(batch.symbols.text(symbol));
                if let Some(known) = self.known.get_mut(symbol as usize) {
                    *known = number;
                }
                number
            }
        }
    }

    fn push_exemplar(&mut self, trace_label: Symbol, exemplar: &Exemplar) {
        let hex = exemplar.hex();
        let trace = self.symbols.intern(str::from_utf8(&hex).unwrap_or_default());
        message(&mut self.series, 4, |out| {
            uints(out, 1, [trace_label, trace].into_iter());
            double(out, 2, exemplar.value);
            int(out, 3, exemplar.unix_ms);
        });
    }
}

impl Body for V2 {
    fn push(&mut self, batch: &Batch, point: &Point<'_>) {
        if self.of != batch.unix_ms() || self.known.len() < batch.symbols.len() {
            self.of = batch.unix_ms();
            self.known.clear();
            self.known.resize(batch.symbols.len(), 0);
        }
        let mut refs = std::mem::take(&mut self.refs);
        refs.clear();
        for &(name, value) in point.labels {
            refs.push(self.reference(batch, name));
            refs.push(self.reference(batch, value));
        }
        let help = self.reference(batch, point.family.help);
        let unit = self.reference(batch, point.family.unit);
        let trace_label = if point.exemplars.is_empty() {
            0
        } else {
            self.reference(batch, batch.trace_label)
        };
        let start = crate::wire::begin_message(&mut self.series, 5);
        let out = &mut self.series;
        uints(out, 1, refs.iter().copied());
        match point.value {
            Value::Sample(value) => message(out, 2, |out| {
                double(out, 1, value);
                int(out, 2, point.unix_ms);
                if let Some(start_ms) = point.created_ms {
                    int(out, 3, start_ms);
                }
            }),
            Value::Histogram(native) => native.write(out, 3, point.unix_ms, point.created_ms),
        }
        for exemplar in point.exemplars {
            self.push_exemplar(trace_label, exemplar);
        }
        message(&mut self.series, 5, |out| {
            uint(out, 1, metric_type(point.family));
            uint(out, 3, u64::from(help));
            uint(out, 4, u64::from(unit));
        });
        crate::wire::end(&mut self.series, start);
        self.refs = refs;
    }

    fn take(&mut self) -> Vec<u8> {
        let symbols = std::mem::take(&mut self.symbols);
        self.known.clear();
        let mut out = Vec::with_capacity(symbols.bytes() + self.series.len());
        symbols.texts().for_each(|text| string(&mut out, 4, text));
        out.append(&mut self.series);
        out
    }
}
