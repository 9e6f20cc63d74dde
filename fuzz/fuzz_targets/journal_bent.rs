//! Damage to a journal's files: records that it did not touch come back, what it took is counted, and nothing is
//! invented.
//!
//! In: changes to the files of a whole journal. Out: a panic where a record is missing that was not touched, is not what
//! was appended, or is gone without being counted.
//! Left out on purpose: numbers that no journal writes, which `journal_forged` has; and which records survive where a part of
//! a segment was written over another part of it: a record that came too early hides those before it.

#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use fuzz::bend::{Change, Touched};
use fuzz::log::{Fields, Segment, disk, name, read, settings};
use journal::{Journal, NewRecord};

/// Lengths of payloads, by segment.
const PAYLOADS: [&[usize]; 4] = [&[0, 1, 300, 64, 900], &[5_000], &[36, 35, 37, 200, 0], &[7, 7, 7]];
const KEY: &[u8] = b"key";
/// Bytes of a segment's header, and of one of its two copies.
const HEADER: usize = 128;

struct Place {
    file: usize,
    bytes: std::ops::Range<usize>,
    payload: Vec<u8>,
}

struct Base {
    files: Vec<Vec<u8>>,
    /// The record with number `n` stands at `n - 1`.
    places: Vec<Place>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let (mut files, mut places) = (Vec::new(), Vec::new());
    for (file, payloads) in PAYLOADS.iter().enumerate() {
        let first = places.len() as u64 + 1;
        let mut segment = Segment::new(0, file as u64 + 1, first, 0x1234_5678 + file as u32);
        for length in *payloads {
            let sequence = places.len() as u64 + 1;
            let payload: Vec<u8> = (0..*length).map(|at| (at as u64 * 7 + sequence) as u8).collect();
            let from = segment.bytes.len();
            segment.push(&Fields {
                sequence,
                time: sequence,
                payload_len: *length as u32,
                key_len: KEY.len() as u8,
                body: &[&payload, KEY].concat(),
                body_fits: true,
            });
            places.push(Place {
                file,
                bytes: from..segment.bytes.len(),
                payload,
            });
        }
        files.push(segment.bytes);
    }
    Base { files, places }
});

fn overlaps(touched: &Touched, file: usize, bytes: &std::ops::Range<usize>) -> bool {
    touched.file == file && touched.bytes.start < bytes.end && bytes.start < touched.bytes.end
}

/// Whether the changes can have taken both copies of a segment's header.
fn headless(touched: &[Touched], file: usize) -> bool {
    let hit = |copy: std::ops::Range<usize>| touched.iter().any(|change| overlaps(change, file, &copy));
    hit(0..HEADER / 2) && hit(HEADER / 2..HEADER)
}

libfuzzer_sys::fuzz_target!(|changes: Vec<Change<'_>>| {
    let mut files = BASE.files.clone();
    let touched: Vec<Touched> = changes
        .iter()
        .take(6)
        .filter_map(|change| change.apply(&mut files))
        .collect();
    let whole = (0..files.len()).all(|file| !headless(&touched, file));
    let hit: BTreeSet<u64> = (1..)
        .zip(&BASE.places)
        .filter(|(_, place)| {
            let lost = |change: &Touched| {
                overlaps(change, place.file, &place.bytes) || change.moved && change.file == place.file
            };
            headless(&touched, place.file) || touched.iter().any(lost)
        })
        .map(|(sequence, _)| sequence)
        .collect();

    let (_disk, storage) = disk((1..).map(name).zip(files));
    let (journal, recovered) =
        Journal::open(storage, settings()).expect("damage is no reason to refuse a journal");
    let (records, report) = read(&journal);
    for record in &records {
        let place = (record.sequence as usize)
            .checked_sub(1)
            .and_then(|at| BASE.places.get(at))
            .unwrap_or_else(|| panic!("record {} was never appended", record.sequence));
        assert_eq!(record.payload, place.payload, "record {}", record.sequence);
        assert_eq!((&record.key[..], record.time), (KEY, record.sequence));
        assert_eq!(
            journal.read_at(record.position).expect("it was just read"),
            *record
        );
    }
    let found: Vec<u64> = records.iter().map(|record| record.sequence).collect();
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    let missing: BTreeSet<u64> = (1..=BASE.places.len() as u64)
        .filter(|sequence| !found.contains(sequence))
        .collect();
    assert!(
        missing.is_subset(&hit),
        "{missing:?} missing, {hit:?} hit by {touched:?}"
    );
    if whole {
        // The last segment's header says where its records begin, whether any is left or not.
        let begins = (1..)
            .zip(&BASE.places)
            .find(|(_, place)| place.file + 1 == PAYLOADS.len());
        let last = found
            .last()
            .copied()
            .max(begins.map(|(sequence, _)| sequence))
            .unwrap_or(0);
        let counted = missing.iter().filter(|sequence| **sequence < last).count() as u64;
        assert_eq!(
            report.damaged_records + report.removed_records,
            counted,
            "{missing:?} missing: {report:?} {recovered:?} {touched:?}"
        );
    }

    let next = journal
        .append_wait(NewRecord::default())
        .expect("a journal with damage takes new records");
    assert!(found.last().is_none_or(|last| next.sequence > *last));
    let (after, _) = read(&journal);
    assert_eq!(after.len(), records.len() + 1);
    assert_eq!(after.last().map(|record| record.position), Some(next.position));
});
