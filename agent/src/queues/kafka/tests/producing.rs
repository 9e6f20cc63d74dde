//! Produce requests and their responses.

use proptest::prelude::*;

use super::super::Kafka;
use super::super::batch::{Batch, First};
use super::super::compression::Codec;
use super::super::testing::*;
use super::super::wire::{Reader, put_varint};
use crate::queues::splice::testing::{Notes, context, however_cut};

const CODECS: [Option<Codec>; 6] = [
    None,
    Some(Codec::Gzip),
    Some(Codec::Snappy),
    Some(Codec::SnappyStream),
    Some(Codec::Lz4),
    Some(Codec::Zstd),
];

const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn two() -> Vec<Vec<u8>> {
    vec![
        record(
            0,
            Some(b"key"),
            Some(b"value"),
            &[("colour", Some(b"red")), ("colour", None)],
        ),
        record(1, None, None, &[]),
    ]
}

/// The same records as they come with [`context`].
fn two_with_context() -> Vec<Vec<u8>> {
    let context = context();
    let added: Vec<Header<'_>> = context
        .iter()
        .map(|(key, value)| (key.as_str(), Some(value.as_slice())))
        .collect();
    let first = [
        &[("colour", Some(b"red".as_slice())), ("colour", None)],
        added.as_slice(),
    ]
    .concat();
    vec![
        record(0, Some(b"key"), Some(b"value"), &first),
        record(1, None, None, &added),
    ]
}

#[test]
fn context_is_added_to_every_record_and_nothing_else_changes() {
    for version in 3..=12 {
        let (before, after) = (batch(PLAIN, &two()), batch(PLAIN, &two_with_context()));
        let request = produce(version, 7, -1, &[&before, &before]);
        let (out, told) = however_cut(|| Kafka::new(MESSAGE_MAX_BYTES), true, &request);
        assert_eq!(
            out,
            produce(version, 7, -1, &[&after, &after]),
            "version {version}"
        );
        let each = ["1 send orders ? []", "1 are 2", "2 send orders ? []", "2 are 2"];
        assert_eq!(told, each, "each batch has one span");
    }
}

#[test]
fn a_compressed_batch_is_compressed_again_in_the_same_way() {
    for codec in CODECS {
        let form = Form {
            codec,
            transactional: true,
            ..PLAIN
        };
        let out = Talk::new(Notes::injecting()).client(&produce(9, 7, 1, &[&batch(form, &two())]));
        assert_eq!(
            out,
            produce(9, 7, 1, &[&batch(form, &two_with_context())]),
            "{codec:?}"
        );
    }
}

#[test]
fn records_that_bear_context_go_on_as_they_came() {
    let records = [record(0, None, Some(b"v"), &[("TraceParent", Some(PARENT))])];
    for codec in CODECS {
        let request = produce(9, 7, 1, &[&batch(Form { codec, ..PLAIN }, &records)]);
        let mut talk = Talk::new(Notes::injecting());
        assert_eq!(talk.client(&request), request);
        assert_eq!(talk.told(), ["1 send orders 1 [of b7ad6b7169203331]"]);
    }
}

#[test]
fn without_injection_requests_are_read_and_go_on_as_they_came() {
    for codec in CODECS {
        let request = produce(9, 7, 1, &[&batch(Form { codec, ..PLAIN }, &two())]);
        let mut talk = Talk::new(Notes::default());
        assert_eq!(talk.client(&request), request);
        assert_eq!(talk.told(), ["1 send orders ? []", "1 are 2"]);
    }
}

/// A record that bears this span's context, and other headers.
fn of(delta: i32, span: u8, colour: &[u8]) -> Vec<u8> {
    let parent = format!("00-0af7651916cd43dd8448eb211c80319c-{span:016x}-01");
    let headers = [("colour", Some(colour)), ("traceparent", Some(parent.as_bytes()))];
    record(delta, None, Some(b"v"), &headers)
}

