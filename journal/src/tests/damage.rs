//! Bytes that changed behind the journal's back.
//!
//! In: whole journals, and what is done to their files. Out: which records are still given, and what is counted.
//! Left out on purpose: faults while writing, see `power` and `space`.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

use super::{fill, numbered, numbers, open, open_with, read, small};
use crate::format::{MARKER, RecordHeader, SegmentHeader, SegmentStart, segment_name};
use crate::sim::{Rng, SimDisk};
use crate::{Appended, Journal, NewRecord, OpenError, ReadError, Settings};

/// A closed journal of several segments.
fn filled(seed: u64) -> (SimDisk, Vec<Appended>, Rng) {
    let disk = SimDisk::new(seed);
    let mut rng = Rng::new(seed);
    let lens: Vec<usize> = (0..30).map(|_| rng.below(900) as usize).collect();
    let appended = fill(&open(&disk), lens);
    (disk, appended, rng)
}

/// Numbers of the records that have a byte in this part of the segment.
fn records_in(appended: &[Appended], segment: u64, bytes: &Range<usize>) -> BTreeSet<u64> {
    let overlaps = |a: &&Appended| {
        a.position.segment == segment
            && (a.position.offset as usize) < bytes.end
            && bytes.start < a.end.offset as usize
    };
    appended.iter().filter(overlaps).map(|a| a.sequence).collect()
}

/// Opens and reads the journal: exactly the records in `hit` may be missing, and those before the last one that is
/// there are counted.
fn check(disk: &SimDisk, count: u64, hit: &BTreeSet<u64>, what: &str) {
    let (journal, recovered) = Journal::open(disk.storage(), small()).expect(what);
    let (records, report) = read(&journal);
    let found = numbers(&records);
    assert!(found.is_sorted_by(|a, b| a < b), "{what}: {found:?}");
    let missing: BTreeSet<u64> = (1..=count).filter(|n| !found.contains(n)).collect();
    assert!(missing.is_subset(hit), "{what}: {missing:?} missing, {hit:?} hit");
    let counted = missing.iter().filter(|n| Some(*n) < found.last()).count() as u64;
    assert_eq!(
        report.damaged_records, counted,
        "{what}: {missing:?} missing, {report:?}, {recovered:?}"
    );
    let tail_is_missing = missing.last() > found.last();
    assert!(
        !tail_is_missing || recovered.torn_bytes > 0,
        "{what}: {recovered:?}"
    );
    assert!(
        missing.is_empty() || report.damaged_bytes + recovered.torn_bytes > 0,
        "{what}: {report:?}"
    );
}

#[test]
fn one_flipped_bit_costs_at_most_the_record_it_is_in_and_is_counted() {
    for seed in 0..300 {
        let (disk, appended, mut rng) = filled(seed);
        let segment = 1 + rng.below(appended[29].position.segment);
        let name = segment_name(segment);
        let byte = rng.below(disk.content(&name).len() as u64) as usize;
        disk.edit(&name, |content| content[byte] ^= 1 << rng.below(8));
        let hit = records_in(&appended, segment, &(byte..byte + 1));
        check(
            &disk,
            30,
            &hit,
            &format!("seed {seed}, byte {byte} of segment {segment}"),
        );
    }
}

#[test]
fn overwritten_blocks_cost_at_most_the_records_they_touch() {
    for seed in 0..300 {
        let (disk, appended, mut rng) = filled(seed);
        let segment = 1 + rng.below(appended[29].position.segment);
        let name = segment_name(segment);
        let length = disk.content(&name).len();
        let start = 128 + rng.below(length as u64 - 128) as usize;
        let end = length.min(start + 1 + rng.below(1500) as usize);
        let garbage = if rng.one_in(2) {
            rng.bytes(end - start)
        } else {
            vec![0; end - start]
        };
        disk.edit(&name, |content| content[start..end].copy_from_slice(&garbage));
        let hit = records_in(&appended, segment, &(start..end));
        check(
            &disk,
            30,
            &hit,
            &format!("seed {seed}, bytes {start}..{end} of segment {segment}"),
        );
    }
}

