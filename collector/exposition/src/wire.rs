//! Protobuf, written straight into a buffer.
//!
//! In: fields of a message, in any order. Out: their bytes.
//! Left out on purpose: reading, and message types. Labels stay borrowed this way; owned messages would copy each
//! label of each series on every scrape.
//! Source: Protocol Buffers, "Encoding".

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, kind: u32) {
    varint(out, u64::from(field << 3 | kind));
}

/// `uint32`, `uint64`, and enumerations. Written also where it is 0.
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// `int64`: a negative one takes ten bytes.
pub(crate) fn int(out: &mut Vec<u8>, field: u32, value: i64) {
    uint(out, field, value as u64);
}

/// `sint32` and `sint64`.
pub(crate) fn sint(out: &mut Vec<u8>, field: u32, value: i64) {
    uint(out, field, zigzag(value));
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn string(out: &mut Vec<u8>, field: u32, value: &str) {
    bytes(out, field, value.as_bytes());
}

/// `repeated double`, packed.
pub(crate) fn doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        message(out, field, |out| {
            for value in values {
                out.extend_from_slice(&value.to_le_bytes());
            }
        });
    }
}

/// `repeated sint64`, packed.
pub(crate) fn sints(out: &mut Vec<u8>, field: u32, values: impl Iterator<Item = i64>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        message(out, field, |out| {
            values.for_each(|value| varint(out, zigzag(value)));
        });
    }
}

/// `repeated uint32`, packed.
pub(crate) fn uints(out: &mut Vec<u8>, field: u32, values: impl Iterator<Item = u32>) {
    message(out, field, |out| {
        values.for_each(|value| varint(out, u64::from(value)));
    });
}

/// A message in a message, or anything else that its length stands before.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_message(out, field);
    body(out);
    end(out, start);
}

/// Begins a message in a message; give what it returns to [`end`].
pub(crate) fn begin_message(out: &mut Vec<u8>, field: u32) -> usize {
    tag(out, field, BYTES);
    begin(out)
}

/// Begins bytes that their length will stand before; give what it returns to [`end`].
pub(crate) fn begin(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Writes the length of what came after [`begin`] before it. Up to 127 bytes nothing moves.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    let mut header = [0; 10];
    let mut rest = length as u64;
    let mut size = 0;
    for byte in &mut header {
        *byte = rest as u8 & 0x7F;
        rest >>= 7;
        size += 1;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    let more = size - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start..start + length, start + more);
    }
    for (to, from) in out.iter_mut().skip(start - 1).zip(header.iter().take(size)) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Inner {
        #[prost(string, tag = "1")]
        text: String,
        #[prost(sint64, repeated, tag = "2")]
        sints: Vec<i64>,
        #[prost(double, repeated, tag = "3")]
        doubles: Vec<f64>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Outer {
        #[prost(message, repeated, tag = "1")]
        inner: Vec<Inner>,
        #[prost(int64, tag = "2")]
        int: i64,
        #[prost(sint32, tag = "20")]
        sint: i32,
        #[prost(double, tag = "4")]
        double: f64,
        #[prost(uint32, repeated, tag = "5")]
        uints: Vec<u32>,
    }

    #[test]
    fn another_implementation_reads_what_is_written_whatever_its_length() {
        for length in [0, 1, 126, 127, 128, 200, 16_383, 16_384, 70_000] {
            let expected = Outer {
                inner: vec![Inner {
                    text: "x".repeat(length),
                    sints: vec![0, -1, 1, i64::MAX, i64::MIN],
                    doubles: vec![0.5; length % 7],
                }],
                int: -5,
                sint: -129,
                double: f64::MAX,
                uints: vec![0, 300, u32::MAX],
            };
            let mut out = Vec::new();
            message(&mut out, 1, |out| {
                string(out, 1, &expected.inner[0].text);
                sints(out, 2, expected.inner[0].sints.iter().copied());
                doubles(out, 3, &expected.inner[0].doubles);
            });
            int(&mut out, 2, -5);
            sint(&mut out, 20, -129);
            double(&mut out, 4, f64::MAX);
            uints(&mut out, 5, expected.uints.iter().copied());
            assert_eq!(
                Outer::decode(out.as_slice()).unwrap(),
                expected,
                "length {length}"
            );
        }
    }
}
