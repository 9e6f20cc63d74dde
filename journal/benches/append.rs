//! What the journal costs beside the bare file operations.
//!
//! In: nothing; files in a temporary directory (`TMPDIR` chooses the disk). Out: a table.
//! Left out on purpose: assertions. Other load on the disk moves every figure, so each stands beside the bare loop
//! that was run in turn with it, and the ratio is what counts.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::{Durability, Journal, NewRecord, Position, Settings};

const LARGE: usize = 275_000;
const SMALL: usize = 2_000;
const ROUNDS: usize = 3;
const BARE: usize = 200;

fn main() {
    println!(
        "{:<58} {:>10} {:>9} {:>9} {:>9}",
        "", "records/s", "MB/s", "CPU us", "ratio"
    );
    pair("275 KB, sync, one at a time", LARGE, 100, Durability::Sync, 1, 1);
    pair(
        "275 KB, sync, 4 threads, 4 in flight each",
        LARGE,
        400,
        Durability::Sync,
        4,
        4,
    );
    pair(
        "275 KB, write only, one at a time",
        LARGE,
        200,
        Durability::Write,
        1,
        1,
    );
    pair(
        "275 KB, write only, 4 threads, 4 in flight each",
        LARGE,
        200,
        Durability::Write,
        4,
        4,
    );
    pair("2 KB, sync, one at a time", SMALL, 200, Durability::Sync, 1, 1);
    pair(
        "2 KB, sync, 8 threads, 1 in flight each",
        SMALL,
        1600,
        Durability::Sync,
        8,
        1,
    );
    pair(
        "2 KB, sync, 8 threads, 32 in flight each",
        SMALL,
        25_600,
        Durability::Sync,
        8,
        32,
    );
    reading();
}

/// Wall and processor time of one run, for each record.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// The journal and the bare loop in turns; the median of each. The bare loop runs on fewer records where they are many.
fn pair(what: &str, len: usize, count: usize, durability: Durability, threads: usize, in_flight: usize) {
    let payload = payload(len);
    let mut journal = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..ROUNDS {
        bare.push(in_directory(|path| {
            bare_loop(path, &payload, count.min(BARE), durability)
        }));
        journal.push(in_directory(|path| {
            appending(path, &payload, count, durability, threads, in_flight)
        }));
    }
    let (journal, bare) = (median(journal), median(bare));
    let ratio = journal.wall.as_secs_f64() / bare.wall.as_secs_f64();
    row(what, len, journal, &format!("{ratio:.2}"));
    row("    bare loop, one by one", len, bare, "");
}

fn row(what: &str, len: usize, cost: Cost, ratio: &str) {
    let per_second = 1.0 / cost.wall.as_secs_f64();
    let megabytes = per_second * len as f64 / 1e6;
    let cpu = cost.cpu.as_secs_f64() * 1e6;
    println!("{what:<58} {per_second:>10.0} {megabytes:>9.1} {cpu:>9.1} {ratio:>9}");
}

fn bare_loop(path: &Path, payload: &Bytes, count: usize, durability: Durability) -> Cost {
    let mut file = File::create(path.join("bare")).expect("creates");
    measured(count, || {
        for _ in 0..count {
            file.write_all(payload).expect("writes");
            if durability == Durability::Sync {
                file.sync_data().expect("syncs");
            }
        }
    })
}

fn appending(
    path: &Path,
    payload: &Bytes,
    count: usize,
    durability: Durability,
    threads: usize,
    in_flight: usize,
) -> Cost {
    let journal = open(path, durability);
    let cost = measured(count, || {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| keep_in_flight(&journal, payload, count / threads, in_flight));
            }
        });
    });
    assert_eq!(journal.stats().appended_records, count as u64);
    cost
}

fn keep_in_flight(journal: &Journal, payload: &Bytes, count: usize, in_flight: usize) {
    let (done, completed) = mpsc::channel();
    for n in 0..count {
        if n >= in_flight {
            completed.recv().expect("completes");
        }
        let record = NewRecord {
            time: n as u64,
            key: Bytes::from_static(b"agent-7/123456"),
            payload: payload.clone(),
        };
        let done = done.clone();
        let completion = move |result: Result<_, _>| done.send(result.expect("appends")).expect("waits");
        journal.append(record, completion).expect("queued");
    }
    drop(done);
    completed.iter().for_each(drop);
}

fn reading() {
    let payload = payload(LARGE);
    let count = 800;
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path(), Durability::Write);
    keep_in_flight(&journal, &payload, count, 8);
    let positions: Vec<Position> = journal
        .reader(Position::START)
        .map(|r| r.expect("reads").position)
        .collect();
    let cost = measured(count, || {
        assert_eq!(journal.reader(Position::START).count(), count);
    });
    row(
        "275 KB, replay from the page cache, checksums verified",
        LARGE,
        cost,
        "",
    );
    let ranges = 100_000;
    let cost = measured(ranges, || {
        for n in 0..ranges {
            journal
                .read_range(positions[n * 7 % count], n % (LARGE - 600), 557)
                .expect("reads");
        }
    });
    row("557 B ranges out of 275 KB records", 557, cost, "");
}

fn open(path: &Path, durability: Durability) -> Journal {
    let settings = Settings {
        durability,
        ..Settings::default()
    };
    Journal::open_directory(path, settings).expect("opens").0
}

fn in_directory(run: impl FnOnce(&Path) -> Cost) -> Cost {
    let directory = tempfile::tempdir().expect("a directory");
    run(directory.path())
}

fn measured(count: usize, run: impl FnOnce()) -> Cost {
    let (begin, cpu) = (Instant::now(), cpu_time());
    run();
    let (wall, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    Cost {
        wall: wall / count as u32,
        cpu: cpu / count as u32,
    }
}

/// User and system time of this process, to 10 ms: fields 14 and 15 of `/proc/self/stat`, in ticks.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    costs[costs.len() / 2]
}

/// Bytes that do not repeat, so that no layer below can make them fewer.
fn payload(len: usize) -> Bytes {
    let mut state = 0x9E37_79B9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<u8>>().into()
}
