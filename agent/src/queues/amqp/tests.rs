//! What is told of frames, what is added to them, and that all else stays.

use amq_protocol::frame::{AMQPFrame, GenError, gen_frame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use bytes::BytesMut;
use proptest::prelude::*;

use super::Amqp;
use super::ledger::MOST_OPEN;
use crate::queues::splice::testing::{Notes, context, however_cut};
use crate::queues::splice::{NotUnderstood, Splice};

/// Strings and numbers of a method as they are written.
enum Arg<'a> {
    Octet(u8),
    Short(u16),
    Long(u32),
    LongLong(u64),
    Text(&'a str),
}
use Arg::{Long, LongLong, Octet, Short, Text};

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("small");
    let head = [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes()].concat();
    [&head, payload, &[0xCE]].concat()
}

fn method(channel: u16, class: u16, number: u16, args: &[Arg<'_>]) -> Vec<u8> {
    let mut payload = [class.to_be_bytes(), number.to_be_bytes()].concat();
    for arg in args {
        match arg {
            Octet(octet) => payload.push(*octet),
            Short(short) => payload.extend(short.to_be_bytes()),
            Long(long) => payload.extend(long.to_be_bytes()),
            LongLong(long) => payload.extend(long.to_be_bytes()),
            Text(text) => {
                payload.push(u8::try_from(text.len()).expect("short"));
                payload.extend(text.as_bytes());
            }
        }
    }
    frame(1, channel, &payload)
}

fn header(size: u64, flags: u16, properties: &[u8]) -> Vec<u8> {
    let fixed = [&60_u16.to_be_bytes()[..], &[0, 0], &size.to_be_bytes()].concat();
    frame(2, 1, &[&fixed, &flags.to_be_bytes()[..], properties].concat())
}

fn table(entries: &[u8]) -> Vec<u8> {
    let length = u32::try_from(entries.len()).expect("small");
    [&length.to_be_bytes()[..], entries].concat()
}

fn entry(key: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).expect("short");
    [&[length][..], key.as_bytes(), &[kind], value].concat()
}

fn text(key: &str, value: &str) -> Vec<u8> {
    entry(key, b'S', &table(value.as_bytes()))
}

/// The entries of [`context`].
fn added() -> Vec<u8> {
    let pairs = context();
    pairs
        .iter()
        .flat_map(|(key, value)| text(key, std::str::from_utf8(value).expect("text")))
        .collect()
}

fn publish(exchange: &str, key: &str) -> Vec<u8> {
    method(1, 60, 40, &[Short(0), Text(exchange), Text(key), Octet(0)])
}

fn mandatory(exchange: &str, key: &str) -> Vec<u8> {
    method(1, 60, 40, &[Short(0), Text(exchange), Text(key), Octet(1)])
}

fn body(bytes: &[u8]) -> Vec<u8> {
    frame(3, 1, bytes)
}

/// A message without properties.
fn message(bytes: &[u8]) -> Vec<u8> {
    [header(bytes.len() as u64, 0, &[]), body(bytes)].concat()
}

fn deliver(consumer: &str, tag: u64, exchange: &str, key: &str) -> Vec<u8> {
    let args = [Text(consumer), LongLong(tag), Octet(0), Text(exchange), Text(key)];
    method(1, 60, 60, &args)
}

fn consume(queue: &str, consumer: &str, bits: u8) -> Vec<u8> {
    let args = [Short(0), Text(queue), Text(consumer), Octet(bits), Long(0)];
    method(1, 60, 20, &args)
}

fn answer(number: u16, tag: u64, bits: u8) -> Vec<u8> {
    method(1, 60, number, &[LongLong(tag), Octet(bits)])
}

fn close(class: u16, number: u16, channel: u16, code: u16) -> Vec<u8> {
    method(
        channel,
        class,
        number,
        &[Short(code), Text("because"), Short(0), Short(0)],
    )
}

fn tune_ok(most: u32) -> Vec<u8> {
    method(0, 10, 31, &[Short(2047), Long(most), Short(60)])
}