#[test]
fn messages_of_one_batch_share_a_span_only_where_they_bear_the_same() {
    let plain = |delta, colour: &[u8]| record(delta, None, None, &[("colour", Some(colour))]);
    let correlated = |delta| record(delta, None, None, &[("x-correlation-id", Some(b"order-9"))]);
    let records = [
        plain(0, b"red"),
        of(1, 7, b"red"),
        plain(2, b"blue"),
        of(3, 8, b"red"),
        correlated(4),
        of(5, 7, b"blue"),
        correlated(6),
        plain(7, b"blue"),
    ];
    let mut talk = Talk::new(Notes::injecting());
    talk.notes.joins = true;
    let out = talk.client(&produce(9, 7, -1, &[&batch(PLAIN, &records)]));
    let expected = [
        "1 send orders ? []",
        "2 send orders ? [of 0000000000000007]",
        "3 send orders ? [of 0000000000000008]",
        "4 send orders ? []",
        "1 are 3",
        "2 are 2",
        "4 are 2",
    ];
    assert_eq!(talk.told(), expected);
    let times = |piece: &[u8]| out.windows(piece.len()).filter(|it| *it == piece).count();
    let context = context();
    assert_eq!(times(&context[0].1), 5, "those without context are given it");
    assert_eq!(times(b"x-correlation-id"), 5, "and an id where they have none");
    assert_eq!(times(b"order-9"), 2);
    talk.broker(&produced(9, 7, &[(0, 41)]));
    let ends: Vec<_> = (1..5).map(|token| format!("{token} ok orders/0@41")).collect();
    assert_eq!(
        talk.told(),
        ends,
        "all of them are in the batch that begins there"
    );
}

#[test]
fn an_event_in_json_is_read_also_behind_one_with_the_same_headers() {
    let headers: [Header<'_>; 1] = [("content-type", Some(b"application/cloudevents+json"))];
    let event = |delta, span: u8| {
        let value = format!("{{\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-{span:016x}-01\"}}");
        record(delta, None, Some(value.as_bytes()), &headers)
    };
    let mut talk = Talk::new(Notes::injecting());
    let request = produce(9, 7, -1, &[&batch(PLAIN, &[event(0, 1), event(1, 2)])]);
    assert_eq!(talk.client(&request), request);
    let expected = [
        "1 send orders ? [of 0000000000000001]",
        "2 send orders ? [of 0000000000000002]",
    ];
    assert_eq!(talk.told(), expected);
}

#[test]
fn a_record_is_read_only_where_its_headers_are_not_those_of_the_one_before() {
    let records = |header: Header<'_>, times: i32| -> Vec<_> {
        (0..times)
            .map(|delta| record(delta, None, Some(b"v"), &[header]))
            .collect()
    };
    let read = |records: &[Vec<u8>]| {
        let mut talk = Talk::new(Notes::injecting());
        talk.client(&produce(9, 7, -1, &[&batch(PLAIN, records)]));
        let shared = format!("1 are {}", records.len());
        assert!(talk.told().contains(&shared));
        talk.notes.read
    };
    let (red, blue) = (
        ("colour", Some(b"red".as_slice())),
        ("colour", Some(b"blue".as_slice())),
    );
    assert_eq!(read(&records(red, 5)), 1);
    assert_eq!(
        read(&[records(red, 2), records(blue, 2), records(red, 2)].concat()),
        3
    );
    let unbelieved = ("traceparent", Some(b"x".as_slice()));
    assert_eq!(read(&records(unbelieved, 5)), 5, "each of them is counted");
    let between = [records(red, 1), records(unbelieved, 1), records(red, 1)].concat();
    assert_eq!(read(&between), 3, "what was before it is forgotten");
}

#[test]
fn of_a_batch_that_would_be_too_large_only_those_that_were_to_be_given_context_miss_it() {
    let records = [
        of(0, 7, b"red"),
        record(1, None, None, &[]),
        of(2, 7, b"blue"),
        record(3, None, Some(b"v"), &[]),
        record(4, None, Some(b"v"), &[]),
    ];
    let mut talk = Talk::new(Notes::injecting());
    talk.kafka.bounds.message = batch(PLAIN, &records).len();
    let request = produce(9, 7, -1, &[&batch(PLAIN, &records)]);
    assert_eq!(talk.client(&request), request);
    let told = talk.told();
    let expected = ["1 are 2", "2 are 3", "skipped TooLarge", "2 not added to 3"];
    assert_eq!(told[2..], expected);
}

