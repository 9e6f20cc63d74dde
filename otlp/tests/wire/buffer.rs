//! The exporter's buffer on disk: what was taken outlives the exporter, within the budget, and is told apart once back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use otlp::export::{DiskSettings, DropReason, Durability, ExportSettings, Exporter, NoRoom, Overflow};
use otlp::intake::{Limits, Refusal};

use crate::support::{Intake, Recorder, listen, request_of, span_names, until};

const PATIENCE: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::from_millis(1);

fn on_disk(path: &Path, address: SocketAddr, instance: &str) -> ExportSettings {
    ExportSettings {
        endpoint: format!("http://{address}"),
        max_delay: Duration::from_millis(5),
        instance: instance.to_owned(),
        disk: Some(DiskSettings {
            path: path.to_owned(),
            max_bytes: 1 << 20,
            overflow: Overflow::Refuse,
            durability: Durability::Write,
        }),
        ..ExportSettings::default()
    }
}

fn with_budget(settings: ExportSettings, max_bytes: u64, overflow: Overflow) -> ExportSettings {
    let disk = settings.disk.map(|disk| DiskSettings {
        max_bytes,
        overflow,
        ..disk
    });
    ExportSettings { disk, ..settings }
}

fn exporter(settings: ExportSettings) -> Exporter {
    let exporter = Exporter::spawn(settings).expect("settings that work").0;
    assert!(exporter.is_on_disk());
    exporter
}

/// One whose disk cannot be had, and is asked for again soon.
fn waiting(settings: ExportSettings) -> Exporter {
    let settings = ExportSettings {
        disk_retry: Duration::from_millis(2),
        ..settings
    };
    let exporter = Exporter::spawn(settings).expect("settings that work").0;
    assert!(exporter.waits_for_disk() && !exporter.is_on_disk());
    exporter
}

async fn free_address() -> SocketAddr {
    listen("127.0.0.1:0")
        .await
        .local_addr()
        .expect("a bound listener")
}

async fn intake_at(address: SocketAddr, sink: &Recorder) -> Intake {
    Intake::grpc_on(listen(&address.to_string()).await, sink, Limits::default())
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("span {n:04}")).collect()
}

#[tokio::test]
async fn what_an_exporter_leaves_on_disk_the_next_one_delivers() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let names = numbered(40);
    let first = exporter(on_disk(directory.path(), address, "first"));
    for name in &names[..20] {
        first.accept(request_of(&[name]), 1).await.expect("room");
    }
    for name in &names[20..] {
        first.try_send(request_of(&[name]), 1).expect("room");
    }
    first.shutdown(AT_ONCE).await.expect("nothing is lost");
    assert_eq!(first.accept(request_of(&["late"]), 1).await, Err(NoRoom));
    assert_eq!(
        (first.stats().dropped_total(), first.stats().buffered_spans),
        (0, 40)
    );

    let second = exporter(on_disk(directory.path(), address, "second"));
    let (found, bytes) = (second.stats().buffered_spans, second.stats().buffered_bytes);
    assert_eq!((found, bytes), (40, 40 * request_of(&["span 0000"]).len() as u64));
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    second.try_send(request_of(&["z"]), 1).expect("room");
    second.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names()[..40], names);
    let stats = second.stats();
    assert_eq!(
        (stats.sent_spans, stats.buffered_spans, stats.buffered_bytes),
        (41, 0, 0)
    );
    second.shutdown(PATIENCE).await.expect("nothing is left");

    let third = exporter(on_disk(directory.path(), address, "third"));
    third.flush(PATIENCE).await.expect("nothing is there");
    assert_eq!(sink.names().len(), 41, "nothing comes twice");
}

#[tokio::test]
async fn a_batch_that_was_under_way_comes_again_with_the_same_id_and_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let busy = || {
        Err(Refusal::Busy {
            retry_after: Duration::from_mins(1),
        })
    };
    let sink = Recorder::answering([busy()]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let first = exporter(on_disk(directory.path(), intake.address, "first"));
    first.accept(request_of(&["a", "b"]), 2).await.expect("room");
    until("the batch was tried", || sink.batches().len() == 1).await;
    first.accept(request_of(&["c"]), 1).await.expect("room");
    until("the next one, too", || sink.batches().len() == 2).await;
    first.accept(request_of(&["d"]), 1).await.expect("room");
    first.shutdown(AT_ONCE).await.expect("nothing is lost");

    let settings = ExportSettings {
        max_delay: Duration::from_hours(1),
        ..on_disk(directory.path(), intake.address, "second")
    };
    let second = exporter(settings);
    second.flush(PATIENCE).await.expect("the collector relents");
    let mut ids: Vec<(String, Vec<String>)> = sink
        .batches()
        .iter()
        .zip(sink.batch_ids())
        .map(|((body, _), id)| (id, span_names(body)))
        .collect();
    ids.sort();
    let tried_again: Vec<_> = ids.iter().filter(|(id, _)| id == "first/1").collect();
    assert_eq!(tried_again.len(), 2, "{ids:?}");
    let distinct: BTreeSet<_> = ids.iter().cloned().collect();
    let mut names: Vec<_> = distinct.iter().flat_map(|(_, names)| names.clone()).collect();
    names.sort();
    assert_eq!(
        names,
        ["a", "b", "c", "d"],
        "by its id each span is there once: {ids:?}"
    );
}

