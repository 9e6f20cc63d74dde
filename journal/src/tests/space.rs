//! Full disks, failing writes and spent budgets.
//!
//! In: disks of limited size, settings. Out: what is refused, what is dropped, what is counted.
//! Left out on purpose: power cuts, see `power`.

use std::any::Any;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use super::{fill, numbered, numbers, open, open_with, read, small};
use crate::sim::SimDisk;
use crate::storage::{File, Storage};
use crate::{AppendError, Journal, Overflow, Position, Settings};

#[test]
fn a_full_disk_refuses_and_loses_nothing_and_the_journal_goes_on_once_there_is_space() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        disk.set_short_writes(seed % 2 == 0);
        let journal = open(&disk);
        fill(&journal, [700; 3]);
        disk.set_capacity(Some(2500 + 30 * seed));
        let refused = (4..20).find_map(|n| {
            journal
                .append_wait(numbered(n, 700))
                .err()
                .map(|error| (n, error))
        });
        let (n, error) = refused.expect("the disk fills up");
        assert!(
            matches!(error, AppendError::NoSpace(_)) && error.is_temporary(),
            "seed {seed}: {error}"
        );
        journal.append_wait(numbered(n, 700)).expect_err("still full");
        disk.set_capacity(None);
        journal.append_wait(numbered(n, 700)).expect("appends again");
        let expected: Vec<u64> = (1..=n).collect();
        let (records, report) = read(&journal);
        assert_eq!(
            (numbers(&records), report.damaged_bytes),
            (expected.clone(), 0),
            "seed {seed}"
        );
        assert_eq!(journal.stats().refused_no_space, 2);
        disk.cut();
        drop(journal);
        assert_eq!(numbers(&read(&open(&disk)).0), expected, "seed {seed}");
    }
}

#[test]
fn a_segment_whose_half_written_record_cannot_be_cut_off_is_left_behind() {
    let disk = SimDisk::new(2);
    let journal = open(&disk);
    fill(&journal, [100, 100]);
    disk.set_capacity(Some(600));
    disk.fail_truncations(1);
    journal
        .append_wait(numbered(3, 700))
        .expect_err("the disk is full");
    assert_eq!(journal.stats().bytes, 600);
    disk.set_capacity(None);
    let next = journal.append_wait(numbered(3, 100)).expect("appends again");
    assert_eq!((next.position.segment, next.sequence), (2, 3));
    drop(journal);
    let (records, report) = read(&open(&disk));
    assert_eq!(numbers(&records), [1, 2, 3]);
    assert_eq!((report.damaged_records, report.damaged_bytes > 0), (0, true));
}

#[test]
fn a_record_that_lacks_its_last_byte_is_not_complete() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    fill(&journal, [100]);
    let size = 36 + 100 + 7;
    disk.set_capacity(Some(journal.stats().bytes + size - 1));
    journal
        .append_wait(numbered(2, 100))
        .expect_err("one byte too many");
    disk.set_capacity(Some(journal.stats().bytes + size));
    journal.append_wait(numbered(2, 100)).expect("fits exactly");
    assert_eq!(numbers(&read(&journal).0), [1, 2]);
}

#[test]
fn a_failed_write_fails_its_record_and_no_other() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let journal = open(&disk);
        fill(&journal, [300, 300]);
        disk.fail_writes(1);
        let failed = journal.append_wait(numbered(9, 300));
        // The injected error may come after the last byte; even so nobody was told that it is there.
        assert!(
            matches!(failed, Err(AppendError::Write(_)) | Ok(_)),
            "seed {seed}: {failed:?}"
        );
        let n = 3 + u64::from(failed.is_ok());
        assert_eq!(
            journal.append_wait(numbered(10, 300)).expect("appends").sequence,
            n
        );
        assert_eq!(read(&journal).0.len() as u64, n);
    }
}

