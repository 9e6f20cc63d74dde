//! What the store costs: `cargo bench -p tracemap-store --bench store -- 1000000`.
//!
//! In: how many spans, and what else the command line says. Out: one line for each figure.
//! Left out on purpose: a verdict. The figures go into ARCHITECTURE.md with the machine they were taken on.
//!
//! Arguments, in any order: a number of spans (default 100,000), `block=KIB`, `level=N`, `head=MIB`, `dir=PATH`,
//! `segments=N` (sealed so often, as by a clock), `merge` (merges them and asks again), `keep` (leaves the files
//! there), `fjall` (the other engine; needs the feature `trial-fjall`).

#[path = "store/shape.rs"]
mod shape;
#[path = "store/usage.rs"]
mod usage;
#[cfg(feature = "trial-fjall")]
#[path = "store/with_fjall.rs"]
mod with_fjall;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use store::{
    Condition, Field, Filter, Fragment, Literal, Op, Scope, Search, StoreSettings, TimeRange, TraceStore,
};
use usage::{Latencies, Usage};

/// The command line.
struct Arguments {
    spans: u64,
    settings: StoreSettings,
    dir: Option<PathBuf>,
    keep: bool,
    fjall: bool,
    segments: Option<u64>,
    merge: bool,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut read = Arguments {
        spans: 100_000,
        settings: StoreSettings::default(),
        dir: None,
        keep: false,
        fjall: false,
        segments: None,
        merge: false,
    };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("block", kib)) => read.settings.block_bytes = kib.parse::<usize>()? << 10,
            Some(("head", mib)) => read.settings.head_bytes = mib.parse::<usize>()? << 20,
            Some(("level", level)) => read.settings.compression = level.parse()?,
            Some(("dir", dir)) => read.dir = Some(dir.into()),
            Some(("segments", count)) => read.segments = Some(count.parse()?),
            None if argument == "merge" => read.merge = true,
            None if argument == "keep" => read.keep = true,
            None if argument == "fjall" => read.fjall = true,
            // Cargo says so to every benchmark.
            None if argument == "--bench" => {}
            _ => read.spans = argument.parse()?,
        }
    }
    Ok(read)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let made = tempfile::tempdir()?;
    // Below it, because the whole directory is removed at the end.
    let dir = arguments
        .dir
        .as_deref()
        .unwrap_or(made.path())
        .join("store-bench");
    std::fs::create_dir_all(&dir)?;
    generation(arguments.spans);
    if arguments.fjall {
        fjall(arguments.spans, &dir)?;
    } else {
        own(&arguments, &dir)?;
    }
    if !arguments.keep {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

#[cfg(feature = "trial-fjall")]
fn fjall(spans: u64, dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    with_fjall::run(spans, dir)
}

#[cfg(not(feature = "trial-fjall"))]
fn fjall(_: u64, _: &std::path::Path) -> Result<(), Box<dyn Error>> {
    Err("`fjall` needs the feature `trial-fjall`".into())
}

/// What making the spans costs alone, to be subtracted from what follows.
fn generation(spans: u64) {
    let before = Usage::now();
    let traces = (spans / shape::SPANS).min(20_000);
    let bytes: usize = (0..traces).map(|trace| shape::trace(trace).1.len()).sum();
    let used = Usage::now().since(before);
    let made = traces * shape::SPANS;
    println!(
        "generator: {:.0} B/span, {:.2} CPU-s per million spans (subtract from ingest)",
        bytes as f64 / made as f64,
        used.cpu_seconds() * 1e6 / made as f64
    );
}

fn own(arguments: &Arguments, dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let store = TraceStore::open(dir, arguments.settings.clone(), None)?;
    let traces = arguments.spans / shape::SPANS;
    let spans = traces * shape::SPANS;
    let (before, start) = (Usage::now(), Instant::now());
    let mut puts = Latencies::default();
    let seal_every = arguments.segments.map(|count| (traces / count.max(1)).max(1));
    for trace in 0..traces {
        if seal_every.is_some_and(|every| trace > 0 && trace % every == 0) {
            store.seal()?;
        }
        let (trace_id, data) = shape::trace(trace);
        puts.measure(|| {
            store.put(Fragment {
                trace_id,
                data: data.into(),
            })
        })?;
    }
    println!("with a full head: {}", usage::memory());
    store.seal()?;
    let (used, seconds) = (Usage::now().since(before), start.elapsed().as_secs_f64());
    println!(
        "ingest: {spans} spans, {:.0} spans/s, {:.2} CPU-s per million spans",
        spans as f64 / seconds,
        used.cpu_seconds() * 1e6 / spans as f64
    );
    puts.print("put");
    let stats = store.stats();
    println!(
        "disk: {:.1} B/span in {} segments; index in memory: {:.2} B/span; waits: {}",
        stats.disk_bytes as f64 / spans as f64,
        stats.segments,
        stats.index_bytes as f64 / spans as f64,
        stats.waits
    );
    drop(store);
    let start = Instant::now();
    let store = TraceStore::open(dir, arguments.settings.clone(), None)?;
    println!(
        "open: {:.1} ms; {}",
        start.elapsed().as_secs_f64() * 1e3,
        usage::memory()
    );
    if arguments.merge {
        questions(&store, traces, "before merging, ")?;
        merge(&store, spans)?;
    }
    questions(&store, traces, "")?;
    println!("at the end: {}", usage::memory());
    Ok(())
}

/// All that there is to merge once every window is over.
fn merge(store: &TraceStore, spans: u64) -> Result<(), Box<dyn Error>> {
    let earlier = store.stats();
    let (before, start) = (Usage::now(), Instant::now());
    let mut calls = Latencies::default();
    while calls.measure(|| store.maintain(u64::MAX, None))?.more {}
    let (used, seconds) = (Usage::now().since(before), start.elapsed().as_secs_f64());
    let stats = store.stats();
    println!(
        "merging: {} segments became {}; {:.0} spans/s, {:.2} CPU-s per million spans; each byte was written {:.2} times more",
        earlier.segments,
        stats.segments,
        spans as f64 / seconds,
        used.cpu_seconds() * 1e6 / spans as f64,
        stats.merged_bytes as f64 / earlier.disk_bytes as f64
    );
    println!(
        "merged: {:.1} B/span on disk; index in memory: {:.2} B/span; {}",
        stats.disk_bytes as f64 / spans as f64,
        stats.index_bytes as f64 / spans as f64,
        usage::memory()
    );
    calls.print("merging, one call");
    Ok(())
}

fn questions(store: &TraceStore, traces: u64, when: &str) -> Result<(), Box<dyn Error>> {
    let mut by_id = Latencies::default();
    for asked in 0..2_000 {
        let trace = shape::mixed(asked) % traces;
        let found = by_id.measure(|| store.trace(shape::trace_id(trace)))?;
        assert!(found.is_some(), "trace {trace} is stored");
    }
    by_id.print(&format!("{when}trace by id"));
    let mut absent = Latencies::default();
    for asked in 0..2_000 {
        let found = absent.measure(|| store.trace(shape::trace_id(traces + asked)))?;
        assert!(found.is_none(), "trace {} was never put", traces + asked);
    }
    absent.print(&format!("{when}trace by id, absent"));
    for (name, ask) in searches() {
        let mut latencies = Latencies::default();
        let (mut hits, mut complete) = (0, true);
        for asked in 0..60 {
            let search = ask(shape::mixed(1_000 + asked), traces);
            let found = latencies.measure(|| store.search(&search))?;
            hits += found.traces.len();
            complete &= found.complete;
        }
        latencies.print(&format!(
            "{when}search {name} ({:.1} hits, complete: {complete})",
            hits as f64 / 60.0
        ));
    }
    let mut names = Latencies::default();
    for _ in 0..10 {
        names.measure(|| store.services());
        names.measure(|| store.operations("cart"));
        names.measure(|| store.tags(None, TimeRange::ALL));
        names.measure(|| store.tag_values(&attribute(Scope::Span, "http.method"), TimeRange::ALL, 100));
    }
    names.print(&format!("{when}services, operations, tags, values"));
    Ok(())
}

type Ask = fn(u64, u64) -> Search;

fn searches() -> [(&'static str, Ask); 11] {
    [
        ("by service and operation", |random, _| {
            let service = is_service((random % 10) as usize);
            let name = compare(
                Field::Name,
                Op::Eq,
                Literal::Str(shape::operation((random % 10) as usize, random)),
            );
            spans(Condition::And(vec![service, name]))
        }),
        ("by a service and operation that never met", |random, _| {
            let name = compare(Field::Name, Op::Eq, Literal::Str("SELECT orders".to_owned()));
            spans(Condition::And(vec![is_service((random % 9) as usize), name]))
        }),
        ("by a rare tag value", |random, traces| {
            let path = format!("/api/v1/items/{}", shape::mixed(random % traces) % 100_000_000);
            spans(compare(
                attribute(Scope::Span, "url.path"),
                Op::Eq,
                Literal::Str(path),
            ))
        }),
        ("by a tag value that nobody has", |random, _| {
            let order = Literal::Str(format!("o-{random}"));
            spans(compare(attribute(Scope::Span, "order.id"), Op::Eq, order))
        }),
        ("by a common tag", |_, _| {
            spans(compare(
                attribute(Scope::Span, "app.cache.hit"),
                Op::Eq,
                Literal::Bool(true),
            ))
        }),
        ("by an old name of a tag, unscoped", |_, _| {
            let field = Field::Attribute {
                scope: None,
                key: "http.status_code".to_owned(),
            };
            spans(compare(field, Op::Eq, Literal::Int(503)))
        }),
        ("by duration over 300 ms", |_, _| Search {
            min_duration: Some(300_000_000),
            ..Search::default()
        }),
        ("by service and duration over 300 ms", |random, _| {
            let long = compare(Field::Duration, Op::Gt, Literal::Duration(300_000_000));
            spans(Condition::And(vec![is_service((random % 10) as usize), long]))
        }),
        ("by duration over an hour, none", |_, _| Search {
            min_duration: Some(3_600_000_000_000),
            ..Search::default()
        }),
        ("by error", |_, _| {
            spans(compare(
                Field::Status,
                Op::Eq,
                Literal::Status(otlp::StatusCode::Error),
            ))
        }),
        ("by error, service and a minute", |random, traces| {
            let error = compare(Field::Status, Op::Eq, Literal::Status(otlp::StatusCode::Error));
            let start = shape::start(random % traces);
            Search {
                range: TimeRange {
                    start,
                    end: start + 60_000_000_000,
                },
                ..spans(Condition::And(vec![is_service(3), error]))
            }
        }),
    ]
}

fn spans(condition: Condition) -> Search {
    Search {
        filter: Filter::Spans(condition),
        ..Search::default()
    }
}

fn is_service(service: usize) -> Condition {
    let name = Literal::Str(shape::service_name(service).to_owned());
    compare(attribute(Scope::Resource, "service.name"), Op::Eq, name)
}

fn attribute(scope: Scope, key: &str) -> Field {
    Field::Attribute {
        scope: Some(scope),
        key: key.to_owned(),
    }
}

fn compare(field: Field, op: Op, value: Literal) -> Condition {
    Condition::Compare { field, op, value }
}
