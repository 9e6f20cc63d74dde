//! What the journal promises, mostly on the simulated disk.
//!
//! In: a disk, records, faults. Out: assertions.
//! Left out on purpose: how fast it is, see `benches/append.rs`.

mod damage;
mod directory;
mod order;
mod power;
mod space;

use bytes::Bytes;

use crate::sim::{Rng, SimDisk};
use crate::{Appended, Journal, NewRecord, OpenError, Position, ReadReport, Record, Settings};

/// Small segments, so that a few records fill several.
fn small() -> Settings {
    Settings {
        segment_bytes: 4 << 10,
        max_bytes: 1 << 20,
        ..Settings::default()
    }
}

fn open(disk: &SimDisk) -> Journal {
    open_with(disk, small()).expect("opens")
}

fn open_with(disk: &SimDisk, settings: Settings) -> Result<Journal, OpenError> {
    Journal::open(disk.storage(), settings).map(|(journal, _)| journal)
}

/// A record that says its number in every part.
fn numbered(n: u64, len: usize) -> NewRecord {
    let payload = Rng::new(n).bytes(len).into();
    NewRecord {
        time: n,
        key: Bytes::from(format!("batch-{n}")),
        payload,
    }
}

/// Appends one record of `len` bytes after the other, numbered from 1.
fn fill(journal: &Journal, lens: impl IntoIterator<Item = usize>) -> Vec<Appended> {
    let appends = (1..)
        .zip(lens)
        .map(|(n, len)| journal.append_wait(numbered(n, len)).expect("appends"));
    appends.collect()
}

fn read(journal: &Journal) -> (Vec<Record>, ReadReport) {
    let mut reader = journal.reader(Position::START);
    let records = reader
        .by_ref()
        .map(|record| record.expect("the disk works"))
        .collect();
    (records, reader.report())
}

/// The numbers of the records; panics where one is not what was appended.
fn numbers(records: &[Record]) -> Vec<u64> {
    let number = |record: &Record| {
        let original = numbered(record.time, record.payload.len());
        assert_eq!(
            (&record.key, &record.payload),
            (&original.key, &original.payload),
            "record {}",
            record.position
        );
        record.time
    };
    records.iter().map(number).collect()
}
