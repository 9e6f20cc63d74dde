//! What the ledger costs: a closing, an edge, a snapshot.
//!
//! In: nothing; traces through chains of ten services, drawn from a seed. Out: a table for ten and for a thousand services.
//! Left out on purpose: assertions, since other load on the machine moves every figure, and everything before the ledger:
//! shards assemble the traces outside of the measured time.

use std::hint::black_box;
use std::mem;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use collector::ledger::{Ledger, LedgerSettings, MapBudget};
use collector::names::{End, Node, Operation};
use collector::read::{Place, Received};
use collector::shard::{Batch, Report, Shard};
use collector::span::Span;
use collector::table::TableSettings;
use map::NodeKind;
use otlp::{Kind, StatusCode};

/// As in the binary.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Services in a chain; each trace has a SERVER and a CLIENT span of each.
const CHAIN: usize = 10;
/// Services that each service of a wide layer calls.
const CALLEES: u64 = 11;
/// Traces that come together.
const TRACES: usize = 25;
/// A batch each so many nanoseconds: 100,000 spans a second.
const EVERY: u64 = 5_000_000;
/// Batches whose closings make a report, about as many as a busy shard reports at a time.
const REPORT: usize = 64;

/// Which traces come.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Services at each place of the chain.
    layer: u64,
    /// True where the traces of a batch go through one chain, as those of a load generator do.
    alike: bool,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "10 services",
        layer: 1,
        alike: true,
    },
    Shape {
        name: "1,000 services, a batch of one chain",
        layer: 100,
        alike: true,
    },
    Shape {
        name: "1,000 services, any chain",
        layer: 100,
        alike: false,
    },
];

fn main() {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    println!(
        "{:<38} {:>7} {:>10} {:>9} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7}",
        "", "edges", "ns/closing", "ns/delta", "ns/span", "B/edge", "RSS MiB", "save ms", "MiB", "map ms"
    );
    for shape in SHAPES {
        if only
            .as_ref()
            .is_none_or(|only| shape.name.contains(only.as_str()))
        {
            measure(shape);
        }
    }
}

fn measure(shape: Shape) {
    let before = resident_mib();
    let mut load = Load::new(shape);
    let (mut ledger, mut shard) = (Ledger::new(settings()), Shard::new(0, 1, table()));
    let warm_up = if shape.layer > 1 { 4_000 } else { 400 };
    run(&mut load, &mut shard, &mut ledger, warm_up);
    let Cost {
        spans,
        deltas,
        closing,
        closings,
    } = run(&mut load, &mut shard, &mut ledger, 4_000);
    drop(shard);
    let edges = ledger.map().edges.len();
    let resident = resident_mib() - before;
    let began = clock();
    let saved = black_box(ledger.save()).len();
    let saving = clock().saturating_sub(began);
    let began = clock();
    black_box(ledger.map());
    let drawing = clock().saturating_sub(began);
    println!(
        "{:<38} {:>7} {:>10.0} {:>9.0} {:>9.1} {:>8} {:>8.0} {:>8.1} {:>7.1} {:>7.1}",
        shape.name,
        edges,
        nanos(closing) / closings as f64,
        nanos(spans) / deltas as f64,
        nanos(spans + closing) / (closings * CHAIN * 2) as f64,
        ledger.footprint() / edges,
        resident,
        nanos(saving) / 1e6,
        saved as f64 / f64::from(1 << 20),
        nanos(drawing) / 1e6,
    );
}

/// What the ledger took, for the span metrics and for the closings.
#[derive(Default)]
struct Cost {
    spans: Duration,
    deltas: usize,
    closing: Duration,
    closings: usize,
}

fn run(load: &mut Load, shard: &mut Shard, ledger: &mut Ledger, batches: usize) -> Cost {
    let mut cost = Cost::default();
    for _ in 0..batches / REPORT {
        (0..REPORT).for_each(|_| shard.take(load.batch()));
        let mut report = shard.report();
        cost.closings += report.closings.len();
        cost.deltas += report.spans.len();
        let spans = Report {
            time: report.time,
            spans: mem::take(&mut report.spans),
            ..Report::default()
        };
        let started = clock();
        black_box(ledger.take(spans));
        let between = clock();
        black_box(ledger.take(report));
        cost.spans += between.saturating_sub(started);
        cost.closing += clock().saturating_sub(between);
    }
    cost
}

