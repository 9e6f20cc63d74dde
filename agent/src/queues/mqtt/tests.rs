//! What the splicer makes of packets, whole and in pieces, right and wrong.
//!
//! In: packets written out here, or by the codec of rumqttc. Out: what goes on, and what the courier was told.
//! Left out on purpose: brokers and sockets; `agent/tests/queues` has those.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rumqttc::v5::mqttbytes::{QoS, v5 as oracle};

use super::in_flight::{InFlight, MAX_OPEN};
use super::packet::{MAX_REMAINING, put_user_property, put_varint, varint_len};
use super::publish::MAX_PROPERTIES;
use super::*;
use crate::queues::splice::testing::{Notes, context, however_cut};

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const DISCONNECT: u8 = 0xe0;

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut out = BytesMut::from(&[first][..]);
    put_varint(body.len(), &mut out);
    out.extend_from_slice(&body);
    out.to_vec()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn properties(bytes: &[&[u8]]) -> Vec<u8> {
    let bytes = bytes.concat();
    let mut out = BytesMut::new();
    put_varint(bytes.len(), &mut out);
    out.extend_from_slice(&bytes);
    out.to_vec()
}

fn user(key: &str, value: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_user_property(key, value.as_bytes(), &mut out);
    out.to_vec()
}

fn added() -> Vec<u8> {
    let pairs = context();
    let each = pairs
        .iter()
        .map(|(key, value)| user(key, &String::from_utf8_lossy(value)));
    each.collect::<Vec<_>>().concat()
}

/// CONNECT of the protocol `name` at `level`, without keep-alive, as client `probe`.
fn connect(name: &str, level: u8) -> Vec<u8> {
    let none: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(
        0x10,
        &[
            &counted(name.as_bytes()),
            &[level, 2, 0, 0],
            none,
            &counted(b"probe"),
        ],
    )
}

fn connack(level: u8, bytes: &[&[u8]]) -> Vec<u8> {
    let bytes = if level == 5 { properties(bytes) } else { Vec::new() };
    packet(0x20, &[&[0, 0], &bytes])
}