/// What begins every connection of a client: its protocol, the largest frame, and channel 1.
fn opened() -> Vec<u8> {
    [
        b"AMQP\0\0\x09\x01".to_vec(),
        tune_ok(4096),
        method(1, 20, 10, &[Octet(0)]),
    ]
    .concat()
}

/// A connection of which both sides speak in turn.
struct Talk {
    amqp: Amqp,
    notes: Notes,
}

impl Talk {
    /// One that is open, with a channel.
    fn new() -> Self {
        let mut talk = Self {
            amqp: Amqp::new(),
            notes: Notes::default(),
        };
        talk.client(&[opened()]);
        talk
    }

    fn client(&mut self, frames: &[Vec<u8>]) -> &mut Self {
        self.say(true, &frames.concat());
        self
    }

    fn broker(&mut self, frames: &[Vec<u8>]) -> &mut Self {
        self.say(false, &frames.concat());
        self
    }

    fn say(&mut self, client: bool, bytes: &[u8]) -> Vec<u8> {
        let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
        let notes = &mut self.notes;
        let said = if client {
            self.amqp.client_said(&mut input, &mut out, notes)
        } else {
            self.amqp.broker_said(&mut input, &mut out, notes)
        };
        assert_eq!(said, Ok(()));
        assert!(input.is_empty(), "whole frames stay: {input:?}");
        if notes.add.is_empty() {
            assert_eq!(out, bytes);
        }
        out.to_vec()
    }

    fn told(&self, expected: &[&str]) {
        assert_eq!(self.notes.lines, expected);
    }
}

/// What goes on of a client's `bytes` after the beginning, however they are cut, and what is told.
fn goes_on(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
    let begin = opened();
    let (out, lines) = however_cut(Amqp::new, true, &[&begin, bytes].concat());
    let out = out
        .strip_prefix(begin.as_slice())
        .expect("the beginning is as it was");
    (out.to_vec(), lines)
}

#[test]
fn a_message_without_properties_gets_a_headers_table_and_stays_otherwise_as_it_was() {
    let (out, lines) = goes_on(&[publish("shop", "orders"), message(b"seven")].concat());
    let header = header(5, 1 << 13, &table(&added()));
    assert_eq!(out, [publish("shop", "orders"), header, body(b"seven")].concat());
    assert_eq!(lines, ["1 publish shop:orders 5 []", "1 ok"]);
}

#[test]
fn a_table_is_put_between_the_properties_before_and_after_it() {
    let (kind, encoding, rest) = (b"\x04text", b"\x04gzip", b"\x02\x07\x02id");
    // content-type, content-encoding, delivery-mode, priority and message-id
    let flags = 0b1101_1000_1000_0000;
    let before = [&kind[..], encoding, rest].concat();
    let after = [&kind[..], encoding, &table(&added()), rest].concat();
    let (out, lines) = goes_on(&[publish("", "orders"), header(0, flags, &before)].concat());
    let expected = header(0, flags | 1 << 13, &after);
    assert_eq!(out, [publish("", "orders"), expected].concat());
    assert_eq!(lines, ["1 publish orders 0 []", "1 ok"]);
}

#[test]
fn entries_are_added_behind_those_of_every_type_which_stay_as_they_were() {
    let of = |kind: u8, value: &[u8]| entry(&format!("of {}", char::from(kind)), kind, value);
    let nested = table(
        &[
            text("traceparent", "inner"),
            entry("deep", b'F', &table(&text("a", "b"))),
        ]
        .concat(),
    );
    let own = [
        text("twice", "one"),
        of(b't', &[1]),
        of(b'b', &[1]),
        of(b'B', &[1]),
        of(b's', &[1; 2]),
        of(b'u', &[1; 2]),
        of(b'I', &[1; 4]),
        of(b'i', &[1; 4]),
        of(b'l', &[1; 8]),
        of(b'L', &[1; 8]),
        of(b'f', &[1; 4]),
        of(b'd', &[1; 8]),
        of(b'D', &[1; 5]),
        of(b'A', &table(&[b'I', 0, 0, 0, 1])),
        of(b'T', &[1; 8]),
        of(b'F', &nested),
        of(b'V', &[]),
        entry("bytes", b'x', &table(b"raw")),
        text("twice", "two"),
    ]
    .concat();
    let with = |entries: &[u8]| header(0, 1 << 13, &table(entries));
    let (out, lines) = goes_on(&[publish("e", "k"), with(&own)].concat());
    assert_eq!(out, [publish("e", "k"), with(&[own, added()].concat())].concat());
    assert_eq!(lines, ["1 publish e:k 0 [twice=one bytes=raw twice=two]", "1 ok"]);
}

