//! Scrapes for the tests: a few services with known latencies.
//!
//! In: names. Out: calls of an encoder.
//! Left out on purpose: the collector.

use exposition::{Encoder, Exemplar, Exponential, Histogram};
use map::catalogue::{self as names, LATENCY_BUCKETS, Series};

/// The family of this name.
pub(crate) fn family(name: &str) -> &'static Series {
    names::find(name).expect("tests name series of the catalogue")
}

/// A service whose requests took 1 ms, 2 ms, … 1 s.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) id: &'static str,
    counts: Vec<f64>,
    sum: f64,
    native: Exponential,
    exemplars: Vec<Option<Exemplar>>,
}

/// How many requests each service has.
pub(crate) const REQUESTS: u32 = 1000;

impl Service {
    /// Each request stands for `weight`. The one of 250 ms is the exemplar.
    pub(crate) fn new(id: &'static str, weight: f64, trace_id: [u8; 16], unix_ms: i64) -> Self {
        let mut service = Self {
            id,
            counts: vec![0.0; LATENCY_BUCKETS.len() + 1],
            sum: 0.0,
            native: Exponential::default(),
            exemplars: vec![None; LATENCY_BUCKETS.len() + 1],
        };
        for ms in 1..=REQUESTS {
            let seconds = f64::from(ms) / 1000.0;
            let bucket = LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
            service.counts[bucket] += weight;
            service.sum += seconds * weight;
            service.native.observe(seconds, weight);
            if ms == 250 {
                service.exemplars[bucket] = Some(Exemplar {
                    trace_id,
                    value: seconds,
                    unix_ms,
                });
            }
        }
        service
    }

    /// Its latencies.
    pub(crate) fn histogram(&self) -> Histogram<'_> {
        Histogram {
            bounds: LATENCY_BUCKETS,
            counts: &self.counts,
            sum: self.sum,
            native: Some(self.native.native()),
            exemplars: &self.exemplars,
            created_ms: Some(1_600_000_000_000),
        }
    }
}

/// Requests and own seconds of each service.
pub(crate) fn write(services: &[Service], out: &mut dyn Encoder) {
    out.family(family(names::REQUESTS));
    for service in services {
        out.sample(&labels(service), histogram_count(service).into());
    }
    out.family(family(names::OWN_SECONDS));
    for service in services {
        out.histogram(&labels(service), &service.histogram());
    }
}

fn labels(service: &Service) -> [(&'static str, &str); 4] {
    [
        ("id", service.id),
        ("kind", "service"),
        ("client", ""),
        ("server", ""),
    ]
}

fn histogram_count(service: &Service) -> f64 {
    service.counts.iter().sum()
}