#[test]
fn a_segment_cut_short_anywhere_costs_at_most_what_was_cut() {
    for seed in 0..200 {
        let (disk, appended, mut rng) = filled(seed);
        let segment = 1 + rng.below(appended[29].position.segment);
        let name = segment_name(segment);
        let length = rng.below(disk.content(&name).len() as u64) as usize;
        disk.edit(&name, |content| content.truncate(length));
        let hit = if length < 64 {
            0..usize::MAX
        } else {
            length..usize::MAX
        };
        let hit = records_in(&appended, segment, &hit);
        let (journal, recovered) = Journal::open(disk.storage(), small()).expect("opens");
        let found = numbers(&read(&journal).0);
        let missing: BTreeSet<u64> = (1..=30).filter(|n| !found.contains(n)).collect();
        assert_eq!(
            missing, hit,
            "seed {seed}, segment {segment} cut to {length}, {recovered:?}"
        );
    }
}

#[test]
fn a_tail_of_zeros_or_garbage_is_cut_off_and_the_journal_goes_on() {
    for seed in 0..100 {
        let (disk, appended, mut rng) = filled(seed);
        let name = segment_name(appended[29].position.segment);
        let len = 1 + rng.below(5000) as usize;
        let tail = if rng.one_in(2) {
            rng.bytes(len)
        } else {
            vec![0; len]
        };
        disk.edit(&name, |content| content.extend(&tail));
        let (journal, recovered) = Journal::open(disk.storage(), small()).expect("opens");
        assert_eq!(
            (recovered.torn_bytes, recovered.next_sequence),
            (len as u64, 31),
            "seed {seed}"
        );
        assert_eq!(recovered.end, appended[29].end);
        journal.append_wait(numbered(31, 5)).expect("appends");
        drop(journal);
        check(&disk, 31, &BTreeSet::new(), &format!("seed {seed}"));
    }
}

#[test]
fn a_payload_that_contains_records_is_never_taken_apart() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    fill(&journal, [300, 300, 300]);
    drop(journal);
    // A sender who saw the files hands in a piece of them, with the marker all over it.
    let mut forged = disk.content(&segment_name(1));
    forged.extend(MARKER.repeat(50));
    let journal = open(&disk);
    let payload = Bytes::from(forged);
    let carrier = journal
        .append_wait(NewRecord {
            payload,
            ..NewRecord::default()
        })
        .expect("appends");
    journal.append_wait(numbered(5, 5)).expect("appends");
    drop(journal);
    // Its header is lost, so the reader has to search through it.
    let name = segment_name(carrier.position.segment);
    disk.edit(&name, |content| {
        content[carrier.position.offset as usize + 9] ^= 1;
    });
    let (records, report) = read(&open(&disk));
    assert_eq!(numbers(&records), [1, 2, 3, 5]);
    assert_eq!(report.damaged_records, 1);
    assert_eq!(
        report.damaged_bytes,
        u64::from(carrier.end.offset - carrier.position.offset)
    );
}

/// The journal's four records of one length, with the bytes of one in place of another.
fn with_copied(from: usize, to: usize) -> SimDisk {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let appended = fill(&journal, [100; 4]);
    let at = |n: usize| appended[n - 1].position.offset as usize..appended[n - 1].end.offset as usize;
    disk.edit(&segment_name(1), |content| {
        content.copy_within(at(from), at(to).start);
    });
    disk
}

#[test]
fn a_record_with_the_right_checksum_and_an_impossible_number_is_not_given() {
    let (records, _) = read(&open(&with_copied(2, 4)));
    assert_eq!(numbers(&records), [1, 2, 3]);
    let (records, report) = read(&open(&with_copied(4, 2)));
    assert_eq!(numbers(&records), [1, 3, 4]);
    assert_eq!((report.damaged_records, report.damaged_bytes), (1, 36 + 100 + 7));
}

