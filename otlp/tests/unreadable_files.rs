//! Recorded files that are compressed, odd, broken or hostile: one clear line each, and never a panic.

mod recorded;

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use otlp::files::{self, FileError, Format, open};
use proptest::prelude::*;
use recorded::{chain, fixture, fixture_text, outcome, read, rows_of};

const ONE: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000000000000000000000000000000aa","spanId":"00000000000000bb"}]}]}]}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .expect("memory")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).expect("memory")
}

#[track_caller]
fn check(bytes: impl Into<Vec<u8>>, spans: usize, errors: &[&str]) {
    let (rows, found) = outcome(bytes);
    assert_eq!(
        (rows.len(), found.iter().map(String::as_str).collect::<Vec<_>>()),
        (spans, errors.to_vec())
    );
}

#[test]
fn compression_is_told_by_the_bytes_and_may_come_in_parts() {
    let line = format!("{ONE}\n");
    let line = line.as_bytes();
    for (bytes, compression) in [
        (line.repeat(2), files::Compression::Plain),
        ([gzip(line), gzip(line)].concat(), files::Compression::Gzip),
        ([zstd(line), zstd(line)].concat(), files::Compression::Zstd),
    ] {
        let total = bytes.len() as u64;
        let mut file = read(bytes).expect("readable");
        assert_eq!(
            (file.compression(), file.format()),
            (compression, Format::OtlpJsonLines)
        );
        assert_eq!(
            file.by_ref()
                .filter_map(Result::ok)
                .map(|request| request.spans)
                .sum::<u64>(),
            2
        );
        assert_eq!(
            (file.progress().read, file.progress().total),
            (total, Some(total))
        );
    }
}

#[test]
fn one_protobuf_message_goes_out_byte_for_byte() {
    let message =
        otlp::json::trace_request_to_protobuf(&fixture_text("jaeger-otlp/example_trace.json")).expect("OTLP");
    for bytes in [message.to_vec(), gzip(&message), zstd(&message)] {
        let file = read(bytes).expect("readable");
        assert_eq!(file.format(), Format::OtlpProtobuf);
        let requests: Vec<_> = file.map(|request| request.expect("sound")).collect();
        assert_eq!(
            requests
                .iter()
                .map(|request| (request.spans, &request.body))
                .collect::<Vec<_>>(),
            [(5, &message)]
        );
    }
}

#[test]
fn documents_may_be_indented_follow_each_other_and_start_with_a_byte_order_mark() {
    let indented = String::from_utf8(fixture_text("jaeger-otlp/example_trace.json")).expect("text");
    check(format!("\u{feff}\n{indented}\n{indented}"), 10, &[]);
    check(format!("\u{feff}{ONE}\r\n\r\n{ONE}\r\n"), 2, &[]);
}

#[test]
fn a_broken_line_is_named_and_costs_only_itself() {
    let text = format!("{ONE}\n\n{{\"resourceSpans\":[{{\"scopeSpans\":7}}]}}\n{ONE}\n{{\"resourceSpans\":[");
    check(
        text,
        2,
        &[
            "cannot read line 3 of `test` as OTLP JSON lines: `resourceSpans[0].scopeSpans` at line 3 column 33: \
         invalid type: integer `7`, expected a sequence",
            "cannot read line 5 of `test` as OTLP JSON lines: `resourceSpans` at line 5 column 18: \
         EOF while parsing a list",
        ],
    );
}

#[test]
fn a_broken_value_in_an_indented_document_is_named_by_line_and_path() {
    check(
        "\n{\n \"data\": [{\"spans\": [\n {\"traceID\": \"1\",\n \"spanID\": \"zz\"}]}]}",
        0,
        &[
            "cannot read line 5 of `test` as Jaeger JSON: `data[0].spans[0].spanID` at line 5 column 15: \
         `zz` is not a span id: write up to 16 hexadecimal digits",
        ],
    );
    check(
        "[{\"traceId\": \"1\"}]",
        0,
        &["cannot read line 1 of `test` as Zipkin v2 JSON: `[0]` at line 1 column 17: missing field `id`"],
    );
}

#[test]
fn a_file_without_spans_says_so() {
    check("", 0, &["`test` is empty, but recorded traces were expected"]);
    check(
        " \n\t\n",
        0,
        &["`test` is empty, but recorded traces were expected"],
    );
    check(
        gzip(b""),
        0,
        &["`test` is empty, but recorded traces were expected"],
    );
    check("[]", 0, &["`test` holds no spans (read as Zipkin v2 JSON)"]);
    check("{}", 0, &["`test` holds no spans (read as OTLP JSON)"]);
    check(
        "{\"resourceSpans\": []}",
        0,
        &["`test` holds no spans (read as OTLP JSON)"],
    );
    check(
        "{\"data\": null, \"errors\": [{\"code\": 404}]}",
        0,
        &["`test` holds no spans (read as Jaeger JSON)"],
    );
}

