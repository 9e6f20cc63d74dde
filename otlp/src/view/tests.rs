//! The view against prost: on the same bytes the same verdict and, where accepted, the same values.

#[path = "../../tests/differential/agreement.rs"]
mod agreement;
mod layouts;

use super::schema::{self, Expect, REQUEST, Schema};
use super::{Kind, StatusCode, for_each_span};
use crate::wire::Fault;
use agreement::{Plain, by_view};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use std::fmt::Debug;

/// Whether both took `body`, and the tables too; panics where they disagree.
fn agree(body: &[u8]) -> bool {
    let accepted = agreement::agree(body);
    assert_eq!(schema::check(body).is_ok(), accepted);
    accepted
}

/// Decisions, from bytes that proptest can shrink; all zero at the end.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn throw(&mut self, sides: u8) -> u8 {
        self.0.next().map_or(0, |byte| byte % sides)
    }
}

fn request_from(entropy: &[u8]) -> Vec<u8> {
    message(&REQUEST, &mut Dice(entropy.iter()), 0)
}

fn message(schema: &Schema, dice: &mut Dice<'_>, level: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..dice.throw(6) {
        // Known fields come often, so that messages nest; the rest are unknown or reserved.
        let known = schema.fields.len() as u8;
        let number = match dice.throw(16) {
            0 => u32::from(dice.throw(24)) + 1,
            1 => 1000,
            _ => u32::from(dice.throw(known)) + 1,
        };
        let expected = schema
            .fields
            .get(number as usize - 1)
            .map_or(Expect::Unknown, |(_, expect)| *expect);
        let expected = if dice.throw(64) == 63 {
            Expect::Unknown
        } else {
            expected
        };
        field(number, expected, dice, level, &mut out);
    }
    out
}

fn field(number: u32, expected: Expect, dice: &mut Dice<'_>, level: u32, out: &mut Vec<u8>) {
    match expected {
        Expect::Varint => {
            key(number, 0, dice, out);
            varint(u64::from(dice.throw(255)) << dice.throw(57), dice, out);
        }
        Expect::Fixed64 => {
            key(number, 1, dice, out);
            out.extend((0..8).map(|_| dice.throw(255)));
        }
        Expect::Fixed32 => {
            key(number, 5, dice, out);
            out.extend((0..4).map(|_| dice.throw(255)));
        }
        Expect::Text => {
            let text = ["", "a", "service.name", "ü", "\u{1f980}"][dice.throw(5) as usize].as_bytes();
            let text = if dice.throw(100) == 99 {
                &[b'a', 0xc3][..]
            } else {
                text
            };
            delimited(number, text, dice, out);
        }
        Expect::Bytes => {
            let bytes: Vec<u8> = (0..dice.throw(17)).map(|_| dice.throw(255)).collect();
            delimited(number, &bytes, dice, out);
        }
        Expect::PackedVarint => {
            let mut packed = Vec::new();
            for _ in 0..dice.throw(3) {
                varint(u64::from(dice.throw(255)) << dice.throw(57), dice, &mut packed);
            }
            delimited(number, &packed, dice, out);
        }
        Expect::PackedFixed64 => {
            let bytes: Vec<u8> = (0..8 * dice.throw(3)).map(|_| dice.throw(255)).collect();
            delimited(number, &bytes, dice, out);
        }
        Expect::Message(schema) => {
            let inner = if level < 12 {
                message(schema, dice, level + 1)
            } else {
                Vec::new()
            };
            delimited(number, &inner, dice, out);
        }
        Expect::Unknown => match dice.throw(4) {
            0 => field(number, Expect::Varint, dice, level, out),
            1 => field(number, Expect::Fixed64, dice, level, out),
            2 => field(number, Expect::Fixed32, dice, level, out),
            _ if dice.throw(2) == 0 => field(number, Expect::Bytes, dice, level, out),
            _ => group(number, dice, level, out),
        },
    }
}

fn group(number: u32, dice: &mut Dice<'_>, level: u32, out: &mut Vec<u8>) {
    key(number, 3, dice, out);
    if level < 12 {
        for _ in 0..dice.throw(3) {
            field(
                u32::from(dice.throw(30)) + 1,
                Expect::Unknown,
                dice,
                level + 1,
                out,
            );
        }
    }
    let end = if dice.throw(50) == 49 { number + 1 } else { number };
    key(end, 4, dice, out);
}