#[test]
fn context_that_is_there_is_read_and_stays() {
    for (key, kind) in [
        ("traceparent", b'S'),
        ("TraceParent", b'S'),
        ("traceparent", b'x'),
    ] {
        let carried = header(0, 1 << 13, &table(&entry(key, kind, &table(b"00-aa"))));
        let bytes = [publish("e", "k"), carried].concat();
        let (out, lines) = goes_on(&bytes);
        assert_eq!(out, bytes);
        assert_eq!(lines, [&format!("1 publish e:k 0 [{key}=00-aa]"), "1 ok"]);
    }
}

#[test]
fn a_key_that_is_there_and_no_text_is_not_there_twice() {
    let carried = header(0, 1 << 13, &table(&entry("traceparent", b'V', &[])));
    let bytes = [publish("e", "k"), carried].concat();
    let (out, lines) = goes_on(&bytes);
    assert_eq!(out, bytes);
    let expected = ["1 publish e:k 0 []", "skipped NoHeaders", "1 not added", "1 ok"];
    assert_eq!(lines, expected);
}

#[test]
fn a_header_that_would_be_larger_than_the_largest_frame_stays_as_it_was() {
    // The frame has 8 bytes beside its payload, and the payload 14 before the properties, the table 4 before its entries.
    let room = 4096 - 8 - 14 - 4 - added().len();
    let of = |length: usize| {
        let value = "v".repeat(length - entry("k", b'S', &table(b"")).len());
        header(0, 1 << 13, &table(&text("k", &value)))
    };
    let bytes = [publish("e", "k"), of(room + 1)].concat();
    let mut talk = Talk::new();
    talk.notes = Notes::injecting();
    assert_eq!(talk.say(true, &bytes), bytes);
    assert_eq!(
        talk.notes.lines.split_off(1),
        ["skipped TooLarge", "1 not added", "1 ok"]
    );
    talk.notes.lines.clear();
    let fits = talk.say(true, &[publish("e", "k"), of(room)].concat());
    assert_eq!(fits.len(), publish("e", "k").len() + 4096);
    assert_eq!(talk.notes.lines.split_off(1), ["2 ok"]);
}

#[test]
fn a_header_of_which_the_lengths_are_wrong_or_the_type_unknown_passes_and_is_counted() {
    let wrong = [
        header(0, 1 << 13, &table(&entry("a", b'S', &[0, 0, 0, 9, b'x']))),
        header(0, 1 << 13, &table(&entry("a", b'?', &[]))),
        header(0, 1 << 13, &[0, 0, 1, 0]),
        header(0, 1 << 15, b"\x09text"),
    ];
    for wrong in wrong {
        let bytes = [publish("e", "k"), wrong, publish("e", "k"), header(0, 1, &[])].concat();
        let (out, lines) = goes_on(&bytes);
        assert_eq!(out, bytes);
        assert_eq!(lines, ["skipped Compression", "skipped UnknownFrame"]);
    }
}

#[test]
fn messages_on_several_channels_may_come_in_turns() {
    let on = |channel: u8, mut frame: Vec<u8>| {
        frame[2] = channel;
        frame
    };
    let head = |size| header(size, 0, &[]);
    let mut talk = Talk::new();
    talk.client(&[method(2, 20, 10, &[Octet(0)])]);
    talk.client(&[
        publish("e", "one"),
        on(2, publish("e", "two")),
        head(4),
        on(2, head(2)),
        body(b"aa"),
        frame(8, 0, &[]),
        on(2, body(b"bb")),
        body(b"cc"),
    ]);
    talk.told(&["1 publish e:one 4 []", "2 publish e:two 2 []", "2 ok", "1 ok"]);
}

