//! The rules of the wire format one by one, each in the layout that SDKs write, where the view reads without the tables.
//!
//! In: bytes by hand. Out: the verdict that prost has too, and the values.
//! Left out on purpose: combinations, which the random messages beside this have.

use super::agreement::{Plain, by_view};
use super::{agree, span_with, wrap};
use crate::view::{RawValue, Span, Value, Visit, read_spans};
use std::ops::Range;

const NO_UTF8: &[u8] = b"ok, then \xff";

fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    [wrap(1, key), wrap(2, value)].concat()
}

/// An attribute of a span.
fn attribute(key: &[u8], value: &[u8]) -> Vec<u8> {
    wrap(9, &pair(key, value))
}

fn text(text: &[u8]) -> Vec<u8> {
    wrap(1, text)
}

#[track_caller]
fn check(accepted: bool, fields: &[u8]) {
    assert_eq!(agree(&span_with(fields)), accepted, "{fields:02x?}");
}

#[test]
fn a_length_that_reaches_past_its_message_is_refused_wherever_it_stands() {
    let short = |number: u8| vec![number << 3 | 2, 9, b'x'];
    check(false, &short(1));
    check(false, &short(5));
    for holder in [9, 11, 13, 15] {
        check(false, &short(holder));
        check(
            false,
            &wrap(holder.into(), &short(if holder == 13 { 3 } else { 2 })),
        );
    }
    check(false, &wrap(9, &[&text(b"k")[..], &wrap(2, &short(1))].concat()));
    check(false, &[0x3a, 0x80, 0x01, 0]);
    check(false, &[0x39, 1, 2, 3, 4, 5, 6, 7]);
    check(false, &[0x85, 0x01, 1, 2, 3]);
}

#[test]
fn every_string_must_be_utf8_and_no_word_of_it_is_passed_over() {
    check(false, &wrap(3, NO_UTF8));
    check(false, &wrap(5, NO_UTF8));
    for at in 0..20 {
        let mut bytes = [b'a'; 20];
        bytes[at] = 0xff;
        for length in [at + 1, 20] {
            let bad = &bytes[..length];
            check(false, &attribute(bad, &text(b"v")));
            check(false, &attribute(b"k", &text(bad)));
            check(false, &wrap(11, &wrap(2, bad)));
        }
    }
    check(false, &attribute(NO_UTF8, &[0x18, 1]));
    check(false, &wrap(13, &wrap(3, NO_UTF8)));
    check(false, &wrap(13, &wrap(4, &pair(b"k", &text(NO_UTF8)))));
    check(false, &wrap(11, &wrap(3, &pair(NO_UTF8, &text(b"v")))));
    check(false, &wrap(15, &wrap(2, NO_UTF8)));
    check(true, &attribute("ключ".as_bytes(), &text("é🦀".as_bytes())));
    // Bytes may be anything.
    check(
        true,
        &[wrap(1, NO_UTF8), attribute(b"k", &wrap(7, NO_UTF8))].concat(),
    );
}

#[test]
fn a_known_field_has_its_own_wire_type_only() {
    for fields in [
        &[0x31, 1, 2, 3, 4, 5, 6, 7, 8][..],
        &wrap(6, &[1, 2]),
        &[0x38, 1],
        &wrap(7, &[1; 8]),
        &[0x80, 0x01, 1],
        &[0x33, 0x34],
        &[0x2b, 0x2c],
        &[0x4b, 0x4c],
        &wrap(11, &[0x08, 1]),
        &wrap(13, &[0x30, 1]),
        &wrap(15, &[0x1d, 1, 2, 3, 4]),
        &attribute(b"k", &[0x1d, 1, 2, 3, 4]),
    ] {
        check(false, fields);
    }
}

#[test]
fn groups_and_unknown_fields_are_skipped_and_what_follows_is_read() {
    for unknown in [
        &[0xa0, 0x01, 5][..],
        &[0xa3, 0x01, 0x08, 1, 0xa4, 0x01],
        &[0xa5, 0x01, 1, 2, 3, 4],
        &wrap(200, b"later"),
    ] {
        let body = span_with(&[unknown, &wrap(5, b"name")].concat());
        assert!(agree(&body), "{unknown:02x?}");
        assert_eq!(
            by_view(&body).expect("accepted")[0].texts[1],
            "name",
            "{unknown:02x?}"
        );
        check(true, &wrap(11, unknown));
        check(true, &wrap(13, unknown));
        check(true, &wrap(15, unknown));
        check(true, &attribute(b"k", unknown));
    }
    // The end of another group, of none, and no end.
    check(false, &[0xa3, 0x01, 0xac, 0x01]);
    check(false, &[0xa4, 0x01]);
    check(false, &[0xa3, 0x01, 0x08, 1]);
}

#[test]
fn a_varint_has_at_most_ten_bytes_wherever_it_stands() {
    let long = |count: usize| [vec![0x80; count - 1], vec![0]].concat();
    for (count, accepted) in [(10, true), (11, false)] {
        check(accepted, &[vec![0x30], long(count)].concat());
        check(accepted, &[vec![0x50], long(count)].concat());
        check(accepted, &[vec![0xa0, 0x01], long(count)].concat());
        check(accepted, &[vec![0x2a], long(count)].concat());
        check(accepted, &attribute(b"k", &[vec![0x18], long(count)].concat()));
        check(accepted, &wrap(11, &[vec![0x20], long(count)].concat()));
        check(accepted, &wrap(13, &[vec![0x28], long(count)].concat()));
        check(accepted, &wrap(15, &[vec![0x18], long(count)].concat()));
    }
}