fn delimited(number: u32, bytes: &[u8], dice: &mut Dice<'_>, out: &mut Vec<u8>) {
    key(number, 2, dice, out);
    varint(bytes.len() as u64, dice, out);
    out.extend(bytes);
}

fn key(number: u32, wire_type: u8, dice: &mut Dice<'_>, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | u64::from(wire_type), dice, out);
}

/// A varint, now and then with more bytes than it needs.
fn varint(value: u64, dice: &mut Dice<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    prost::encoding::encode_varint(value, out);
    if dice.throw(40) == 39 {
        for _ in 0..=dice.throw(8) {
            *out.last_mut().expect("a varint has a byte") |= 0x80;
            out.push(0);
        }
    }
    let longest = if dice.throw(200) == 199 { 11 } else { 10 };
    if out.len() - start > longest {
        out.truncate(start);
        prost::encoding::encode_varint(value, out);
    }
}

fn entropy() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn the_view_and_prost_agree_on_messages_of_any_layout(entropy in entropy()) {
        agree(&request_from(&entropy));
    }

    #[test]
    fn the_view_and_prost_agree_on_changed_bytes(
        entropy in entropy(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = request_from(&entropy);
        for (index, byte) in changes {
            if !body.is_empty() {
                let at = index.index(body.len());
                body[at] = byte;
            }
        }
        agree(&body);
    }

    #[test]
    fn the_view_and_prost_agree_on_truncated_and_joined_messages(
        first in entropy(),
        second in entropy(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = request_from(&first);
        body.truncate(cut.index(body.len() + 1));
        agree(&body);
        body.extend(request_from(&second));
        agree(&body);
    }

    #[test]
    fn the_view_and_prost_agree_on_noise(body in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&body);
    }
}

#[test]
fn the_generated_messages_are_neither_all_accepted_nor_all_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut spans) = (0, 0);
    for _ in 0..500 {
        let entropy = entropy()
            .new_tree(&mut runner)
            .expect("a vector of bytes")
            .current();
        let body = request_from(&entropy);
        if agree(&body) {
            accepted += 1;
            spans += by_view(&body).map_or(0, |seen| seen.len());
        }
    }
    assert!((100..450).contains(&accepted), "{accepted} of 500 accepted");
    assert!(spans > 200, "{spans} spans in all");
}

/// A length-delimited field with a small number.
fn wrap(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut out);
    prost::encoding::encode_varint(inner.len() as u64, &mut out);
    out.extend(inner);
    out
}

fn span_with(fields: &[u8]) -> Vec<u8> {
    wrap(1, &wrap(2, &wrap(2, fields)))
}

#[test]
fn values_may_nest_exactly_as_deep_as_in_prost() {
    // What stands in the innermost `AnyValue`: nothing, a string, an unknown field, and a list with an unknown field,
    // which needs one level more than the list itself.
    for innermost in [
        vec![],
        vec![0x0a, 1, b'x'],
        vec![0x78, 1],
        wrap(5, b""),
        wrap(5, &[0x78, 1]),
    ] {
        let mut verdicts = Vec::new();
        for levels in 30..60 {
            let nested = (0..levels).fold(innermost.clone(), |value, _| wrap(5, &wrap(1, &value)));
            verdicts.push(agree(&span_with(&wrap(9, &wrap(2, &nested)))));
        }
        assert!(
            verdicts.first() == Some(&true) && verdicts.last() == Some(&false),
            "{verdicts:?}"
        );
    }
}

#[test]
fn the_tenth_byte_of_a_varint_has_room_for_one_bit() {
    for (last, accepted) in [
        (0, true),
        (1, true),
        (2, false),
        (3, false),
        (0x7f, false),
        (0x80, false),
    ] {
        let body = span_with(&[&[0x30][..], &[0xff; 9], &[last]].concat());
        assert_eq!(agree(&body), accepted, "last byte {last:#x}");
    }
}

#[test]
fn groups_may_nest_exactly_as_deep_as_in_prost() {
    for inside in [vec![], vec![0x08, 1], vec![0x12, 0]] {
        let mut verdicts = Vec::new();
        for levels in 90..110 {
            let nested = (0..levels).fold(inside.clone(), |body, _| {
                [&[0xa3, 1], &body[..], &[0xa4, 1]].concat()
            });
            agree(&nested);
            verdicts.push(agree(&span_with(&nested)));
        }
        assert!(
            verdicts.first() == Some(&true) && verdicts.last() == Some(&false),
            "{verdicts:?}"
        );
    }
}