#[test]
fn the_next_record_is_found_wherever_the_window_over_the_damage_ends() {
    for back in 0..6 {
        let disk = SimDisk::new(1);
        let journal = open_with(&disk, Settings::default()).expect("opens");
        let damaged = fill(&journal, [(1 << 20) + 1 - back - 36 - 7, 10])[0];
        disk.edit(&segment_name(1), |content| {
            content[damaged.position.offset as usize + 9] ^= 1;
        });
        let (records, report) = read(&journal);
        assert_eq!(
            (numbers(&records), report.damaged_records),
            (vec![2], 1),
            "{back} bytes before"
        );
    }
}

#[test]
fn a_segment_without_a_readable_header_is_skipped_counted_and_truncated_like_others() {
    let (disk, appended, _) = filled(7);
    disk.edit(&segment_name(2), |content| content[..128].fill(0xAA));
    let (journal, recovered) = Journal::open(disk.storage(), small()).expect("opens");
    assert_eq!(recovered.damaged_segments, 1);
    let (records, report) = read(&journal);
    let lost = appended.iter().filter(|a| a.position.segment == 2).count();
    assert_eq!(records.len(), 30 - lost);
    assert_eq!(report.damaged_records, lost as u64);
    assert_eq!(report.damaged_bytes, disk.content(&segment_name(2)).len() as u64);
    journal.truncate_before(appended[29].position).expect("removes");
    assert_eq!(disk.names(), [segment_name(appended[29].position.segment)]);
}

#[test]
fn a_later_format_version_and_a_foreign_stream_are_refused_and_left_alone() {
    let disk = SimDisk::new(1);
    drop(fill(&open(&disk), [10]));
    let stream = Journal::open(disk.storage(), Settings { stream: 4, ..small() }).expect_err("refused");
    assert_eq!(
        stream.to_string(),
        "`00000000000000000001.log` in journal `simulated disk` belongs to stream 0, but stream 4 was asked for"
    );
    for copy in [0, 64] {
        disk.edit(&segment_name(1), |content| {
            content[copy + 8] = 2;
            let crc = crc32c::crc32c(&content[copy..copy + 60]).to_le_bytes();
            content[copy + 60..copy + 64].copy_from_slice(&crc);
        });
    }
    let before = disk.content(&segment_name(1));
    let version = Journal::open(disk.storage(), small()).expect_err("refused");
    assert!(
        matches!(version, OpenError::Version { version: 2, .. }),
        "{version}"
    );
    assert_eq!(disk.content(&segment_name(1)), before);
}

#[test]
fn a_segment_header_survives_the_loss_of_either_copy() {
    let header = SegmentHeader {
        stream: 1,
        number: 2,
        first_sequence: 3,
        salt: 4,
    };
    for byte in 0..128 {
        let mut bytes = header.encode();
        bytes[byte] ^= 0x10;
        assert_eq!(
            SegmentHeader::decode(&bytes, 2),
            SegmentStart::Header(header),
            "byte {byte}"
        );
    }
}

#[test]
fn a_header_that_came_from_another_segment_is_none() {
    let (disk, appended, _) = filled(7);
    let foreign = disk.content(&segment_name(3))[..64].to_vec();
    disk.edit(&segment_name(2), |content| {
        content[..64].copy_from_slice(&foreign);
    });
    check(&disk, 30, &BTreeSet::new(), "one copy");
    disk.edit(&segment_name(2), |content| {
        content[64..128].copy_from_slice(&foreign);
    });
    let lost = appended.iter().filter(|a| a.position.segment == 2);
    check(&disk, 30, &lost.map(|a| a.sequence).collect(), "both copies");
}

#[test]
fn reading_one_record_verifies_it_and_reading_a_range_does_not() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let appended = fill(&journal, [100, 100])[0];
    assert_eq!(
        numbers(&[journal.read_at(appended.position).expect("reads")]),
        [1]
    );
    disk.edit(&segment_name(1), |content| {
        content[appended.position.offset as usize + 36 + 50] ^= 1;
    });
    assert!(matches!(
        journal.read_at(appended.position),
        Err(ReadError::Damaged { .. })
    ));
    let range = journal.read_range(appended.position, 60, 40).expect("reads");
    assert_eq!(range, numbered(1, 100).payload.slice(60..));
    let beyond = journal.read_range(appended.position, 60, 4000);
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })), "{beyond:?}");
    let nowhere = journal.read_at(crate::Position {
        segment: 9,
        offset: 128,
    });
    assert!(matches!(nowhere, Err(ReadError::Gone { .. })), "{nowhere:?}");
    let within = crate::Position {
        offset: appended.position.offset + 1,
        ..appended.position
    };
    assert!(matches!(journal.read_at(within), Err(ReadError::Damaged { .. })));
}