fn settings() -> LedgerSettings {
    LedgerSettings::new(
        baseline::Settings {
            learn: Duration::from_secs(5),
            ..baseline::Settings::default()
        },
        MapBudget::default(),
        map::Services::new(),
    )
}

fn table() -> TableSettings {
    TableSettings {
        wait: Duration::from_millis(100),
        keep: Duration::from_millis(100),
        ..TableSettings::default()
    }
}

struct Load {
    shape: Shape,
    services: Vec<Vec<Service>>,
    now: u64,
    random: u64,
    traces: u128,
}

struct Service {
    operations: [Operation; 2],
    calls: [Operation; 2],
    as_peer: Node,
}

impl Load {
    fn new(shape: Shape) -> Self {
        let service = |place: usize, number: u64| {
            let name = format!(
                "{}-{place}-{number}",
                if shape.layer > 1 { "wide" } else { "shop" }
            );
            let node = Node::service(name.as_str().into());
            Service {
                operations: ["GET /api/v1/items/{id}", "POST /api/v1/items/{id}"]
                    .map(|name| Operation::of(Some(node), name)),
                calls: ["GET", "POST"].map(|name| Operation::of(Some(node), name)),
                as_peer: Node::of(&End {
                    id: name.as_str().into(),
                    kind: NodeKind::External,
                    address: Some(name.as_str().into()),
                }),
            }
        };
        Self {
            shape,
            services: (0..CHAIN)
                .map(|place| (0..shape.layer).map(|number| service(place, number)).collect())
                .collect(),
            now: 1_800_000_000_000_000_000,
            random: 7,
            traces: 0,
        }
    }

    fn batch(&mut self) -> Batch {
        self.now += EVERY;
        let mut spans = Vec::with_capacity(TRACES * CHAIN * 2);
        let mut chain = self.chain();
        for _ in 0..TRACES {
            if !self.shape.alike {
                chain = self.chain();
            }
            self.trace(&chain, &mut spans);
        }
        Batch {
            time: self.now,
            spans,
            ..Batch::default()
        }
    }

    /// A service of each layer, each one that the service before calls.
    fn chain(&mut self) -> [usize; CHAIN] {
        let mut at = self.draw(self.shape.layer);
        [(); CHAIN].map(|()| {
            let here = at as usize;
            at = (at * 7 + self.draw(CALLEES)) % self.shape.layer;
            here
        })
    }

    fn trace(&mut self, chain: &[usize; CHAIN], out: &mut Vec<Received>) {
        self.traces += 1;
        let trace = (self
            .traces
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
        .to_be_bytes();
        let (stretch, verb, failed) = (50 + self.draw(100), self.draw(2) as usize, self.draw(50) == 0);
        let database = Node::of(&End::new("postgresql:orders".into(), NodeKind::Database));
        for (place, &number) in chain.iter().enumerate() {
            let at = place as u64;
            let service = &self.services[place][number];
            let callee = chain
                .get(place + 1)
                .map(|next| self.services[place + 1][*next].as_peer);
            let half = |client: bool| Span {
                id: 2 * at + 1 + u64::from(client),
                parent_id: 2 * at + u64::from(client),
                operation: if client {
                    service.calls[verb]
                } else {
                    service.operations[verb]
                },
                start: self.now + (at * 1_000 + 400 * u64::from(client)) * stretch * 10,
                end: self.now + ((4 * CHAIN as u64 - at) * 1_000 - 400 * u64::from(client)) * stretch * 10,
                peer: client.then(|| callee.unwrap_or(database)),
                extra: None,
                weight: 1.0,
                kind: if client { Kind::Client } else { Kind::Server },
                status: if failed {
                    StatusCode::Error
                } else {
                    StatusCode::Unset
                },
                counted: false,
            };
            out.extend([false, true].map(|client| Received {
                trace,
                span: half(client),
                place: Place::default(),
            }));
        }
    }

    /// A number below `below` (Vigna's splitmix64).
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % below
    }
}

/// How long this thread ran, as Linux counts it, so that others on its core are not measured; elsewhere the time of day.
fn clock() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = ran.split(' ').next().and_then(|nanos| nanos.parse().ok());
    ran.map_or_else(|| BEGAN.elapsed(), Duration::from_nanos)
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// Memory that the process has from the system, as Linux counts it; 0 elsewhere.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
