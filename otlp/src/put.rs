//! Protobuf fields, written one after the other.
//!
//! In: a field's number and its value. Out: its bytes at the end of a buffer.
//! Left out on purpose: groups and packed lists, which nothing of ours writes.
//! Source: the protobuf encoding guide. As `proto3` has it, [`text`], [`number`], [`fixed32`] and [`fixed64`] write nothing
//! where the value is the default; members of a `oneof`, which do, have the others.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;
/// The first field, with a length.
const TEXT_1: u8 = 1 << 3 | LENGTH as u8;
/// The second field, with a length.
const MESSAGE_2: u8 = 2 << 3 | LENGTH as u8;

fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

/// A number alone, seven bits a byte.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A text that is not empty.
pub(crate) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// Bytes, even none.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, LENGTH);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A number that is not 0.
pub(crate) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        varint_field(out, field, value);
    }
}

/// A number, even 0.
pub(crate) fn varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

/// Eight bytes that are not all 0.
pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        fixed64_field(out, field, value);
    }
}

/// Eight bytes, even all 0.
pub(crate) fn fixed64_field(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Four bytes that are not all 0.
pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    if value != 0 {
        key(out, field, FIXED32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A message, even one without fields. Its length is known only afterwards: one byte is kept for it, and what is longer
/// moves aside.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, LENGTH);
    let start = out.len();
    out.push(0);
    content(out);
    let length = out.len() - start - 1;
    if length <= 0x7f {
        out[start] = length as u8;
    } else {
        // At most ten bytes; the last has no mark that another follows.
        let bytes = (0..10)
            .map(|group| length as u64 >> (7 * group))
            .take_while(|rest| *rest > 0);
        let last = (length as u64).ilog2() / 7;
        let marked = bytes
            .zip(0..)
            .map(|(rest, group)| rest as u8 & 0x7f | u8::from(group < last) << 7);
        out.splice(start..=start, marked);
    }
}

/// A `KeyValue` with a string, in one go; `false`, with nothing written, where a length takes more than one byte.
pub(crate) fn short_pair(out: &mut Vec<u8>, field: u32, name: &str, text: &str) -> bool {
    // Around the text stand its own key and length, and around those the ones of `AnyValue`; the same around the name.
    let (any, pair) = (text.len() + 2, name.len() + text.len() + 6);
    if pair > 0x7f || field > 0xf || name.is_empty() {
        return false;
    }
    let (name, text) = (name.as_bytes(), text.as_bytes());
    out.reserve(pair + 2);
    out.extend_from_slice(&[(field << 3 | LENGTH) as u8, pair as u8, TEXT_1, name.len() as u8]);
    out.extend_from_slice(name);
    out.extend_from_slice(&[MESSAGE_2, any as u8, TEXT_1, text.len() as u8]);
    out.extend_from_slice(text);
    true
}
