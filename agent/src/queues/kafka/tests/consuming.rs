//! Fetch responses.

use super::super::Kafka;
use super::super::compression::Codec;
use super::super::testing::*;
use super::super::versions::FETCH;
use crate::queues::splice::Splice as _;
use crate::queues::splice::testing::{Notes, however_cut};

fn joining() -> Talk {
    let mut talk = Talk::new(Notes::default());
    talk.notes.joins = true;
    talk
}

/// What is told of a response, which goes on as it came.
fn told(version: i16, partitions: &[Fetched<'_>]) -> Vec<String> {
    let mut talk = joining();
    talk.client(&ask(FETCH, version, 5));
    let response = fetched(version, 5, partitions);
    assert_eq!(talk.broker(&response), response, "version {version}");
    talk.told()
}

fn parent(span: u8) -> String {
    format!("00-0af7651916cd43dd8448eb211c80319c-{span:016x}-01")
}

fn one(base: i64, span: u8) -> Vec<u8> {
    let parent = parent(span);
    let headers: [Header<'_>; 1] = [("traceparent", Some(parent.as_bytes()))];
    batch(Form { base, ..PLAIN }, &[record(0, None, Some(b"v"), &headers)])
}

#[test]
fn a_poll_tells_of_the_messages_of_each_partition() {
    let (first, other) = ([one(10, 0xa), one(12, 0xb)].concat(), one(7, 0xc));
    for version in 0..=12 {
        let expected = [
            "1 Receives poll orders [of 000000000000000a] [of 000000000000000b]",
            "1 ok",
            "2 Receives poll orders [of 000000000000000c]",
            "2 ok",
        ];
        let partitions: [Fetched<'_>; 3] = [(&first, &[]), (&[], &[]), (&other, &[])];
        assert_eq!(told(version, &partitions), expected, "version {version}");
    }
}

#[test]
fn responses_are_read_however_they_come() {
    let make = || {
        let mut talk = joining();
        talk.client(&ask(FETCH, 12, 5));
        talk.kafka
    };
    let response = fetched(12, 5, &[(&one(10, 0xa), &[])]);
    let (out, told) = however_cut(make, false, &response);
    assert_eq!(out, response);
    assert_eq!(told, ["1 Receives poll orders [of 000000000000000a]", "1 ok"]);
}

#[test]
fn compressed_messages_are_read() {
    let parent = parent(0xa);
    let headers: [Header<'_>; 1] = [("traceparent", Some(parent.as_bytes()))];
    let records = [record(0, None, None, &[]), record(1, None, None, &headers)];
    for codec in [
        Codec::Gzip,
        Codec::Snappy,
        Codec::SnappyStream,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let batch = batch(
            Form {
                codec: Some(codec),
                base: 3,
                ..PLAIN
            },
            &records,
        );
        let expected = [
            "1 Receives poll orders orders/0@3[] [of 000000000000000a]",
            "1 ok",
        ];
        assert_eq!(told(12, &[(&batch, &[])]), expected);
    }
}

#[test]
fn a_span_links_to_at_most_128_batches() {
    let batches: Vec<_> = (0..300)
        .map(|base| batch(Form { base, ..PLAIN }, &[record(0, None, None, &[])]))
        .collect();
    let told = told(12, &[(&batches.concat(), &[])]);
    let numbers: Vec<_> = told.iter().map(|line| line.matches("[]").count()).collect();
    assert_eq!(numbers, [128, 0, 128, 0, 44, 0]);
    assert!(told[4].contains("orders/0@299[]"));
}

#[test]
fn messages_of_one_batch_or_with_one_context_are_told_of_as_one() {
    let numbered = |delta, number: &[u8]| record(delta, None, None, &[("number", Some(number))]);
    let of = |delta, span| {
        let parent = parent(span);
        record(delta, None, None, &[("traceparent", Some(parent.as_bytes()))])
    };
    let many: Vec<_> = (0..500).map(|delta| record(delta, None, None, &[])).collect();
    let run = [
        batch(
            Form { base: 7, ..PLAIN },
            &[
                numbered(0, b"0"),
                numbered(1, b"1"),
                of(2, 1),
                of(3, 1),
                numbered(4, b"4"),
            ],
        ),
        batch(Form { base: 12, ..PLAIN }, &[of(0, 1), of(1, 2)]),
        batch(Form { base: 14, ..PLAIN }, &many),
    ];
    let expected = [
        "1 Receives poll orders orders/0@7[]*3 [of 0000000000000001]*3 [of 0000000000000002] orders/0@14[]*500",
        "1 ok",
    ];
    assert_eq!(told(12, &[(&run.concat(), &[])]), expected);
}

#[test]
fn the_last_batch_may_be_cut_off() {
    let both = [one(10, 0xa), one(11, 0xb)].concat();
    for length in [1, 16, 30, 70, both.len() - 1] {
        let length = length.max(both.len() / 2);
        let told = told(12, &[(&both[..length], &[])]);
        assert_eq!(told, ["1 Receives poll orders [of 000000000000000a]", "1 ok"]);
    }
    assert!(told(12, &[(&both[..40], &[])]).is_empty());
}

#[test]
fn markers_and_what_was_aborted_are_no_messages() {
    let transactional = |base, value: &'static [u8]| {
        batch(
            Form {
                base,
                transactional: true,
                ..PLAIN
            },
            &[record(0, None, Some(value), &[])],
        )
    };
    let marker = |base| {
        let form = Form {
            base,
            transactional: true,
            control: true,
            ..PLAIN
        };
        batch(form, &[record(0, Some(&[0, 0, 0, 0]), Some(&[0; 6]), &[])])
    };
    let run = [
        transactional(1, b"committed"),
        marker(2),
        transactional(3, b"aborted"),
        marker(4),
        transactional(5, b"committed"),
        marker(6),
    ]
    .concat();
    let committed = ["1 Receives poll orders orders/0@1[] orders/0@5[]", "1 ok"];
    assert_eq!(told(12, &[(&run, &[(77, 3)])]), committed);
    let uncommitted = [
        "1 Receives poll orders orders/0@1[] orders/0@3[] orders/0@5[]",
        "1 ok",
    ];
    assert_eq!(told(12, &[(&run, &[])]), uncommitted);
    assert_eq!(told(12, &[(&run, &[(78, 3)])]), uncommitted);
    let outside = one(5, 0xa);
    let told = told(12, &[(&outside, &[(77, 3)])]);
    assert_eq!(
        told[0], "1 Receives poll orders [of 000000000000000a]",
        "it is in no transaction"
    );
}

#[test]
fn a_batch_that_cannot_be_read_hides_no_other() {
    let mut broken = one(10, 0xa);
    broken[22] = 4;
    let both = [broken, one(11, 0xb)].concat();
    let expected = [
        "skipped Compression",
        "1 Receives poll orders [of 000000000000000b]",
        "1 ok",
    ];
    assert_eq!(told(12, &[(&both, &[])]), expected);
}

#[test]
fn the_old_format_is_counted_and_so_is_a_later_one() {
    for (format, why) in [(0, "NoHeaders"), (1, "NoHeaders"), (3, "UnknownFrame")] {
        let mut other = one(11, 0xb);
        other[16] = format;
        let both = [one(10, 0xa), other].concat();
        let skipped = format!("skipped {why}");
        let expected = ["1 Receives poll orders [of 000000000000000a]", "1 ok", &skipped];
        assert_eq!(told(12, &[(&both, &[])]), expected);
    }
}

#[test]
fn a_response_over_the_bound_passes_before_it_is_whole() {
    let mut talk = joining();
    let response = fetched(12, 5, &[(&one(10, 0xa), &[])]);
    talk.kafka.bounds.held = response.len() - 1;
    talk.client(&ask(FETCH, 12, 5));
    let (first, second) = response.split_at(20);
    assert_eq!(talk.broker(first), first);
    assert_eq!(talk.broker(second), second);
    assert_eq!(talk.told(), ["skipped NotHeld"]);
}

#[test]
fn a_version_that_is_not_read_passes_and_is_counted() {
    let mut talk = joining();
    talk.client(&ask(FETCH, 13, 5));
    let response = fetched(12, 5, &[(&one(10, 0xa), &[])]);
    assert_eq!(talk.broker(&response), response);
    assert_eq!(talk.told(), ["skipped UnknownFrame"]);
}

#[test]
fn a_response_that_breaks_off_inside_passes_and_is_counted() {
    let mut talk = joining();
    talk.client(&ask(FETCH, 12, 5));
    let mut response = fetched(12, 5, &[(&one(10, 0xa), &[])]);
    let length = response.len() - 30;
    response.truncate(length);
    response[..4].copy_from_slice(&(length as u32 - 4).to_be_bytes());
    assert_eq!(talk.broker(&response), response);
    assert_eq!(talk.told(), ["skipped UnknownFrame"]);
}

#[test]
fn the_client_s_name_is_known_when_its_request_has_passed() {
    let mut kafka = Kafka::new(MESSAGE_MAX_BYTES);
    let mut notes = Notes::default();
    let request = ask(FETCH, 12, 5);
    let (mut input, mut out) = (bytes::BytesMut::from(&request[..16]), bytes::BytesMut::new());
    kafka
        .client_said(&mut input, &mut out, &mut notes)
        .expect("a request");
    assert_eq!((kafka.client.as_str(), out.len()), ("", 0));
    input.extend_from_slice(&request[16..]);
    kafka
        .client_said(&mut input, &mut out, &mut notes)
        .expect("a request");
    assert_eq!((kafka.client.as_str(), out.len()), ("shop", request.len()));
}

#[test]
fn an_event_in_json_tells_its_trace_with_the_message() {
    let headers: [Header<'_>; 1] = [("content-type", Some(b"application/cloudevents+json"))];
    let value = format!(
        r#"{{"id":"1","traceparent":"{}","tracestate":"b=c"}}"#,
        parent(0xa)
    );
    let value = value.as_bytes();
    let event = batch(
        PLAIN,
        &[
            record(0, None, Some(value), &headers),
            record(1, None, Some(value), &[]),
        ],
    );
    let expected = [
        "1 Receives poll orders [of 000000000000000a] orders/0@0[]",
        "1 ok",
    ];
    assert_eq!(told(12, &[(&event, &[])]), expected);
}