/// Goes on as it came and is told of in these words.
fn untouched(request: &[u8], told: &[&str]) {
    let mut talk = Talk::new(Notes::injecting());
    assert_eq!(talk.client(request), request);
    assert_eq!(talk.told(), told);
}

#[test]
fn a_wrong_checksum_stays_wrong_for_the_broker_to_refuse() {
    let mut broken = batch(PLAIN, &two());
    broken[63] ^= 1;
    untouched(&produce(9, 7, 1, &[&broken]), &["skipped UnknownFrame"]);
}

#[test]
fn batches_that_are_not_what_they_say_go_on_as_they_came() {
    let mended = |mut batch: Vec<u8>| {
        let checksum = crc32c::crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&checksum);
        batch
    };
    let with = |at: usize, byte: u8| {
        let mut batch = batch(PLAIN, &two());
        batch[at] = byte;
        mended(batch)
    };
    let codec = with(22, 5);
    let count = with(60, 3);
    let length = with(61, 2);
    let mut longer = batch(PLAIN, &two());
    longer[11] += 1;
    longer.push(0);
    // A byte behind the headers.
    let mut record = record(0, None, None, &[]);
    record[0] += 2;
    record.push(0);
    let trailing = batch(PLAIN, &[record]);
    for batch in [codec, count, length, mended(longer), trailing] {
        untouched(&produce(9, 7, 1, &[&batch]), &["skipped Compression"]);
    }
    let mut later = batch(PLAIN, &two());
    later[16] = 3;
    let pair = [batch(PLAIN, &two()), batch(PLAIN, &two())].concat();
    let cut = &pair[..70];
    for batch in [&later, &pair, cut] {
        untouched(&produce(9, 7, 1, &[batch]), &["skipped UnknownFrame"]);
    }
}

#[test]
fn broken_compression_goes_on_as_it_came() {
    for codec in CODECS.into_iter().flatten() {
        let form = Form {
            codec: Some(codec),
            ..PLAIN
        };
        let mut batch = batch(form, &two());
        let last = batch.len() - 12;
        batch[last..].fill(0xee);
        let checksum = crc32c::crc32c(&batch[21..]).to_be_bytes();
        batch[17..21].copy_from_slice(&checksum);
        untouched(&produce(9, 7, 1, &[&batch]), &["skipped Compression"]);
    }
}

#[test]
fn a_message_set_of_the_old_format_goes_on_as_it_came() {
    let mut old = batch(PLAIN, &two());
    old[16] = 1;
    untouched(&produce(2, 7, 1, &[&old]), &["skipped NoHeaders"]);
}

#[test]
fn a_control_batch_is_the_broker_s_own() {
    let control = Form {
        control: true,
        ..PLAIN
    };
    untouched(&produce(9, 7, 1, &[&batch(control, &two())]), &[]);
}

#[test]
fn a_batch_that_would_be_too_large_goes_on_as_it_came_and_its_spans_know() {
    let (before, after) = (batch(PLAIN, &two()), batch(PLAIN, &two_with_context()));
    let request = produce(9, 7, 1, &[&before]);
    for (room, fits) in [(after.len(), true), (after.len() - 1, false)] {
        let mut talk = Talk::new(Notes::injecting());
        talk.kafka.bounds.message = room;
        assert_eq!(talk.client(&request) != request, fits);
        let told = talk.told();
        let not_added = ["skipped TooLarge", "1 not added to 2"];
        assert_eq!(told[2..], not_added[..if fits { 0 } else { 2 }]);
    }
}

#[test]
fn a_frame_over_the_bound_passes_before_it_is_whole() {
    let request = produce(9, 7, 1, &[&batch(PLAIN, &two())]);
    let mut talk = Talk::new(Notes::injecting());
    talk.kafka.bounds.held = request.len() - 1;
    let (first, second) = request.split_at(40);
    assert_eq!(talk.client(first), first);
    assert_eq!(talk.client(second), second);
    assert_eq!(talk.told(), ["skipped NotHeld"]);
    talk.kafka.bounds.held = request.len();
    assert_ne!(talk.client(&request), request);
}

