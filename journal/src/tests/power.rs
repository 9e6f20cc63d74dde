//! Power cuts and failing syncs.
//!
//! In: seeds. Out: assertions about what is there afterwards.
//! Left out on purpose: damage that no cut causes, see `damage`.

use super::{fill, numbered, numbers, open, open_with, read, small};
use crate::sim::{SimDisk, power_cuts};
use crate::{AppendError, Durability, Position, Settings};

#[test]
fn power_cuts_under_load_lose_nothing_that_was_acknowledged_and_invent_nothing() {
    let (mut acknowledged, mut torn_bytes, mut unacknowledged_found) = (0, 0, 0);
    for seed in 0..20 {
        let report = power_cuts(seed, 20).expect("opens after every cut");
        assert!(report.holds(), "seed {seed}: {report:?}");
        acknowledged += report.acknowledged;
        torn_bytes += report.torn_bytes;
        unacknowledged_found += report.unacknowledged_found;
    }
    // Cuts that hit nothing prove nothing.
    assert!(acknowledged > 5000 && torn_bytes > 5000 && unacknowledged_found > 5);
}

#[test]
fn what_was_only_written_survives_the_end_of_the_process_but_needs_a_sync_to_survive_a_cut() {
    let settings = Settings {
        durability: Durability::Write,
        ..small()
    };
    let mut survivors = Vec::new();
    for seed in 0..16 {
        let disk = SimDisk::new(seed);
        let journal = open_with(&disk, settings.clone()).expect("opens");
        fill(&journal, [10; 5]);
        journal.sync_now().expect("syncs");
        journal.append_wait(numbered(6, 10)).expect("appends");
        assert_eq!(numbers(&read(&journal).0), [1, 2, 3, 4, 5, 6]);
        disk.cut();
        drop(journal);
        survivors.push(numbers(&read(&open(&disk)).0).len());
    }
    assert!(
        survivors.contains(&5) && survivors.iter().all(|count| [5, 6].contains(count)),
        "{survivors:?}"
    );
}

#[test]
fn what_was_only_written_is_durable_once_its_segment_is_full_or_the_journal_was_closed() {
    let settings = Settings {
        durability: Durability::Write,
        ..small()
    };
    for seed in 0..16 {
        let disk = SimDisk::new(seed);
        let journal = open_with(&disk, settings.clone()).expect("opens");
        let appended = fill(&journal, [1000; 10]);
        let last = appended[9].position.segment;
        let full = appended.iter().filter(|a| a.position.segment < last).count();
        disk.cut();
        drop(journal);
        let journal = open_with(&disk, settings.clone()).expect("opens");
        let records = read(&journal).0.len();
        assert!(last > 2 && records >= full, "seed {seed}: {records} of {full}");
        fill(&journal, [10]);
        drop(journal);
        disk.cut();
        assert_eq!(read(&open(&disk)).0.len(), records + 1, "seed {seed}");
    }
}

#[test]
fn a_failed_sync_fails_its_records_and_no_later_sync_of_that_file_is_believed() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    fill(&journal, [10, 20]);
    disk.fail_syncs(1);
    let failed = journal.append_wait(numbered(9, 30));
    assert!(matches!(failed, Err(AppendError::Sync(_))), "{failed:?}");
    let next = journal
        .append_wait(numbered(3, 40))
        .expect("appends to a new segment");
    assert_eq!((next.position.segment, next.sequence), (2, 3));
    assert_eq!(numbers(&read(&journal).0), [1, 2, 3]);
    assert_eq!(
        (journal.stats().refused_sync, journal.stats().appended_records),
        (1, 3)
    );
    disk.cut();
    drop(journal);
    assert_eq!(numbers(&read(&open(&disk)).0), [1, 2, 3]);
}

#[test]
fn a_failed_record_that_could_not_be_cut_off_does_not_come_back_once_its_number_was_given_again() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    fill(&journal, [10]);
    disk.fail_syncs(1);
    disk.fail_truncations(1);
    journal.append_wait(numbered(9, 30)).expect_err("the sync fails");
    journal
        .append_wait(numbered(2, 40))
        .expect("appends to a new segment");
    drop(journal);
    let (records, report) = read(&open(&disk));
    assert_eq!(numbers(&records), [1, 2]);
    assert_eq!(report.damaged_records, 0);
}

#[test]
fn positions_and_sequence_numbers_go_on_after_a_restart_and_positions_never_return() {
    let disk = SimDisk::new(3);
    let mut last = (Position::START, 0);
    for _ in 0..5 {
        let journal = open(&disk);
        for appended in fill(&journal, [100, 200]) {
            assert!((appended.position, appended.sequence) > last);
            assert_eq!(appended.sequence, last.1 + 1);
            last = (appended.position, appended.sequence);
        }
    }
    assert_eq!(read(&open(&disk)).0.len(), 10);
}

#[test]
fn a_sequence_number_kept_elsewhere_is_not_given_again() {
    let disk = SimDisk::new(3);
    drop(fill(&open(&disk), [1, 1]));
    let journal = open_with(
        &disk,
        Settings {
            first_sequence: 70,
            ..small()
        },
    )
    .expect("opens");
    assert_eq!(journal.append_wait(numbered(3, 1)).expect("appends").sequence, 70);
    drop(journal);
    let journal = open_with(
        &disk,
        Settings {
            first_sequence: 2,
            ..small()
        },
    )
    .expect("opens");
    assert_eq!(journal.append_wait(numbered(4, 1)).expect("appends").sequence, 71);
}