#[test]
fn without_confirms_a_message_is_sent_with_its_last_byte() {
    let mut talk = Talk::new();
    talk.client(&[publish("e", "k"), header(4, 0, &[]), body(b"abc")]);
    talk.told(&["1 publish e:k 4 []"]);
    talk.client(&[body(b"d")]);
    talk.told(&["1 publish e:k 4 []", "1 ok"]);
}

#[test]
fn with_confirms_it_is_sent_when_the_broker_says_so() {
    let mut talk = Talk::new();
    // What was published before does not count.
    talk.client(&[publish("e", "k"), message(b"a"), method(1, 85, 10, &[Octet(0)])]);
    talk.broker(&[method(1, 85, 11, &[])]);
    for _ in 0..5 {
        talk.client(&[publish("e", "k"), message(b"a")]);
    }
    talk.notes.lines.clear();
    talk.broker(&[answer(80, 2, 0), answer(80, 4, 1), answer(120, 5, 0)]);
    talk.told(&["3 ok", "2 ok", "4 ok", "5 ok", "6 error nack"]);
}

#[test]
fn a_returned_message_failed_and_is_not_settled_again() {
    let mut talk = Talk::new();
    talk.client(&[
        method(1, 85, 10, &[Octet(0)]),
        publish("e", "nowhere"),
        message(b"a"),
    ]);
    talk.client(&[
        mandatory("e", "k"),
        message(b"a"),
        mandatory("e", "nowhere"),
        message(b"a"),
    ]);
    talk.notes.lines.clear();
    let returned = [Short(312), Text("NO_ROUTE"), Text("e"), Text("nowhere")];
    talk.broker(&[method(1, 60, 50, &returned), message(b"a"), answer(80, 3, 1)]);
    talk.told(&["3 error NO_ROUTE", "1 ok", "2 ok"]);
}

#[test]
fn a_transaction_settles_what_was_published_in_it() {
    let mut talk = Talk::new();
    let send = || [publish("e", "k"), message(b"a")].concat();
    talk.client(&[method(1, 90, 10, &[])]);
    talk.client(&[send(), send(), method(1, 90, 20, &[]), send()]);
    talk.notes.lines.clear();
    talk.broker(&[method(1, 90, 11, &[]), method(1, 90, 21, &[])]);
    talk.told(&["1 ok", "2 ok"]);
    talk.client(&[method(1, 90, 30, &[])]);
    talk.broker(&[method(1, 90, 31, &[])]);
    talk.told(&["1 ok", "2 ok", "3 error rolled back"]);
}

#[test]
fn a_delivered_message_lasts_until_the_client_answers_it() {
    let mut talk = Talk::new();
    talk.client(&[consume("orders", "c", 0)]);
    talk.broker(&[method(1, 60, 21, &[Text("c")])]);
    let carried = header(0, 1 << 13, &table(&text("traceparent", "00-aa")));
    for tag in 1..=6 {
        talk.broker(&[deliver("c", tag, "shop", "new"), carried.clone()]);
    }
    assert_eq!(
        talk.notes.lines.first().map(String::as_str),
        Some("1 Processes deliver shop:new:orders [traceparent=00-aa]")
    );
    talk.notes.lines.clear();
    talk.client(&[
        answer(80, 2, 0),
        answer(90, 1, 0),
        answer(120, 4, 3),
        answer(80, 0, 1),
    ]);
    talk.told(&[
        "2 ok",
        "1 error rejected",
        "3 error requeued",
        "4 error requeued",
        "5 ok",
        "6 ok",
    ]);
}

#[test]
fn who_acknowledges_nothing_receives_and_is_done_with_the_last_byte() {
    let mut talk = Talk::new();
    talk.client(&[consume("orders", "c", 2)]);
    talk.broker(&[deliver("c", 1, "", "orders"), header(2, 0, &[]), body(b"a")]);
    talk.told(&["1 Receives deliver orders []"]);
    talk.broker(&[body(b"b")]);
    talk.told(&["1 Receives deliver orders []", "1 ok"]);
}