#[test]
fn a_resource_after_its_spans_still_belongs_to_them() {
    let resource = wrap(
        1,
        &wrap(
            1,
            &[wrap(1, b"service.name"), wrap(2, &wrap(1, b"cart"))].concat(),
        ),
    );
    let spans = wrap(2, &wrap(2, &wrap(5, b"GET /")));
    let body = wrap(1, &[spans, resource].concat());
    let seen = by_view(&body).expect("field order is free");
    assert_eq!(
        seen[0].resource,
        [("service.name".to_owned(), Plain::Str("cart".to_owned()))]
    );
    assert!(agree(&body));
}

#[test]
fn a_resource_in_two_pieces_is_one_resource() {
    let attribute = |key: &[u8]| wrap(1, &[wrap(1, key), wrap(2, &wrap(1, b"v"))].concat());
    let body = wrap(
        1,
        &[
            wrap(1, &attribute(b"a")),
            wrap(2, &wrap(2, b"")),
            wrap(1, &attribute(b"b")),
        ]
        .concat(),
    );
    let keys: Vec<_> = by_view(&body).expect("well-formed")[0]
        .resource
        .iter()
        .map(|p| p.0.clone())
        .collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(agree(&body));
    for_each_span(&body, |resource, _, _| {
        let joined = resource.raw_parts().collect::<Vec<_>>().concat();
        assert_eq!(joined, [attribute(b"a"), attribute(b"b")].concat());
    })
    .expect("well-formed");
}

#[test]
fn unknown_kinds_and_codes_read_as_not_said() {
    let body = span_with(&[vec![0x30, 6], wrap(15, &[0x18, 3])].concat());
    let mut seen = None;
    for_each_span(&body, |_, _, span| seen = Some((span.kind, span.status))).expect("well-formed");
    assert_eq!(seen, Some((Kind::Unspecified, StatusCode::Unset)));
}

#[track_caller]
fn refused(body: &[u8], expected: impl Debug, fault: Fault) {
    let malformed = by_view(body).expect_err("it is malformed");
    assert_eq!(
        format!("{:?}", (malformed.message, malformed.field, malformed.offset)),
        format!("{expected:?}")
    );
    assert_eq!(malformed.fault, fault);
    assert!(!agree(body));
}

#[test]
fn a_refusal_names_the_field_and_the_byte() {
    refused(
        &span_with(&wrap(5, b"ab\xff")),
        ("Span", Some("name"), 10),
        Fault::Utf8,
    );
    refused(
        &span_with(&[0x28, 1]),
        ("Span", Some("name"), 6),
        Fault::Mismatch { found: 0, wanted: 2 },
    );
    refused(
        &[0x0a, 5, 0],
        ("ExportTraceServiceRequest", None::<&str>, 2),
        Fault::Truncated { wanted: 5, left: 1 },
    );
    refused(
        b"GET / HTTP/1.1",
        ("ExportTraceServiceRequest", None::<&str>, 0),
        Fault::WireType(7),
    );
    refused(&span_with(&[0x80]), ("Span", None::<&str>, 6), Fault::Varint);
}

#[test]
fn a_status_counts_with_all_that_stands_in_it() {
    let status = |fields: &[u8]| span_with(&wrap(15, fields));
    let seen = by_view(&status(&[0x18, 2, 0x18, 1])).expect("a code may come twice");
    assert_eq!(seen[0].status, 1);
    assert!(agree(&status(&[0x18, 2, 0x18, 1])));
    refused(
        &status(&[&[0x18, 2][..], &wrap(2, b"\xff")].concat()),
        ("Status", Some("message"), 12),
        Fault::Utf8,
    );
}

#[test]
fn a_refusal_reads_as_one_sentence() {
    let malformed = by_view(&span_with(&wrap(5, b"ab\xff"))).expect_err("not UTF-8");
    assert_eq!(
        malformed.to_string(),
        "byte 10 in `Span.name` is malformed: a string must be UTF-8"
    );
}

#[test]
fn nothing_is_shown_of_a_request_that_is_malformed_at_its_end() {
    let body = [span_with(b""), vec![0x0a, 9]].concat();
    let mut shown = 0;
    assert!(for_each_span(&body, |_, _, _| shown += 1).is_err());
    assert_eq!(shown, 0);
}