#[test]
fn of_repeated_fields_the_last_counts_and_messages_merge() {
    let twice = |number: u32| [wrap(number, b"first"), wrap(number, b"last")].concat();
    let status = [wrap(15, &[0x18, 2]), wrap(15, &wrap(2, b"why"))].concat();
    let value = [text(b"k"), wrap(2, &text(b"v")), wrap(2, b"")].concat();
    let keys = [text(b"first"), text(b"last"), wrap(2, &[0x18, 3])].concat();
    let fields = [
        twice(1),
        twice(2),
        twice(3),
        twice(4),
        twice(5),
        vec![0x30, 1, 0x30, 2],
        status,
        wrap(9, &value),
        wrap(9, &keys),
        attribute(b"oneof", &[text(b"first"), vec![0x18, 7]].concat()),
    ]
    .concat();
    let body = span_with(&fields);
    assert!(agree(&body));
    let span = by_view(&body).expect("accepted").remove(0);
    assert_eq!(span.ids, [b"last"; 3]);
    assert_eq!(span.texts, ["last"; 2]);
    assert_eq!((span.kind, span.status), (2, 2));
    let attribute = |key: &str, value| (key.to_owned(), value);
    assert_eq!(
        span.attributes,
        [
            attribute("k", Plain::Str("v".to_owned())),
            attribute("last", Plain::Int(3)),
            attribute("oneof", Plain::Int(7)),
        ]
    );
}

#[test]
fn a_scope_in_two_pieces_is_one_scope_and_what_is_not_said_is_empty() {
    let scope = [wrap(1, &text(b"name")), wrap(2, b""), wrap(1, &wrap(2, b"2"))].concat();
    let body = wrap(1, &wrap(2, &scope));
    assert!(agree(&body));
    let span = by_view(&body).expect("accepted").remove(0);
    assert_eq!(span.scope, ("name".to_owned(), "2".to_owned()));
    assert_eq!((span.kind, span.status, span.flags), (0, 0, 0));
    assert_eq!((span.times, span.texts), ([0, 0], [String::new(), String::new()]));
}

#[test]
fn numbers_are_read_as_they_were_written() {
    let mut fields = vec![0x30];
    // 2^32 + 3: an enum keeps the lower 32 bits.
    fields.extend([0x83, 0x80, 0x80, 0x80, 0x10]);
    fields.extend([0x85, 0x01, 1, 2, 3, 4]);
    fields.extend(attribute(b"two bytes", &[0x18, 0xff, 0x7f]));
    fields.extend(attribute(b"true", &[0x10, 2]));
    let body = span_with(&fields);
    assert!(agree(&body));
    let span = by_view(&body).expect("accepted").remove(0);
    assert_eq!((span.kind, span.flags), (3, 0x0403_0201));
    assert_eq!(span.attributes[0].1, Plain::Int(0x3fff));
    assert_eq!(span.attributes[1].1, Plain::Bool(true));
}

/// Where the last span was, and its attributes by every way of asking.
#[derive(Default)]
struct Last<'a> {
    at: Range<usize>,
    values: Vec<(Value<'a>, Option<i64>)>,
}

impl<'a> Visit<'a> for Last<'a> {
    fn attribute(&mut self, _: &'a [u8], value: RawValue<'a>) {
        self.values.push((value.value(), value.as_int()));
    }

    fn span(&mut self, span: &Span<'a>, at: Range<usize>) {
        assert_eq!(
            span.attributes().get("k"),
            span.attributes().next().map(|pair| pair.1)
        );
        self.at = at;
    }
}

#[test]
fn one_pass_shows_where_a_span_lies_and_its_values_however_they_are_written() {
    let in_pieces = [wrap(2, &[0x18, 5]), text(b"k")].concat();
    let fields = [
        attribute(b"k", &[0x18, 0x96, 0x01]),
        wrap(9, &in_pieces),
        attribute(b"k", &[0x18, 1]),
    ]
    .concat();
    let body = span_with(&fields);
    let mut last = Last::default();
    read_spans(&body, &mut last).expect("accepted");
    assert_eq!(body.get(last.at), Some(&fields[..]));
    let int = |int| (Value::Int(int), Some(int));
    assert_eq!(last.values, [int(150), int(5), int(1)]);
}

#[test]
fn values_of_usual_pairs_nest_as_deep_as_in_prost_in_spans_events_and_links() {
    // What stands in the innermost `AnyValue`: nothing, a string, an unknown field.
    for innermost in [vec![], text(b"x"), vec![0x78, 1]] {
        let mut verdicts = Vec::new();
        for levels in 40..56 {
            let value = (0..levels).fold(innermost.clone(), |value, _| wrap(5, &wrap(1, &value)));
            let pair = pair(b"k", &value);
            let holders = [
                wrap(9, &pair),
                wrap(11, &wrap(3, &pair)),
                wrap(13, &wrap(4, &pair)),
            ];
            verdicts.push(holders.map(|fields| agree(&span_with(&fields))));
        }
        assert_eq!(verdicts.first(), Some(&[true; 3]), "{verdicts:?}");
        assert_eq!(verdicts.last(), Some(&[false; 3]), "{verdicts:?}");
    }
}