#[test]
fn consumers_that_the_broker_names_and_queues_that_were_declared_last_are_known() {
    let mut talk = Talk::new();
    talk.client(&[method(1, 50, 10, &[Short(0), Text(""), Octet(0), Long(0)])]);
    talk.broker(&[method(1, 50, 11, &[Text("made"), Long(0), Long(0)])]);
    talk.client(&[consume("", "", 0), consume("orders", "", 2)]);
    talk.broker(&[method(1, 60, 21, &[Text("a")]), method(1, 60, 21, &[Text("b")])]);
    talk.broker(&[
        deliver("b", 1, "e", "k"),
        message(b"x"),
        deliver("a", 2, "e", "k"),
        message(b"x"),
    ]);
    talk.told(&[
        "1 Receives deliver e:k:orders []",
        "1 ok",
        "2 Processes deliver e:k:made []",
    ]);
    // A consumer that is no more says nothing of its queue.
    talk.broker(&[
        method(1, 60, 31, &[Text("a")]),
        deliver("a", 3, "e", "k"),
        message(b"x"),
    ]);
    assert_eq!(
        talk.notes.lines.split_off(3),
        ["3 Receives deliver e:k []", "3 ok"]
    );
}

#[test]
fn what_was_asked_for_is_answered_in_turn() {
    let get = |queue, bits| method(1, 60, 70, &[Short(0), Text(queue), Octet(bits)]);
    let got = |tag| {
        let args = [LongLong(tag), Octet(0), Text("e"), Text("k"), Long(0)];
        [method(1, 60, 71, &args), message(b"x")].concat()
    };
    let mut talk = Talk::new();
    talk.client(&[get("one", 0), get("two", 0), get("three", 1)]);
    talk.broker(&[got(1), method(1, 60, 72, &[Text("")]), got(2)]);
    talk.client(&[answer(80, 1, 0)]);
    talk.told(&[
        "1 Processes get e:k:one []",
        "2 Receives get e:k:three []",
        "2 ok",
        "1 ok",
    ]);
}

#[test]
fn what_is_recovered_is_delivered_again_and_was_not_done() {
    let mut talk = Talk::new();
    talk.client(&[consume("q", "c", 0)]);
    talk.broker(&[deliver("c", 1, "", "q"), message(b"x")]);
    talk.client(&[method(1, 60, 110, &[Octet(1)])]);
    talk.broker(&[method(1, 60, 111, &[]), deliver("c", 2, "", "q"), message(b"x")]);
    talk.client(&[method(1, 60, 100, &[Octet(1)])]);
    let each = ["Processes deliver q []", "error requeued"];
    talk.told(&[
        &format!("1 {}", each[0]),
        &format!("1 {}", each[1]),
        &format!("2 {}", each[0]),
        &format!("2 {}", each[1]),
    ]);
}

/// A published message that waits for its confirm, one of which the body is missing, and a delivered one.
fn open_ended() -> Talk {
    let mut talk = Talk::new();
    talk.client(&[publish("e", "k"), header(9, 0, &[])]);
    talk.client(&[method(1, 85, 10, &[Octet(0)])]);
    talk.client(&[consume("q", "c", 0)]);
    talk.broker(&[deliver("c", 1, "", "q"), message(b"x")]);
    talk.notes.lines.clear();
    talk
}

#[test]
fn a_channel_that_the_broker_closes_ends_what_is_open_with_its_reason() {
    let mut talk = open_ended();
    talk.broker(&[close(20, 40, 1, 404)]);
    talk.told(&["1 error NOT_FOUND", "2 error NOT_FOUND"]);
    // Until the client has heard of it, the broker heeds nothing.
    talk.client(&[
        publish("e", "k"),
        message(b"x"),
        answer(80, 1, 0),
        method(1, 20, 41, &[]),
    ]);
    talk.client(&[method(1, 20, 10, &[Octet(0)]), publish("e", "k"), message(b"x")]);
    assert_eq!(talk.notes.lines.split_off(2), ["3 publish e:k 1 []", "3 ok"]);
}

