//! A scrape of 10,000 edges in every format.
//!
//! In: `cargo bench -p tracemap-exposition`. Out: series, milliseconds on the processor (the best of five), bytes and
//! allocations.
//! Left out on purpose: assertions; a test holds what noise cannot move.

use std::hint::black_box;
use std::time::Duration;

use exposition::remote::{Batch, Dialect, RemoteWriteHistograms};
use exposition::{Encoder, Exemplar, Exponential, Format, Histogram, ScrapeEncoder};
use map::catalogue::{self as names, LATENCY_BUCKETS};

const EDGES: usize = 10_000;
const NOW: i64 = 1_700_000_000_000;
const COUNTERS: [&str; 7] = [
    names::REQUESTS,
    names::FAILED,
    names::JUDGED,
    names::OWN_SLOW,
    names::OWN_SLOW_EXPECTED,
    names::TOTAL_SLOW,
    names::TOTAL_SLOW_EXPECTED,
];

struct Edge {
    id: String,
    client: String,
    server: String,
    requests: f64,
    counts: Vec<f64>,
    sum: f64,
    native: Exponential,
    exemplars: Vec<Option<Exemplar>>,
}

impl Edge {
    /// Some hundred latencies around a few milliseconds, with three exemplars.
    fn new(number: usize) -> Self {
        let (client, server) = (
            format!("prod/shop/service-{}", number % 500),
            format!("prod/shop/service-{}", number / 20),
        );
        let mut edge = Self {
            id: format!("{client} -> {server}"),
            client,
            server,
            requests: 0.0,
            counts: vec![0.0; LATENCY_BUCKETS.len() + 1],
            sum: 0.0,
            native: Exponential::default(),
            exemplars: vec![None; LATENCY_BUCKETS.len() + 1],
        };
        for i in 0..200 {
            let spread = f64::from((i * 7919 + number as u32 * 31) % 1000) / 1000.0;
            let seconds = 0.002 * (spread * 5.0).exp();
            let bucket = LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
            edge.counts[bucket] += 1.0;
            edge.sum += seconds;
            edge.native.observe(seconds, 1.0);
            edge.requests += 1.0;
            if i % 67 == 0 {
                let trace_id = (number as u128 * 0x9E37_79B9_7F4A_7C15).to_be_bytes();
                let (value, unix_ms) = (seconds, NOW - i64::from(i));
                edge.exemplars[bucket] = Some(Exemplar {
                    trace_id,
                    value,
                    unix_ms,
                });
            }
        }
        edge
    }

    fn histogram(&self) -> Histogram<'_> {
        Histogram {
            bounds: LATENCY_BUCKETS,
            counts: &self.counts,
            sum: self.sum,
            native: Some(self.native.native()),
            exemplars: &self.exemplars,
            created_ms: Some(NOW - 3_600_000),
        }
    }

    fn graph(&self) -> [(&'static str, &str); 3] {
        [
            ("client", &self.client),
            ("server", &self.server),
            ("connection_type", ""),
        ]
    }

    fn entity(&self) -> [(&'static str, &str); 4] {
        [
            ("id", &self.id),
            ("kind", "edge"),
            ("client", &self.client),
            ("server", &self.server),
        ]
    }
}

/// Everything that the collector says of an edge: ten numbers and four histograms.
fn scrape(edges: &[Edge], out: &mut dyn Encoder) {
    let family = |name: &str, out: &mut dyn Encoder| {
        out.family(names::find(name).expect("the name is the catalogue's"));
    };
    for name in [names::EDGE_REQUESTS, names::EDGE_FAILED] {
        family(name, out);
        for edge in edges {
            out.sample(&edge.graph(), edge.requests.into());
        }
    }
    for name in [names::EDGE_SERVER_SECONDS, names::EDGE_CLIENT_SECONDS] {
        family(name, out);
        for edge in edges {
            out.histogram(&edge.graph(), &edge.histogram());
        }
    }
    for name in COUNTERS {
        family(name, out);
        for edge in edges {
            out.sample(&edge.entity(), edge.requests.into());
        }
    }
    for name in [names::OWN_SECONDS, names::TOTAL_SECONDS] {
        family(name, out);
        for edge in edges {
            out.histogram(&edge.entity(), &edge.histogram());
        }
    }
    family(names::EDGE_INFO, out);
    for edge in edges {
        out.sample(&edge.entity(), 1.0.into());
    }
}

/// How long this thread was on a processor; a machine that others use too does not change it much.
/// Source: Linux, `Documentation/scheduler/sched-stats`, `/proc/PID/schedstat`.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.expect("the first number is nanoseconds"))
}

/// Runs it five times and tells the best.
fn measure(what: &str, mut run: impl FnMut() -> usize) {
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..5 {
        let began = on_processor();
        bytes = black_box(run());
        best = best.min(on_processor().saturating_sub(began));
    }
    let allocations = allocation_counter::measure(|| bytes = black_box(run())).count_total;
    let ms = best.as_secs_f64() * 1000.0;
    println!("{what:<32} {ms:>9.1} ms {bytes:>12} bytes {allocations:>9} allocations");
}

fn main() {
    let edges: Vec<Edge> = (0..EDGES).map(Edge::new).collect();
    println!(
        "{EDGES} edges: 10 numbers and 4 histograms each, {} classic series",
        EDGES * (10 + 4 * 30)
    );
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        measure(&format!("{format:?}"), || {
            let mut out = ScrapeEncoder::new(format);
            scrape(&edges, &mut out);
            out.finish().len()
        });
    }
    let batch = || {
        let mut batch = Batch::new(NOW, &[("cluster".into(), "one".into())]);
        scrape(&edges, &mut batch);
        batch
    };
    measure("remote write: the batch", || batch().bytes());
    let batch = batch();
    for dialect in [Dialect::V1, Dialect::V2] {
        for histograms in [RemoteWriteHistograms::Classic, RemoteWriteHistograms::Native] {
            measure(&format!("remote write: {dialect:?} {histograms:?}"), || {
                batch.bodies(dialect, histograms, 2000).iter().map(Vec::len).sum()
            });
            let bodies = batch.bodies(dialect, histograms, 2000);
            measure("  and snappy", || {
                let mut snappy = snap::raw::Encoder::new();
                bodies
                    .iter()
                    .map(|body| snappy.compress_vec(body).map_or(0, |body| body.len()))
                    .sum()
            });
        }
    }
}