#[test]
fn a_spent_budget_refuses_until_something_is_truncated() {
    let disk = SimDisk::new(1);
    let journal = open_with(
        &disk,
        Settings {
            max_bytes: 16 << 10,
            ..small()
        },
    )
    .expect("opens");
    let appended: Vec<_> = (1..)
        .map_while(|n| journal.append_wait(numbered(n, 1000)).ok())
        .collect();
    let refused = journal.append_wait(numbered(99, 1000)).expect_err("full");
    assert!(
        matches!(refused, AppendError::BudgetFull { max_bytes: 16384, .. }),
        "{refused}"
    );
    let stats = journal.stats();
    assert_eq!((stats.refused_budget_full, stats.dropped_records), (2, 0));
    assert!(stats.bytes <= 16 << 10 && stats.bytes > 14 << 10, "{stats:?}");
    let third = appended
        .iter()
        .find(|a| a.position.segment == 3)
        .expect("several segments");
    let freed = journal.truncate_before(third.position).expect("removes");
    assert_eq!(journal.stats().bytes, stats.bytes - freed);
    journal
        .append_wait(numbered(appended.len() as u64 + 1, 1000))
        .expect("appends again");
    let expected: Vec<u64> = (third.sequence..=appended.len() as u64 + 1).collect();
    assert_eq!(numbers(&read(&journal).0), expected);
}

#[test]
fn many_records_at_once_do_not_exceed_the_budget_either() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest] {
        let settings = Settings {
            max_bytes: 17_000,
            overflow,
            ..small()
        };
        let journal = open_with(&SimDisk::new(1), settings).expect("opens");
        for n in 0..200 {
            journal.append(numbered(n, 700), |_| ()).expect("queued");
        }
        journal.close();
        let stats = journal.stats();
        assert!(stats.bytes <= 17_000 && stats.bytes > 12_000, "{stats:?}");
        assert_eq!(stats.appended_records + stats.refused_budget_full, 200);
        assert_eq!(
            read(&journal).0.len() as u64,
            stats.appended_records - stats.dropped_records
        );
    }
}

#[test]
fn a_record_that_the_budget_refuses_does_not_end_the_segment_for_smaller_ones() {
    let journal = open_with(
        &SimDisk::new(1),
        Settings {
            max_bytes: 16 << 10,
            ..small()
        },
    )
    .expect("opens");
    fill(&journal, [3600, 3600, 3600, 3600, 900]);
    let segments = journal.stats().segments;
    for n in 0..3 {
        journal.append_wait(numbered(90, 3600)).expect_err("full");
        journal.append_wait(numbered(6 + n, 10)).expect("fits");
    }
    assert_eq!(journal.stats().segments, segments);
}

#[test]
fn truncation_never_takes_the_last_segment_so_positions_and_numbers_go_on() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let last = fill(&journal, [2000; 5])[4];
    journal
        .truncate_before(Position {
            segment: u64::MAX,
            offset: 0,
        })
        .expect("removes");
    drop(journal);
    let journal = open(&disk);
    journal
        .truncate_before(Position {
            segment: u64::MAX,
            offset: 0,
        })
        .expect("removes");
    drop(journal);
    let next = open(&disk).append_wait(numbered(6, 10)).expect("appends");
    assert!(next.position > last.position && next.sequence == 6);
}

#[test]
fn what_drop_oldest_drops_and_what_is_left_add_up_to_what_was_appended() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let settings = Settings {
            max_bytes: 16 << 10,
            overflow: Overflow::DropOldest,
            ..small()
        };
        let journal = open_with(&disk, settings).expect("opens");
        let mut early = journal.reader(Position::START);
        let count = 40 + seed as usize * 7;
        fill(&journal, (0..count).map(|n| n * 131 % 1500));
        let (records, report) = read(&journal);
        let stats = journal.stats();
        assert!(stats.dropped_records > 0 && stats.bytes <= 16 << 10, "{stats:?}");
        assert_eq!(stats.dropped_records + records.len() as u64, count as u64);
        assert_eq!(
            stats.appended_bytes + 128 * records_segments(&records, &stats),
            stats.bytes + stats.dropped_bytes
        );
        assert_eq!((report.damaged_records, report.removed_records), (0, 0));
        assert_eq!(
            numbers(&records),
            (stats.dropped_records + 1..=count as u64).collect::<Vec<_>>()
        );
        assert_eq!(early.by_ref().count(), records.len());
    }
}