fn id(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

/// A connection that a broker with these properties has taken.
fn taken_with(name: &str, level: u8, bytes: &[&[u8]]) -> Mqtt {
    let (mut mqtt, mut notes) = (Mqtt::new(), Notes::default());
    let (connect, connack) = (connect(name, level), connack(level, bytes));
    assert_eq!(client(&mut mqtt, &mut notes, &connect), connect);
    assert_eq!(broker(&mut mqtt, &mut notes, &connack), connack);
    assert_eq!(notes.lines, [""; 0]);
    mqtt
}

fn five() -> Mqtt {
    taken_with("MQTT", 5, &[])
}

fn three() -> Mqtt {
    taken_with("MQTT", 4, &[])
}

/// What goes on of what one side says.
fn client(mqtt: &mut Mqtt, notes: &mut Notes, bytes: &[u8]) -> Vec<u8> {
    let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
    mqtt.client_said(&mut input, &mut out, notes).expect("MQTT");
    assert_eq!(input.len(), 0, "all of it was whole");
    out.to_vec()
}

fn broker(mqtt: &mut Mqtt, notes: &mut Notes, bytes: &[u8]) -> Vec<u8> {
    let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
    mqtt.broker_said(&mut input, &mut out, notes).expect("MQTT");
    assert_eq!(input.len(), 0, "all of it was whole");
    out.to_vec()
}

/// What the courier was told of what one side says, none of which is changed.
fn told(mqtt: &mut Mqtt, from_client: bool, packets: &[Vec<u8>]) -> Vec<String> {
    let mut notes = Notes::default();
    let bytes = packets.concat();
    let say = if from_client { client } else { broker };
    assert_eq!(say(mqtt, &mut notes, &bytes), bytes);
    notes.lines
}

#[test]
fn a_message_of_mqtt_5_bears_context_behind_its_own_properties() {
    let own = [
        &[0x01, 1][..],
        &user("kept", "a"),
        &[0x09, 0, 1, b'7'],
        &user("kept", "b"),
    ]
    .concat();
    let publish = |own: &[&[u8]]| {
        packet(
            0x33,
            &[&counted(b"shop/orders"), &id(7), &properties(own), b"payload"],
        )
    };
    let (out, lines) = however_cut(five, true, &publish(&[&own]));
    assert_eq!(out, publish(&[&own, &added()]));
    assert_eq!(lines, ["1 publish shop/orders 7 [kept=a kept=b]"]);
}

#[test]
fn lengths_grow_into_further_bytes_where_they_must() {
    for payload in [0, 1, 100, 16_383, 16_384, 2_097_000] {
        let payload = vec![b'x'; payload];
        let publish = |own: &[&[u8]]| packet(0x30, &[&counted(b"t"), &properties(own), &payload]);
        let out = client(&mut five(), &mut Notes::injecting(), &publish(&[]));
        assert!(out == publish(&[&added()]), "{} bytes", payload.len());
    }
}

#[test]
fn lengths_are_read_as_they_are_written_and_are_as_long_as_they_are_said_to_be() {
    let edges = [0, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, MAX_REMAINING];
    for (value, bytes) in edges.into_iter().zip([1, 1, 2, 2, 3, 3, 4, 4]) {
        let mut out = BytesMut::new();
        put_varint(value, &mut out);
        assert_eq!((out.len(), varint_len(value)), (bytes, bytes), "{value}");
        assert_eq!(Fields::new(&out).varint(), Ok(Some(value)));
    }
}

#[test]
fn a_message_that_bears_context_goes_on_as_it_came() {
    let parent = user(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    // A length that takes more bytes than it needs is legal enough to stay.
    let long_length = [0x80 | parent.len() as u8, 0];
    let publish = packet(0x30, &[&counted(b"t"), &long_length, &parent, b"x"]);
    let (out, _) = however_cut(five, true, &publish);
    assert_eq!(out, publish);
}

#[test]
fn messages_of_3_1_and_3_1_1_are_told_of_and_stay_as_they_are() {
    let publish = packet(0x32, &[&counted(b"shop/orders"), &id(1), b"payload"]);
    let twice = [publish.clone(), publish].concat();
    for (name, level) in [("MQTT", 4), ("MQIsdp", 3), ("MQTT", 0x84), ("MQIsdp", 0x83)] {
        let (out, lines) = however_cut(|| taken_with(name, level, &[]), true, &twice);
        assert_eq!(out, twice);
        let expected = [
            "1 publish shop/orders 7 []",
            "skipped NoHeaders",
            "1 not added",
            "2 publish shop/orders 7 []",
            "2 not added",
            "1 ok",
        ];
        assert_eq!(lines, expected, "{name} {level}");
    }
}

#[test]
fn nothing_is_added_beyond_the_packet_size_that_the_broker_takes() {
    let publish = packet(0x30, &[&counted(b"t"), &properties(&[]), b"payload"]);
    let larger = packet(0x30, &[&counted(b"t"), &properties(&[&added()]), b"payload"]);
    let limited = |limit: usize| {
        let limit = [&[0x27][..], &(limit as u32).to_be_bytes()].concat();
        however_cut(|| taken_with("MQTT", 5, &[&limit]), true, &publish)
    };
    assert_eq!(limited(larger.len()).0, larger);
    let (out, lines) = limited(larger.len() - 1);
    assert_eq!(out, publish);
    assert_eq!(
        lines,
        ["1 publish t 7 []", "skipped TooLarge", "1 not added", "1 ok"]
    );
}

#[test]
fn nothing_is_added_before_the_broker_said_what_it_takes() {
    let early = [
        connect("MQTT", 5),
        packet(0x30, &[&counted(b"t"), &properties(&[]), b"x"]),
    ]
    .concat();
    let (out, lines) = however_cut(Mqtt::new, true, &early);
    assert_eq!(out, early);
    assert_eq!(
        lines,
        ["1 publish t 1 []", "skipped TooLarge", "1 not added", "1 ok"]
    );
}

#[test]
fn nothing_is_added_that_mqtt_cannot_bear() {
    let publish = packet(0x30, &[&counted(b"t"), &properties(&[]), b"x"]);
    let long = vec![b'a'; 65_536];
    for value in [&b"\xff"[..], b"a\0b", &long] {
        let mut notes = Notes::injecting();
        notes.add = vec![("traceparent".to_owned(), value.to_vec())];
        assert_eq!(client(&mut five(), &mut notes, &publish), publish);
        assert_eq!(notes.lines.get(1).map(String::as_str), Some("skipped TooLarge"));
    }
}

#[test]
fn an_alias_stands_for_the_last_topic_that_it_was_given_by_the_same_side() {
    let alias = |number: u16| [&[0x23][..], &id(number)].concat();
    let publish = |topic: &str, number| {
        packet(
            0x30,
            &[&counted(topic.as_bytes()), &properties(&[&alias(number)])],
        )
    };
    let packets = [
        publish("a", 1),
        publish("b", 1024),
        publish("", 1),
        publish("c", 1),
        publish("", 1),
        publish("", 1024),
        publish("", 2),
        publish("d", 1025),
        publish("", 1025),
    ];
    let lines = told(&mut five(), true, &packets);
    let destinations: Vec<_> = lines.iter().filter(|line| !line.ends_with("ok")).collect();
    let expected = [
        "1 publish a 0 []",
        "2 publish b 0 []",
        "3 publish a 0 []",
        "4 publish c 0 []",
        "5 publish c 0 []",
        "6 publish b 0 []",
        "skipped NotHeld",
        "7 publish d 0 []",
        "skipped NotHeld",
    ];
    assert_eq!(destinations, expected);

    let mut mqtt = five();
    told(&mut mqtt, true, &[publish("of the client", 1)]);
    told(&mut mqtt, false, &[publish("of the broker", 1)]);
    let lines = told(&mut mqtt, false, &[publish("", 1)]);
    assert_eq!(lines, ["1 Processes deliver of the broker []", "1 ok"]);
}

#[test]
fn a_repeated_message_that_is_open_has_no_second_span() {
    let publish = |first| packet(first, &[&counted(b"t"), &id(7), b"x"]);
    let ack = |number| packet(PUBACK, &[&id(number)]);
    let (mut mqtt, first, again) = (three(), publish(0x32), publish(0x3a));
    assert_eq!(
        told(&mut mqtt, true, &[first.clone(), again.clone()]),
        ["1 publish t 1 []"]
    );
    assert_eq!(told(&mut mqtt, false, &[ack(7)]), ["1 ok"]);
    assert_eq!(
        told(&mut mqtt, true, std::slice::from_ref(&again)),
        ["1 publish t 1 []"]
    );

    let (mut mqtt, deliver) = (three(), "1 Processes deliver t []");
    assert_eq!(told(&mut mqtt, false, &[first, again.clone()]), [deliver]);
    assert_eq!(told(&mut mqtt, true, &[ack(7)]), ["1 ok"]);
    // Of a session that began on another connection.
    assert_eq!(told(&mut mqtt, false, &[again]), [deliver]);
}

#[test]
fn a_repeated_message_that_is_open_gets_nothing_again() {
    let publish = |first| packet(first, &[&counted(b"t"), &id(7), &properties(&[]), b"x"]);
    let (mut mqtt, mut notes) = (five(), Notes::injecting());
    client(&mut mqtt, &mut notes, &publish(0x32));
    assert_eq!(client(&mut mqtt, &mut notes, &publish(0x3a)), publish(0x3a));
    assert_eq!(notes.lines, ["1 publish t 1 []"]);
}

#[test]
fn a_new_message_ends_an_old_one_of_the_same_identifier() {
    let publish = packet(0x32, &[&counted(b"t"), &id(7), b"x"]);
    let lines = told(&mut three(), true, &[publish.clone(), publish]);
    assert_eq!(lines, ["1 publish t 1 []", "2 publish t 1 []", "1 ok"]);
}

#[test]
fn at_qos_0_a_message_ends_with_its_last_byte() {
    let publish = packet(0x30, &[&counted(b"t"), b"payload"]);
    let (all_but_one, one) = publish.split_at(publish.len() - 1);
    for from_client in [true, false] {
        let (mut mqtt, mut notes) = (three(), Notes::default());
        let say = if from_client { client } else { broker };
        assert_eq!(
            say(&mut mqtt, &mut notes, all_but_one),
            all_but_one,
            "payloads are not held"
        );
        assert_eq!(notes.lines.len(), 1);
        say(&mut mqtt, &mut notes, one);
        assert_eq!(notes.lines.last().map(String::as_str), Some("1 ok"));
    }
}

#[test]
fn at_qos_1_a_sent_message_ends_with_the_brokers_answer() {
    let publish = |number| packet(0x32, &[&counted(b"t"), &id(number), &properties(&[])]);
    let mut mqtt = five();
    told(&mut mqtt, true, &[1, 2, 3, 4].map(publish));
    let answers = [
        packet(PUBACK, &[&id(2), &[0x87]]),
        // Nobody subscribes, which is no fault.
        packet(PUBACK, &[&id(1), &[0x10, 0]]),
        packet(PUBACK, &[&id(9)]),
        packet(PUBACK, &[&id(3)]),
        packet(PUBACK, &[&id(4), &[0xff]]),
        packet(PUBACK, &[&id(4)]),
    ];
    let lines = told(&mut mqtt, false, &answers);
    assert_eq!(
        lines,
        ["2 error not_authorized", "1 ok", "3 ok", "4 error _OTHER"]
    );
}

#[test]
fn at_qos_2_a_sent_message_ends_with_pubcomp_or_with_a_pubrec_that_refuses_it() {
    let publish = |number| packet(0x34, &[&counted(b"t"), &id(number), &properties(&[])]);
    let mut mqtt = five();
    told(&mut mqtt, true, &[publish(1), publish(2)]);
    let answers = [packet(PUBREC, &[&id(1)]), packet(PUBREC, &[&id(2), &[0x97]])];
    assert_eq!(told(&mut mqtt, false, &answers), ["2 error quota_exceeded"]);
    assert_eq!(told(&mut mqtt, true, &[packet(PUBREL, &[&id(1)])]), [""; 0]);
    assert_eq!(told(&mut mqtt, false, &[packet(PUBCOMP, &[&id(1)])]), ["1 ok"]);
}

#[test]
fn a_delivery_ends_when_the_client_takes_it() {
    let publish = |first, number: &[u8]| {
        packet(
            first,
            &[&counted(b"t"), number, &properties(&[&user("k", "v")]), b"x"],
        )
    };
    let deliveries = [
        publish(0x30, &[]),
        publish(0x32, &id(1)),
        publish(0x34, &id(2)),
        publish(0x32, &id(3)),
    ];
    let (out, lines) = however_cut(five, false, &deliveries.concat());
    assert_eq!(out, deliveries.concat(), "what the broker says is never changed");
    let deliver = |number| format!("{number} Processes deliver t [k=v]");
    assert_eq!(
        lines,
        [deliver(1), "1 ok".to_owned(), deliver(2), deliver(3), deliver(4)]
    );
    let mut mqtt = five();
    told(&mut mqtt, false, &deliveries);
    let answers = [
        packet(PUBACK, &[&id(1)]),
        packet(PUBREC, &[&id(2)]),
        packet(PUBACK, &[&id(3), &[0x83]]),
        packet(PUBCOMP, &[&id(2)]),
    ];
    let lines = told(&mut mqtt, true, &answers);
    assert_eq!(lines, ["2 ok", "3 ok", "4 error implementation_specific_error"]);
}

#[test]
fn what_was_retained_is_received_and_starts_nothing() {
    let publish = packet(0x31, &[&counted(b"t"), &properties(&[]), b"x"]);
    let lines = told(&mut five(), false, &[publish]);
    assert_eq!(lines, ["1 Receives deliver t []", "1 ok"]);
}

#[test]
fn a_broker_that_hangs_up_with_a_reason_fails_what_is_open() {
    let publish = |number| packet(0x32, &[&counted(b"t"), &id(number), &properties(&[])]);
    let mut mqtt = five();
    told(&mut mqtt, true, &[publish(1)]);
    let large = packet(0x30, &[&counted(b"t"), &properties(&[]), b"payload"]);
    let (begun, _) = large.split_at(large.len() - 1);
    assert_eq!(told(&mut mqtt, true, &[begun.to_vec()]), ["1 publish t 7 []"]);
    let lines = told(&mut mqtt, false, &[packet(DISCONNECT, &[&[0x95, 0]])]);
    assert_eq!(lines, ["1 error packet_too_large", "1 error packet_too_large"]);

    let mut mqtt = five();
    told(&mut mqtt, true, &[publish(1)]);
    assert_eq!(told(&mut mqtt, false, &[packet(DISCONNECT, &[])]), [""; 0]);
}

#[test]
fn what_the_broker_tells_of_itself_is_not_told() {
    let publish = packet(0x30, &[&counted(b"$SYS/broker/uptime"), b"7 seconds"]);
    assert_eq!(told(&mut three(), false, &[publish]), [""; 0]);
}

#[test]
fn properties_that_are_too_many_are_not_waited_for() {
    let own = user("k", &"v".repeat(60_000)).repeat(MAX_PROPERTIES / 60_000 + 1);
    let publish = packet(0x30, &[&counted(b"t"), &properties(&[&own]), b"x"]);
    let (begun, rest) = publish.split_at(20);
    let (mut mqtt, mut notes) = (five(), Notes::injecting());
    assert_eq!(client(&mut mqtt, &mut notes, begun), begun);
    assert_eq!(client(&mut mqtt, &mut notes, rest), rest);
    assert_eq!(notes.lines, ["skipped NotHeld"]);
}

#[test]
fn aliases_that_may_have_been_given_anew_unseen_are_forgotten() {
    let alias = [0x23, 0, 1];
    let publish =
        |topic: &str, more: &[u8]| packet(0x30, &[&counted(topic.as_bytes()), &properties(&[&alias, more])]);
    let large = user("k", &"v".repeat(60_000)).repeat(5);
    let packets = [publish("a", &[]), publish("b", &large), publish("", &[])];
    let lines = told(&mut five(), true, &packets);
    assert_eq!(
        lines,
        ["1 publish a 0 []", "1 ok", "skipped NotHeld", "skipped NotHeld"]
    );
}

#[test]
fn of_too_many_open_messages_the_oldest_ends_early() {
    let publish = |number: usize| packet(0x32, &[&counted(b"t"), &id(number as u16), b"x"]);
    let mut mqtt = three();
    let packets: Vec<_> = (1..=MAX_OPEN).map(publish).collect();
    assert_eq!(told(&mut mqtt, true, &packets).len(), MAX_OPEN);
    // The first to be acknowledged is not the oldest, and makes room.
    assert_eq!(told(&mut mqtt, false, &[packet(PUBACK, &[&id(2)])]), ["2 ok"]);
    let lines = told(&mut mqtt, true, &[publish(MAX_OPEN + 1), publish(MAX_OPEN + 2)]);
    let ended: Vec<_> = lines.iter().filter(|line| line.ends_with("ok")).collect();
    assert_eq!(ended, ["1 ok"]);
    let lines = told(&mut mqtt, true, &[publish(MAX_OPEN + 3)]);
    assert_eq!(lines.last().map(String::as_str), Some("3 ok"));
}

#[test]
fn one_message_that_is_never_acknowledged_holds_no_memory_for_others() {
    let mut open = InFlight::default();
    open.put(1, Some(Token(1)));
    for number in 2..100_000_u64 {
        let id = 2 + (number % 60_000) as u16;
        open.put(id, Some(Token(number)));
        assert_eq!(open.take(id), Some(Token(number)));
    }
    assert!(open.entries() <= 2 * MAX_OPEN, "{} entries", open.entries());
    assert_eq!(open.take(1), Some(Token(1)));
}

#[test]
fn what_is_not_mqtt_passes_unseen() {
    let topic = counted(b"t");
    let wrong: [(&str, Vec<u8>); 13] = [
        ("QoS 3", packet(0x36, &[&topic, &id(1), &[0]])),
        ("no kind", packet(0x00, &[])),
        ("reserved flags", packet(0x41, &[&id(1)])),
        ("flags of PUBREL", packet(0x60, &[&id(1)])),
        ("a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("a topic beyond the packet", packet(0x30, &[&[0, 9], b"t"])),
        (
            "far more properties than the packet has",
            packet(0x30, &[&topic, &[0xff, 0xff, 0x7f]]),
        ),
        ("no packet identifier", packet(0x32, &[&topic, &[0]])),
        ("properties beyond the packet", packet(0x30, &[&topic, &[9]])),
        (
            "a property that there is not",
            packet(0x30, &[&topic, &properties(&[&[0x7f]])]),
        ),
        (
            "half a property",
            packet(0x30, &[&topic, &properties(&[&[0x26, 0, 1, b'k', 0, 9]])]),
        ),
        (
            "a topic that is not text",
            packet(0x30, &[&counted(b"\xff"), &[0]]),
        ),
        ("an acknowledgement of nothing", packet(PUBACK, &[&[1]])),
    ];
    for (what, bytes) in wrong {
        for from_client in [true, false] {
            let (out, lines) = however_cut(five, from_client, &bytes);
            assert_eq!(
                (out, lines),
                (Vec::new(), vec![NotUnderstood::Malformed.to_string()]),
                "{what}"
            );
        }
    }
}

#[test]
fn a_connection_that_does_not_begin_as_mqtt_passes_unseen() {
    let begun = |bytes: &[u8]| however_cut(Mqtt::new, true, bytes).1;
    let why = |why: NotUnderstood| vec![why.to_string()];
    assert_eq!(begun(&[0x16, 3, 1, 2, 0, 1]), why(NotUnderstood::Encrypted));
    assert_eq!(begun(&connect("MQTT", 6)), why(NotUnderstood::Unknown));
    assert_eq!(begun(&connect("MQTT", 3)), why(NotUnderstood::Unknown));
    assert_eq!(begun(&connect("HTTP", 5)), why(NotUnderstood::Malformed));
    assert_eq!(
        begun(&packet(0x30, &[&counted(b"t")])),
        why(NotUnderstood::Malformed)
    );
    assert_eq!(begun(b"GET / HTTP/1.1\r\n\r\n"), why(NotUnderstood::Malformed));
    let (_, lines) = however_cut(Mqtt::new, false, &connack(5, &[]));
    assert_eq!(lines, why(NotUnderstood::Malformed));
}

#[test]
fn a_connection_of_mqtt_5_that_an_older_broker_refuses_passes() {
    let (mut mqtt, mut notes) = (Mqtt::new(), Notes::default());
    client(&mut mqtt, &mut notes, &connect("MQTT", 5));
    let refused = packet(0x20, &[&[0, 1]]);
    assert_eq!(broker(&mut mqtt, &mut notes, &refused), refused);
    assert_eq!(mqtt.limit, None);
}

#[test]
fn a_client_is_known_by_its_name_or_the_one_that_the_broker_gave_it() {
    assert_eq!(five().client_id, "probe");
    assert_eq!(three().client_id, "probe");
    let given = [&[0x12][..], &counted(b"auto-7")].concat();
    assert_eq!(taken_with("MQTT", 5, &[&given]).client_id, "auto-7");
}

#[test]
fn levels_that_look_like_identifiers_are_one_destination() {
    let long = format!("{}/tail", "x".repeat(250));
    let cases = [
        ("shop/orders", "shop/orders"),
        ("/leading//empty/", "/leading//empty/"),
        ("device/12345/temperature", "device/+/temperature"),
        ("device/7", "device/+"),
        ("sensor-7/v1", "sensor-7/v1"),
        ("x/0af7651916cd43dd", "x/+"),
        ("x/0af7651916cd43d", "x/0af7651916cd43d"),
        ("x/123456789012345678901234567890", "x/+"),
        ("6a2f41a3-c54c-fce8-32d2-0324e1c32e22/state", "+/state"),
        (
            "6a2f41a3-c54c-fce8-32d2+0324e1c32e22/state",
            "6a2f41a3-c54c-fce8-32d2+0324e1c32e22/state",
        ),
        (&long, &format!("{}/#", "x".repeat(250))),
        (&"x".repeat(254), &"x".repeat(254)),
        (&"x".repeat(255), "#"),
    ];
    let mut destination = "of another message".to_owned();
    for (topic, expected) in cases {
        topic::destination(topic, &mut destination);
        assert_eq!(destination, expected);
        assert!(destination.len() <= 256);
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé/0-9 ]{0,40}"
}

prop_compose! {
    fn published()(
        (qos, topic, pkid, retain) in (0..3_u8, "[a-z0-9/]{1,300}", 1_u16.., any::<bool>()),
        payload in vec(any::<u8>(), 0..300),
        (indicator, expiry) in (option::of(0..2_u8), option::of(any::<u32>())),
        (response, kind) in (option::of("[a-z]{1,20}"), option::of(text())),
        data in option::of(vec(any::<u8>(), 0..40)),
        users in vec((text(), text()), 0..8),
    ) -> oracle::Publish {
        let properties = oracle::PublishProperties {
            payload_format_indicator: indicator,
            message_expiry_interval: expiry,
            response_topic: response,
            correlation_data: data.map(Bytes::from),
            user_properties: users,
            content_type: kind,
            ..oracle::PublishProperties::default()
        };
        oracle::Publish {
            qos: [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)],
            retain,
            topic: topic.into(),
            pkid: if qos == 0 { 0 } else { pkid },
            payload: payload.into(),
            properties: Some(properties),
            ..oracle::Publish::default()
        }
    }
}

fn encoded(publish: &oracle::Publish) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let packet = oracle::Packet::Publish(publish.clone());
    packet.write(&mut bytes, None).expect("it can be encoded");
    bytes.to_vec()
}

fn decoded(bytes: &[u8]) -> oracle::Publish {
    match oracle::Packet::read(&mut BytesMut::from(bytes), None) {
        Ok(oracle::Packet::Publish(publish)) => publish,
        other => panic!("no message: {other:?}"),
    }
}

proptest! {
    #[test]
    fn another_codec_reads_the_message_and_what_was_added_and_without_that_it_is_the_original(publish in published()) {
        let bytes = encoded(&publish);
        let out = client(&mut five(), &mut Notes::injecting(), &bytes);
        let mut read = decoded(&out);
        let properties = read.properties.as_mut().expect("some were added");
        let number = properties.user_properties.len() - context().len();
        let added = properties.user_properties.split_off(number);
        let text = |value| String::from_utf8(value).expect("text");
        let expected: Vec<_> = context().into_iter().map(|(key, value)| (key, text(value))).collect();
        prop_assert_eq!(added, expected);
        prop_assert_eq!(encoded(&read), bytes);
    }

    #[test]
    fn whatever_follows_passes_whole(
        pieces in vec(vec(any::<u8>(), 1..60), 0..12), level in 4..6_u8, from_client in any::<bool>(),
    ) {
        let mut mqtt = taken_with("MQTT", level, &[]);
        passes_whole(&mut mqtt, from_client, &pieces)?;
    }

    #[test]
    fn whatever_is_wrong_in_a_packet_passes_whole(
        publishes in vec(published(), 1..4), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 1..50_usize, from_client in any::<bool>(),
    ) {
        let mut bytes: Vec<u8> = publishes.iter().flat_map(encoded).collect();
        for (place, value) in flips {
            let len = bytes.len();
            bytes[place.index(len)] = value;
        }
        let pieces: Vec<_> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
        passes_whole(&mut five(), from_client, &pieces)?;
    }
}

/// A courier that adds nothing sees the same bytes go on, those that are held included.
fn passes_whole(mqtt: &mut Mqtt, from_client: bool, pieces: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let (mut input, mut out, mut notes) = (BytesMut::new(), BytesMut::new(), Notes::default());
    let mut said = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        said.extend_from_slice(piece);
        let taken = if from_client {
            mqtt.client_said(&mut input, &mut out, &mut notes)
        } else {
            mqtt.broker_said(&mut input, &mut out, &mut notes)
        };
        if taken.is_err() {
            break;
        }
    }
    out.extend_from_slice(&input);
    prop_assert_eq!(out.to_vec(), said);
    Ok(())
}
