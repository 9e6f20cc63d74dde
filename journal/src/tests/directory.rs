//! The real file system.
//!
//! In: a temporary directory. Out: assertions.
//! Left out on purpose: faults, which a real disk does not give on demand.

use tempfile::tempdir;

use super::{fill, numbered, numbers, read, small};
use crate::{Journal, OpenError, Position};

#[test]
fn a_journal_in_a_directory_is_there_again_after_closing() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("not").join("there");
    let (journal, recovered) = Journal::open_directory(&path, small()).expect("opens");
    assert_eq!((recovered.segments, recovered.next_sequence), (0, 1));
    let appended = fill(&journal, (0..50).map(|n| n * 53 % 2000));
    drop(journal);
    let (journal, recovered) = Journal::open_directory(&path, small()).expect("opens");
    assert_eq!(
        (recovered.next_sequence, recovered.torn_bytes, recovered.end),
        (51, 0, appended[49].end)
    );
    assert_eq!(numbers(&read(&journal).0), (1..=50).collect::<Vec<_>>());
    let range = journal
        .read_range(appended[30].position, 100, 200)
        .expect("reads");
    assert_eq!(range, numbered(31, 1590).payload.slice(100..300));
    journal
        .truncate_before(Position {
            segment: u64::MAX,
            offset: 0,
        })
        .expect("removes");
    assert_eq!(journal.stats().segments, 1);
}

#[test]
fn a_torn_tail_on_a_real_disk_is_cut_off() {
    let directory = tempdir().expect("a directory");
    let (journal, _) = Journal::open_directory(directory.path(), small()).expect("opens");
    let last = fill(&journal, [300, 300])[1];
    drop(journal);
    let path = directory.path().join("00000000000000000001.log");
    let file = std::fs::File::options().write(true).open(&path).expect("opens");
    file.set_len(u64::from(last.end.offset) - 1).expect("cuts");
    let (journal, recovered) = Journal::open_directory(directory.path(), small()).expect("opens");
    assert_eq!(
        (recovered.torn_bytes, recovered.end),
        (36 + 300 + 7 - 1, last.position)
    );
    assert_eq!(numbers(&read(&journal).0), [1]);
    assert_eq!(
        file.metadata().expect("is there").len(),
        u64::from(last.position.offset)
    );
}

#[test]
fn a_directory_in_use_is_refused_with_what_to_do() {
    let directory = tempdir().expect("a directory");
    let (journal, _) = Journal::open_directory(directory.path(), small()).expect("opens");
    let error = Journal::open_directory(directory.path(), small()).expect_err("in use");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("is in use by another process: stop it, or choose another directory")
    );
    drop(journal);
    Journal::open_directory(directory.path(), small()).expect("free again");
}
