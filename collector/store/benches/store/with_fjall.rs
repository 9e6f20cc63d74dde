//! The same traces through fjall, the engine that was considered.
//!
//! In: a number of spans, a directory. Out: the figures of ingest and of traces by their ids.
//! Left out on purpose: searches. fjall has keys only; an index for searches would come on top.

use crate::shape;
use crate::usage::{self, Latencies, Usage};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Traces between two syncs: about as many as one of our segments has.
const SYNC_EVERY: u64 = 10_000;

pub(crate) fn run(spans: u64, dir: &Path) -> Result<(), Box<dyn Error>> {
    let traces = spans / shape::SPANS;
    let spans = traces * shape::SPANS;
    let database = Database::builder(dir).open()?;
    let keyspace = database.keyspace("traces", KeyspaceCreateOptions::default)?;
    let (before, start) = (Usage::now(), Instant::now());
    for trace in 0..traces {
        let (id, data) = shape::trace(trace);
        keyspace.insert(id, data)?;
        if trace % SYNC_EVERY == SYNC_EVERY - 1 {
            database.persist(PersistMode::SyncAll)?;
        }
    }
    database.persist(PersistMode::SyncAll)?;
    let (used, seconds) = (Usage::now().since(before), start.elapsed().as_secs_f64());
    println!(
        "fjall ingest: {spans} spans, {:.0} spans/s, {:.2} CPU-s per million spans; {}",
        spans as f64 / seconds,
        used.cpu_seconds() * 1e6 / spans as f64,
        usage::memory()
    );
    println!("fjall disk: {:.1} B/span", bytes_of(dir)? as f64 / spans as f64);
    let mut by_id = Latencies::default();
    for asked in 0..2_000 {
        let trace = shape::mixed(asked) % traces;
        let found = by_id.measure(|| keyspace.get(shape::trace_id(trace)))?;
        assert!(found.is_some(), "trace {trace} is stored");
    }
    by_id.print("fjall trace by id");
    let mut absent = Latencies::default();
    for asked in 0..2_000 {
        absent.measure(|| keyspace.get(shape::trace_id(traces + asked)))?;
    }
    absent.print("fjall trace by id, absent");
    Ok(())
}

fn bytes_of(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            bytes_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