#[test]
fn a_disk_that_cannot_read_is_an_error_once_and_reading_goes_on_with_the_next_segment() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let appended = fill(&journal, [1500; 6]);
    disk.fail_reads(1);
    let mut reader = journal.reader(appended[0].position);
    assert!(matches!(reader.next(), Some(Err(ReadError::Io { .. }))));
    let first = reader.next().expect("goes on").expect("reads");
    assert_eq!(first.position.segment, 2);
}

#[test]
fn whatever_the_files_hold_the_journal_opens_gives_only_whole_records_and_takes_new_ones() {
    let mut opened = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed);
        for number in [1, 2, 3 + rng.below(1 << 61), u64::MAX] {
            let content = hostile(number, &mut rng);
            disk.storage().create(&segment_name(number)).expect("creates");
            disk.edit(&segment_name(number), |bytes| *bytes = content);
        }
        let journal = match open_with(&disk, small()) {
            Err(OpenError::Exhausted { number, .. }) if number >= 1 << 62 => continue,
            journal => journal.expect("opens"),
        };
        opened += 1;
        let before = read(&journal).0.len();
        let appended = fill(&journal, [10, 20]);
        drop(journal);
        let positions: Vec<_> = read(&open(&disk))
            .0
            .iter()
            .map(|record| record.position)
            .collect();
        assert_eq!(positions.len(), before + 2, "seed {seed}");
        assert_eq!(
            positions[before..],
            [appended[0].position, appended[1].position],
            "seed {seed}"
        );
    }
    assert!(opened > 100, "{opened}");
}

/// A segment with checksums that fit and numbers that do not.
fn hostile(number: u64, rng: &mut Rng) -> Vec<u8> {
    let extreme = |rng: &mut Rng| {
        let values = [0, 1, 5, u64::MAX / 2, u64::MAX - 1, u64::MAX, rng.next()];
        values[rng.below(7) as usize]
    };
    let header = SegmentHeader {
        stream: 0,
        number,
        first_sequence: extreme(rng),
        salt: 7,
    };
    let mut bytes = header.encode().to_vec();
    for n in 0..rng.below(6) {
        let len = rng.below(40) as usize;
        let body = rng.bytes(len);
        let record = RecordHeader {
            body_crc: if rng.one_in(3) { 0 } else { crc32c::crc32c(&body) },
            payload_len: if rng.one_in(3) {
                extreme(rng) as u32
            } else {
                body.len() as u32
            },
            sequence: if rng.one_in(3) {
                extreme(rng)
            } else {
                header.first_sequence.wrapping_add(n)
            },
            time: extreme(rng),
            key_len: if rng.one_in(3) { 255 } else { 0 },
        };
        bytes.extend(record.encode(header.salt));
        bytes.extend(body);
    }
    if rng.one_in(4) {
        bytes.truncate(rng.below(bytes.len() as u64) as usize);
    }
    bytes
}

#[test]
fn a_reader_that_met_damage_at_the_end_goes_on_with_what_is_appended_behind_it() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let appended = fill(&journal, [100, 100]);
    disk.edit(&segment_name(1), |content| {
        content[appended[1].position.offset as usize + 60] ^= 1;
    });
    let mut reader = journal.reader(crate::Position::START);
    assert_eq!(reader.by_ref().count(), 1);
    journal.append_wait(numbered(3, 100)).expect("appends");
    assert_eq!(reader.next().expect("there").expect("reads").sequence, 3);
    assert_eq!(reader.report().damaged_records, 1);
}