#[test]
fn a_compressed_batch_over_the_bound_goes_on_as_it_came() {
    let records = [record(0, None, Some(&[0; 5000]), &[])];
    let request = produce(
        9,
        7,
        1,
        &[&batch(
            Form {
                codec: Some(Codec::Zstd),
                ..PLAIN
            },
            &records,
        )],
    );
    let mut talk = Talk::new(Notes::injecting());
    talk.kafka.bounds.plain = records[0].len() - 1;
    assert_eq!(talk.client(&request), request);
    assert_eq!(talk.told(), ["skipped Compression"]);
    talk.kafka.bounds.plain += 1;
    assert_ne!(talk.client(&request), request);
}

#[test]
fn the_response_settles_every_record_with_its_place_or_its_error() {
    for version in 0..=12 {
        let mut talk = Talk::new(Notes::injecting());
        talk.notes.joins = true;
        let batch = batch(PLAIN, &two());
        talk.client(&produce(version.max(3), 7, -1, &[&batch, &batch, &batch]));
        talk.told();
        // The version of the response is that of the request.
        talk.kafka.waiting[0].version = version;
        let response = produced(version, 7, &[(0, 41), (6, -1)]);
        assert_eq!(talk.broker(&response), response);
        let expected = ["1 ok orders/0@41", "2 error NOT_LEADER_OR_FOLLOWER", "3 ok"];
        assert_eq!(talk.told(), expected, "version {version}");
    }
}

#[test]
fn places_are_told_only_where_they_are_wanted() {
    let mut talk = Talk::new(Notes::injecting());
    talk.client(&produce(9, 7, -1, &[&batch(PLAIN, &two())]));
    talk.told();
    talk.broker(&produced(9, 7, &[(0, 41)]));
    assert_eq!(talk.told(), ["1 ok"]);
}

#[test]
fn without_acknowledgements_messages_are_settled_when_they_are_sent() {
    let mut talk = Talk::new(Notes::injecting());
    talk.client(&produce(9, 7, 0, &[&batch(PLAIN, &two())]));
    assert_eq!(talk.told()[2..], ["1 ok"]);
    assert!(talk.kafka.waiting.is_empty());
}

#[test]
fn a_response_that_is_no_response_settles_all_the_same_and_passes() {
    let mut talk = Talk::new(Notes::injecting());
    talk.client(&produce(9, 7, -1, &[&batch(PLAIN, &two())]));
    talk.told();
    let mut response = produced(9, 7, &[(0, 41)]);
    response[9] = 200;
    assert_eq!(talk.broker(&response), response);
    assert_eq!(talk.told(), ["1 ok", "skipped UnknownFrame"]);
}

#[test]
fn a_response_that_passes_over_requests_settles_them() {
    let mut talk = Talk::new(Notes::injecting());
    for correlation in [7, 8] {
        talk.client(&produce(9, correlation, -1, &[&batch(PLAIN, &two())]));
    }
    talk.told();
    talk.broker(&produced(9, 8, &[(10, -1)]));
    let expected = ["1 ok", "2 error MESSAGE_TOO_LARGE"];
    assert_eq!(talk.told(), expected);
}

#[test]
fn at_the_bounds_the_oldest_messages_lose_their_end() {
    let mut talk = Talk::new(Notes::injecting());
    talk.kafka.bounds.open = 2;
    for correlation in 1..=2 {
        talk.client(&produce(9, correlation, -1, &[&batch(PLAIN, &two())]));
    }
    assert!(talk.told().iter().all(|told| !told.contains("ok")));
    talk.client(&produce(9, 3, -1, &[&batch(PLAIN, &two())]));
    assert_eq!(talk.told()[2..], ["1 ok"]);
    talk.kafka.bounds.waiting = 3;
    talk.client(&ask(12, 0, 4));
    assert!(
        talk.told().is_empty(),
        "the oldest request had no messages any more"
    );
    talk.client(&ask(12, 0, 5));
    assert_eq!(talk.told(), ["2 ok"]);
    assert_eq!((talk.kafka.waiting.len(), talk.kafka.open), (3, 1));
    talk.broker(&produced(9, 3, &[(0, 1)]));
    assert_eq!(talk.told(), ["3 ok"]);
    assert_eq!(talk.kafka.open, 0);
}

