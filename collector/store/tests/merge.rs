//! What merging segments promises: the same answers before, while and after, whenever the process ends.
//!
//! In: stores whose segments are merged, and the directories that a kill can leave. Out: their answers and files.
//! Left out on purpose: which segments are merged (`merge/plan.rs`), and random use (`model.rs`).

mod common;

use common::{Model, Plain, decode, encode, fragment, trace_id, without_named};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{MergeError, Search, SegmentName, StoreSettings, TraceStore};

/// When every window is over.
const LATER: u64 = u64::MAX;

fn settings() -> StoreSettings {
    StoreSettings {
        block_bytes: 400,
        ..StoreSettings::default()
    }
}

fn open(dir: &Path, keep: Option<&[SegmentName]>) -> TraceStore {
    TraceStore::open(dir, settings(), keep).expect("the store opens")
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn span(span_id: u8, start: u64) -> Plain {
    Plain {
        span_id,
        start,
        end: start + 10,
        ..Plain::default()
    }
}

/// Four segments; trace 1 goes on in each, and begins earlier each time.
fn fill(store: &TraceStore) -> Model {
    let mut model = Model::default();
    for segment in 1..=4_u8 {
        let own = (0..9).map(|trace| {
            (
                segment * 10 + trace,
                vec![span(1, u64::from(segment * 10 + trace % 3))],
            )
        });
        for (trace, spans) in own.chain([(1, vec![span(segment, 100 - u64::from(segment))])]) {
            model.put(trace, &spans);
            store.put(fragment(trace, &spans)).expect("stored");
        }
        store.seal().expect("sealed");
    }
    model
}

/// Merges until nothing is left to do; returns the last merged segment.
fn merge(store: &TraceStore, kept: Option<&[SegmentName]>) -> Option<SegmentName> {
    let mut last = None;
    loop {
        let done = store.maintain(LATER, kept).expect("maintained");
        last = done.merged.or(last);
        if !done.more {
            return last;
        }
    }
}

fn check(store: &TraceStore, model: &Model, when: &str) {
    let search = Search {
        limit: 1_000,
        ..Search::default()
    };
    let found = store.search(&search).expect("searched");
    assert!(found.complete, "{when}");
    assert_eq!(without_named(found.traces), model.search(&search), "{when}");
    for (trace, spans) in &model.traces {
        let stored = store.trace(trace_id(*trace)).expect("read").expect("stored");
        assert_eq!(
            decode(&stored),
            decode(&encode(*trace, spans)),
            "{when}: trace {trace}"
        );
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("listed");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn texts(names: &[SegmentName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn four_segments_become_one_that_answers_as_they_did() {
    let dir = dir();
    let store = open(dir.path(), None);
    let model = fill(&store);
    let before = store.stats();
    check(&store, &model, "before");
    let merged = merge(&store, None).expect("merged");
    check(&store, &model, "after");
    assert_eq!((merged.first, merged.sequence), (1, 4));
    assert_eq!(store.segments(), [merged]);
    assert_eq!(files(dir.path()), [merged.to_string()]);
    let after = store.stats();
    assert_eq!(
        (after.merges, after.merged_segments, after.failed_merges),
        (1, 4, 0)
    );
    assert_eq!(after.merged_bytes, after.disk_bytes);
    assert_eq!((before.segment_traces, after.segment_traces), (40, 37));
    drop(store);
    check(&open(dir.path(), Some(&[merged])), &model, "after a restart");
}

#[test]
fn traces_of_parts_that_overlap_in_time_come_in_the_order_of_their_starts() {
    let dir = dir();
    let store = open(dir.path(), None);
    let mut model = Model::default();
    for segment in 0..2_u8 {
        for number in 0..20 {
            let (trace, spans) = (segment * 100 + number, [span(1, u64::from(number * 2 + segment))]);
            model.put(trace, &spans);
            store.put(fragment(trace, &spans)).expect("stored");
        }
        store.seal().expect("sealed");
    }
    merge(&store, None).expect("merged");
    for limit in 1..=40 {
        let search = Search {
            limit,
            ..Search::default()
        };
        let found = store.search(&search).expect("searched");
        assert_eq!(
            without_named(found.traces),
            model.search(&search),
            "the newest {limit}"
        );
    }
}

#[test]
fn a_merged_segment_is_older_than_what_was_sealed_meanwhile() {
    let dir = dir();
    let store = open(dir.path(), None);
    let mut model = fill(&store);
    let kept = store.segments();
    let late = [span(9, 50)];
    model.put(1, &late);
    store.put(fragment(1, &late)).expect("stored");
    let young = store.seal().expect("sealed").expect("a segment");
    let merged = merge(&store, Some(&kept)).expect("merged");
    assert_eq!(store.segments(), [merged, young]);
    drop(store);
    let store = open(dir.path(), None);
    assert_eq!(store.segments(), [merged, young]);
    check(&store, &model, "after a restart");
}

#[test]
fn a_kill_at_any_point_of_a_merge_loses_no_trace_and_shows_none_twice() {
    let whole = dir();
    let store = open(whole.path(), None);
    let model = fill(&store);
    let parts = store.segments();
    let bytes_of = |name: &SegmentName| fs::read(whole.path().join(name.to_string())).expect("read");
    let part_bytes: Vec<Vec<u8>> = parts.iter().map(bytes_of).collect();
    let merged = merge(&store, None).expect("merged");
    let merged_bytes = bytes_of(&merged);
    drop(store);
    let snapshots = [None, Some(parts.clone()), Some(vec![merged])];
    let open_again =
        |left: &[usize], merged_file: Option<&[u8]>, keep: Option<&[SegmentName]>, when: &str| {
            let dir = dir();
            for part in left {
                fs::write(dir.path().join(parts[*part].to_string()), &part_bytes[*part]).expect("written");
            }
            let is_whole = merged_file == Some(&merged_bytes);
            if let Some(bytes) = merged_file {
                let end = if is_whole { "" } else { ".tmp" };
                fs::write(dir.path().join(format!("{merged}{end}")), bytes).expect("written");
            }
            let store = open(dir.path(), keep);
            check(&store, &model, when);
            let expected = if is_whole { vec![merged] } else { parts.clone() };
            assert_eq!(store.segments(), expected, "{when}");
            assert_eq!(files(dir.path()), texts(&expected), "{when}");
            // What was interrupted is done in the end.
            merge(&store, None);
            assert_eq!(store.segments(), [merged], "{when}");
            check(&store, &model, when);
        };
    // While the file is written: no snapshot can name it.
    for written in (0..merged_bytes.len()).step_by(merged_bytes.len() / 7) {
        for keep in &snapshots[..2] {
            let when = format!("{written} bytes written, snapshot {keep:?}");
            open_again(
                &[0, 1, 2, 3],
                Some(&merged_bytes[..written]),
                keep.as_deref(),
                &when,
            );
        }
    }
    // While parts are removed, in any order.
    for left in 0..16_usize {
        let left: Vec<usize> = (0..4).filter(|part| left & 1 << part != 0).collect();
        for keep in &snapshots {
            let when = format!("parts {left:?} left, snapshot {keep:?}");
            open_again(&left, Some(&merged_bytes), keep.as_deref(), &when);
        }
    }
}

#[test]
fn where_the_merged_segment_is_damaged_its_parts_are_used_if_they_are_there() {
    let dir = dir();
    let store = open(dir.path(), None);
    let model = fill(&store);
    let parts = store.segments();
    let path = |name: &SegmentName| dir.path().join(name.to_string());
    let copies: Vec<_> = parts
        .iter()
        .map(|name| fs::read(path(name)).expect("read"))
        .collect();
    let merged = merge(&store, None).expect("merged");
    drop(store);
    for (name, bytes) in parts.iter().zip(&copies) {
        fs::write(path(name), bytes).expect("written");
    }
    fs::write(path(&merged), "damaged").expect("written");
    let store = open(dir.path(), Some(&[merged]));
    assert_eq!((store.segments(), store.stats().unusable_segments), (parts, 1));
    check(&store, &model, "from the parts");
}

#[test]
fn segments_that_no_snapshot_names_are_not_merged() {
    let dir = dir();
    let store = open(dir.path(), None);
    fill(&store);
    let all = store.segments();
    assert_eq!(merge(&store, Some(&[])), None);
    let merged = merge(&store, Some(&all[..2])).expect("merged");
    assert_eq!(store.segments(), [merged, all[2], all[3]]);
}

#[test]
fn a_window_that_is_not_over_is_not_merged() {
    let dir = dir();
    let store = open(dir.path(), None);
    fill(&store);
    let now = store.stats().oldest_sealed_unix_nano;
    assert_eq!(
        store.maintain(now, None).expect("maintained"),
        store::Maintained::default()
    );
    assert_eq!(store.segments().len(), 4);
}

#[test]
fn a_merged_segment_goes_when_its_last_part_is_too_old_and_not_before() {
    let dir = dir();
    let settings = StoreSettings {
        max_age: Some(Duration::from_hours(24 * 365)),
        ..settings()
    };
    let store = TraceStore::open(dir.path(), settings.clone(), None).expect("the store opens");
    let first = {
        store.put(fragment(1, &[span(1, 5)])).expect("stored");
        store.seal().expect("sealed");
        store.stats().oldest_sealed_unix_nano
    };
    fill(&store);
    merge(&store, None).expect("merged");
    let last = store.stats().oldest_sealed_unix_nano;
    assert!(last > first, "it counts as sealed when its last part was");
    let max_age = 365 * 86_400 * 1_000_000_000;
    assert_eq!(store.enforce(last + max_age).expect("enforced").segments, 0);
    let removed = store.enforce(last + max_age + 1).expect("enforced");
    assert_eq!((removed.segments, files(dir.path()).len()), (1, 0));
}

#[test]
fn a_damaged_segment_is_not_merged_and_keeps_its_file() {
    let dir = dir();
    let store = open(dir.path(), None);
    fill(&store);
    let parts = store.segments();
    let path = dir.path().join(parts[1].to_string());
    let mut bytes = fs::read(&path).expect("read");
    bytes[60] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let merged = merge(&store, None).expect("its elder neighbours and its younger ones have others");
    assert_eq!(store.segments(), [parts[0], parts[1], merged]);
    assert_eq!((merged.first, store.stats().failed_merges), (3, 1));
    assert_eq!(fs::read(&path).expect("read"), bytes);
}

#[test]
fn nothing_is_merged_across_a_file_that_could_not_be_opened() {
    let dir = dir();
    let store = open(dir.path(), None);
    fill(&store);
    let parts = store.segments();
    drop(store);
    let path = dir.path().join(parts[2].to_string());
    fs::write(&path, "damaged").expect("written");
    let store = open(dir.path(), None);
    merge(&store, None).expect("merged");
    drop(store);
    let store = open(dir.path(), None);
    assert_eq!((store.segments().len(), store.stats().unusable_segments), (2, 1));
    assert!(path.exists(), "it is not taken for a part");
}

#[test]
fn a_merge_that_cannot_be_written_changes_nothing_and_is_tried_again() {
    let dir = dir();
    let store = open(dir.path(), None);
    let model = fill(&store);
    let parts = store.segments();
    let name = SegmentName { first: 1, ..parts[3] };
    let in_the_way = dir.path().join(format!("{name}.tmp"));
    fs::create_dir(&in_the_way).expect("made");
    let error = store.maintain(LATER, None).expect_err("it cannot be written");
    assert!(matches!(&error, MergeError::Write { .. }), "{error}");
    assert_eq!((store.segments(), store.stats().failed_merges), (parts, 1));
    check(&store, &model, "after the failure");
    fs::remove_dir(&in_the_way).expect("removed");
    assert_eq!(merge(&store, None), Some(name));
}

/// Raises a flag when it goes, also where a check before has failed.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whoever_asks_and_puts_meanwhile_notices_nothing() {
    let dir = dir();
    let store = open(dir.path(), None);
    let mut model = fill(&store);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let merging = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.maintain(LATER, None).expect("maintained");
            }
        });
        let done_at_last = Raised(&done);
        for round in 0..20_u8 {
            let trace = 100 + round;
            for (trace, spans) in [(trace, vec![span(1, 60)]), (1, vec![span(20 + round, 70)])] {
                model.put(trace, &spans);
                store.put(fragment(trace, &spans)).expect("stored");
            }
            check(&store, &model, "before sealing");
            store.seal().expect("sealed");
            check(&store, &model, "after sealing");
        }
        drop(done_at_last);
        merging.join().expect("no panic");
    });
    merge(&store, None);
    check(&store, &model, "at the end");
    assert_eq!(store.segments().len(), 1);
    let only = texts(&store.segments());
    assert_eq!(files(dir.path()), only);
}
