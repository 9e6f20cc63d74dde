//! What the store promises beside right answers: what survives, what goes, and what it says of either.
//!
//! In: a store in a directory of its own. Out: its files, counters and errors.
//! Left out on purpose: random use (`model.rs`).

mod common;

use common::{Plain, decode, encode, fragment, pair, str, trace_id};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlp::{Kind, StatusCode};
use prost::Message;
use std::fs;
use std::path::Path;
use std::time::Duration;
use store::{
    Condition, Field, Filter, Fragment, Literal, Op, Pattern, PutError, Scope, Search, SegmentName,
    StoreSettings, TimeRange, TraceStore,
};

fn open(dir: &Path) -> TraceStore {
    open_with(dir, StoreSettings::default())
}

fn open_with(dir: &Path, settings: StoreSettings) -> TraceStore {
    TraceStore::open(dir, settings, None).expect("the store opens")
}

fn put(store: &TraceStore, trace: u8, spans: &[Plain]) {
    store.put(fragment(trace, spans)).expect("stored");
}

fn sealed(store: &TraceStore) -> SegmentName {
    store
        .seal()
        .expect("sealed")
        .expect("there was something to seal")
}

fn span(span_id: u8) -> Plain {
    Plain {
        span_id,
        ..Plain::default()
    }
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn is_stored(store: &TraceStore, trace: u8) -> bool {
    store.trace(trace_id(trace)).expect("read").is_some()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("listed");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_trace_is_found_at_once_and_after_sealing_and_after_a_restart() {
    let dir = dir();
    let store = open(dir.path());
    put(&store, 1, &[span(1)]);
    assert!(is_stored(&store, 1));
    sealed(&store);
    assert!(is_stored(&store, 1));
    drop(store);
    assert!(is_stored(&open(dir.path()), 1));
}

#[test]
fn late_spans_join_their_trace_and_repeats_are_dropped() {
    let dir = dir();
    let store = open(dir.path());
    put(&store, 1, &[span(1)]);
    sealed(&store);
    put(&store, 1, &[span(1), span(2)]);
    let expected = decode(&encode(1, &[span(1), span(2)]));
    let stored = || decode(&store.trace(trace_id(1)).expect("read").expect("stored"));
    assert_eq!(stored(), expected);
    assert_eq!(store.stats().continued, 1);
    sealed(&store);
    assert_eq!(stored(), expected);
    let found = store.search(&Search::default()).expect("searched");
    assert_eq!(
        found
            .traces
            .iter()
            .map(|hit| hit.matched_total)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn the_halves_of_a_shared_span_id_both_stay() {
    let dir = dir();
    let store = open(dir.path());
    let client = Plain {
        kind: Kind::Client,
        service: "web".to_owned(),
        ..span(1)
    };
    put(&store, 1, &[client.clone(), span(1), client]);
    let data = store.trace(trace_id(1)).expect("read").expect("stored");
    assert_eq!(decode(&data).len(), 2);
}

#[test]
fn segments_that_are_not_to_be_kept_and_unfinished_files_go_and_those_of_others_stay() {
    let dir = dir();
    let store = open(dir.path());
    put(&store, 1, &[span(1)]);
    let first = sealed(&store);
    put(&store, 2, &[span(1)]);
    let second = sealed(&store);
    drop(store);
    let unfinished = dir.path().join("traces-v1-s0-00000000000000000009.seg.tmp");
    let others = ["notes.txt", "notes.tmp", "traces-v1-s7-00000000000000000001.seg"];
    for path in others
        .map(|name| dir.path().join(name))
        .iter()
        .chain([&unfinished])
    {
        fs::write(path, "not a segment").expect("written");
    }
    let store =
        TraceStore::open(dir.path(), StoreSettings::default(), Some(&[first])).expect("the store opens");
    assert_eq!(store.segments(), [first]);
    assert_eq!((is_stored(&store, 1), is_stored(&store, 2)), (true, false));
    let mut expected = others.map(str::to_owned).to_vec();
    expected.push(first.to_string());
    expected.sort();
    assert_eq!(files(dir.path()), expected);
    put(&store, 2, &[span(1)]);
    let third = sealed(&store);
    assert!(
        third > second,
        "{third} must not be a name that a snapshot may know as another segment"
    );
}

#[test]
fn what_is_older_than_max_age_goes_segment_by_segment() {
    let dir = dir();
    let settings = StoreSettings {
        max_age: Some(Duration::from_mins(1)),
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings);
    put(&store, 1, &[span(1), span(2)]);
    sealed(&store);
    put(&store, 2, &[span(1)]);
    let written = store.stats().oldest_sealed_unix_nano;
    let removed = store.enforce(written + 60_000_000_000).expect("enforced");
    assert_eq!(removed.segments, 0, "it is not older yet");
    let disk_bytes = store.stats().disk_bytes;
    let removed = store.enforce(written + 60_000_000_001).expect("enforced");
    assert_eq!(
        (removed.segments, removed.traces, removed.spans, removed.bytes),
        (1, 1, 2, disk_bytes)
    );
    assert_eq!((is_stored(&store, 1), is_stored(&store, 2)), (false, true));
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn the_oldest_segments_go_until_the_rest_fits_max_bytes() {
    let dir = dir();
    let store = open(dir.path());
    let mut bytes = Vec::new();
    for trace in 1..=3 {
        put(&store, trace, &[span(1)]);
        let name = sealed(&store);
        bytes.push(
            fs::metadata(dir.path().join(name.to_string()))
                .expect("there")
                .len(),
        );
    }
    drop(store);
    let settings = StoreSettings {
        max_bytes: Some(bytes[1] + bytes[2]),
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings);
    assert_eq!(store.enforce(0).expect("enforced").segments, 1);
    assert_eq!(
        [1, 2, 3].map(|trace| is_stored(&store, trace)),
        [false, true, true]
    );
    assert_eq!(store.enforce(0).expect("enforced").segments, 0);
}

#[test]
fn a_damaged_block_is_counted_and_stepped_over() {
    let dir = dir();
    let settings = StoreSettings {
        block_bytes: 1,
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings.clone());
    for trace in 1..=3 {
        put(
            &store,
            trace,
            &[Plain {
                start: 100 - u64::from(trace),
                end: 200,
                ..span(1)
            }],
        );
    }
    let path = dir.path().join(sealed(&store).to_string());
    drop(store);
    let mut bytes = fs::read(&path).expect("read");
    // The first block, just after the header, has the trace that started last.
    bytes[60] ^= 1;
    fs::write(&path, bytes).expect("written");
    let store = open_with(dir.path(), settings);
    let found = store.search(&Search::default()).expect("searched");
    let ids: Vec<_> = found.traces.iter().map(|hit| hit.trace_id).collect();
    assert_eq!((ids, found.complete), (vec![trace_id(2), trace_id(3)], false));
    assert_eq!(store.stats().damaged_reads, 1);
    let error = store
        .trace(trace_id(1))
        .expect_err("it cannot be read")
        .to_string();
    assert!(
        error.ends_with("is damaged where the trace is: restore the file, or remove it to lose its traces"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_segment_is_counted_and_left_alone() {
    let dir = dir();
    let name = "traces-v1-s0-00000000000000000001.seg";
    for bytes in [&[][..], &[0x74; 10_000][..]] {
        fs::write(dir.path().join(name), bytes).expect("written");
        let store = open(dir.path());
        assert_eq!(store.stats().unusable_segments, 1);
        assert_eq!(files(dir.path()), [name]);
    }
    fs::write(
        dir.path().join("traces-v2-s0-00000000000000000002.seg"),
        "of the future",
    )
    .expect("written");
    assert_eq!(open(dir.path()).stats().unusable_segments, 2);
}

#[test]
fn a_full_head_is_sealed_in_the_background_and_nothing_is_lost_meanwhile() {
    let dir = dir();
    let settings = StoreSettings {
        head_bytes: 4_000,
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for trace in 0..40 {
                    put(store, thread * 40 + trace, &[span(1), span(2)]);
                    assert!(is_stored(store, thread * 40 + trace));
                }
            });
        }
    });
    assert!(store.stats().segments > 0);
    let search = Search {
        limit: 1_000,
        ..Search::default()
    };
    assert_eq!(store.search(&search).expect("searched").traces.len(), 160);
    assert_eq!(store.stats().spans, 320);
}

#[test]
fn where_no_segment_can_be_written_the_sender_has_to_wait_and_nothing_stored_is_lost() {
    let parent = dir();
    let path = parent.path().join("store");
    let settings = StoreSettings {
        head_bytes: 1,
        ..StoreSettings::default()
    };
    let store = open_with(&path, settings);
    fs::remove_dir(&path).expect("removed");
    put(&store, 1, &[span(1)]);
    put(&store, 2, &[span(1)]);
    let error = store
        .put(fragment(3, &[span(1)]))
        .expect_err("both heads are full");
    assert!(
        matches!(&error, PutError::Full { reason } if reason.contains("cannot write segment")),
        "{error}"
    );
    assert_eq!(
        [1, 2, 3].map(|trace| is_stored(&store, trace)),
        [true, true, false]
    );
    assert!(store.seal().is_err());
    fs::create_dir(&path).expect("made again");
    put(&store, 3, &[span(1)]);
    sealed(&store);
    assert_eq!([1, 2, 3].map(|trace| is_stored(&store, trace)), [true; 3]);
    assert_eq!(store.stats().head_spans, 0);
}

#[test]
fn a_trace_that_grows_beyond_its_bound_is_refused_and_counted() {
    let dir = dir();
    let bytes = encode(1, &[span(1)]).len();
    let settings = StoreSettings {
        max_trace_bytes: bytes * 2,
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings);
    put(&store, 1, &[span(1)]);
    sealed(&store);
    put(&store, 1, &[span(2)]);
    let error = store.put(fragment(1, &[span(3)])).expect_err("too large");
    assert!(matches!(error, PutError::TraceTooLarge { .. }), "{error}");
    assert_eq!(store.stats().refused_spans, 1);
}

#[test]
fn bytes_that_are_not_otlp_are_refused() {
    let dir = dir();
    let data = bytes::Bytes::from_static(b"\x0a\xff");
    let refused = open(dir.path()).put(Fragment {
        trace_id: [1; 16],
        data,
    });
    assert!(matches!(refused, Err(PutError::Malformed(_))));
}

#[test]
fn a_search_that_may_read_little_says_that_it_is_not_complete() {
    let dir = dir();
    let settings = StoreSettings {
        block_bytes: 1,
        ..StoreSettings::default()
    };
    let store = open_with(dir.path(), settings);
    (1..=9).for_each(|trace| put(&store, trace, &[span(1)]));
    for _ in 0..2 {
        let search = |max_bytes_examined| Search {
            max_bytes_examined,
            ..Search::default()
        };
        let found = store.search(&search(1)).expect("searched");
        assert_eq!((found.traces.len(), found.complete), (1, false));
        let found = store.search(&search(1 << 20)).expect("searched");
        assert_eq!((found.traces.len(), found.complete), (9, true));
        store.seal().expect("sealed");
    }
}

fn compare(field: Field, op: Op, value: Literal) -> Search {
    Search {
        filter: Filter::Spans(Condition::Compare { field, op, value }),
        ..Search::default()
    }
}

fn attribute(scope: Option<Scope>, key: &str) -> Field {
    Field::Attribute {
        scope,
        key: key.to_owned(),
    }
}

#[test]
fn a_block_without_the_wanted_token_is_not_read() {
    let dir = dir();
    let store = open(dir.path());
    put(
        &store,
        1,
        &[Plain {
            attributes: vec![pair("tenant", str("a"))],
            ..span(1)
        }],
    );
    sealed(&store);
    let absent = [
        compare(attribute(None, "tenant"), Op::Eq, str("b")),
        compare(attribute(Some(Scope::Resource), "tenant"), Op::Eq, str("a")),
        compare(attribute(None, "colour"), Op::Ne, str("a")),
        compare(
            Field::Name,
            Op::Match(Pattern::new("a|b").expect("a pattern")),
            str(""),
        ),
        compare(Field::Status, Op::Eq, Literal::Status(StatusCode::Error)),
        compare(Field::Duration, Op::Gt, Literal::Duration(1_001)),
    ];
    for search in absent {
        let found = store.search(&search).expect("searched");
        assert_eq!(
            (found.traces.len(), found.examined_bytes, found.complete),
            (0, 0, true),
            "{search:?}"
        );
    }
}

#[test]
fn of_traces_with_one_start_the_lowest_ids_come_first_wherever_they_lie() {
    let dir = dir();
    let store = open(dir.path());
    put(&store, 2, &[span(1)]);
    sealed(&store);
    put(&store, 1, &[span(1)]);
    sealed(&store);
    let search = Search {
        limit: 1,
        ..Search::default()
    };
    let found = store.search(&search).expect("searched");
    assert_eq!(found.traces[0].trace_id, trace_id(1));
}

#[test]
fn a_repeat_with_other_times_changes_nothing_even_where_the_trace_is_too_large_to_be_merged_at_once() {
    let dir = dir();
    let store = open(dir.path());
    let large = Plain {
        attributes: vec![pair("body", str(&"x".repeat(100_000)))],
        ..span(1)
    };
    put(&store, 1, std::slice::from_ref(&large));
    put(
        &store,
        1,
        &[
            Plain {
                start: 1,
                end: 9_000,
                ..large
            },
            span(2),
        ],
    );
    let search = Search {
        max_duration: Some(1_000),
        ..Search::default()
    };
    for _ in 0..2 {
        let found = store.search(&search).expect("searched");
        assert_eq!(
            found
                .traces
                .iter()
                .map(|hit| hit.matched_total)
                .collect::<Vec<_>>(),
            [2]
        );
        store.seal().expect("sealed");
    }
}

#[test]
fn a_hit_shows_the_attributes_that_the_filter_names_under_the_names_they_have() {
    let dir = dir();
    let store = open(dir.path());
    let attributes = vec![pair("http.method", str("GET")), pair("other", str("x"))];
    put(
        &store,
        1,
        &[Plain {
            attributes,
            ..span(1)
        }],
    );
    let search = compare(attribute(None, "http.request.method"), Op::Eq, str("GET"));
    let found = store.search(&search).expect("searched");
    let shown = &found.traces[0].matched[0].attributes;
    assert_eq!(
        *shown,
        [pair("service.name", str("cart")), pair("http.method", str("GET"))]
    );
}

#[test]
fn tags_and_values_come_from_memory_and_disk_and_old_names_have_the_values_of_new_ones() {
    let dir = dir();
    let store = open(dir.path());
    put(
        &store,
        1,
        &[Plain {
            attributes: vec![pair("http.method", str("PUT"))],
            ..span(1)
        }],
    );
    sealed(&store);
    let event = Some(("retry".to_owned(), vec![pair("attempt", Literal::Int(2))]));
    put(
        &store,
        2,
        &[Plain {
            attributes: vec![pair("http.request.method", str("GET"))],
            event,
            ..span(1)
        }],
    );
    let keys = |scope| store.tags(scope, TimeRange::ALL);
    let on_span = (
        Scope::Span,
        vec!["http.method".to_owned(), "http.request.method".to_owned()],
    );
    assert_eq!(keys(Some(Scope::Span)), std::slice::from_ref(&on_span));
    let expected = [
        (Scope::Resource, vec!["service.name".to_owned()]),
        on_span,
        (Scope::Event, vec!["attempt".to_owned()]),
    ];
    assert_eq!(keys(None), expected);
    let values = |field: &Field, limit| store.tag_values(field, TimeRange::ALL, limit);
    for key in ["http.method", "http.request.method"] {
        assert_eq!(values(&attribute(None, key), 10), [str("GET"), str("PUT")]);
    }
    assert_eq!(values(&attribute(None, "http.method"), 1), [str("GET")]);
    assert_eq!(values(&Field::Name, 10), [str("op")]);
    assert_eq!(values(&Field::RootServiceName, 10), [str("cart")]);
    assert_eq!(
        values(&attribute(Some(Scope::Event), "attempt"), 10),
        [Literal::Int(2)]
    );
}

#[test]
fn fields_that_the_store_does_not_know_come_back_with_a_merged_trace() {
    let dir = dir();
    let store = open(dir.path());
    let mut request = ExportTraceServiceRequest::decode(&encode(1, &[span(1), span(2)])[..]).expect("OTLP");
    for resource_spans in &mut request.resource_spans {
        resource_spans.schema_url = "https://opentelemetry.io/schemas/1.37.0".to_owned();
        resource_spans.scope_spans[0].spans[0].dropped_events_count = 3;
    }
    let whole = request.encode_to_vec();
    request.resource_spans.truncate(1);
    for data in [request.encode_to_vec(), whole.clone()] {
        store
            .put(Fragment {
                trace_id: trace_id(1),
                data: data.into(),
            })
            .expect("stored");
    }
    let stored = store.trace(trace_id(1)).expect("read").expect("stored");
    assert_eq!(decode(&stored), decode(&whole));
}

#[test]
fn settings_without_a_meaning_are_named() {
    let dir = dir();
    let settings = StoreSettings {
        block_bytes: 0,
        ..StoreSettings::default()
    };
    let error = TraceStore::open(dir.path(), settings, None)
        .expect_err("refused")
        .to_string();
    assert_eq!(error, "`block_bytes` is 0, but must be from 1 B to 64 MiB");
}