#[test]
fn a_request_that_breaks_off_inside_goes_on_as_it_came() {
    let mut request = produce(9, 7, 1, &[&batch(PLAIN, &two())]);
    // The number of partitions.
    let at = request
        .windows(6)
        .position(|bytes| bytes == b"orders")
        .expect("the topic")
        + 6;
    request[at] = 9;
    untouched(&request, &["skipped UnknownFrame"]);
}

/// Takes what was added off the records of a batch.
fn stripped(bytes: &[u8], form: Form) -> Vec<u8> {
    let First::Batch(whole, []) = Batch::first(bytes) else {
        panic!("no batch");
    };
    let mut plain = Vec::new();
    let codec = whole
        .decompressed(1 << 20, &mut plain)
        .expect("compressed as it was");
    let records = if codec.is_some() {
        plain.as_slice()
    } else {
        whole.records()
    };
    let mut without = Vec::new();
    for record in whole.each(records).expect("records") {
        let context = context();
        let added: usize = context
            .iter()
            .map(|(key, value)| key.len() + value.len() + 2)
            .sum();
        let headers = record.headers.bytes;
        let mut body = record.head.to_vec();
        put_varint(&mut body, (record.headers.count - context.len()) as i32);
        body.extend_from_slice(&headers[..headers.len() - added]);
        let mut sized = Vec::new();
        put_varint(&mut sized, body.len() as i32);
        without.push([sized, body].concat());
    }
    batch(form, &without)
}

fn blob() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))
}

proptest! {
    #[test]
    fn what_was_injected_and_is_taken_off_leaves_the_batch_that_came(
        records in proptest::collection::vec((blob(), blob(), proptest::collection::vec(("[a-z]{0,5}", blob()), 0..70)), 1..20),
        codec in 0..CODECS.len(),
        version in 3_i16..=12,
        base: i64,
        producer: i64,
    ) {
        let records: Vec<_> = records.iter().zip(0..).map(|((key, value, headers), delta)| {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            record(delta, key.as_deref(), value.as_deref(), &headers)
        }).collect();
        let form = Form { codec: CODECS[codec], base, producer, ..PLAIN };
        let before = batch(form, &records);
        let out = Talk::new(Notes::injecting()).client(&produce(version, 7, 1, &[&before]));
        // Behind the topic: the number of partitions and the partition.
        let topic = out.windows(6).position(|bytes| bytes == b"orders").expect("the topic") + 6;
        let mut rest = Reader::new(&out[topic..], version >= 9);
        let after = rest.length().and(rest.i32()).and_then(|_| rest.length()).and_then(|length| rest.take(length));
        let after = after.expect("a batch").to_vec();
        let First::Batch(whole, _) = Batch::first(&after) else { panic!("no batch") };
        prop_assert!(whole.is_intact());
        prop_assert_eq!(stripped(&after, form), before.clone());
        prop_assert_eq!(&out, &produce(version, 7, 1, &[&after]));
    }
}

#[test]
fn an_event_in_json_tells_its_trace_and_passes_as_it_came() {
    let headers: [Header<'_>; 1] = [("Content-Type", Some(b"application/cloudevents+json"))];
    let value = br#"{"id":"1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;
    let request = produce(
        9,
        7,
        -1,
        &[&batch(PLAIN, &[record(0, None, Some(value), &headers)])],
    );
    let make = || Kafka::new(MESSAGE_MAX_BYTES);
    let (out, told) = however_cut(make, true, &request);
    let told = told.join("\n");
    assert!(told.ends_with("[of b7ad6b7169203331]"), "{told}");
    assert_eq!(out, request);
}