#[test]
fn a_channel_that_the_client_closes_ends_what_is_open_when_the_broker_agrees() {
    let mut talk = open_ended();
    talk.client(&[close(20, 40, 1, 200)]);
    talk.told(&[]);
    talk.broker(&[method(1, 20, 41, &[])]);
    talk.told(&["1 error closed", "2 error closed"]);
}

#[test]
fn a_connection_that_closes_ends_what_is_open_on_all_channels() {
    let mut talk = open_ended();
    talk.broker(&[close(10, 50, 0, 320)]);
    talk.told(&["1 error CONNECTION_FORCED", "2 error CONNECTION_FORCED"]);
    let mut talk = open_ended();
    talk.client(&[close(10, 50, 0, 541)]);
    talk.broker(&[method(0, 10, 51, &[])]);
    talk.told(&["1 error INTERNAL_ERROR", "2 error INTERNAL_ERROR"]);
}

#[test]
fn destinations_are_named_by_the_semantic_conventions() {
    let mut talk = Talk::new();
    let names = [
        ("shop", "orders"),
        ("shop", ""),
        ("", "orders"),
        ("", ""),
        ("", "amq.gen-Xy"),
        ("", "amq.rabbitmq.reply-to.g1h2"),
    ];
    for (exchange, key) in names {
        talk.client(&[publish(exchange, key), message(b"x")]);
    }
    talk.client(&[consume("orders", "c", 2), consume("amq.gen-Xy", "d", 2)]);
    talk.client(&[consume("amq.rabbitmq.reply-to", "r", 2)]);
    for (consumer, exchange, key) in [
        ("c", "shop", "orders"),
        ("c", "shop", ""),
        ("d", "shop", "new"),
        ("d", "", ""),
        ("r", "", "amq.rabbitmq.reply-to.g1h2"),
    ] {
        talk.broker(&[deliver(consumer, 1, exchange, key), message(b"x")]);
    }
    let lines = talk.notes.lines.iter().filter(|line| !line.ends_with("ok"));
    let names: Vec<_> = lines
        .filter_map(|line| {
            line.split(' ')
                .rev()
                .nth(1 + usize::from(line.contains("publish")))
        })
        .collect();
    assert_eq!(
        names,
        [
            "shop:orders",
            "shop",
            "orders",
            "amq.default",
            "amq.gen",
            "amq.rabbitmq.reply-to",
            "shop:orders",
            "shop:orders",
            "shop:new:amq.gen",
            "amq.gen",
            "amq.rabbitmq.reply-to",
        ]
    );
}

#[test]
fn past_the_bound_the_oldest_message_ends_early() {
    let mut talk = Talk::new();
    talk.client(&[consume("q", "c", 0)]);
    let many = MOST_OPEN as u64;
    for tag in 1..=many {
        talk.broker(&[deliver("c", tag, "", "q"), header(0, 0, &[])]);
    }
    talk.notes.lines.clear();
    talk.broker(&[deliver("c", many + 1, "", "q"), header(0, 0, &[])]);
    assert_eq!(talk.notes.lines.split_off(1), ["1 ok"]);
    talk.notes.lines.clear();
    talk.client(&[answer(90, 1, 0), answer(80, 2, 1)]);
    talk.told(&["2 ok"]);
    assert_eq!(talk.amqp.counts.open, MOST_OPEN - 1);
    talk.broker(&[close(20, 40, 1, 541)]);
    assert_eq!((talk.amqp.counts.open, talk.amqp.counts.noted), (0, 0));
}

