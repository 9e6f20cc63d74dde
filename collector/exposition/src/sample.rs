//! One small scrape with everything in it, for the tests of all formats.
//!
//! In: an encoder. Out: what it is told.
//! Left out on purpose: sizes; the benchmark has those.

use map::catalogue::{self as names, Series};

use crate::model::{Encoder, Exemplar, Histogram, Sample};
use crate::native::{Counts, Native};

/// The family of this name.
pub(crate) fn family(name: &str) -> &'static Series {
    names::find(name).expect("tests name series of the catalogue")
}

/// A trace whose id repeats one byte.
pub(crate) fn exemplar(byte: u8, value: f64) -> Exemplar {
    Exemplar {
        trace_id: [byte; 16],
        value,
        unix_ms: 1_700_000_000_250,
    }
}

/// A histogram with observations at 0, 0.5, 1 and above, of which some stand for several.
pub(crate) fn histogram(exemplars: &[Option<Exemplar>]) -> Histogram<'_> {
    Histogram {
        bounds: &[0.5, 1.0],
        counts: &[1.0, 2.5, 4.0],
        sum: 9.25,
        native: Some(Native {
            scale: 0,
            offset: -2,
            counts: Counts::Weighted(&[0.5, 2.5, 0.0, 0.0, 0.0, 4.0]),
            zero: 0.5,
            whole: false,
        }),
        exemplars,
        created_ms: Some(1_600_000_000_000),
    }
}

/// A counter that needs escaping, a weighted histogram, a gauge without labels and a family without series.
pub(crate) fn write_sample(out: &mut dyn Encoder) {
    out.family(family(names::EDGE_REQUESTS));
    let labels = [
        ("client", "say \"hi\"\\\n"),
        ("server", "cart"),
        ("connection_type", ""),
    ];
    let requests = Sample {
        value: 12.5,
        created_ms: Some(1_600_000_000_500),
        exemplar: Some(exemplar(0xAB, 1.0)),
    };
    out.sample(&labels, requests);
    out.family(family(names::OWN_SECONDS));
    let labels = [
        ("id", "cart"),
        ("kind", "service"),
        ("client", ""),
        ("server", ""),
    ];
    let exemplars = [None, Some(exemplar(0x0C, 0.75)), Some(exemplar(0xFE, 2.0))];
    out.histogram(&labels, &histogram(&exemplars));
    out.family(family(names::COLLECTOR_TABLE_BYTES));
    out.sample(&[], 4096.0.into());
    out.family(family(names::COLLECTOR_SPANS));
}