#[test]
fn an_unknown_format_is_shown_beside_those_understood() {
    let understood = "which is none of the formats understood: OTLP JSON, OTLP JSON lines, OTLP protobuf, Jaeger JSON, \
                      Zipkin v2 JSON, each plain, gzip or zstd";
    check(
        "TraceID,SpanID\n",
        0,
        &[&format!("`test` starts with `TraceID,SpanID`, {understood}")],
    );
    let start = r#"[ { "parent": "Service1","#;
    check(
        fixture_text("jaeger-ui/small.json"),
        0,
        &[&format!("`test` starts with `{start}`, {understood}")],
    );
    check(
        [0xff, 0],
        0,
        &[&format!("`test` starts with `\\xff\\x00`, {understood}")],
    );
}

#[test]
fn a_compressed_file_that_was_cut_short_says_so_after_the_spans_before_the_cut() {
    let lines = format!("{ONE}\n").repeat(20_000);
    for (mut bytes, name) in [(gzip(lines.as_bytes()), "gzip"), (zstd(lines.as_bytes()), "zstd")] {
        bytes.truncate(bytes.len() - 6);
        let (rows, errors) = outcome(bytes);
        assert!(!rows.is_empty(), "{name}");
        let expected =
            format!("`test` ends inside its {name} stream: it was cut short, record or copy it again");
        assert_eq!(errors, [expected]);
    }
}

#[test]
fn a_damaged_file_says_what_the_decoder_said() {
    let mut bytes = gzip(ONE.as_bytes());
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    let (_, errors) = outcome(bytes);
    assert_eq!(
        errors,
        [
            "`test` is no sound gzip stream: it was damaged, record or copy it again: \
                         corrupt gzip stream does not have a matching checksum"
        ]
    );
    let (_, errors) = outcome([0x0a, 0x05, 0x12, 0xff]);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("cannot read `test` as OTLP protobuf: "),
        "{errors:?}"
    );
}

#[test]
fn a_file_that_is_not_there_or_is_a_folder_says_so() {
    let absent = fixture("absent.json");
    let error = open(&absent).err().expect("an error");
    assert!(matches!(error, FileError::Open { .. }));
    assert!(
        chain(&error).contains("absent.json`: No such file"),
        "{}",
        chain(&error)
    );
    let error = open(&fixture("zipkin")).err().expect("an error");
    assert!(matches!(error, FileError::Read { .. }), "{error}");
}

#[test]
fn a_file_on_disk_is_read_like_its_bytes_whatever_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.txt.bz2");
    std::fs::write(&path, zstd(&fixture_text("zipkin/yelp.json"))).expect("a file");
    let file = open(Path::new(&path)).expect("readable");
    assert_eq!(file.format(), Format::ZipkinJson);
    assert_eq!(rows_of(file.map(|request| request.expect("sound"))).len(), 16);
}

#[test]
fn lists_that_nest_without_end_are_refused() {
    let deep = format!(
        "[{{\"traceId\":\"1\",\"id\":\"1\",\"x\":{}1{}}}]",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    check(deep, 1, &[]);
    let (rows, errors) = outcome("[".repeat(100_000));
    assert_eq!((rows.len(), errors.len()), (0, 1));
    let values = "{\"arrayValue\":{\"values\":[".repeat(1000);
    let span =
        format!("{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"k\",\"value\":{values}");
    let (rows, errors) = outcome(span);
    assert_eq!((rows.len(), errors.len()), (0, 1));
    assert!(errors[0].contains("recursion limit"), "{errors:?}");
}

const SEEDS: [&str; 8] = [
    "kiali-bookinfo/responseTrace.json",
    "jaeger-ui/otlp2jaeger-out.json",
    "jaeger-otlp/link_attributes_trace.json",
    "jaeger-otlp/log_tags_trace.json",
    "hotel-jaeger/hotel_load25.jsonl.gz",
    "zipkin/messaging.json",
    "zipkin/skew.json",
    "zipkin/envoy.json",
];

/// A seed, now and then as protobuf or compressed, so that every reader meets mutations.
fn seed() -> impl Strategy<Value = Vec<u8>> {
    (0..SEEDS.len(), 0..4_u8).prop_map(|(seed, form)| {
        let mut text = fixture_text(SEEDS[seed]);
        text.truncate(40 << 10);
        match form {
            0 => gzip(&text),
            1 => zstd(&text),
            2 => otlp::json::trace_request_to_protobuf(&text).map_or_else(
                |_| text.clone(),
                |message| {
                    if message.is_empty() {
                        text.clone()
                    } else {
                        message.to_vec()
                    }
                },
            ),
            _ => text,
        }
    })
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = prop::option::of(any::<prop::sample::Index>());
    let splice = prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), seed()));
    (seed(), flips, cut, splice).prop_map(|(mut bytes, flips, cut, splice)| {
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some((to, from, other)) = splice {
            let to = to.index(bytes.len() + 1);
            bytes.splice(to..to, other[from.index(other.len())..].iter().copied());
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_and_all_end_in_spans_or_in_an_error(bytes in mutated()) {
        let (rows, errors) = outcome(bytes);
        prop_assert!(!rows.is_empty() || !errors.is_empty());
        prop_assert!(errors.iter().all(|error| !error.is_empty() && !error.contains('\n')), "{errors:?}");
    }

    #[test]
    fn no_json_request_panics(bytes in mutated()) {
        let _ = otlp::json::trace_request_to_protobuf(&bytes);
    }
}