#[test]
fn other_protocols_and_versions_pass_unseen() {
    use NotUnderstood::{Encrypted, Malformed, Unknown};
    let cases: [(&[u8], _); 6] = [
        (b"AMQP\0\x01\0\0", Unknown),
        (b"AMQP\x03\x01\0\0", Unknown),
        (b"AMQP\x01\x01\0\x09", Unknown),
        (b"\x16\x03\x01\x02", Encrypted),
        (b"GET / HTTP/1.1\r\n\r\n", Malformed),
        (b"AMQX\0\0\x09\x01", Malformed),
    ];
    for (bytes, why) in cases {
        let (out, lines) = however_cut(Amqp::new, true, bytes);
        assert_eq!((out, lines), (Vec::new(), vec![why.to_string()]));
    }
    let (out, lines) = however_cut(Amqp::new, false, b"AMQP\0\0\x09\x01");
    assert_eq!((out, lines), (Vec::new(), vec![Unknown.to_string()]));
}

#[test]
fn a_frame_without_its_end_or_larger_than_agreed_passes_unseen_with_all_that_follows() {
    let endless = |mut frame: Vec<u8>| {
        *frame.last_mut().expect("its end") = 0;
        frame
    };
    let unseen = NotUnderstood::Malformed.to_string();
    let large = frame(1, 1, &vec![1; 4096 - 7]);
    for (wrong, passed) in [
        (endless(publish("e", "k")), 0),
        (endless(body(b"abc")), 10),
        (large, 0),
    ] {
        let bytes = [
            publish("e", "k"),
            header(3, 0, &[]),
            wrong.clone(),
            publish("e", "k"),
        ]
        .concat();
        let mut talk = Talk::new();
        let (mut input, mut out) = (BytesMut::from(&bytes[..]), BytesMut::new());
        let said = talk.amqp.client_said(&mut input, &mut out, &mut talk.notes);
        assert_eq!(said.expect_err("it is broken").to_string(), unseen);
        let (passed, left) = wrong.split_at(passed);
        assert!(out.ends_with(passed));
        assert_eq!(input, [left, &publish("e", "k")].concat());
    }
    let largest = body(&vec![1; 4096 - 8]);
    Talk::new().client(&[largest]);
}

#[test]
fn no_limit_is_no_limit_and_what_is_too_large_to_hold_is_counted() {
    let mut talk = Talk::new();
    let large = frame(2, 1, &vec![0; (1 << 20) + 1]);
    talk.client(&[
        tune_ok(0),
        publish("e", "k"),
        large,
        body(b"abc"),
        publish("e", "k"),
        message(b"x"),
    ]);
    talk.told(&["skipped NotHeld", "1 publish e:k 1 []", "1 ok"]);
}

#[test]
fn frames_classes_and_methods_that_are_unknown_or_cut_short_pass_and_are_counted() {
    let mut talk = Talk::new();
    let unknown = [
        frame(7, 1, b"what"),
        method(1, 70, 10, &[]),
        frame(1, 1, b"x"),
        frame(1, 1, &[0, 60, 0, 40]),
    ];
    talk.client(&unknown).broker(&unknown[..2]);
    talk.told(&["skipped UnknownFrame"; 6]);
    talk.client(&[method(0, 10, 70, &[Long(0)]), method(1, 40, 10, &[])]);
    talk.broker(&[method(0, 10, 60, &[Text("low")]), method(9, 60, 11, &[])]);
    talk.told(&["skipped UnknownFrame"; 6]);
}

/// Whatever a message may bear.
fn values() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<f64>().prop_map(AMQPValue::Double),
        "[ -~]{0,40}".prop_map(|text| AMQPValue::LongString(LongString::from(text))),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| AMQPValue::FieldArray(list.into())),
            proptest::collection::btree_map(short(), inner, 0..4)
                .prop_map(|table| AMQPValue::FieldTable(table.into())),
        ]
    })
}

fn short() -> impl Strategy<Value = ShortString> {
    "[a-z]{0,8}".prop_map(ShortString::from)
}