/// How many segments there were in all: they are numbered from 1 without gaps.
fn records_segments(records: &[crate::Record], stats: &crate::Stats) -> u64 {
    assert!(stats.segments > 1);
    records.last().map_or(0, |record| record.position.segment)
}

#[test]
fn a_reader_counts_the_records_that_were_dropped_before_it_came_to_them() {
    let disk = SimDisk::new(1);
    let settings = Settings {
        max_bytes: 16 << 10,
        overflow: Overflow::DropOldest,
        ..small()
    };
    let journal = open_with(&disk, settings).expect("opens");
    journal.append_wait(numbered(1, 1000)).expect("appends");
    let mut reader = journal.reader(Position::START);
    assert_eq!(reader.next().expect("there").expect("reads").sequence, 1);
    for n in 2..=50 {
        journal.append_wait(numbered(n, 1000)).expect("appends");
    }
    let given = reader.by_ref().count() as u64;
    let report = reader.report();
    assert!(report.removed_records > 0);
    assert_eq!(
        (1 + given + report.removed_records, report.damaged_records),
        (50, 0)
    );
}

#[test]
fn a_record_larger_than_a_segment_has_one_of_its_own() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let appended = fill(&journal, [10, 9000, 10]);
    let segments: Vec<u64> = appended.iter().map(|a| a.position.segment).collect();
    assert_eq!(segments, [1, 2, 3]);
    assert_eq!(numbers(&read(&journal).0), [1, 2, 3]);
}

#[test]
fn records_that_can_never_fit_are_refused_for_good() {
    let journal = open(&SimDisk::new(1));
    let mut record = numbered(1, 0);
    record.key = vec![0; 256].into();
    let error = journal.append_wait(record).expect_err("too long");
    assert_eq!(
        error.to_string(),
        "key of 256 bytes, but a record's key has at most 255"
    );
    let record = crate::NewRecord {
        payload: vec![0; crate::MAX_PAYLOAD + 1].into(),
        ..Default::default()
    };
    let error = journal.append_wait(record).expect_err("too large");
    assert!(matches!(error, AppendError::PayloadTooLarge { .. }) && !error.is_temporary());
    assert_eq!(journal.stats().refused_other, 2);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let settings = Settings {
        segment_bytes: 64 << 20,
        max_bytes: 100 << 20,
        ..Settings::default()
    };
    let error = settings.check().expect_err("too small");
    assert_eq!(
        error.to_string(),
        "`max_bytes` is 104857600, but must be at least 268435456: four times `segment_bytes`"
    );
}

/// A disk on which removing a file lasts until somebody says so.
#[derive(Debug)]
struct SlowToRemove {
    disk: Arc<dyn Storage>,
    started: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Storage for SlowToRemove {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let _ = self.started.send(());
        // Ends too when the test gave up.
        let _ = self.go_on.lock().unwrap().recv();
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.disk.lock()
    }

    fn place(&self) -> String {
        self.disk.place()
    }
}

#[test]
fn nobody_waits_for_a_disk_that_is_slow_to_give_space_back() {
    let ((started, starts), (release, go_on)) = (channel(), channel());
    let storage = SlowToRemove {
        disk: SimDisk::new(1).storage(),
        started,
        go_on: Mutex::new(go_on),
    };
    let (journal, _) = Journal::open(Arc::new(storage), small()).expect("opens");
    let last = fill(&journal, [3000; 4])
        .pop()
        .expect("four were appended")
        .position;
    thread::scope(|scope| {
        let removing = scope.spawn(|| journal.truncate_before(last));
        starts.recv().expect("the first file is being removed");
        let (done, appended) = channel();
        let handed_in = journal.append(numbered(5, 10), move |result| {
            let _ = done.send(result.is_ok());
        });
        handed_in.expect("there is room");
        let in_time = appended.recv_timeout(Duration::from_secs(10));
        drop(release);
        assert_eq!(in_time, Ok(true), "the writer waited for the removal");
        removing.join().expect("no panic").expect("removes");
    });
    assert_eq!(numbers(&read(&journal).0), [4, 5]);
}
