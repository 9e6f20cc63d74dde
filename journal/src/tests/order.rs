//! Many threads at once: order, groups, back-pressure, readers beside the writer.
//!
//! In: threads. Out: assertions that hold whatever the scheduler does.
//! Left out on purpose: time. Nothing here waits for a clock.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{fill, numbered, numbers, open, open_with, read, small};
use crate::sim::SimDisk;
use crate::{AppendError, Appended, Journal, Position, Settings};

#[test]
fn completions_of_many_threads_come_one_by_one_in_the_order_of_the_records() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let completed = Arc::new(Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for t in 0..8 {
            let (journal, completed) = (&journal, &completed);
            scope.spawn(move || append_fifty(journal, t, completed));
        }
    });
    journal.close();
    let completed = completed.lock().expect("no completion panicked");
    let sequences: Vec<u64> = completed.iter().map(|(appended, _)| appended.sequence).collect();
    assert_eq!(sequences, (1..=400).collect::<Vec<_>>());
    let (records, _) = read(&journal);
    let placed: Vec<_> = records
        .iter()
        .map(|record| (record.position, record.time))
        .collect();
    assert_eq!(
        placed,
        completed
            .iter()
            .map(|(a, n)| (a.position, *n))
            .collect::<Vec<_>>()
    );
    let ends: Vec<_> = records.iter().map(crate::Record::end).collect();
    assert_eq!(ends, completed.iter().map(|(a, _)| a.end).collect::<Vec<_>>());
    numbers(&records);
}

fn append_fifty(journal: &Journal, thread: u64, completed: &Arc<Mutex<Vec<(Appended, u64)>>>) {
    for i in 0..50 {
        let (n, completed) = (thread * 1000 + i, Arc::clone(completed));
        let done = move |result: Result<Appended, AppendError>| {
            completed
                .lock()
                .expect("no completion panicked")
                .push((result.expect("appends"), n));
        };
        journal
            .append(numbered(n, (n % 300) as usize), done)
            .expect("queued");
    }
}

/// Holds up the writer in a completion until the sender is dropped.
fn hold_up(journal: &Journal) -> Sender<()> {
    let (release, released): (Sender<()>, Receiver<()>) = mpsc::channel();
    let (held, holding) = mpsc::channel();
    let done = move |_| {
        held.send(()).expect("the test waits");
        let _ = released.recv();
    };
    journal.append(numbered(0, 0), done).expect("queued");
    holding.recv().expect("the writer runs");
    release
}

#[test]
fn records_that_gather_while_the_writer_is_busy_share_one_sync() {
    let disk = SimDisk::new(1);
    let journal = open_with(&disk, Settings::default()).expect("opens");
    let release = hold_up(&journal);
    let before = journal.stats().syncs;
    for n in 1..=100 {
        journal.append(numbered(n, 1000), |_| ()).expect("queued");
    }
    drop(release);
    journal.close();
    assert_eq!(
        (journal.stats().syncs - before, journal.stats().appended_records),
        (1, 101)
    );
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_when_it_has_been_written() {
    let disk = SimDisk::new(1);
    let journal = open_with(
        &disk,
        Settings {
            queue_bytes: 2000,
            ..small()
        },
    )
    .expect("opens");
    let release = hold_up(&journal);
    journal
        .append(numbered(1, 5000), |_| ())
        .expect("one record is always taken");
    let refused = journal.append(numbered(2, 10), |_| ()).expect_err("full");
    assert!(
        matches!(refused, AppendError::QueueFull { queued } if queued > 5000),
        "{refused}"
    );
    let asked = journal.has_room(10);
    assert!(matches!(asked, Err(AppendError::QueueFull { .. })), "{asked:?}");
    drop(release);
    journal.sync_now().expect("syncs");
    assert!(journal.has_room(10).is_ok());
    journal.append_wait(numbered(2, 10)).expect("room again");
    assert_eq!(
        (journal.stats().refused_queue_full, journal.stats().queued_bytes),
        (2, 0)
    );
    assert_eq!(numbers(&read(&journal).0), [0, 1, 2]);
}

#[test]
fn closing_writes_what_waits_and_takes_nothing_more() {
    let disk = SimDisk::new(1);
    let journal = open(&disk);
    let release = hold_up(&journal);
    let (done, completed) = mpsc::channel();
    for n in 1..=20 {
        let done = done.clone();
        journal
            .append(numbered(n, 500), move |result| {
                done.send(result.is_ok()).expect("waits");
            })
            .expect("queued");
    }
    drop((release, done));
    journal.close();
    assert_eq!(completed.iter().filter(|ok| *ok).count(), 20);
    assert!(matches!(
        journal.append_wait(numbered(21, 1)),
        Err(AppendError::Closed)
    ));
    assert!(matches!(journal.sync_now(), Err(AppendError::Closed)));
    drop(journal);
    assert_eq!(read(&open(&disk)).0.len(), 21);
}

#[test]
fn a_reader_beside_the_writer_sees_every_record_once_and_none_before_it_is_complete() {
    let disk = SimDisk::new(1);
    disk.set_short_writes(true);
    let journal = open(&disk);
    thread::scope(|scope| {
        let writer = scope.spawn(|| fill(&journal, (0..400).map(|n| n * 37 % 900)));
        let mut reader = journal.reader(Position::START);
        let mut records = Vec::new();
        loop {
            let finished = writer.is_finished();
            match reader.next() {
                Some(record) => records.push(record.expect("reads")),
                None if finished => break,
                None => thread::yield_now(),
            }
        }
        assert_eq!(numbers(&records), (1..=400).collect::<Vec<_>>());
        assert_eq!(reader.report(), crate::ReadReport::default());
        assert_eq!(reader.position(), writer.join().expect("appends")[399].end);
    });
}

#[test]
fn a_reader_continues_where_another_one_stopped() {
    let journal = open(&SimDisk::new(1));
    fill(&journal, [700; 20]);
    let mut all = Vec::new();
    let mut from = Position::START;
    loop {
        let mut reader = journal.reader(from);
        let part: Vec<_> = reader
            .by_ref()
            .take(3)
            .map(|record| record.expect("reads"))
            .collect();
        let Some(last) = part.last() else { break };
        assert_eq!(last.end(), reader.position());
        from = reader.position();
        all.extend(part);
    }
    assert_eq!(numbers(&all), (1..=20).collect::<Vec<_>>());
    assert_eq!(journal.end(), from);
}

#[test]
fn a_completion_that_panics_ends_the_writer_and_nobody_waits_for_it() {
    let journal = open(&SimDisk::new(1));
    let release = hold_up(&journal);
    journal
        .append(numbered(1, 1), |_| panic!("a planted panic"))
        .expect("queued");
    drop(release);
    // Whether this one comes before or after the panic, it is answered.
    assert!(matches!(
        journal.append_wait(numbered(2, 1)),
        Err(AppendError::Closed) | Ok(_)
    ));
    journal.close();
    assert!(matches!(
        journal.append_wait(numbered(3, 1)),
        Err(AppendError::Closed)
    ));
}