#[tokio::test]
async fn at_the_budget_a_sender_is_told_to_wait_and_nothing_that_was_taken_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let settings = with_budget(
        on_disk(directory.path(), address, "a"),
        16 << 10,
        Overflow::Refuse,
    );
    let exporter = exporter(settings);
    let mut taken = Vec::new();
    for name in numbered(1_000) {
        match exporter.accept(request_of(&[&name]), 1).await {
            Ok(()) => taken.push(name),
            Err(NoRoom) => break,
        }
    }
    assert!((20..200).contains(&taken.len()), "{} of 16 KiB", taken.len());
    let stats = exporter.stats();
    assert_eq!(
        (stats.buffered_spans, stats.dropped_total(), stats.fallback_spans),
        (taken.len() as u64, 0, 0)
    );
    assert!(stats.disk_bytes <= 16 << 10);

    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    exporter.flush(PATIENCE).await.expect("the collector is back");
    exporter
        .accept(request_of(&["z"]), 1)
        .await
        .expect("there is room again");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    taken.push("z".to_owned());
    assert_eq!(sink.names(), taken);
}

#[tokio::test]
async fn what_cannot_be_pushed_back_waits_in_memory_while_the_budget_is_spent() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let request = request_of(&["span 0000"]);
    let settings = ExportSettings {
        max_buffer_bytes: 10 * request.len(),
        ..with_budget(
            on_disk(directory.path(), address, "a"),
            16 << 10,
            Overflow::Refuse,
        )
    };
    let exporter = exporter(settings);
    while exporter.accept(request.clone(), 1).await.is_ok() {}
    let on_disk = exporter.stats().buffered_spans;
    for _ in 0..15 {
        let _ = exporter.try_send(request.clone(), 1);
        until("the disk has answered", || {
            let stats = exporter.stats();
            stats.fallback_spans + stats.dropped_total()
                == stats.buffered_spans - on_disk + stats.dropped_total()
        })
        .await;
    }
    until("every span has its place", || {
        let stats = exporter.stats();
        stats.fallback_spans + stats.dropped(DropReason::BufferFull) == 15
    })
    .await;
    assert_eq!(exporter.stats().fallback_spans, 10);
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names().len() as u64, on_disk + 10);
}

#[tokio::test]
async fn the_oldest_go_where_that_was_chosen_and_are_counted_to_the_span() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let budget = |instance| {
        with_budget(
            on_disk(directory.path(), address, instance),
            16 << 10,
            Overflow::DropOldest,
        )
    };
    let first = exporter(budget("first"));
    let names = numbered(600);
    // Three to a request, so that spans and records differ.
    for three in names.chunks(3) {
        let three: Vec<&str> = three.iter().map(String::as_str).collect();
        first
            .accept(request_of(&three), 3)
            .await
            .expect("the oldest make room");
    }
    until("the loss is counted while the collector is still away", || {
        first.stats().dropped(DropReason::Oldest) > 0
    })
    .await;
    first.shutdown(AT_ONCE).await.expect("what is left stays");
    let lost = first.stats().dropped(DropReason::Oldest);

    let second = exporter(budget("second"));
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    second.flush(PATIENCE).await.expect("the collector is back");
    let came = sink.names();
    assert_eq!(
        came.iter().collect::<BTreeSet<_>>().len(),
        came.len(),
        "each once"
    );
    assert_eq!(came.last(), names.last());
    assert_eq!(
        came.len() as u64 + lost + second.stats().dropped(DropReason::Oldest),
        600
    );
    assert_eq!(
        (second.stats().buffered_spans, second.stats().buffered_bytes),
        (0, 0)
    );
}