fn properties() -> impl Strategy<Value = AMQPProperties> {
    let option = || proptest::option::of(short());
    let headers = proptest::option::of(proptest::collection::btree_map(short(), values(), 0..6));
    let texts = (option(), option(), option(), option(), option(), option());
    let numbers = (
        proptest::option::of(any::<u8>()),
        proptest::option::of(any::<u64>()),
    );
    (headers, texts, numbers).prop_map(|(headers, texts, numbers)| {
        let mut all = AMQPProperties::default();
        if let Some(headers) = headers {
            all = all.with_headers(FieldTable::from(headers));
        }
        for (with, text) in [
            (
                AMQPProperties::with_content_type as fn(AMQPProperties, ShortString) -> _,
                texts.0,
            ),
            (AMQPProperties::with_content_encoding, texts.1),
            (AMQPProperties::with_correlation_id, texts.2),
            (AMQPProperties::with_message_id, texts.3),
            (AMQPProperties::with_reply_to, texts.4),
            (AMQPProperties::with_app_id, texts.5),
        ] {
            if let Some(text) = text {
                all = with(all, text);
            }
        }
        if let Some(number) = numbers.0 {
            all = all.with_delivery_mode(number).with_priority(number);
        }
        if let Some(number) = numbers.1 {
            all = all.with_timestamp(number);
        }
        all
    })
}

fn written(frame: &AMQPFrame) -> Vec<u8> {
    let write = gen_frame(frame);
    let out: Result<_, GenError> = write(Vec::new().into());
    out.expect("it can be written").into_inner().0
}

proptest! {
    #[test]
    fn another_implementation_reads_what_we_write_and_finds_no_more_than_was_added(
        properties in properties(),
        size in any::<u64>(),
    ) {
        let before = AMQPFrame::Header(1, amq_protocol::frame::AMQPContentHeader {
            class_id: 60,
            body_size: size,
            properties: properties.clone(),
        });
        let mut talk = Talk::new();
        talk.client(&[tune_ok(0)]);
        talk.notes = Notes::injecting();
        let bytes = [publish("e", "k"), written(&before)].concat();
        let out = talk.say(true, &bytes);
        let header = out.strip_prefix(publish("e", "k").as_slice()).expect("the method stays");
        let (rest, frame) = parse_frame(header).expect("a frame");
        prop_assert!(rest.is_empty());
        let AMQPFrame::Header(1, after) = frame else { panic!("no header: {frame:?}") };
        prop_assert_eq!(after.body_size, size);
        let mut headers = properties.headers().clone().unwrap_or_default();
        for (key, value) in context() {
            headers.insert(key.into(), AMQPValue::LongString(value.into()));
        }
        prop_assert_eq!(&after.properties, &properties.clone().with_headers(headers));
        // Without what was added it is what it was.
        let added = added();
        let place = header.windows(added.len()).rposition(|window| window == added).expect("it is there");
        let mut stripped = header.to_vec();
        stripped.drain(place..place + added.len());
        let lengths = |bytes: &[u8]| bytes.len() - usize::from(properties.headers().is_none()) * 4;
        prop_assert_eq!(lengths(&stripped), written(&before).len());
    }

    #[test]
    fn arbitrary_bytes_pass_whole(
        client in proptest::collection::vec(any::<u8>(), 0..200),
        frames in proptest::collection::vec((prop_oneof![1_u8..4, Just(8_u8), any::<u8>()], 0_u16..3,
            proptest::sample::select(vec![10_u16, 20, 50, 60, 85, 90]), 0_u16..130,
            proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        from_client in any::<bool>(),
    ) {
        let mut bytes = if from_client { opened() } else { Vec::new() };
        for (kind, channel, class, number, rest) in frames {
            let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), &rest].concat();
            bytes.extend(frame(kind, channel, &payload));
        }
        bytes.extend(client);
        let (mut amqp, mut notes) = (Amqp::new(), Notes::default());
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        for part in bytes.chunks(7) {
            input.extend_from_slice(part);
            let said = if from_client {
                amqp.client_said(&mut input, &mut out, &mut notes)
            } else {
                amqp.broker_said(&mut input, &mut out, &mut notes)
            };
            if said.is_err() {
                prop_assert!(bytes.starts_with(&[&out[..], &input].concat()));
                return Ok(());
            }
        }
        prop_assert_eq!(bytes, [&out[..], &input].concat());
    }
}