#[tokio::test]
async fn a_disk_that_fails_is_stood_in_for_by_memory_and_that_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let exporter = exporter(on_disk(directory.path(), intake.address, "a"));
    std::fs::remove_dir_all(directory.path().join("spans")).expect("removed");
    exporter
        .accept(request_of(&["a"]), 1)
        .await
        .expect("taken all the same");
    exporter.try_send(request_of(&["b"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(sink.names(), ["a", "b"]);
    let stats = exporter.stats();
    assert_eq!(
        (stats.fallback_spans, stats.buffered_spans, stats.dropped_total()),
        (2, 0, 0)
    );
}

#[tokio::test]
async fn where_neither_disk_nor_collector_serves_nothing_is_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let exporter = exporter(on_disk(directory.path(), address, "a"));
    std::fs::remove_dir_all(directory.path().join("spans")).expect("removed");
    let refused = exporter.accept(request_of(&["a"]), 1).await;
    assert!(refused.is_err(), "it would be lost with the process");
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    exporter
        .accept(request_of(&["a"]), 1)
        .await
        .expect("the collector has it");
    assert!(sink.names().contains(&"a".to_owned()));
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(
        sink.names(),
        ["a", "a"],
        "the repeat is the collector's to recognise"
    );
}

#[tokio::test]
async fn a_directory_that_another_has_is_left_to_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let settings = || on_disk(directory.path(), intake.address, "a");
    let holder = exporter(settings());
    let (other, _) = Exporter::spawn(settings()).expect("it runs, in memory");
    assert!(!other.is_on_disk() && holder.is_on_disk());
    other.accept(request_of(&["a"]), 1).await.expect("room");
    other.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(sink.names(), ["a"]);
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_takes_nothing_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let sink = Recorder::answering([Err(Refusal::Invalid("not ours".to_owned()))]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let exporter = exporter(on_disk(directory.path(), intake.address, "a"));
    exporter.accept(request_of(&["a", "b"]), 2).await.expect("room");
    exporter.flush(PATIENCE).await.expect("it has its fate");
    exporter.accept(request_of(&["c"]), 1).await.expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.dropped(DropReason::Invalid),
            stats.sent_spans,
            stats.buffered_spans
        ),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn a_buffer_of_which_a_piece_is_damaged_gives_the_rest_and_counts_the_piece() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let first = exporter(on_disk(directory.path(), address, "first"));
    for name in numbered(30) {
        first.accept(request_of(&[&name]), 1).await.expect("room");
    }
    // The batches under way are noted, and what comes behind them is read in order.
    first.shutdown(AT_ONCE).await.expect("nothing is lost");
    let segment = directory.path().join("spans").join("00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let target = bytes
        .windows(9)
        .position(|window| window == b"span 0025")
        .expect("it is there");
    bytes[target] ^= 1;
    std::fs::write(&segment, bytes).expect("written");

    let second = exporter(on_disk(directory.path(), address, "second"));
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    second.flush(PATIENCE).await.expect("the collector is back");
    let mut expected = numbered(30);
    expected.remove(25);
    assert_eq!(sink.names(), expected);
    assert_eq!(
        (
            second.stats().sent_spans,
            second.stats().dropped_total(),
            second.stats().buffered_spans
        ),
        (29, 1, 0)
    );
}

#[tokio::test]
async fn a_budget_below_four_segments_is_refused_as_it_was_written() {
    let settings = with_budget(
        on_disk(Path::new("unused"), free_address().await, "a"),
        1_000,
        Overflow::Refuse,
    );
    let error = Exporter::spawn(settings).expect_err("too small");
    assert_eq!(
        error.to_string(),
        "`max_bytes` of the buffer on disk is 1000, but must be at least 16384"
    );
}

#[tokio::test]
async fn a_disk_that_cannot_be_had_is_tried_again_and_used_once_it_can() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("buffer");
    // A file stands where the directory should be.
    std::fs::write(&path, "in the way").expect("written");
    let address = free_address().await;
    let exporter = waiting(on_disk(&path, address, "first"));
    exporter
        .try_send(request_of(&["in memory"]), 1)
        .expect("memory serves");
    assert_eq!(exporter.stats().fallback_spans, 1);

    std::fs::remove_file(&path).expect("out of the way");
    until("the disk is open", || exporter.is_on_disk()).await;
    exporter.accept(request_of(&["on disk"]), 1).await.expect("room");
    let stats = exporter.stats();
    assert_eq!(
        (stats.buffered_spans, stats.fallback_spans, stats.disk_bytes > 0),
        (2, 1, true)
    );

    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names(), ["in memory", "on disk"]);
    exporter.shutdown(PATIENCE).await.expect("nothing is left");
}

#[tokio::test]
async fn a_disk_that_another_exporter_leaves_is_taken_over_with_what_lies_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address().await;
    let first = exporter(on_disk(directory.path(), address, "first"));
    first.accept(request_of(&["left behind"]), 1).await.expect("room");
    let second = waiting(on_disk(directory.path(), address, "second"));
    // Nothing is lost: it stays on disk.
    first.shutdown(Duration::ZERO).await.expect("it stays on disk");
    until("the disk is free", || second.is_on_disk()).await;
    let sink = Recorder::default();
    let _intake = intake_at(address, &sink).await;
    second.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names(), ["left behind"]);
}

#[tokio::test]
async fn an_exporter_that_waits_for_a_disk_can_be_shut_down() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("buffer");
    std::fs::write(&path, "in the way").expect("written");
    let (exporter, task) =
        Exporter::spawn(on_disk(&path, free_address().await, "first")).expect("settings that work");
    exporter.shutdown(PATIENCE).await.expect("nothing is left");
    task.await.expect("the task ends");
}
